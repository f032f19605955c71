from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import AuditEvent, LedgerEntry, QuarantineEntry, columns_of
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.lookups import Lookups
from tests.support.engines import ICEBERG, ICEBERG_GLUE
from tests.support.iceberg_tasks import Killed, again, at_commits, batch, table_of
from tests.support.log_files import event, foreign
from tests.support.rows import ALL, file_rows, lookup_rows, reread
from tests.support.tables import assert_balanced, query, read_table

pytestmark = pytest.mark.skipif(not ICEBERG, reason="needs pyiceberg")

NewWarehouse = Callable[[str], Warehouse]


def test_tables_are_what_other_engines_need(iceberg: Warehouse) -> None:
    events = table_of(iceberg, iceberg.events)
    assert events.format_version == 2
    assert [(field.name, str(field.transform)) for field in events.spec().fields] == [("event_time_day", "day")]
    assert events.schema().identifier_field_names() == {"event_id"}
    for name, row_type in (
        (iceberg.events, AuditEvent),
        (iceberg.files, LedgerEntry),
        (iceberg.quarantine, QuarantineEntry),
    ):
        fields = table_of(iceberg, name).schema().fields
        assert [(one.name, one.required, one.doc) for one in fields] == [
            (one.name, one.required, one.meaning) for one in columns_of(row_type)
        ]
    types = {field.name: str(field.field_type) for field in events.schema().fields}
    assert (types["event_time"], types["raw_event"], types["redacted"]) == ("timestamptz", "string", "long")
    assert (types["read_only"], types["request_parameters"]) == ("boolean", "string")
    expected = {
        "write.parquet.compression-codec": "zstd",
        "write.metadata.delete-after-commit.enabled": "true",
        "write.metadata.previous-versions-max": "50",
        "commit.manifest-merge.enabled": "true",
    }
    assert expected.items() <= events.properties.items()


def test_one_commit_a_batch_and_table(iceberg: Warehouse) -> None:
    commits = []
    with at_commits(iceberg, lambda number, commit: (commits.append(number), commit())[1]):
        iceberg.write([file_rows(f"20260203T10{number:02}Z", event(f"{number}")) for number in range(30)])
    assert len(commits) == 2
    (day,) = table_of(iceberg, iceberg.events).inspect.partitions().to_pylist()
    assert (day["record_count"], day["file_count"]) == (30, 1)


@pytest.mark.parametrize("stored", [False, True], ids=["before it is stored", "after it"])
def test_killed_at_each_commit_and_run_again(new_warehouse: NewWarehouse, stored: bool) -> None:
    undisturbed = new_warehouse("iceberg")
    undisturbed.prepare()
    undisturbed.write(batch())
    wider = [file_rows("20260203T1000Z", event("a"), foreign("f"), event("b"), event("a"), 7, selection=ALL)]
    undisturbed.write(reread(undisturbed, *wider))
    expected = read_table(undisturbed)
    assert_balanced(expected)

    def load(warehouse: Warehouse) -> None:
        said = warehouse.known_files([file.entry.log_file_uri for file in batch()])
        if not said:
            warehouse.write(batch())
        warehouse.write(reread(warehouse, *wider))

    for killed_at in range(20):
        warehouse = new_warehouse("iceberg")
        warehouse.prepare()

        def kill(number: int, commit: Callable[[], Any], killed_at: int = killed_at) -> Any:
            if number != killed_at:
                return commit()
            if stored:
                commit()
            raise Killed

        try:
            with at_commits(warehouse, kill):
                load(warehouse)
        except Killed:
            load(again(warehouse))
            assert read_table(warehouse) == expected, killed_at
        else:
            break
    # Rows, claim, quarantine, ledger; and the same for the second file list.
    assert killed_at == 8


@pytest.mark.parametrize("stored", [False, True], ids=["before it is stored", "after it"])
def test_lookup_killed_at_each_commit_and_run_again(new_warehouse: NewWarehouse, stored: bool) -> None:
    for killed_at in range(10):
        warehouse = new_warehouse("iceberg")
        lookups = Lookups(warehouse)
        lookups.prepare()
        lookups.write(lookup_rows(event("a"), event("b")))
        killed, later = (lookup_rows(event("b"), event("c"), event("d"), "broken") for _ in range(2))
        assert killed.entry.lookup_uri != later.entry.lookup_uri

        def kill(number: int, commit: Callable[[], Any], killed_at: int = killed_at) -> Any:
            if number != killed_at:
                return commit()
            if stored:
                commit()
            raise Killed

        try:
            with at_commits(warehouse, kill):
                lookups.write(killed)
        except Killed:
            entry = Lookups(again(warehouse)).write(later)
        else:
            break
        complete = stored and killed_at == 2
        assert (entry.loaded, entry.duplicate) == ((0, 3) if complete else (2, 1))
        said = query(warehouse, f"SELECT lookup_uri, loaded FROM {lookups.name} WHERE loaded > 0 ORDER BY 1")
        assert said == query(warehouse, f"SELECT log_file_uri, count(*) FROM {warehouse.events} GROUP BY 1 ORDER BY 1")
        assert query(warehouse, f"SELECT count(*) FROM {warehouse.quarantine}") == [(2 if complete else 1,)]
    assert killed_at == 3


def test_lookup_that_is_taken_for_a_killed_one_while_it_is_at_work(new_warehouse: NewWarehouse) -> None:
    for moment in range(3):
        warehouse = new_warehouse("iceberg")
        lookups = Lookups(warehouse)
        lookups.prepare()
        pending = [lookup_rows(event("b"), event("c"))]

        def interfere(number: int, commit: Callable[[], Any], moment: int = moment, pending: Any = pending) -> Any:
            if number == moment and pending:
                Lookups(again(warehouse)).write(pending.pop())  # noqa: B023
            return commit()

        with at_commits(warehouse, interfere):
            lookups.write(lookup_rows(event("a"), event("b"), event("c"), "broken"))
        said = query(warehouse, f"SELECT lookup_uri, loaded FROM {lookups.name} WHERE loaded > 0 ORDER BY 1")
        assert said == query(warehouse, f"SELECT log_file_uri, count(*) FROM {warehouse.events} GROUP BY 1 ORDER BY 1")
        assert query(warehouse, f"SELECT count(*), count(DISTINCT event_id) FROM {warehouse.events}") == [(3, 3)]
        assert query(warehouse, f"SELECT count(*) FROM {warehouse.quarantine}") == [(1,)]


def test_other_writers_between_look_and_commit(iceberg: Warehouse) -> None:
    other = again(iceberg)
    others = [
        [file_rows("20260203T0900Z", event("b"), event("z"))],
        [file_rows("20260203T0905Z", event("y"), 7)],
        batch()[1:2],
    ]

    def interfere(number: int, commit: Callable[[], Any]) -> Any:
        if others:
            other.write(others.pop(0))
        return commit()

    with at_commits(iceberg, interfere):
        entries = iceberg.write(batch())
    assert others == []
    tables = read_table(iceberg)
    assert_balanced(tables)
    assert tables.event_ids == ["a", "b", "c", "y", "z"]
    assert len(tables.files) == 6
    assert batch()[1].entry.log_file_uri not in [entry.log_file_uri for entry in entries]


@pytest.mark.parametrize(
    ("engine", "threads", "batches"),
    [
        # A writer starts again whenever another one was first: what it takes grows with the square of their number.
        *(pytest.param(engine, 4, 2, id=engine) for engine in ICEBERG),
        # Each of its requests goes through one server.
        *(pytest.param(engine, 3, 1, id=engine) for engine in ICEBERG_GLUE),
    ],
)
def test_many_threads_write_the_same_events(
    new_warehouse: NewWarehouse, engine: str, threads: int, batches: int
) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    barrier = threading.Barrier(threads)

    def load(thread: int) -> None:
        mine = again(warehouse)
        barrier.wait(60)
        for number in range(batches):
            stamp = f"20260203T1{thread}{number:02}Z"
            mine.write([file_rows(stamp, *[event(f"{number}-{index}") for index in range(20)], event(stamp), 7)])

    with ThreadPoolExecutor(threads) as pool:
        for future in [pool.submit(load, thread) for thread in range(threads)]:
            future.result(300)
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert len(tables.events) == batches * 20 + threads * batches


def test_rows_of_other_tables_are_replaced_and_updated(iceberg: Warehouse, tmp_path: Any) -> None:
    columns = columns_of(LedgerEntry)
    at = datetime(2026, 2, 3, tzinfo=timezone.utc)
    entries = [file_rows(f"20260203T10{number:02}Z", foreign()).entry for number in range(5)]

    def write(cursor: Any) -> None:
        iceberg.replace(cursor, iceberg.files, columns, entries)
        iceberg.replace(cursor, iceberg.files, columns, entries[:2])
        changed = [column for column in columns if column.name in ("log_file_uri", "digest_status", "verified_at")]
        rows = [(entry.log_file_uri, "verified", at) for entry in entries[1:3]] + [("s3://unknown", "verified", at)]
        iceberg.update(cursor, iceberg.files, changed, rows)

    iceberg.transact("test", write, writes=True)
    found = query(iceberg, f"SELECT digest_status, count(*) FROM {iceberg.files} GROUP BY 1 ORDER BY 2")
    assert found == [("verified", 2), (None, 3)]
    assert len(table_of(iceberg, iceberg.files).inspect.history()) > 1
