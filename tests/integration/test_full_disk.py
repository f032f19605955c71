"""A file of the warehouse that cannot grow any more in the middle of a load, as on a full disk; then there is room."""

from __future__ import annotations

import json
import random
import string
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse
from tests.support.engines import DUCKDB, DUCKDB_TOGETHER, REPOSITORY
from tests.support.log_files import FolderTrail, event, foreign
from tests.support.tables import assert_balanced, read_table

resource = pytest.importorskip("resource", reason="needs limits of POSIX")

FILES = 40
ROOM = 3 * 1024 * 1024
NewWarehouse = Callable[[str], Warehouse]


@pytest.fixture
def folder(trail: FolderTrail) -> Path:
    """Write a trail whose texts nothing can compress, of about twice the room that there is."""
    texts = random.Random(20260203)
    for number in range(FILES):
        agents = ["".join(texts.choices(string.ascii_letters, k=600)) for _ in range(60)]
        events = [event(f"{number}-{index}", userAgent=agent) for index, agent in enumerate(agents)]
        trail.deliver(f"20260203T10{number:02}Z", *events, foreign(f"f{number}"))
    return trail.folder


def load(engine: str, warehouse: Warehouse, folder: Path, room: int | None = None) -> subprocess.CompletedProcess[str]:
    """Load in a process whose files can have so many bytes at most."""
    task = {
        "engine": engine,
        "address": warehouse.hook.path,
        "table": warehouse.table,
        "folder": str(folder),
        "limits": {"batch_files": 4},
    }

    def bound() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    return subprocess.run(
        [sys.executable, "-m", "tests.support.load", json.dumps(task)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=False,
        # Less than others are waited for.
        timeout=240,
        preexec_fn=None if room is None else bound,
    )


def summary_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary


@pytest.mark.parametrize("engine", [*DUCKDB, *DUCKDB_TOGETHER, "sqlite"])
def test_what_was_stored_stays_and_the_rest_is_loaded_when_there_is_room(
    new_warehouse: NewWarehouse, folder: Path, engine: str
) -> None:
    warehouse = new_warehouse(engine)
    failed = load(engine, warehouse, folder, ROOM)
    said = failed.stderr.splitlines()[-1]
    assert "WarehouseError: " in said, failed.stderr
    assert any(reason in said for reason in ("File too large", "disk I/O error", "disk is full")), said
    assert "another writer" not in said
    before = read_table(warehouse)
    assert_balanced(before)
    assert len(before.files) < FILES
    assert summary_of(load(engine, warehouse, folder))["files_known"] == len(before.files)
    undisturbed = new_warehouse(engine)
    summary_of(load(engine, undisturbed, folder))
    assert read_table(warehouse) == read_table(undisturbed)
