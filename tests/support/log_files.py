"""Log files made up for a test: keys, records, bytes, and a folder that stands for a trail bucket."""

from __future__ import annotations

import gzip
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from airflow_provider_cloudtrail.trail.local_store import LocalStore
from airflow_provider_cloudtrail.trail.log_file import LogFile, log_file

ACCOUNT, OTHER_ACCOUNT, REGION = "111122223333", "444455556666", "eu-west-1"
MWAA = "airflow.amazonaws.com"


def key_of(
    stamp: str = "20260203T1000Z",
    *,
    account: str = ACCOUNT,
    region: str = REGION,
    root: str = "AWSLogs/",
    unique: str = "Q1w2E3r4T5y6U7i8",
) -> str:
    """Return the key of a log file delivered at a stamp."""
    day = datetime.strptime(stamp, "%Y%m%dT%H%MZ").replace(tzinfo=timezone.utc)
    name = f"{account}_CloudTrail_{region}_{stamp}_{unique}.json.gz"
    return f"{root}{account}/CloudTrail/{region}/{day:%Y/%m/%d}/{name}"


def listed(key: str | None = None, bucket: str = "example-trail", **described: Any) -> LogFile:
    """Return a log file as a listing describes it."""
    found = log_file(bucket, key or key_of(), **described)
    assert found is not None
    return found


def id_of(number: int) -> str:
    """Return the id of an event, as CloudTrail makes them."""
    return f"b6a5d0f4-0000-4000-8000-{number:012d}"


def event(event_id: str | None = None, **members: Any) -> dict[str, Any]:
    """Return a record of an MWAA event; a member given as ``...`` is left out."""
    record = {
        "eventVersion": "1.09",
        "userIdentity": {"type": "IAMUser", "arn": f"arn:aws:iam::{ACCOUNT}:user/ines", "userName": "ines"},
        "eventTime": "2026-02-03T09:58:00Z",
        "eventSource": MWAA,
        "eventName": "CreateCliToken",
        "awsRegion": REGION,
        "sourceIPAddress": "198.51.100.20",
        "userAgent": "aws-cli/2.30.0",
        "requestParameters": {"Name": "orders"},
        "responseElements": None,
        "requestID": "b6a5d0f4-0000-4000-8000-000000000001",
        "eventID": event_id or "b6a5d0f4-0000-4000-8000-0000000000ff",
        "readOnly": False,
        "eventType": "AwsApiCall",
        "managementEvent": False,
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Data",
        **members,
    }
    return {name: value for name, value in record.items() if value is not ...}


def foreign(event_id: str = "b6a5d0f4-0000-4000-8000-00000000aaaa", **members: Any) -> dict[str, Any]:
    """Return a record that concerns no MWAA environment."""
    return event(event_id, eventSource="ec2.amazonaws.com", eventName="DescribeInstances", **members)


def document(*records: Any) -> bytes:
    """Return the uncompressed bytes of a log file; records given as bytes are put in as they are."""
    parts = [record if isinstance(record, bytes) else json.dumps(record).encode() for record in records]
    return b'{"Records":[' + b",".join(parts) + b"]}"


def log_bytes(*records: Any) -> bytes:
    """Return the bytes of a log file as stored."""
    return gzip.compress(document(*records), mtime=0)


class FolderTrail:
    """A copy of a trail bucket in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.bucket = f"file://{folder}"

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.bucket)

    def put(self, key: str, body: bytes) -> LogFile:
        """Write an object and return it as a listing would."""
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        return self.listed(key)

    def deliver(self, stamp: str, *records: Any, **place: str) -> LogFile:
        """Write a log file."""
        return self.put(key_of(stamp, **place), log_bytes(*records))

    def listed(self, key: str) -> LogFile:
        """Return an object as a listing would."""
        (entry,) = (entry for entry in self.store.objects(f"{key.rpartition('/')[0]}/") if entry.key == key)
        return listed(key, self.bucket, size_bytes=entry.size_bytes, etag=entry.etag)

    def files(self) -> list[LogFile]:
        """Return all log files, as S3 would list them."""
        return [
            found
            for entry in self.store.objects("")
            if (found := log_file(self.bucket, entry.key, entry.size_bytes, entry.etag)) is not None
        ]
