"""Batches that share a transaction count when it is committed, and are read again when it is not."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import FileRows
from airflow_provider_cloudtrail.export.log_files import Limits
from airflow_provider_cloudtrail.export.summary import ExportSummary
from airflow_provider_cloudtrail.trail.log_file import LogFile
from airflow_provider_cloudtrail.trail.store import StoreError
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from tests.support.duckdb_faults import COMMIT, Faults
from tests.support.engines import DUCKDB_TOGETHER
from tests.support.exports import WatchedStore, WatchedWarehouse, export
from tests.support.log_files import FolderTrail, event, foreign
from tests.support.tables import Tables, assert_balanced, read_table

pytestmark = pytest.mark.skipif(not DUCKDB_TOGETHER, reason="needs DuckDB and pyarrow")

LIMITS = Limits(threads=2, batch_files=6, files_asked=5)
FILES = 24

NewWarehouse = Callable[[str], Warehouse]
Undisturbed = tuple[Tables, dict[str, Any]]


@pytest.fixture
def files(trail: FolderTrail) -> list[LogFile]:
    """Files of each kind, with events that other files have, too."""
    delivered = []
    for number in range(FILES):
        stamp = f"20260203T10{number:02}Z"
        if number == 3:
            delivered.append(trail.put(trail.deliver(stamp).key, b"no gzip"))
        elif number == 5:
            delivered.append(trail.deliver(stamp, foreign()))
        else:
            bad = [7] if number == 8 else []
            delivered.append(trail.deliver(stamp, event(f"{number}"), event(f"{number // 2}"), foreign(), *bad))
    return delivered


@pytest.fixture
def store(trail: FolderTrail) -> WatchedStore:
    return WatchedStore(trail)


@pytest.fixture
def warehouse(new_warehouse: NewWarehouse) -> Warehouse:
    return _one_transaction(new_warehouse)


def _one_transaction(new_warehouse: NewWarehouse) -> Warehouse:
    warehouse = new_warehouse("duckdb-together")
    warehouse._file.most_rows_together = 1_000  # type: ignore[attr-defined]
    warehouse.prepare()
    return warehouse


@pytest.fixture
def undisturbed(new_warehouse: NewWarehouse, files: list[LogFile], store: WatchedStore) -> Undisturbed:
    """What an export without a fault leaves behind, and says."""
    warehouse = new_warehouse("sqlite")
    warehouse.prepare()
    summary = export(files, store, warehouse, limits=LIMITS)
    tables = read_table(warehouse)
    assert_balanced(tables)
    store.taken()
    return tables, said(summary)


def said(summary: ExportSummary) -> dict[str, Any]:
    return {name: value for name, value in asdict(summary).items() if not name.startswith("seconds")}


def conflict() -> Exception:
    import duckdb

    return duckdb.TransactionException("TransactionContext Error: Conflict on update!")


def test_batches_share_a_transaction_and_count_alike(
    warehouse: Warehouse,
    files: list[LogFile],
    store: WatchedStore,
    undisturbed: Undisturbed,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    statements: list[str] = []
    Faults(statements.append).watch(monkeypatch, warehouse)
    watched = WatchedWarehouse(warehouse)
    with caplog.at_level(logging.INFO):
        summary = export(files, store, watched, limits=LIMITS)
    assert len(watched.batches) == FILES // 6
    first_row = next(number for number, statement in enumerate(statements) if statement.startswith("INSERT"))
    # Once there are rows, one transaction takes them all, and answers what the ledger is asked.
    assert statements[first_row:].count(COMMIT) == 1
    assert "BEGIN TRANSACTION" not in statements[first_row:]
    assert any(statement.startswith('SELECT "log_file_uri"') for statement in statements[first_row:])
    assert "Committed: batches 1 to 4" in caplog.text
    tables, expected = undisturbed
    assert read_table(warehouse) == tables
    assert said(summary) == expected


def test_whatever_fails_once_all_is_stored_once(
    new_warehouse: NewWarehouse,
    files: list[LogFile],
    store: WatchedStore,
    undisturbed: Undisturbed,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tables, expected = undisturbed
    lost = 0
    for number in range(1_000):
        warehouse = _one_transaction(new_warehouse)
        statements: list[str] = []
        failed: list[str] = []

        def error_of(
            statement: str, number: int = number, statements: list[str] = statements, failed: list[str] = failed
        ) -> Exception | None:
            # From the first rows on.
            if statements or statement.startswith("INSERT"):
                statements.append(statement)
            if failed or len(statements) <= number:
                return None
            failed.append(statement)
            return conflict()

        caplog.clear()
        with pytest.MonkeyPatch.context() as monkeypatch:
            Faults(error_of).watch(monkeypatch, warehouse)
            summary = export(files, store, warehouse, limits=LIMITS)
        if not failed:
            break
        read_again = "are read again" in caplog.text
        lost += read_again
        found = read_table(warehouse)
        assert_balanced(found)
        assert sorted(found.event_ids) == sorted(tables.event_ids), failed
        assert found.quarantine == tables.quarantine, failed
        reasons = sorted(summary.quarantine)
        assert said(summary) | {"quarantine": reasons} == expected | {"quarantine": sorted(expected["quarantine"])}
        # Nothing is fetched once more, unless it was lost.
        assert (max(store.taken().values()) > 1) == read_again
    assert number > lost > number // 2


def test_too_little_memory_once_is_no_reason_to_commit_each_batch(
    warehouse: Warehouse,
    files: list[LogFile],
    store: WatchedStore,
    undisturbed: Undisturbed,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import duckdb

    statements: list[str] = []
    bounds = []

    def error_of(statement: str) -> Exception | None:
        statements.append(statement)
        if statement.startswith("SET memory_limit"):
            bounds.append(int("".join(filter(str.isdigit, statement))))
        # Once there is something to lose: rows and ledger of two batches.
        if len([one for one in statements if one.startswith("INSERT")]) == 4 and statement.startswith("INSERT"):
            return duckdb.OutOfMemoryException("Out of Memory Error: failed to pin block of size 256.0 KiB")
        return None

    Faults(error_of).watch(monkeypatch, warehouse)
    summary = export(files, store, warehouse, limits=LIMITS)
    assert caplog.text.count("are read again") == 1
    last = max(number for number, statement in enumerate(statements) if statement == "BEGIN TRANSACTION")
    assert statements[last:].count(COMMIT) == statements.count(COMMIT) - statements[:last].count(COMMIT) == 1
    assert bounds[-1] > 2 * bounds[0] > 0
    tables, expected = undisturbed
    found = read_table(warehouse)
    assert_balanced(found)
    assert sorted(found.event_ids) == sorted(tables.event_ids)
    assert said(summary)["loaded"] == expected["loaded"]


def test_who_writes_comes_before_who_reads(warehouse: Warehouse, files: list[LogFile], store: WatchedStore) -> None:
    usual, seen = sys.getswitchinterval(), []
    watched = WatchedWarehouse(warehouse)

    def see(batch: list[FileRows]) -> None:
        seen.append(sys.getswitchinterval())
        if len(seen) == 2:
            raise WarehouseError("made up")

    watched.before_write = see
    with pytest.raises(WarehouseError, match="made up"):
        export(files, store, watched, limits=LIMITS)
    assert sys.getswitchinterval() == usual
    assert [interval < usual for interval in seen] == [True, True]


def test_a_batch_that_cannot_be_stored_does_not_keep_out_others(
    warehouse: Warehouse, files: list[LogFile], store: WatchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    import duckdb

    insert = warehouse._insert  # type: ignore[attr-defined]

    def refusing(cursor: Any, table: str, columns: Any, rows: Any) -> None:
        if any(row[0] == files[7].uri for row in rows):
            raise duckdb.ConversionException("made up")
        insert(cursor, table, columns, rows)

    monkeypatch.setattr(warehouse, "_insert", refusing)
    with pytest.raises(WarehouseError, match=r"duckdb, writing .*ConversionException"):
        export(files, store, warehouse, limits=LIMITS)
    tables = read_table(warehouse)
    assert_balanced(tables)
    left = files[6:12]
    assert {row["log_file_uri"] for row in tables.files} == {file.uri for file in files if file not in left}
    monkeypatch.undo()
    store.taken()
    assert export(files, store, warehouse, limits=LIMITS).files_read == 6
    assert store.taken() == Counter(file.key for file in left)


def test_what_was_read_is_stored_when_the_bucket_fails(
    warehouse: Warehouse, files: list[LogFile], store: WatchedStore
) -> None:
    store.faults[files[9].key] = StoreError("made up")
    with pytest.raises(StoreError, match="made up"):
        export(files, store, warehouse, limits=LIMITS)
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert {row["log_file_uri"] for row in tables.files} == {file.uri for file in files[:9]}


@pytest.mark.parametrize("together", [pytest.param(True, id="pending"), pytest.param(False, id="kept open")])
def test_the_file_is_let_go_while_the_next_batch_is_read(
    warehouse: Warehouse,
    files: list[LogFile],
    store: WatchedStore,
    undisturbed: Undisturbed,
    monkeypatch: pytest.MonkeyPatch,
    together: bool,
) -> None:
    file = warehouse._file  # type: ignore[attr-defined]
    if not together:
        file.most_rows_together = 1
    seconds = iter(range(10**9))
    # Half a minute goes by for every 30 looks at the clock, of which there are some for each file.
    monkeypatch.setattr("airflow_provider_cloudtrail.warehouse.duckdb_file.time.monotonic", lambda: next(seconds) * 1.0)
    monkeypatch.setattr("airflow_provider_cloudtrail.warehouse.duckdb_file.time.sleep", lambda _: None)
    let_go: list[bool] = []
    look = file.overdue

    def overdue() -> bool:
        found = look()
        let_go.append(found)
        return bool(found)

    monkeypatch.setattr(file, "overdue", overdue)
    summary = export(files, store, warehouse, limits=LIMITS)
    assert any(let_go)
    tables, expected = undisturbed
    assert read_table(warehouse) == tables
    assert said(summary) == expected


@pytest.mark.parametrize(
    ("within", "stored"),
    [
        pytest.param(False, 12, id="between two batches"),
        pytest.param(True, 0, id="within a batch"),
    ],
)
def test_a_task_that_is_stopped(
    warehouse: Warehouse,
    files: list[LogFile],
    store: WatchedStore,
    undisturbed: Undisturbed,
    monkeypatch: pytest.MonkeyPatch,
    within: bool,
    stored: int,
) -> None:
    watched = WatchedWarehouse(warehouse)
    write = warehouse._write  # type: ignore[attr-defined]

    def stop(_: Any) -> None:
        if len(watched.batches) == 2:
            raise KeyboardInterrupt

    def stopping(cursor: Any, batch: Any) -> Any:
        written = write(cursor, batch)
        if len(watched.batches) == 3:
            raise KeyboardInterrupt
        return written

    if within:
        monkeypatch.setattr(warehouse, "_write", stopping)
    else:
        watched.before_write = stop
    with pytest.raises(KeyboardInterrupt):
        export(files, store, watched, limits=LIMITS)
    assert len(read_table(warehouse).files) == stored
    monkeypatch.undo()
    # Nothing is kept from the next one.
    assert export(files, store, warehouse, limits=LIMITS).files_known == stored
    assert read_table(warehouse) == undisturbed[0]
