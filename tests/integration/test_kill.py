"""Kill -9 at random moments of a load, run it again, compare with a load that nobody disturbed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.driver_errors import sqlstate
from tests.support.engines import DUCKDB, DUCKDB_TOGETHER, ICEBERG, POSTGRES, REDSHIFT, REPOSITORY
from tests.support.killing import kill_after
from tests.support.log_files import FolderTrail, event, foreign
from tests.support.tables import Tables, assert_balanced, read_table

FILES = 240
FEWER_FILES = 144
"""For engines that need seconds for a batch: still more than their few kills can let through."""
KILLS = 30
BATCH_FILES = 6
RUNS = 3
"""Loads that the kills are spread over: each is killed several times in a row before it may end."""

NewWarehouse = Callable[[str], Warehouse]


def write_trail(folder: Path, files: int) -> FolderTrail:
    """Write a trail of files of every kind, with events repeated in files that lie far apart."""
    trail = FolderTrail(folder)
    for number in range(files):
        stamp = f"20260203T{10 + number // 60}{number % 60:02}Z"
        if number % 29 == 3:
            trail.put(trail.deliver(stamp).key, b"no gzip")
        elif number % 7 == 1:
            trail.deliver(stamp, foreign(f"f{number}"))
        else:
            own = [event(f"{number}-{index}") for index in range(5)]
            others = [event(f"{other}-0") for other in (number // 2, (number + 40) % files)]
            bad = [event(eventTime=None)] if number % 11 == 2 else []
            trail.deliver(stamp, *own, *others, own[0], foreign(f"f{number}"), *bad)
    return trail


class Load:
    """A load in a process of its own, which goes on to its end or is killed some time behind so many lines."""

    def __init__(self, warehouse: Warehouse, engine: str, folder: Path, lines: int | None = None) -> None:
        task = {
            "engine": engine,
            "address": getattr(warehouse.hook, "uri", None) or warehouse.hook.path,
            "table": warehouse.table,
            "folder": str(folder),
            "wait": True,
            "batches": True,
            "lines": lines,
            "limits": {"batch_files": BATCH_FILES},
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.load", json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd=REPOSITORY,
        )
        assert self.process.stdout is not None
        assert self.process.stdin is not None
        assert self.process.stdout.readline() == b"ready\n"
        self.process.stdin.write(b"go\n")

    def finish(self) -> dict[str, Any]:
        output, _ = self.process.communicate(timeout=600)
        assert self.process.returncode == 0
        summary: dict[str, Any] = json.loads(output.splitlines()[-1])
        return summary


@pytest.mark.parametrize(
    ("engine", "kills", "runs", "files"),
    [
        *(pytest.param(engine, KILLS, RUNS, FILES, id=engine) for engine in [*DUCKDB, *DUCKDB_TOGETHER, *POSTGRES[:1]]),
        *(pytest.param(engine, 5, 1, FEWER_FILES, id=engine) for engine in REDSHIFT[:1]),
        *(pytest.param(engine, 6, 1, FEWER_FILES, id=engine) for engine in ICEBERG),
    ],
)
def test_killed_and_run_again(
    engine: str, kills: int, runs: int, files: int, new_warehouse: NewWarehouse, tmp_path: Path
) -> None:
    folder = write_trail(tmp_path / "trail", files).folder
    undisturbed = new_warehouse(engine)
    load = Load(undisturbed, engine, folder)
    started = time.monotonic()
    load.finish()
    of_a_batch = (time.monotonic() - started) / (files / BATCH_FILES)
    expected = read_table(undisturbed)
    assert_balanced(expected)
    assert len(expected.files) == files
    assert {row["status"] for row in expected.files} == {"loaded", "no_match", "quarantined"}
    assert sum(row["duplicate"] or 0 for row in expected.files) > files

    moments = random.Random(20260203)
    incomplete = during = 0
    for _ in range(runs):
        warehouse = new_warehouse(engine)
        for _ in range(kills // runs):
            # Each kill lets the load come a little further: one after the other they hit all of its way.
            lines, seconds = moments.randint(0, 3), moments.uniform(0, 2 * of_a_batch)
            incomplete += kill_after(Load(warehouse, engine, folder, lines).process, lines, seconds)
            found = _tables(warehouse)
            if found is not None:
                assert_balanced(found if engine not in ICEBERG else _of_files_in_the_ledger(found))
                during += 0 < len(found.files) < files
        Load(warehouse, engine, folder).finish()
        tables = read_table(warehouse)
        assert tables.files == expected.files
        assert tables.events == expected.events
        assert tables.quarantine == expected.quarantine
        assert Load(warehouse, engine, folder).finish()["files_read"] == 0
    # The kills did hit loads, between the first batch and the last: how often before it is up to the machine, since
    # some come as soon as the load has begun, or before batches that share a transaction are stored.
    assert incomplete >= kills - runs
    assert during >= kills // 2


def _tables(warehouse: Warehouse) -> Tables | None:
    """Return what a killed load left behind; None if it did not come as far as to create the tables."""
    try:
        return read_table(warehouse)
    except Exception as error:
        missing = {"CatalogException", "UndefinedTable", "NoSuchTableError"}
        # DuckDB's file has not all of its headers yet.
        is_cut_short = "Could not read enough bytes" in str(error)
        if type(error).__name__ not in missing and sqlstate(error) != "42P01" and not is_cut_short:
            raise
        return None


def _of_files_in_the_ledger(tables: Tables) -> Tables:
    """Return what the ledger vouches for: without transactions, rows of a killed batch are there, too."""
    known = {row["log_file_uri"] for row in tables.files}
    events, quarantine = (
        [row for row in rows if row["log_file_uri"] in known] for rows in (tables.events, tables.quarantine)
    )
    # Not twice, whoever vouches for it.
    assert len(set(tables.event_ids)) == len(tables.events)
    return Tables(events, tables.files, quarantine)
