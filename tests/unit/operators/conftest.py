from __future__ import annotations

import pytest

from tests.support.face import sqlite_warehouse
from tests.support.signed_trail import SignedTrail
from tests.support.validated import World


@pytest.fixture
def world(tmp_path, monkeypatch):
    return World(sqlite_warehouse(tmp_path / "audit.sqlite", monkeypatch), monkeypatch)


@pytest.fixture
def trail(world):
    trail = SignedTrail().build()
    world.use(trail)
    return trail
