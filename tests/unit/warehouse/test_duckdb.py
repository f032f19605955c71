from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse import arrow_rows
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from airflow_provider_cloudtrail.warehouse.duckdb_settings import in_bytes
from tests.support.duckdb_faults import fail_commits
from tests.support.engines import DUCKDB
from tests.support.log_files import event
from tests.support.rows import file_rows, reread
from tests.support.tables import assert_balanced, read_table

pytestmark = pytest.mark.skipif(not DUCKDB, reason="needs DuckDB and pyarrow")

NewWarehouse = Callable[[str], Warehouse]


@pytest.fixture
def module() -> Any:
    from airflow_provider_cloudtrail.warehouse import duckdb

    return duckdb


@pytest.fixture
def file_module() -> Any:
    from airflow_provider_cloudtrail.warehouse import duckdb_file

    return duckdb_file


def load_twice(warehouse: Warehouse) -> None:
    """Load files whose events partly are there already."""
    warehouse.prepare()
    texts = [{"userAgent": "x" * 20_000, "requestParameters": {"a": "y" * 20_000}}] * 300
    for start in (0, 200):
        file = file_rows(
            f"20260203T1{start // 100}00Z",
            *[event(str(number), **texts[number - start]) for number in range(start, start + 300)],
        )
        warehouse.write([file, file_rows(f"20260203T1{start // 100}05Z", event(str(start)))])


@pytest.mark.parametrize(
    ("rows_to_scan", "memory"),
    [
        pytest.param(5_000_000, 64 << 20, id="small table"),
        pytest.param(-1, 64 << 20, id="huge table"),
        pytest.param(5_000_000, 1 << 20, id="too little memory"),
        pytest.param(-1, 1 << 20, id="huge table, too little memory"),
    ],
)
def test_every_way_to_insert_gives_the_same(
    new_warehouse: NewWarehouse,
    module: Any,
    file_module: Any,
    monkeypatch: pytest.MonkeyPatch,
    rows_to_scan: int,
    memory: int,
) -> None:
    expected = new_warehouse("sqlite")
    load_twice(expected)
    monkeypatch.setattr(module, "_MOST_ROWS_TO_SCAN", rows_to_scan)
    monkeypatch.setattr(file_module, "_MEMORY", memory)
    warehouse = new_warehouse("duckdb")
    load_twice(warehouse)
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert len(tables.events) == 500
    assert tables == read_table(expected)
    if memory == 1 << 20:
        # A bound that does not suffice is widened; the task does not fail.
        assert warehouse._file._memory is None or warehouse._file._memory > memory  # type: ignore[attr-defined]


def test_commit_that_finds_too_little_memory_is_tried_with_more(
    new_warehouse: NewWarehouse, file_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import duckdb

    warehouse = new_warehouse("duckdb")
    warehouse.prepare()
    error = duckdb.TransactionException(
        "TransactionContext Error: Failed to commit: failed to pin block of size 256.0 KiB (25.5 MiB/25.7 MiB used)\n\n"
        "Possible solutions:\n* Increasing the memory limit (SET memory_limit='...GB')"
    )
    faults = fail_commits(monkeypatch, warehouse, error)
    (entry,) = warehouse.write([file_rows("20260203T1000Z", event("a"))])
    assert (entry.loaded, len(faults.opened)) == (1, 2)
    if file_module._version().startswith(file_module._VERSIONS_WITHOUT_BOUND):
        return
    assert warehouse._file._memory > file_module._MEMORY  # type: ignore[attr-defined]


def test_commit_that_fails_is_not_hidden_by_the_rollback(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    import duckdb

    warehouse = new_warehouse("duckdb")
    warehouse.prepare()
    faults = fail_commits(monkeypatch, warehouse, duckdb.IOException("IO Error: No space left on device"))
    with pytest.raises(WarehouseError, match="No space left on device") as caught:
        warehouse.write([file_rows("20260203T1000Z", event("a"))])
    assert "another writer" not in str(caught.value)
    # Not written again; the second connection asks whether something is wrong with the tables.
    assert len(faults.opened) == 2
    assert read_table(warehouse).files == []


@pytest.mark.parametrize("folder", ["blocks", "sherlock"])
def test_a_path_that_cannot_be_opened_is_no_other_writer(new_warehouse: NewWarehouse, folder: str) -> None:
    warehouse = new_warehouse("duckdb")
    warehouse._lock_timeout = timedelta(0)
    warehouse.hook.path = str(Path(warehouse.hook.path).with_name(folder) / "audit.duckdb")
    with pytest.raises(WarehouseError, match=r"cannot connect .*No such file or directory"):
        warehouse.prepare()


def test_a_block_that_is_damaged_is_no_other_writer(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    import duckdb

    warehouse = new_warehouse("duckdb")
    warehouse.prepare()
    warehouse._lock_timeout = timedelta(0)
    text = "Corrupt database file: computed checksum 1 does not match stored checksum 2 in block at location 12288"
    fail_commits(monkeypatch, warehouse, duckdb.IOException(f"IO Error: {text}"))
    with pytest.raises(WarehouseError, match=text) as caught:
        warehouse.write([file_rows("20260203T1000Z", event("a"))])
    assert "another writer" not in str(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        'Could not write file "/data/audit.duckdb.wal": No space left on device',
        'Failed to create checkpoint because of error: Could not write file "/data/audit.duckdb": No space left',
        'Cannot open file "/data/audit.duckdb.tmp/duckdb_temp_1_storage_S32K-0.tmp": Too many open files',
    ],
)
def test_a_commit_whose_files_cannot_be_written_is_no_lost_race(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    import duckdb

    warehouse = new_warehouse("duckdb")
    warehouse.prepare()
    warehouse._lock_timeout = timedelta(0)
    error = duckdb.TransactionException(f"TransactionContext Error: Failed to commit: {said}")
    fail_commits(monkeypatch, warehouse, error)
    with pytest.raises(WarehouseError, match=re.escape(f"TransactionException: {said.rpartition('error: ')[2]}")):
        warehouse.write([file_rows("20260203T1000Z", event("a"))])


def test_what_reads_like_that_in_a_value_is_not_told(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    import duckdb

    warehouse = new_warehouse("duckdb")
    warehouse.prepare()
    value = "Failed to commit: Cannot open file of somebody"
    fail_commits(monkeypatch, warehouse, duckdb.ConversionException(f'Could not convert string "{value}" to INT32'))
    with pytest.raises(WarehouseError) as caught:
        warehouse.write([file_rows("20260203T1000Z", event("a"))])
    assert "somebody" not in str(caught.value)


@pytest.mark.parametrize(
    ("database", "message"),
    [
        pytest.param("audit.duckdb", "names 'audit.duckdb', which is another file", id="relative"),
        pytest.param("./data/audit.duckdb", "write an absolute path: set its host", id="relative with a folder"),
        pytest.param(":memory:", "names no database file", id="in memory"),
    ],
)
def test_a_database_that_the_next_task_would_not_find_is_refused(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    warehouse = new_warehouse("duckdb")
    warehouse.hook.path = database
    with pytest.raises(WarehouseError, match=message):
        warehouse.prepare()
    assert not list(tmp_path.rglob("audit.duckdb"))


@pytest.mark.parametrize(
    "database",
    [
        pytest.param("~/audit.duckdb", id="home directory"),
        pytest.param("md:audit?motherduck_token=secret", id="MotherDuck"),
        pytest.param("ducklake:/data/audit.ducklake", id="DuckLake"),
    ],
)
def test_other_databases_are_the_same_for_every_task(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    warehouse = new_warehouse("duckdb")
    monkeypatch.setattr(warehouse.hook, "get_database", lambda: database)
    warehouse.prepare()
    assert read_table(warehouse).events == []


def test_memory_that_the_user_has_bound_tighter_stays_so(new_warehouse: NewWarehouse, file_module: Any) -> None:
    warehouse = new_warehouse("duckdb")
    warehouse.prepare()
    connect = warehouse.hook.get_conn

    def bound() -> Any:
        connection = connect()
        connection.execute("SET memory_limit = '50MB'")
        return connection

    warehouse.hook.get_conn = bound
    ((limit,),) = warehouse.transact(
        "asking", lambda cursor: cursor.execute("SELECT current_setting('memory_limit')").fetchall()
    )
    assert in_bytes(limit) <= 50_000_000
    # So there is none of ours to widen, and nothing that would go better next time.
    assert not warehouse._file.widen()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        pytest.param("18.5 GiB", 18.5 * 2**30, id="with a fraction"),
        pytest.param("953.6 MiB", 953.6 * 2**20, id="MiB"),
        pytest.param("1.5 TiB", 1.5 * 2**40, id="TiB"),
        pytest.param("976.5 KiB", 976.5 * 2**10, id="KiB"),
        pytest.param("0 bytes", 0, id="bytes"),
        # What it says of a limit of -1.
        pytest.param("16383.9 PiB", float("inf"), id="no bound"),
        pytest.param("unlimited", float("inf"), id="no size"),
    ],
)
def test_sizes_as_duckdb_writes_them(file_module: Any, text: str, size: float) -> None:
    assert in_bytes(text) == size


def test_a_batch_of_many_rows_comes_in_several_portions(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow_rows, "ROWS_IN_ONE_BATCH", 3)
    warehouse = new_warehouse("duckdb")
    warehouse.prepare()
    file = file_rows("20260203T1000Z", *[event(str(number)) for number in range(10)])
    warehouse.write([file])
    assert len(read_table(warehouse).events) == 10
    (entry,) = warehouse.write(reread(warehouse, file_rows("20260203T1000Z", *[event(str(n)) for n in range(10)])))
    assert entry.loaded == 10
