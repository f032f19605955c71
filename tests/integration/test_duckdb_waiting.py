"""A task that stores for hours does not keep others out of a DuckDB file."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from tests.support.engines import DUCKDB, REPOSITORY, DuckDBHook
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.tables import assert_balanced, read_table

pytestmark = pytest.mark.skipif(not DUCKDB, reason="needs DuckDB and pyarrow")

LONGEST_SECONDS = 120
FIRST = datetime(2026, 2, 3, tzinfo=timezone.utc)


def store_without_end(path: str, stop: Path) -> int:
    """Store batch after batch in one session, and return their number once somebody else was let in."""
    from airflow_provider_cloudtrail.warehouse import duckdb_file

    duckdb_file.DuckDBFile.rows_worth_keeping = 1
    duckdb_file._LONGEST_SECONDS = 2
    warehouse = open_warehouse(DuckDBHook(path), "audit")
    deadline = time.monotonic() + LONGEST_SECONDS
    batches = 0
    with warehouse.session():
        while not stop.exists():
            assert time.monotonic() < deadline, "nobody was let in"
            stamp = f"{FIRST + timedelta(minutes=batches):%Y%m%dT%H%MZ}"
            assert warehouse.write([file_rows(stamp, event(f"long-{batches}"))])
            batches += 1
            if batches == 1:
                print("began", flush=True)
    return batches


def test_others_are_let_in_while_much_is_stored(new_warehouse: Callable[[str], Warehouse], tmp_path: Path) -> None:
    own = new_warehouse("duckdb")
    warehouse = open_warehouse(own.hook, "audit")
    warehouse.prepare()
    stop = tmp_path / "stop"
    other = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.test_duckdb_waiting", own.hook.path, str(stop)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == "began\n"
        (entry,) = warehouse.write([file_rows("20260202T0000Z", event("short"))])
    finally:
        stop.touch()
        output, _ = other.communicate(timeout=2 * LONGEST_SECONDS)
    assert other.returncode == 0
    assert entry.loaded == 1
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert len(tables.events) == int(output) + 1


if __name__ == "__main__":
    print(store_without_end(sys.argv[1], Path(sys.argv[2])))
