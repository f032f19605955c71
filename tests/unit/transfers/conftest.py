from __future__ import annotations

import pytest

from airflow_provider_cloudtrail._compat import BaseHook
from tests.unit.face import FolderTrail, SqliteHook, connection_of


@pytest.fixture
def trail(tmp_path):
    return FolderTrail(tmp_path / "bucket")


@pytest.fixture
def warehouse(tmp_path, monkeypatch):
    hook = SqliteHook(tmp_path / "audit.sqlite")
    monkeypatch.setattr(BaseHook, "get_connection", classmethod(lambda cls, conn_id: connection_of(hook)))
    return hook
