"""A small signed trail of one account and Region in memory, made to be damaged."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

from airflow_provider_cloudtrail.demo.digests import SigningKey, string_to_sign
from airflow_provider_cloudtrail.trail.public_keys import PublicKey
from airflow_provider_cloudtrail.trail.store import ListedObject, ObjectError, StoredObject, refuse_above

ACCOUNT, REGION, HOME, BUCKET, TRAIL = "111122223333", "eu-west-1", "eu-central-1", "example-trail", "audit_trail"
HOUR = timedelta(hours=1)
BEGIN = datetime(2026, 2, 2, 20, 5, 12, tzinfo=timezone.utc)
HOURS = 17
WINDOW = (datetime(2026, 2, 3, tzinfo=timezone.utc), datetime(2026, 2, 3, 10, tzinfo=timezone.utc))
NOW = datetime(2026, 2, 4, tzinfo=timezone.utc)
FIRST, LAST = 3, 13
"""Numbers of the first and last digest that covers a part of the window."""
EMPTY = 7
"""Number of the digest that lists no file."""


@cache
def signing_key(number: int) -> SigningKey:
    return SigningKey.generate()


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Hour:
    """
    What a digest is made of.

    :param files: key and uncompressed content of its log files.
    :param signed_by: number of the key.
    :param starting: names no digest before it.
    """

    start: datetime
    files: dict[str, bytes] = field(default_factory=dict)
    signed_by: int = 0
    starting: bool = False
    backfill: bool = False
    document: dict[str, Any] = field(default_factory=dict)

    @property
    def end(self) -> datetime:
        return self.start + HOUR


@dataclass
class Object:
    body: bytes
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass
class SignedTrail:
    """A trail bucket: hours to make it from, and once it is built its objects."""

    account: str = ACCOUNT
    region: str = REGION
    root: str = "AWSLogs/"
    trail_name: str = TRAIL
    bucket: str = BUCKET
    hours: list[Hour] = field(default_factory=list)
    objects: dict[str, Object] = field(default_factory=dict)
    digests: list[str] = field(default_factory=list)
    backfills: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.hours:
            self.hours = [Hour(BEGIN + number * HOUR) for number in range(HOURS)]
            for number, hour in enumerate(self.hours):
                for minute in () if number == EMPTY else (10, 40):
                    self.add_file(hour, hour.start + timedelta(minutes=minute))

    def add_file(self, hour: Hour, delivered_at: datetime) -> str:
        key = self.log_key(delivered_at)
        record = {
            "eventID": sha256(key.encode())[:32],
            "eventTime": iso(delivered_at),
            "eventSource": "airflow.amazonaws.com",
        }
        hour.files[key] = json.dumps({"Records": [record | {"eventName": "CreateCliToken"}]}).encode()
        return key

    def log_key(self, moment: datetime, unique: str = "Q1w2E3r4T5y6U7i8") -> str:
        name = f"{self.account}_CloudTrail_{self.region}_{moment:%Y%m%dT%H%MZ}_{unique}.json.gz"
        return f"{self.root}{self.account}/CloudTrail/{self.region}/{moment:%Y/%m/%d}/{name}"

    def digest_key(self, hour: Hour) -> str:
        suffix = "_backfill" if hour.backfill else ""
        name = f"{self.account}_CloudTrail-Digest_{self.region}_{self.trail_name}_{HOME}_{hour.end:%Y%m%dT%H%M%SZ}"
        day = f"{hour.end:%Y/%m/%d}"
        return f"{self.root}{self.account}/CloudTrail-Digest/{self.region}/{day}/{name}{suffix}.json.gz"

    def build(self) -> SignedTrail:
        """Write and sign everything."""
        self.objects, self.digests, self.backfills = {}, [], []
        for backfill in (False, True):
            previous: tuple[str, bytes, str] | None = None
            for hour in self.hours:
                if hour.backfill is not backfill:
                    continue
                for key, content in hour.files.items():
                    self.objects[key] = Object(gzip.compress(content, mtime=0))
                previous = self._digest(hour, None if hour.starting else previous)
        return self

    def split(self, number: int, **later: Any) -> tuple[SignedTrail, SignedTrail]:
        """
        Return the digests before a number, and from it on those of the same trail after a change of its settings.

        :param later: what was changed, such as ``bucket`` or ``root``.
        """
        before = replace(self, hours=self.hours[:number], objects={}).build()
        last = before.objects[before.digests[-1]]
        after = replace(self, hours=[Hour(hour.start) for hour in self.hours[number:]], objects={}, **later)
        for hour, old in zip(after.hours, self.hours[number:], strict=True):
            for minute in (10, 40) if old.files else ():
                after.add_file(hour, hour.start + timedelta(minutes=minute))
        after.hours[0].document = {
            "previousDigestS3Bucket": before.bucket,
            "previousDigestS3Object": before.digests[-1],
            "previousDigestHashValue": sha256(gzip.decompress(last.body)),
            "previousDigestSignature": last.metadata["signature"],
        }
        return before, after.build()

    def _digest(self, hour: Hour, previous: tuple[str, bytes, str] | None) -> tuple[str, bytes, str]:
        key = self.digest_key(hour)
        signer = signing_key(hour.signed_by)
        document = {
            "awsAccountId": self.account,
            "digestStartTime": iso(hour.start),
            "digestEndTime": iso(hour.end),
            "digestS3Bucket": self.bucket,
            "digestS3Object": key,
            "digestPublicKeyFingerprint": signer.fingerprint,
            "digestSignatureAlgorithm": "SHA256withRSA",
            "newestEventTime": None,
            "oldestEventTime": None,
            "previousDigestS3Bucket": self.bucket if previous else None,
            "previousDigestS3Object": previous[0] if previous else None,
            "previousDigestHashValue": sha256(previous[1]) if previous else None,
            "previousDigestHashAlgorithm": "SHA-256" if previous else None,
            "previousDigestSignature": previous[2] if previous else None,
            "logFiles": [
                {
                    "s3Bucket": self.bucket,
                    "s3Object": name,
                    "hashValue": sha256(content),
                    "hashAlgorithm": "SHA-256",
                    "newestEventTime": None,
                    "oldestEventTime": None,
                }
                for name, content in hour.files.items()
            ],
        } | hour.document
        content = json.dumps(document).encode()
        signature = signer.sign(string_to_sign(document, content))
        metadata = {"signature": signature, "signature-algorithm": "SHA256withRSA"}
        if hour.backfill:
            metadata["backfill-generation-timestamp"] = "2026-02-03T23:00:00.000Z"
        self.objects[key] = Object(gzip.compress(content, mtime=0), metadata)
        (self.backfills if hour.backfill else self.digests).append(key)
        return key, content, signature

    # -- what it is asked for ----------------------------------------------------------------------

    def logs(self, number: int) -> list[str]:
        """Return the keys of the log files that a digest lists."""
        return list(self.hours[number].files)

    def in_window(self) -> list[str]:
        """Return the keys of all log files that the digests of the window list."""
        return [key for number in range(FIRST, LAST + 1) for key in self.logs(number)]

    def public_keys(self) -> list[PublicKey]:
        numbers = {hour.signed_by for hour in self.hours}
        return [
            PublicKey(signing_key(number).fingerprint, signing_key(number).public_key) for number in sorted(numbers)
        ]

    # -- damages -----------------------------------------------------------------------------------

    def flip(self, key: str) -> None:
        """Change the document, and leave the gzip stream whole."""
        content = bytearray(gzip.decompress(self.objects[key].body))
        position = content.rindex(b"2026") + 3
        content[position] ^= 1
        self.replace(key, gzip.compress(bytes(content), mtime=0))

    def flip_raw(self, key: str) -> None:
        body = bytearray(self.objects[key].body)
        body[len(body) // 2] ^= 0x55
        self.replace(key, bytes(body))

    def replace(self, key: str, body: bytes) -> None:
        self.objects[key] = Object(body, self.objects[key].metadata)

    def append(self, key: str, data: bytes) -> None:
        self.replace(key, self.objects[key].body + data)

    def delete(self, *keys: str) -> None:
        for key in keys:
            del self.objects[key]

    def move(self, key: str, to: str) -> None:
        self.objects[to] = self.objects.pop(key)

    def sign(self, key: str, signature: str) -> None:
        self.objects[key].metadata["signature"] = signature

    def lose_metadata(self, *keys: str) -> None:
        for key in keys or self.digests:
            self.objects[key].metadata = {}

    def write(self, folder: Path) -> None:
        for key, stored in self.objects.items():
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(stored.body)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class MemoryStore:
    """A bucket in memory that remembers what was read of it."""

    def __init__(self, *trails: SignedTrail) -> None:
        self.contents: dict[str, Object] = {}
        for trail in trails:
            self.contents |= trail.objects
        self.gets: list[str] = []
        self.listings: list[str] = []

    def folders(self, prefix: str) -> list[str]:
        return sorted({key[len(prefix) :].split("/")[0] for key in self.contents if key.startswith(prefix)})

    def objects(self, prefix: str, start_after: str = "", *, make_sure: bool = True) -> Iterator[ListedObject]:
        self.listings.append(prefix)
        for key in sorted(self.contents):
            if key.startswith(prefix) and key > start_after:
                body = self.contents[key].body
                yield ListedObject(key, len(body), hashlib.md5(body).hexdigest())

    def get(self, key: str, most_bytes: int | None = None) -> StoredObject:
        self.gets.append(key)
        if key not in self.contents:
            raise ObjectError("not_found", f"{key}: the object is not there any more")
        stored = self.contents[key]
        refuse_above(most_bytes, len(stored.body), key)
        return StoredObject(stored.body, hashlib.md5(stored.body).hexdigest(), dict(stored.metadata))
