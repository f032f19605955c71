from __future__ import annotations

import threading

import pytest

from airflow_provider_cloudtrail.audit_event import COMPLETE, MAX_KEY_LENGTH, RECENT, LookupEntry, columns_of
from airflow_provider_cloudtrail.trail.selection import Selection
from airflow_provider_cloudtrail.warehouse.base import WarehouseError
from airflow_provider_cloudtrail.warehouse.lookups import KnownLookup, Lookups
from tests.support.engines import ENGINES
from tests.support.log_files import ACCOUNT, REGION, event
from tests.support.rows import AT, HOUR, file_rows, lookup_rows
from tests.support.tables import drop_column, query


@pytest.fixture(params=ENGINES)
def lookups(request, new_warehouse):
    found = Lookups(new_warehouse(request.param))
    found.prepare()
    found.prepare()
    return found


def test_rows_ledger_and_quarantine(lookups):
    rows = lookup_rows(event("a"), event("b"), event("a"), event("c", eventSource="s3.amazonaws.com"), "broken")
    entry = lookups.write(rows)

    assert (entry.events, entry.loaded, entry.duplicate, entry.filtered, entry.quarantined) == (5, 2, 1, 1, 1)
    warehouse = lookups.warehouse
    uri = entry.lookup_uri
    assert query(warehouse, f"SELECT event_id, log_file_uri, log_file_index FROM {warehouse.events} ORDER BY 1") == [
        ("a", uri, 0),
        ("b", uri, 1),
    ]
    columns = "lookup_uri, events, loaded, duplicate, filtered, quarantined, status, lookup_attribute"
    assert query(warehouse, f"SELECT {columns} FROM {lookups.name}") == [(uri, 5, 2, 1, 1, 1, COMPLETE, None)]
    assert query(warehouse, f"SELECT log_file_uri, record_index FROM {warehouse.quarantine}") == [(uri, 4)]
    hours = query(warehouse, f"SELECT count(*) FROM {lookups.name} WHERE window_from < window_to")
    assert hours == [(1,)]


def test_events_that_a_trail_brought_are_duplicates_and_the_other_way_round(lookups):
    warehouse = lookups.warehouse
    warehouse.write([file_rows("20260203T1000Z", event("a"), event("b"))])
    assert lookups.write(lookup_rows(event("b"), event("c"))).duplicate == 1
    (entry,) = warehouse.write([file_rows("20260203T1005Z", event("c"), event("d"))])

    assert (entry.loaded, entry.duplicate) == (1, 1)
    assert query(warehouse, f"SELECT event_id FROM {warehouse.events} ORDER BY 1") == [("a",), ("b",), ("c",), ("d",)]


def test_what_is_complete(lookups):
    first = lookups.write(lookup_rows(event("a"), "broken"))
    lookups.write(lookup_rows(event("b"), start=AT + HOUR, end=AT + 2 * HOUR, status=RECENT))
    second = lookups.write(lookup_rows(start=AT + 2 * HOUR, end=AT + 3 * HOUR))
    other = lookups.write(lookup_rows(region="us-east-1"))

    def found(region=REGION, start=AT, end=AT + 9 * HOUR, account=ACCOUNT):
        return {entry.lookup_uri for entry in lookups.complete(account, region, start, end)}

    assert found() == {first.lookup_uri, second.lookup_uri}
    assert found("us-east-1") == {other.lookup_uri}
    assert found(account="444455556666") == set()
    assert found(start=AT + HOUR) == {second.lookup_uri}
    assert found(end=AT + 2 * HOUR) == {first.lookup_uri}
    (known,) = lookups.complete(ACCOUNT, REGION, AT, AT + HOUR)
    assert known == KnownLookup(first.lookup_uri, Selection.of().to_text(), 1)


def test_all_or_nothing(lookups, monkeypatch):
    rows = lookup_rows(event("a"), "broken")
    insert = type(lookups.warehouse)._insert

    def fail(self, cursor, table, columns, rows):
        if table == self.quarantine:
            raise KeyError("secret-value")
        insert(self, cursor, table, columns, rows)

    monkeypatch.setattr(type(lookups.warehouse), "_insert", fail)
    with pytest.raises(WarehouseError) as raised:
        lookups.write(rows)
    assert "secret-value" not in str(raised.value)
    # Where each statement commits on its own, what is not in the ledger does not count, and is made up for.
    without_events = [] if lookups.warehouse.engine == "athena" else [lookups.warehouse.events]
    for table in (*without_events, lookups.name, lookups.warehouse.quarantine):
        assert query(lookups.warehouse, f"SELECT count(*) FROM {table}") == [(0,)]
    monkeypatch.undo()
    assert lookups.write(rows).loaded == 1


def test_a_trail_and_event_history_at_once(lookups):
    """Both bring the same events at the same time: each has a row, and the two ledgers account for all of them."""
    warehouse = lookups.warehouse
    batches = [[event(f"{batch}-{index}") for index in range(20)] for batch in range(8)]
    start = threading.Barrier(2)
    failed = []

    def run(write):
        try:
            start.wait()
            for number, batch in enumerate(batches):
                write(number, batch)
        except Exception as error:
            failed.append(error)

    writers = [
        lambda number, batch: warehouse.write([file_rows(f"20260203T10{number:02}Z", *batch)]),
        lambda number, batch: lookups.write(lookup_rows(*batch)),
    ]
    threads = [threading.Thread(target=run, args=(write,)) for write in writers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(600)

    assert failed == []
    assert query(warehouse, f"SELECT count(*), count(DISTINCT event_id) FROM {warehouse.events}") == [(160, 160)]
    (files,), (history,) = (
        query(warehouse, f"SELECT sum(loaded), sum(duplicate) FROM {table}")
        for table in (warehouse.files, lookups.name)
    )
    assert (files[0] + history[0], files[1] + history[1]) == (160, 160)


@pytest.mark.parametrize("hostile", ["\x00broken", '{"eventID": "\ud800"', '{"a": "\\u0000', "[" * 9_000])
def test_records_that_databases_refuse_are_quarantined(lookups, hostile):
    entry = lookups.write(lookup_rows(hostile, event("a")))
    assert (entry.loaded, entry.quarantined) == (1, 1)
    assert query(lookups.warehouse, f"SELECT count(*) FROM {lookups.warehouse.quarantine}") == [(1,)]


def test_columns_that_are_missing_are_added(lookups):
    warehouse = lookups.warehouse
    drop_column(warehouse, lookups.name, "loaded_by")
    lookups.prepare()
    lookups.write(lookup_rows(event("a")))
    assert query(warehouse, f"SELECT loaded_by FROM {lookups.name}") == [("dag.task run",)]


def test_names_that_dashboards_rely_on():
    columns = columns_of(LookupEntry)
    assert [column.name for column in columns] == [
        "lookup_uri",
        "account_id",
        "region",
        "lookup_attribute",
        "window_from",
        "window_to",
        "events",
        "loaded",
        "duplicate",
        "filtered",
        "quarantined",
        "status",
        "selection",
        "loaded_at",
        "loaded_by",
    ]
    assert [column.name for column in columns if not column.required] == ["lookup_attribute", "loaded_by"]
    assert all(len(column.meaning) > 10 for column in columns)
    assert len(lookup_rows().entry.lookup_uri) < MAX_KEY_LENGTH
