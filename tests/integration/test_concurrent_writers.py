from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_cloudtrail.export.log_files import Limits, export_log_files
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError, WarehouseUnavailableError
from tests.support.engines import BETWEEN_PROCESSES, DUCKDB, ENGINES, POSTGRES, REPOSITORY
from tests.support.log_files import FolderTrail, event, foreign
from tests.support.rows import MWAA, file_rows
from tests.support.tables import Tables, assert_balanced, read_table

FILES = 60
FEWER_FILES = 36
"""For Iceberg, which commits four times for a batch: still 36 commits of each writer, or 16, to lose a race at."""
WRITERS = 3
NewWarehouse = Callable[[str], Warehouse]


def address_of(warehouse: Warehouse) -> str:
    return str(getattr(warehouse.hook, "uri", None) or warehouse.hook.path)


def start(warehouse: Warehouse, engine: str, trail: FolderTrail, **task: Any) -> subprocess.Popen[str]:
    """Start a load in a process of its own, which waits for the word."""
    task |= {
        "engine": engine,
        "address": address_of(warehouse),
        "table": warehouse.table,
        "folder": str(trail.folder),
        "wait": True,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.load", json.dumps(task)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "ready\n", process.communicate()
    return process


def finish(processes: list[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    """Give the word to all processes, and return their summaries."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=600) for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output[1]
    return [json.loads(output[0].splitlines()[-1]) for output in outputs]


def files_of(engine: str) -> int:
    return FEWER_FILES if engine.startswith("iceberg") else FILES


def fill(trail: FolderTrail, files: int) -> list[str]:
    """Write files of which each event stands in two; return their keys."""
    return [
        trail.deliver(
            f"20260203T10{number:02}Z",
            *[event(f"{(number + step) % files:02}-{index}") for step in (0, 1) for index in range(3)],
            foreign(f"f{number}"),
        ).key
        for number in range(files)
    ]


def check(tables: Tables, files: int) -> None:
    assert_balanced(tables)
    assert tables.event_ids == sorted(f"{number:02}-{index}" for number in range(files) for index in range(3))
    assert len(tables.files) == files
    assert sum(row["loaded"] for row in tables.files) == len(tables.events)
    assert sum(row["duplicate"] for row in tables.files) == files * 3


@pytest.mark.parametrize("engine", BETWEEN_PROCESSES)
def test_same_files_by_several_processes_at_once(engine: str, new_warehouse: NewWarehouse, trail: FolderTrail) -> None:
    files = files_of(engine)
    keys = fill(trail, files)
    # The tables are not there yet: who creates them is part of the race.
    warehouse = new_warehouse(engine)
    orders = [keys, keys[::-1], keys[files // 2 :] + keys[: files // 2]]
    processes = [
        # As tasks of Airflow have: Athena tells entries of the same millisecond apart by it.
        start(warehouse, engine, trail, keys=order, loaded_by=f"writer {number}", limits={"batch_files": 4})
        for number, order in enumerate(orders)
    ]
    summaries = finish(processes)
    check(read_table(warehouse), files)
    assert sum(summary["loaded"] for summary in summaries) == files * 3
    assert sum(summary["files_read"] for summary in summaries) == files
    for summary in summaries:
        assert summary["records"] == sum(summary[name] for name in ("loaded", "duplicate", "filtered", "quarantined"))


@pytest.mark.parametrize("engine", BETWEEN_PROCESSES)
def test_same_events_in_different_files_at_once(engine: str, new_warehouse: NewWarehouse, trail: FolderTrail) -> None:
    files = files_of(engine)
    keys = fill(trail, files)
    warehouse = new_warehouse(engine)
    processes = [
        start(warehouse, engine, trail, keys=keys[number::WRITERS], limits={"batch_files": 3})
        for number in range(WRITERS)
    ]
    summaries = finish(processes)
    check(read_table(warehouse), files)
    assert sum(summary["loaded"] for summary in summaries) == files * 3
    assert [summary["files_read"] for summary in summaries] == [files // WRITERS] * WRITERS


@pytest.mark.parametrize("engine", ENGINES)
def test_threads_of_one_process_at_once(engine: str, new_warehouse: NewWarehouse, trail: FolderTrail) -> None:
    fill(trail, FILES)
    warehouse = new_warehouse(engine)
    errors: list[BaseException] = []

    def load(files: list[Any]) -> None:
        try:
            warehouse.prepare()
            export_log_files(
                files,
                store_of=lambda _: trail.store,
                warehouse=warehouse,
                selection=MWAA,
                limits=Limits(threads=1, batch_files=7),
            )
        except BaseException as error:
            errors.append(error)

    files = trail.files()
    threads = [threading.Thread(target=load, args=(order,)) for order in (files, files[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)
    assert errors == []
    check(read_table(warehouse), FILES)


_HOLDER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.readline()
"""


class Holder:
    """Another process that has a DuckDB file open."""

    def __init__(self, path: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "held\n"

    def let_go(self) -> None:
        self._process.communicate("\n", timeout=60)


@pytest.mark.skipif(not DUCKDB, reason="needs DuckDB")
def test_duckdb_file_that_is_held_for_too_long(new_warehouse: NewWarehouse) -> None:
    warehouse = new_warehouse("duckdb")
    warehouse.prepare()
    warehouse._lock_timeout = timedelta(seconds=0.2)
    holder = Holder(warehouse.hook.path)
    try:
        for work in (
            warehouse.prepare,
            lambda: warehouse.known_files(["x"]),
            lambda: warehouse.write([file_rows("20260203T1000Z", event("a"))]),
        ):
            with pytest.raises(WarehouseUnavailableError, match=r"because of another writer .*PID") as caught:
                work()
            text = str(caught.value)
            assert f"PID {holder.pid}" in text
            assert warehouse.hook.path in text
            assert "DuckDB allows one writing process" in text
            assert "pool with one slot" in text
    finally:
        holder.let_go()
    assert len(warehouse.write([file_rows("20260203T1000Z", event("a"))])) == 1


@pytest.mark.skipif(not DUCKDB, reason="needs DuckDB")
def test_duckdb_file_that_is_let_go_in_time(new_warehouse: NewWarehouse) -> None:
    warehouse = new_warehouse("duckdb")
    warehouse.prepare()
    holder = Holder(warehouse.hook.path)
    waiting = threading.Event()
    conflicts = []
    is_conflict = warehouse._is_conflict

    def noticed(error: Exception) -> bool:
        conflicts.append(type(error).__name__)
        waiting.set()
        return is_conflict(error)

    warehouse._is_conflict = noticed  # type: ignore[method-assign]
    entries: list[Any] = []
    writer = threading.Thread(target=lambda: entries.extend(warehouse.write([file_rows("20260203T1000Z", event("a"))])))
    writer.start()
    try:
        assert waiting.wait(30)
        assert entries == []
    finally:
        holder.let_go()
    writer.join(60)
    assert [entry.loaded for entry in entries] == [1]
    assert set(conflicts) == {"IOException"}
    assert read_table(warehouse).event_ids == ["a"]


@pytest.mark.parametrize("engine", [*POSTGRES, "sqlite"])
def test_writer_that_waits_for_too_long(engine: str, new_warehouse: NewWarehouse) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    warehouse._lock_timeout = timedelta(seconds=0.2)
    connection = warehouse.hook.get_conn()
    if engine == "sqlite":
        # Its own wait for a lock would come first.
        get_conn = warehouse.hook.get_conn

        def impatient() -> Any:
            impatient_connection = get_conn()
            impatient_connection.execute("PRAGMA busy_timeout = 10")
            return impatient_connection

        warehouse.hook.get_conn = impatient
        connection.execute("BEGIN IMMEDIATE")
    else:
        connection.cursor().execute(f"LOCK TABLE {warehouse.files} IN EXCLUSIVE MODE")
    try:
        with pytest.raises(WarehouseError, match=r"gave up after 0 seconds because of another writer .*one slot"):
            warehouse.write([file_rows("20260203T1000Z", event("a"))])
        # Readers go on.
        assert warehouse.known_files(["x"]) == {}
    finally:
        connection.rollback()
        connection.close()
    assert len(warehouse.write([file_rows("20260203T1000Z", event("a"))])) == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_tables_are_created_by_several_at_once(
    engine: str, new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        warehouse = new_warehouse(engine)
        # Whoever comes second must see that the table is there: who waits for it to go away gives up then, and only
        # then sees it. How often one tries until the first has committed is up to the scheduler.
        warehouse._lock_timeout = timedelta(seconds=60)
        given_up: list[str] = []
        monkeypatch.setattr(warehouse, "_advice", lambda given_up=given_up: given_up.append("gave up") or "")
        barrier = threading.Barrier(4)

        def prepare(warehouse: Warehouse = warehouse, barrier: threading.Barrier = barrier) -> None:
            barrier.wait(30)
            warehouse.prepare()

        with ThreadPoolExecutor(4) as pool:
            for future in [pool.submit(prepare) for _ in range(4)]:
                future.result(600)
        assert read_table(warehouse) == Tables([], [], [])
        assert given_up == []
