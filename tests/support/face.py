"""What the tests of the Airflow face share: the day of the log files, and a warehouse that needs no provider."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_provider_cloudtrail._compat import BaseHook
from tests.support.engines import SqliteHook

DAY = {"delivered_from": "2026-02-03T00:00:00Z", "delivered_to": "2026-02-04T00:00:00Z"}


def connection_of(hook: SqliteHook) -> SimpleNamespace:
    return SimpleNamespace(conn_type="sqlite", host=str(hook.path), get_hook=lambda: hook)


def sqlite_warehouse(file: Path, monkeypatch: pytest.MonkeyPatch) -> SqliteHook:
    """Have every connection lead to a warehouse in a file."""
    hook = SqliteHook(file)
    monkeypatch.setattr(BaseHook, "get_connection", classmethod(lambda cls, conn_id: connection_of(hook)))
    return hook
