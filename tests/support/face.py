"""What tests of the Airflow face share: a day of log files, what exports it, a warehouse that needs no provider."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_cloudtrail._compat import BaseHook
from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator
from tests.support.engines import SqliteHook
from tests.support.log_files import ACCOUNT, FolderTrail

DAY = {"delivered_from": "2026-02-03T00:00:00Z", "delivered_to": "2026-02-04T00:00:00Z"}
ONE_REGION = {"account_ids": [ACCOUNT], "regions": ["eu-west-1"]}


def export_operator(trail: FolderTrail, **arguments: Any) -> CloudTrailToSqlOperator:
    """Return what loads the day of a trail."""
    return CloudTrailToSqlOperator(task_id="export", **{"bucket": trail.bucket, **DAY, **arguments})


def connection_of(hook: SqliteHook) -> SimpleNamespace:
    return SimpleNamespace(conn_type="sqlite", host=str(hook.path), get_hook=lambda: hook)


def sqlite_warehouse(file: Path, monkeypatch: pytest.MonkeyPatch) -> SqliteHook:
    """Have every connection lead to a warehouse in a file."""
    hook = SqliteHook(file)
    monkeypatch.setattr(BaseHook, "get_connection", classmethod(lambda cls, conn_id: connection_of(hook)))
    return hook
