"""What the tests of the Airflow face share: a trail in a folder and a warehouse that needs no provider."""

from __future__ import annotations

import gzip
import json
import sqlite3
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ACCOUNT, REGION = "111122223333", "eu-west-1"
DAY = {"delivered_from": "2026-02-03T00:00:00Z", "delivered_to": "2026-02-04T00:00:00Z"}


def key_of(stamp: str, account: str = ACCOUNT, region: str = REGION, root: str = "AWSLogs/") -> str:
    day = datetime.strptime(stamp, "%Y%m%dT%H%MZ").replace(tzinfo=timezone.utc)
    name = f"{account}_CloudTrail_{region}_{stamp}_Q1w2E3r4T5y6U7i8.json.gz"
    return f"{root}{account}/CloudTrail/{region}/{day:%Y/%m/%d}/{name}"


def record(event_id: str, **members: Any) -> dict[str, Any]:
    return {
        "eventVersion": "1.09",
        "eventID": event_id,
        "eventTime": "2026-02-03T09:58:00Z",
        "eventSource": "airflow.amazonaws.com",
        "eventName": "CreateCliToken",
        "awsRegion": REGION,
        "recipientAccountId": ACCOUNT,
        "requestParameters": {"Name": "orders"},
        **members,
    }


class FolderTrail:
    """A copy of a trail bucket in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bucket = f"file://{folder}"

    def deliver(self, stamp: str, *records: Any, body: bytes | None = None, **place: str) -> str:
        key = key_of(stamp, **place)
        path = self.folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(json.dumps({"Records": records}).encode()) if body is None else body)
        return f"{self.bucket}/{key}"


class SqliteHook:
    conn_type = "sqlite"
    placeholder = "?"

    def __init__(self, path: Path) -> None:
        self.path = path

    def get_conn(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        connection = self.get_conn()
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


def connection_of(hook: SqliteHook) -> SimpleNamespace:
    return SimpleNamespace(conn_type="sqlite", host=str(hook.path), get_hook=lambda: hook)
