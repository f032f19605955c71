"""
Signed digests: one for each account, Region and hour, each naming the one before.

Source: AWS CloudTrail user guide, "CloudTrail digest file structure". Needs ``cryptography``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow_provider_cloudtrail.demo.callers import Json
from airflow_provider_cloudtrail.demo.plan import TrailPlan
from airflow_provider_cloudtrail.demo.records import iso

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class SignedFile:
    """
    A log file as its digest lists it.

    :param key: its key.
    :param delivered_at: when it was delivered.
    :param sha256: SHA-256 (hex) of what CloudTrail delivered, uncompressed.
    :param oldest: time of its first event; None if it has none.
    :param newest: time of its last event.
    """

    key: str
    delivered_at: datetime
    sha256: str
    oldest: datetime | None
    newest: datetime | None


@dataclass(frozen=True)
class Digest:
    """A digest: its key, its uncompressed content, its signature in hex."""

    key: str
    content: bytes
    signature: str


class SigningKey:
    """
    What signs the digests of a trail.

    :param private_key: RSA key, as ``cryptography`` holds it.
    """

    def __init__(self, private_key: RSAPrivateKey) -> None:
        self._private_key = private_key

    @classmethod
    def generate(cls) -> SigningKey:
        """Return a new key; none is kept in files, where it could be taken for one that protects something."""
        from cryptography.hazmat.primitives.asymmetric import rsa

        return cls(rsa.generate_private_key(public_exponent=65537, key_size=2048))

    @cached_property
    def public_key(self) -> bytes:
        """The public key, DER of PKCS#1."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self._private_key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)

    @cached_property
    def fingerprint(self) -> str:
        """What digests call the key: 32 hex digits."""
        return hashlib.sha256(self.public_key).hexdigest()[:32]

    def listed(self, plan: TrailPlan) -> Json:
        """Return the answer of ListPublicKeys, as boto3 gives it, for the time of a trail."""
        return {
            "PublicKeyList": [
                {
                    "Value": self.public_key,
                    "ValidityStartTime": plan.start - timedelta(days=15),
                    "ValidityEndTime": plan.end + timedelta(days=15),
                    "Fingerprint": self.fingerprint,
                }
            ]
        }

    def sign(self, data: bytes) -> str:
        """Return the signature in hex: RSA PKCS#1 v1.5 with SHA-256."""
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        return self._private_key.sign(data, PKCS1v15(), SHA256()).hex()


def digest_chain(
    plan: TrailPlan, root: str, account: str, region: str, files: Iterable[SignedFile], key: SigningKey
) -> Iterator[Digest]:
    """
    Yield the digests of one account and Region, hour by hour, also of hours without log files.

    :param root: key prefix of the account's folder, ending in a slash.
    :param files: its log files.
    """
    # Digest hours do not begin on the hour, and not at the same minute everywhere.
    begin = plan.start - timedelta(seconds=plan.random("digest", account, region).randrange(60, 3540))
    by_hour: dict[int, list[SignedFile]] = {}
    for file in files:
        by_hour.setdefault((file.delivered_at - begin) // _HOUR, []).append(file)
    previous: Digest | None = None
    hours = max([*by_hour, (plan.end - begin) // _HOUR])
    for hour in range(hours + 1):
        start = begin + hour * _HOUR
        previous = _digest(plan, root, account, region, start, by_hour.get(hour, []), previous, key)
        yield previous


def _digest(
    plan: TrailPlan,
    root: str,
    account: str,
    region: str,
    start: datetime,
    files: list[SignedFile],
    previous: Digest | None,
    key: SigningKey,
) -> Digest:
    end = start + _HOUR
    name = f"{account}_CloudTrail-Digest_{region}_{plan.trail_name}_{plan.region(0)}_{end:%Y%m%dT%H%M%SZ}.json.gz"
    object_key = f"{root}CloudTrail-Digest/{region}/{end:%Y/%m/%d}/{name}"
    times = [time for file in files for time in (file.oldest, file.newest) if time is not None]
    document = {
        "awsAccountId": account,
        "digestStartTime": iso(start),
        "digestEndTime": iso(end),
        "digestS3Bucket": plan.bucket,
        "digestS3Object": object_key,
        "digestPublicKeyFingerprint": key.fingerprint,
        "digestSignatureAlgorithm": "SHA256withRSA",
        "newestEventTime": _time(max(times, default=None)),
        "oldestEventTime": _time(min(times, default=None)),
        "previousDigestS3Bucket": plan.bucket if previous else None,
        "previousDigestS3Object": previous.key if previous else None,
        "previousDigestHashValue": hashlib.sha256(previous.content).hexdigest() if previous else None,
        "previousDigestHashAlgorithm": "SHA-256" if previous else None,
        "previousDigestSignature": previous.signature if previous else None,
        "logFiles": [
            {
                "s3Bucket": plan.bucket,
                "s3Object": file.key,
                "hashValue": file.sha256,
                "hashAlgorithm": "SHA-256",
                "newestEventTime": _time(file.newest),
                "oldestEventTime": _time(file.oldest),
            }
            for file in files
        ],
    }
    content = json.dumps(document, separators=(",", ":")).encode()
    return Digest(object_key, content, key.sign(string_to_sign(document, content)))


def string_to_sign(digest: dict[str, Any], content: bytes) -> bytes:
    """
    Return what the signature of a digest covers.

    :param digest: the digest, decoded.
    :param content: its uncompressed bytes.
    """
    return "\n".join((
        digest["digestEndTime"],
        f"{digest['digestS3Bucket']}/{digest['digestS3Object']}",
        hashlib.sha256(content).hexdigest(),
        # The literal null in a starting digest.
        digest["previousDigestSignature"] or "null",
    )).encode()


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)
