from __future__ import annotations

import pytest

from airflow_provider_cloudtrail._compat import BaseHook
from tests.support.signed_trail import SignedTrail
from tests.unit.face import SqliteHook, connection_of
from tests.unit.validated import World


@pytest.fixture
def world(tmp_path, monkeypatch):
    hook = SqliteHook(tmp_path / "audit.sqlite")
    monkeypatch.setattr(BaseHook, "get_connection", classmethod(lambda cls, conn_id: connection_of(hook)))
    return World(hook, monkeypatch)


@pytest.fixture
def trail(world):
    trail = SignedTrail().build()
    world.use(trail)
    return trail
