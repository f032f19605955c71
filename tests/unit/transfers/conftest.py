from __future__ import annotations

import pytest

from tests.support.face import sqlite_warehouse


@pytest.fixture
def warehouse(tmp_path, monkeypatch):
    return sqlite_warehouse(tmp_path / "audit.sqlite", monkeypatch)
