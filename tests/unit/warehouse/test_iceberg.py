from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import AuditEvent, FileRows, LedgerEntry, QuarantineEntry, columns_of
from airflow_provider_cloudtrail.warehouse import iceberg_tables
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError, WarehouseUnavailableError
from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from airflow_provider_cloudtrail.warehouse.conditions import (
    AllOf,
    AnyOf,
    BeginsWith,
    Compare,
    Condition,
    IsNull,
    Not,
    OneOf,
)
from airflow_provider_cloudtrail.warehouse.iceberg import IcebergWarehouse
from airflow_provider_cloudtrail.warehouse.lookups import Lookups
from tests.support.engines import ICEBERG, ICEBERG_GLUE
from tests.support.iceberg import NAMESPACE, OldIcebergHook, catalog
from tests.support.log_files import event, foreign
from tests.support.rows import ALL, MWAA, file_rows, reread
from tests.support.tables import assert_balanced, query, read_table
from tests.unit.warehouse.test_lookups import lookup_rows

pytestmark = pytest.mark.skipif(not ICEBERG, reason="needs pyiceberg")

NewWarehouse = Callable[[str], Warehouse]


@pytest.fixture
def warehouse(new_warehouse: NewWarehouse) -> Warehouse:
    prepared = new_warehouse("iceberg")
    prepared.prepare()
    return prepared


def again(warehouse: Warehouse) -> IcebergWarehouse:
    """Return the same tables as another task sees them."""
    other = open_warehouse(OldIcebergHook(warehouse.hook.uri), warehouse.table)
    assert isinstance(other, IcebergWarehouse)
    return other


def table_of(warehouse: Warehouse, name: str) -> Any:
    return catalog(warehouse.hook.uri).load_table(name)


NOON = datetime(2026, 2, 3, 12, tzinfo=timezone.utc)
OR = AnyOf([
    Compare("record_index", "<", 2),
    AllOf([Compare("log_file_uri", "=", "ab"), Compare("record_index", "=", 2)]),
])


class Killed(BaseException):
    """What a kill is in these tests: nothing catches it."""


@contextmanager
def at_commits(warehouse: Warehouse, do: Callable[[int, Callable[[], Any]], Any]) -> Iterator[None]:
    """Have the catalog of a warehouse do something at each commit, which is told its number and how to commit."""
    assert isinstance(warehouse, IcebergWarehouse)
    opened, numbers = warehouse._catalog.open(), count()
    commit_table = opened.commit_table
    opened.commit_table = lambda *args: do(next(numbers), lambda: commit_table(*args))  # type: ignore[method-assign]
    try:
        yield
    finally:
        opened.commit_table = commit_table  # type: ignore[method-assign]


def batch() -> list[FileRows]:
    return [
        file_rows("20260203T1000Z", event("a"), foreign("f"), event("b"), event("a"), 7, selection=MWAA),
        file_rows("20260203T1005Z", event("b"), event("c", eventTime="2026-02-02T23:59:59Z"), selection=MWAA),
        file_rows("20260203T1010Z", foreign(), selection=MWAA),
        file_rows("20260203T1015Z", body=b"no gzip", selection=MWAA),
    ]


def test_tables_are_what_other_engines_need(warehouse: Warehouse) -> None:
    events = table_of(warehouse, warehouse.events)
    assert events.format_version == 2
    assert [(field.name, str(field.transform)) for field in events.spec().fields] == [("event_time_day", "day")]
    assert events.schema().identifier_field_names() == {"event_id"}
    for name, row_type in (
        (warehouse.events, AuditEvent),
        (warehouse.files, LedgerEntry),
        (warehouse.quarantine, QuarantineEntry),
    ):
        fields = table_of(warehouse, name).schema().fields
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


def test_one_commit_a_batch_and_table(warehouse: Warehouse) -> None:
    commits = []
    with at_commits(warehouse, lambda number, commit: (commits.append(number), commit())[1]):
        warehouse.write([file_rows(f"20260203T10{number:02}Z", event(f"{number}")) for number in range(30)])
    assert len(commits) == 2
    (day,) = table_of(warehouse, warehouse.events).inspect.partitions().to_pylist()
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


@pytest.mark.parametrize("error", ["CommitFailedException", "CommitStateUnknownException"])
def test_answer_of_a_commit_that_is_lost(new_warehouse: NewWarehouse, error: str) -> None:
    from pyiceberg import exceptions

    for lost in range(4):
        warehouse = new_warehouse("iceberg")
        warehouse.prepare()

        def lose(number: int, commit: Callable[[], Any], lost: int = lost) -> Any:
            done = commit()
            if number == lost:
                raise getattr(exceptions, error)("the first answer did not arrive")
            return done

        with at_commits(warehouse, lose):
            warehouse.write(batch())
        tables = read_table(warehouse)
        assert_balanced(tables)
        assert (tables.event_ids, len(tables.files), len(tables.quarantine)) == (["a", "b", "c"], 4, 2)


def test_other_writers_between_look_and_commit(warehouse: Warehouse) -> None:
    other = again(warehouse)
    others = [
        [file_rows("20260203T0900Z", event("b"), event("z"))],
        [file_rows("20260203T0905Z", event("y"), 7)],
        batch()[1:2],
    ]

    def interfere(number: int, commit: Callable[[], Any]) -> Any:
        if others:
            other.write(others.pop(0))
        return commit()

    with at_commits(warehouse, interfere):
        entries = warehouse.write(batch())
    assert others == []
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables.event_ids == ["a", "b", "c", "y", "z"]
    assert len(tables.files) == 6
    assert batch()[1].entry.log_file_uri not in [entry.log_file_uri for entry in entries]


def test_files_of_commits_that_were_overtaken_are_removed(warehouse: Warehouse) -> None:
    other, others = again(warehouse), [file_rows("20260203T0900Z", event("z"))]

    def interfere(number: int, commit: Callable[[], Any]) -> Any:
        if others:
            other.write([others.pop()])
        return commit()

    with at_commits(warehouse, interfere):
        warehouse.write([file_rows("20260203T1000Z", event("a"))])
    events = table_of(warehouse, warehouse.events)
    listed = {row["file_path"] for row in events.inspect.files().to_pylist()}
    found = Path(events.location().removeprefix("file://")).rglob("*.parquet")
    assert {f"file://{path}" for path in found} == listed


def test_two_selections_of_one_file_at_once(warehouse: Warehouse) -> None:
    """What the quarantine holds is what the ledger counts, whoever of the two wins."""
    records = (event("a"), foreign("f"), 7, event(eventTime=None), foreign(eventTime=None))
    for moment in range(4):
        stamp = f"20260203T10{moment:02}Z"
        other, pending = again(warehouse), [file_rows(stamp, *records, selection=ALL)]

        def interfere(number: int, commit: Callable[[], Any], moment: int = moment, pending: Any = pending) -> Any:
            if number == moment and pending:
                other.write([pending.pop()])  # noqa: B023
            return commit()

        with at_commits(warehouse, interfere):
            warehouse.write([file_rows(stamp, *records, selection=MWAA)])
        for file in (file_rows(stamp, *records, selection=ALL),):
            warehouse.write(reread(warehouse, file))
        assert_balanced(read_table(warehouse))


@pytest.mark.parametrize("killed", [False, True], ids=["", "the one is killed"])
@pytest.mark.parametrize("maintained", [False, True], ids=["", "the ledger is changed besides"])
def test_one_of_two_tasks_cannot_read_the_file(warehouse: Warehouse, killed: bool, maintained: bool) -> None:
    """That it could not is in quarantine only if the ledger says so, at whichever commit the other one came."""
    for moment in range(3):
        stamp = f"20260203T10{moment:02}Z"
        other, pending = again(warehouse), [file_rows(stamp, event(stamp))]
        warehouse.write([file_rows(f"20260203T09{moment:02}Z", event(f"before {stamp}"))])

        def interfere(number: int, commit: Callable[[], Any], moment: int = moment, pending: Any = pending) -> Any:
            result = None
            if number == moment and pending:
                if maintained:
                    at_nine = Compare("delivered_at", "<", NOON)
                    other.transact(  # noqa: B023
                        "changing it",
                        lambda tables: other.assign(tables, other.files, {"loaded_by": "me"}, at_nine),  # noqa: B023
                        writes=True,
                    )
                other.write([pending.pop()])  # noqa: B023
                result = commit()
                if killed:
                    raise Killed
            return result or commit()

        try:
            with at_commits(warehouse, interfere):
                warehouse.write([file_rows(stamp, body=b"no gzip")])
        except Killed:
            pass
        tables = read_table(warehouse)
        assert_balanced(tables)
        assert (pending, stamp in tables.event_ids, tables.quarantine) == ([], True, []), moment


def test_ledger_of_which_older_snapshots_are_gone(warehouse: Warehouse) -> None:
    """Whether something was announced is not known then, so what may be on its way is refused."""
    assert isinstance(warehouse, IcebergWarehouse)
    warehouse.write([file_rows("20260203T1000Z", event("a"))])
    warehouse.transact(
        "changing it",
        lambda tables: warehouse.assign(tables, warehouse.files, {"loaded_by": "me"}, Compare("loaded", "=", 1)),
        writes=True,
    )
    ledger = table_of(warehouse, warehouse.files)
    if not hasattr(ledger, "maintenance"):
        pytest.skip("this pyiceberg removes no snapshots")
    newest = ledger.current_snapshot().snapshot_id
    older = [one.snapshot_id for one in ledger.snapshots() if one.snapshot_id != newest]
    ledger.maintenance.expire_snapshots().by_ids(older).commit()
    commits = []
    with at_commits(warehouse, lambda number, commit: (commits.append(number), commit())[1]):
        warehouse.write([file_rows("20260203T1005Z", event("b"))])
        warehouse.write([file_rows("20260203T1010Z", event("c"))])
    # Rows, quarantine, ledger; rows, ledger.
    assert len(commits) == 5
    assert_balanced(read_table(warehouse))


@pytest.mark.parametrize(
    ("engine", "threads", "batches"),
    [
        *(pytest.param(engine, 6, 3, id=engine) for engine in ICEBERG),
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


def test_a_larger_table_is_asked_for_the_times_of_the_events_only(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_cloudtrail.warehouse.iceberg_events._ROWS_COMPARED_WITH_ALL", 0)
    days = [f"2026-02-{day:02}T10:00:00Z" for day in range(1, 11)]
    for number, day in enumerate(days):
        warehouse.write([file_rows(f"20260211T10{number:02}Z", event(f"{number}", eventTime=day))])
    # One that has added none of them.
    warehouse = again(warehouse)
    read = files_read(monkeypatch)
    (entry,) = warehouse.write([
        file_rows("20260211T1100Z", event("3", eventTime=days[3]), event("new", eventTime=days[3]))
    ])
    assert (entry.loaded, entry.duplicate) == (1, 1)
    of_events = [path for path in read if "/audit/" in path or "event_time_day" in path]
    assert {path.rpartition("event_time_day=")[2].partition("/")[0] for path in of_events} == {"2026-02-04"}
    many = [
        event(f"{number}-{day}", eventTime=f"2025-{1 + day // 28:02}-{1 + day % 28:02}T00:00:00Z") for day in range(60)
    ]
    warehouse.write([file_rows("20260211T1105Z", *many)])
    (entry,) = warehouse.write([file_rows("20260211T1110Z", *many)])
    assert (entry.loaded, entry.duplicate) == (0, 60)


def test_rows_that_were_added_here_are_not_read_again(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse.write([file_rows("20260203T1000Z", event("a"), event("b"))])
    (mine,) = table_of(warehouse, warehouse.events).inspect.files().to_pylist()
    again(warehouse).write([file_rows("20260203T1005Z", event("c"))])
    read = files_read(monkeypatch)
    (entry,) = warehouse.write([file_rows("20260203T1010Z", event("a"), event("c"), event("d"))])
    assert (entry.loaded, entry.duplicate) == (1, 2)
    of_events = {path for path in read if "event_time_day" in path}
    assert len(of_events - {mine["file_path"]}) == len(of_events) == 1
    assert read_table(warehouse).event_ids == ["a", "b", "c", "d"]


def test_rows_that_were_added_here_and_deleted_by_somebody(warehouse: Warehouse) -> None:
    warehouse.write([file_rows("20260203T1000Z", event("a"), event("b"))])
    table_of(warehouse, warehouse.events).delete("event_id = 'a'")
    (entry,) = warehouse.write([file_rows("20260203T1005Z", event("a"), event("b"))])
    assert (entry.loaded, entry.duplicate) == (1, 1)
    assert read_table(warehouse).event_ids == ["a", "b"]


@pytest.mark.parametrize("most", [0, 1, 3], ids=str)
def test_only_so_many_rows_that_were_added_here_are_kept(
    warehouse: Warehouse, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_cloudtrail.warehouse.iceberg_own_rows._MOST_ROWS", most)
    for number in range(6):
        warehouse.write([file_rows(f"20260203T10{number:02}Z", event("same"), event(f"{number}"))])
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert len(tables.events) == 7


def test_the_ledger_is_asked_for_the_months_of_the_files_only(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [file_rows(f"2026{month:02}03T1000Z", foreign(), selection=MWAA) for month in range(1, 7)]
    for file in files:
        warehouse.write([file])
    read = files_read(monkeypatch)
    uris = [file.entry.log_file_uri for file in files]
    assert warehouse.known_files(uris[2:4]).keys() == set(uris[2:4])
    assert len(read) == 2
    # Of what is no log file nothing is known but its name.
    assert warehouse.known_files([*uris, "s3://example-trail/unknown"]).keys() == set(uris)


def files_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    read: list[str] = []
    portions = iceberg_tables._portions

    def noted(tasks: Any) -> Any:
        for portion in portions(tasks):
            read.extend(task.file.file_path for task in portion)
            yield portion

    monkeypatch.setattr(iceberg_tables, "_portions", noted)
    return read


def test_table_that_the_user_has_parted_in_another_way(new_warehouse: NewWarehouse) -> None:
    warehouse = new_warehouse("iceberg")
    warehouse.prepare()
    with table_of(warehouse, warehouse.events).update_spec() as change:
        change.remove_field("event_time_day")
        change.add_identity("aws_region")
    warehouse.write(batch())
    assert read_table(warehouse).event_ids == ["a", "b", "c"]
    assert_balanced(read_table(warehouse))


def test_same_id_at_another_time(warehouse: Warehouse) -> None:
    file = file_rows("20260203T1000Z", event("a"), event("a", eventTime="2026-01-01T00:00:00Z"))
    other = file_rows("20260203T1005Z", event("a", eventTime="2025-01-01T00:00:00Z"))
    assert [entry.loaded for entry in warehouse.write([file]) + warehouse.write([other])] == [1, 0]
    assert read_table(warehouse).event_ids == ["a"]


def test_namespace_is_that_of_the_connection_or_has_to_be_named() -> None:
    hook = OldIcebergHook("{}")
    assert open_warehouse(hook, "t").events == f"{NAMESPACE}.t"
    assert open_warehouse(hook, "t", "other").quarantine == "other.t_quarantine"
    hook.get_connection = lambda conn_id: SimpleNamespace(schema="", extra_dejson={"namespace": "n"})  # type: ignore[method-assign]
    assert open_warehouse(hook, "t").events == "n.t"
    hook.get_connection = lambda conn_id: SimpleNamespace(schema=None, extra_dejson={})  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"need a namespace .* set the parameter schema"):
        open_warehouse(hook, "t")


def test_namespace_that_is_missing(warehouse: Warehouse) -> None:
    other = open_warehouse(warehouse.hook, "audit", "nowhere")
    with pytest.raises(WarehouseError, match=r"there is no namespace 'nowhere' .* CREATE DATABASE nowhere"):
        other.prepare()


def test_catalog_without_a_place_for_tables(tmp_path: Path) -> None:
    address = json.dumps({"type": "sql", "uri": f"sqlite:///{tmp_path}/c.db"})
    catalog(address)
    with pytest.raises(WarehouseError, match=r"iceberg, preparing audit.audit: ValueError: No default path is set"):
        open_warehouse(OldIcebergHook(address), "audit").prepare()


@pytest.mark.parametrize(
    "properties",
    [
        pytest.param({"type": "rest", "uri": "http://127.0.0.1:9"}, id="REST that does not answer"),
        pytest.param({"type": "sql", "uri": "sqlite:////nowhere/c.db"}, id="database that cannot be opened"),
        pytest.param({"type": "unheard-of"}, id="no such kind"),
    ],
)
def test_catalog_that_cannot_be_opened(properties: dict[str, str]) -> None:
    warehouse = open_warehouse(OldIcebergHook(json.dumps(properties)), "audit")
    warehouse._lock_timeout = timedelta(0)
    with pytest.raises(WarehouseUnavailableError, match=r"iceberg: cannot open the catalog"):
        warehouse.prepare()


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        pytest.param(Compare("record_index", ">=", 2), ["ab", "b%"], id="comparison"),
        pytest.param(Compare("quarantined_at", "<", NOON), ["A"], id="time"),
        pytest.param(OneOf("log_file_uri", ["a", "A", "x"]), ["A", "a"], id="one of"),
        pytest.param(OneOf("log_file_uri", ["a", *map(str, range(500))]), ["a"], id="one of many"),
        pytest.param(IsNull("record_index"), ["A"], id="null"),
        pytest.param(BeginsWith("log_file_uri", "b%"), ["b%"], id="no pattern"),
        pytest.param(AllOf([OR, IsNull("record_index")]), [], id="all"),
        pytest.param(AnyOf([OR, IsNull("record_index")]), ["A", "a", "ab"], id="any"),
        pytest.param(
            Not(AllOf([Compare("log_file_uri", "=", "A"), IsNull("record_index")])), ["a", "ab", "b%"], id="not"
        ),
    ],
)
def test_conditions(warehouse: Warehouse, condition: Condition, found: list[str]) -> None:
    columns = columns_of(QuarantineEntry)
    rows = [
        QuarantineEntry(uri, index, "", None, NOON - timedelta(hours=index is None))
        for uri, index in [("a", 1), ("ab", 2), ("A", None), ("b%", 3)]
    ]
    warehouse.transact("x", lambda cursor: warehouse.insert(cursor, warehouse.quarantine, columns, rows), writes=True)

    def ask(cursor: Any) -> list[str]:
        return sorted(row[0] for row in warehouse.select(cursor, warehouse.quarantine, ["log_file_uri"], condition))

    assert warehouse.transact("reading", ask) == found


def test_rows_of_other_tables_are_replaced_and_updated(warehouse: Warehouse, tmp_path: Any) -> None:
    columns = columns_of(LedgerEntry)
    at = datetime(2026, 2, 3, tzinfo=timezone.utc)
    entries = [file_rows(f"20260203T10{number:02}Z", foreign()).entry for number in range(5)]

    def write(cursor: Any) -> None:
        warehouse.replace(cursor, warehouse.files, columns, entries)
        warehouse.replace(cursor, warehouse.files, columns, entries[:2])
        changed = [column for column in columns if column.name in ("log_file_uri", "digest_status", "verified_at")]
        rows = [(entry.log_file_uri, "verified", at) for entry in entries[1:3]] + [("s3://unknown", "verified", at)]
        warehouse.update(cursor, warehouse.files, changed, rows)

    warehouse.transact("test", write, writes=True)
    found = query(warehouse, f"SELECT digest_status, count(*) FROM {warehouse.files} GROUP BY 1 ORDER BY 2")
    assert found == [("verified", 2), (None, 3)]
    assert len(table_of(warehouse, warehouse.files).inspect.history()) > 1
