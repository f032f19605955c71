"""The objects of a synthetic organization trail: log files, signed digests, and what else lies in a bucket."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_provider_cloudtrail.demo.background import background
from airflow_provider_cloudtrail.demo.digests import SignedFile, SigningKey, digest_chain
from airflow_provider_cloudtrail.demo.layout import PlannedFile, account_root, layout
from airflow_provider_cloudtrail.demo.plan import Fault, TrailPlan
from airflow_provider_cloudtrail.demo.records import encode, iso

_COMPRESSION = 4
_GZIP = 31
_DEEP = 100_000


@dataclass(frozen=True)
class TrailObject:
    """
    An object of a trail bucket.

    :param key: its key.
    :param body: its bytes.
    :param metadata: its user metadata; digests have their signature there.
    """

    key: str
    body: bytes
    metadata: Mapping[str, str] = field(default_factory=dict)


def generate(plan: TrailPlan, signed_by: SigningKey | None = None) -> Iterator[TrailObject]:
    """
    Yield the objects of a trail, one at a time.

    Log files are the same for equal plans; digests differ with the key.

    :param signed_by: signs the digests; None: there are none.
    """
    for (account, region), files in layout(plan).items():
        signed = []
        for file in files:
            written, listed = _log_file(plan, file)
            signed.append(listed)
            yield written
        if signed_by is not None:
            for digest in digest_chain(plan, account_root(plan, account), account, region, signed, signed_by):
                metadata = {"signature": digest.signature, "signature-algorithm": "SHA256withRSA"}
                yield TrailObject(digest.key, _gzip(digest.content), metadata)
        yield from _strangers(plan, account, region)


def write_folder(plan: TrailPlan, folder: Path, signed_by: SigningKey | None = None) -> None:
    """Write a trail into a folder, which then is a copy of its bucket; metadata has no place in files."""
    for written in generate(plan, signed_by):
        path = folder / written.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written.body)


def _log_file(plan: TrailPlan, file: PlannedFile) -> tuple[TrailObject, SignedFile]:
    rng = plan.random(file.key)
    others = background(file.account, file.region, rng, file.delivered_at, file.background)
    records = iter(others.records)
    document = _document([
        file.planted[index].body if index in file.planted else next(records) for index in range(file.records)
    ])
    if file.fault in _FAULTS_BEFORE:
        document = _FAULTS_BEFORE[file.fault](document)
    times = [planted.event_time for planted in file.planted.values()]
    times += [time for time in (others.oldest, others.newest) if time is not None]
    signed = SignedFile(
        file.key,
        file.delivered_at,
        hashlib.sha256(document).hexdigest(),
        min(times, default=None),
        max(times, default=None),
    )
    body = _gzip(document)
    if file.fault in _FAULTS_AFTER:
        body = _FAULTS_AFTER[file.fault](body, document)
    return TrailObject(file.key, body), signed


def _document(records: list[bytes]) -> bytes:
    return b'{"Records":[' + b",".join(records) + b"]}"


# What CloudTrail delivers with a fault of its own making; the digest has the hash of that.
_FAULTS_BEFORE: Mapping[Fault | None, Callable[[bytes], bytes]] = {
    Fault.NOT_JSON: lambda document: document[:-40],
    Fault.NO_RECORDS: lambda document: document.replace(b'{"Records":', b'{"Events":', 1),
    Fault.BARE_LIST: lambda document: document[len(b'{"Records":') : -1],
    Fault.LIST_IS_OBJECT: lambda document: document.replace(b"[", b'{"first":[', 1)[:-1] + b"}}",
    Fault.TOO_DEEP: lambda document: document[:-2] + b"," + b"[" * _DEEP + b"]" * _DEEP + b"]}",
}
# What happens to an object after its delivery; the digest does not know of it.
_FAULTS_AFTER: Mapping[Fault | None, Callable[[bytes, bytes], bytes]] = {
    Fault.SECOND_MEMBER: lambda body, document: (
        body + _gzip(document.replace(b"CreateWebLoginToken", b"CreateEnvironment"))
    ),
    Fault.BYTES_BEHIND: lambda body, _: body + b"\x00\x00padding",
    Fault.TRUNCATED: lambda body, _: body[: len(body) * 2 // 3],
    Fault.BAD_CHECKSUM: lambda body, _: body[:-8] + bytes(byte ^ 0xFF for byte in body[-8:-4]) + body[-4:],
    Fault.NOT_GZIP: lambda _, document: document,
    Fault.EMPTY_OBJECT: lambda *_: b"",
}


def _gzip(document: bytes) -> bytes:
    # Writes no time and no name, so that equal documents give equal objects.
    stream = zlib.compressobj(_COMPRESSION, zlib.DEFLATED, _GZIP)
    return stream.compress(document) + stream.flush()


def _strangers(plan: TrailPlan, account: str, region: str) -> Iterator[TrailObject]:
    """Yield what lies beside log files and is none: other folders of CloudTrail, and what people leave behind."""
    root = account_root(plan, account)
    stamp = plan.moment(0, "06:10")
    day = f"{stamp:%Y/%m/%d}"
    minute = f"{stamp:%Y%m%dT%H%MZ}"
    insight = f"{root}CloudTrail-Insight/{region}/{day}/{account}_CloudTrail-Insight_{region}_{minute}_Ab1Cd2Ef3Gh4Ij5K"
    yield TrailObject(f"{insight}.json.gz", _gzip(_document([encode(_insight(plan, account, region, stamp))])))
    network = (
        f"{root}CloudTrail-NetworkActivity/{region}/{day}/{account}_CloudTrail-NetworkActivity_{region}_{minute}_Z9"
    )
    yield TrailObject(f"{network}.json.gz", _gzip(_document([])))
    yield TrailObject(
        f"{root}CloudTrail/{region}/{day}/README.txt", b"Please do not move these files: airflow.amazonaws.com\n"
    )


def _insight(plan: TrailPlan, account: str, region: str, moment: datetime) -> dict[str, Any]:
    shared = {
        "eventVersion": "1.08",
        "eventTime": iso(moment - timedelta(minutes=30)),
        "awsRegion": region,
        "eventID": f"00000000-aaaa-4bbb-8ccc-{account}",
        "eventType": "AwsCloudTrailInsight",
        "recipientAccountId": account,
        "sharedEventID": f"11111111-aaaa-4bbb-8ccc-{account}",
        "eventCategory": "Insight",
    }
    details = {
        "state": "Start",
        "eventSource": "airflow.amazonaws.com",
        "eventName": "CreateCliToken",
        "insightType": "ApiCallRateInsight",
        "insightContext": {"statistics": {"baseline": {"average": 0.02}, "insight": {"average": 4.0 + plan.days}}},
    }
    return shared | {"insightDetails": details}
