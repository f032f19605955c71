"""What every warehouse promises, over every engine and driver that is installed."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import (
    AuditEvent,
    KnownFile,
    LedgerEntry,
    QuarantineEntry,
    columns_of,
)
from airflow_provider_cloudtrail.export.log_files import export_log_files
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from tests.support.engines import ATHENA, ENGINES, ICEBERG, ICEBERG_GLUE, ICEBERG_REST, ONE_OF_EACH, REDSHIFT, SNOWFLAKE
from tests.support.hostile import TEXTS, hostile_batch
from tests.support.log_files import FolderTrail, event, foreign
from tests.support.rows import ALL, MWAA, file_rows, known, reread
from tests.support.tables import (
    add_column,
    assert_balanced,
    column_names,
    delete_rows,
    drop_column,
    drop_table,
    expected_row,
    kept,
    query,
    read_table,
)

NewWarehouse = Callable[[str], Warehouse]


@pytest.fixture(params=[*ENGINES, *REDSHIFT[1:], *SNOWFLAKE[1:], *ICEBERG_GLUE, *ICEBERG_REST])
def warehouse(request: pytest.FixtureRequest, new_warehouse: NewWarehouse) -> Warehouse:
    prepared = new_warehouse(request.param)
    prepared.prepare()
    return prepared


COUNTS = ("records", "loaded", "duplicate", "filtered", "quarantined")
EXPECTED_COUNTS = [
    (5, 2, 1, 1, 1),
    (3, 1, 1, 0, 1),
    (None,) * 5,
    (None,) * 5,
    (2, 0, 2, 0, 0),
    (4, 3, 0, 0, 1),
    (0, 0, 0, 0, 0),
    (4, 0, 0, 0, 4),
]


def counts(entry: LedgerEntry) -> tuple[int | None, ...]:
    return tuple(getattr(entry, name) for name in COUNTS)


def test_prepare_is_repeatable(warehouse: Warehouse) -> None:
    assert read_table(warehouse) == read_table(warehouse)
    warehouse.write(hostile_batch())
    before = read_table(warehouse)
    warehouse.prepare()
    assert read_table(warehouse) == before
    assert len(before.events) == 6


def test_hostile_batch_balances(warehouse: Warehouse) -> None:
    batch = hostile_batch()
    entries = warehouse.write(batch)
    assert [counts(entry) for entry in entries] == EXPECTED_COUNTS
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert [tuple(row[name] for name in COUNTS) for row in tables.files] == EXPECTED_COUNTS
    assert [row["status"] for row in tables.files] == [file.entry.status for file in batch]
    assert len(tables.quarantine) == 8
    assert next(row for row in tables.events if row["event_id"] == "c")["user_agent"] == "aws-cli/2.30.0"


def test_one_file_after_the_other_gives_the_tables_of_one_batch(
    new_warehouse: NewWarehouse, warehouse: Warehouse
) -> None:
    for file in hostile_batch():
        warehouse.write([file])
    other = new_warehouse("sqlite")
    other.prepare()
    other.write(hostile_batch())
    assert read_table(warehouse) == read_table(other)


def test_rows_come_back_as_they_were_handed_over(warehouse: Warehouse) -> None:
    batch = hostile_batch()
    warehouse.write(batch)
    first: dict[str, AuditEvent] = {}
    for file in batch:
        for row in file.events:
            first.setdefault(row.event_id, row)
    expected = [expected_row(row, warehouse) for row in first.values()]
    assert read_table(warehouse).events == sorted(expected, key=lambda row: row["event_id"])


def test_same_batch_again_changes_nothing(warehouse: Warehouse) -> None:
    warehouse.write(hostile_batch())
    before = read_table(warehouse)
    # As two runs that asked the ledger at the same time: the second one has been overtaken.
    assert warehouse.write(hostile_batch()) == []
    assert read_table(warehouse) == before
    # As a run that knows what the ledger says, and reads the files all the same.
    entries = warehouse.write(reread(warehouse, *hostile_batch()))
    assert [counts(entry) for entry in entries] == EXPECTED_COUNTS
    assert read_table(warehouse) == before


@pytest.mark.parametrize("anew", [False, True], ids=["as they are", "made anew"])
@pytest.mark.parametrize("engine", [*ONE_OF_EACH, *REDSHIFT[:1], *SNOWFLAKE[:1], *ATHENA, *ICEBERG])
def test_rows_stay_those_of_a_file_whose_entry_was_deleted(
    new_warehouse: NewWarehouse, engine: str, anew: bool
) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    warehouse.write(hostile_batch())
    before = read_table(warehouse)
    # What users do to have a file read again: with events of its own, with others', with records in quarantine.
    again = [0, 1, 5]
    files = [hostile_batch()[number] for number in again]
    for file in files:
        for table in [warehouse.events, warehouse.files][not anew :]:
            delete_rows(warehouse, table, file.entry.log_file_uri)
    entries = warehouse.write(files)
    assert [counts(entry) for entry in entries] == [EXPECTED_COUNTS[number] for number in again]
    assert read_table(warehouse) == before


def test_empty_batches(warehouse: Warehouse) -> None:
    assert warehouse.write([]) == []
    assert warehouse.known_files([]) == {}
    assert warehouse.known_files(["s3://example-trail/unknown"]) == {}
    assert read_table(warehouse).files == []


def test_known_files(warehouse: Warehouse) -> None:
    entries = warehouse.write(hostile_batch())
    uris = [f"s3://example-trail/unknown/{number}" for number in range(1200)]
    uris[700:700] = [entry.log_file_uri for entry in entries]
    assert warehouse.known_files(uris) == {entry.log_file_uri: known(entry) for entry in entries}


def test_more_events_and_files_than_fit_into_a_statement(warehouse: Warehouse) -> None:
    batch = [
        file_rows(
            f"20260203T{10 + number // 60}{number % 60:02}Z",
            *[event(f"{number}-{index}") for index in range(4)],
            event("everywhere"),
        )
        for number in range(600)
    ]
    entries = warehouse.write(batch)
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert (len(entries), len(tables.events)) == (600, 2401)
    again = warehouse.write(reread(warehouse, *batch))
    assert again == entries
    assert read_table(warehouse) == tables


def test_file_that_somebody_else_has_read_in_between_is_not_counted(warehouse: Warehouse) -> None:
    file, other = file_rows("20260203T1000Z", event("a")), file_rows("20260203T1005Z", event("b"))
    (written,) = warehouse.write([file_rows("20260203T1000Z", event("a"), foreign("f"))])
    entries = warehouse.write([file, other])
    assert [entry.log_file_uri for entry in entries] == [other.entry.log_file_uri]
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables.file(file.entry.log_file_uri)["records"] == written.records == 2
    assert tables.event_ids == ["a", "b", "f"]


def test_ledger_that_changed_between_question_and_write(warehouse: Warehouse) -> None:
    warehouse.write([file_rows("20260203T1000Z", event("a"), foreign("f"), selection=MWAA)])
    one, two = (reread(warehouse, file_rows("20260203T1000Z", event("a"), foreign("f"))) for _ in range(2))
    assert [counts(entry) for entry in warehouse.write(one)] == [(2, 2, 0, 0, 0)]
    before = read_table(warehouse)
    assert warehouse.write(two) == []
    assert read_table(warehouse) == before
    assert_balanced(before)


def test_wider_selection_keeps_the_balance(warehouse: Warehouse) -> None:
    records = (event("a"), foreign("f"), event("a"), 7, event("b"))
    first = warehouse.write([
        file_rows("20260203T1000Z", *records, selection=MWAA),
        file_rows("20260203T1005Z", event("b"), foreign("g"), selection=MWAA),
    ])
    assert [counts(entry) for entry in first] == [(5, 2, 1, 1, 1), (2, 0, 1, 1, 0)]
    both = (file_rows("20260203T1000Z", *records), file_rows("20260203T1005Z", event("b"), foreign("g")))
    wider = warehouse.write(reread(warehouse, *both))
    assert [counts(entry) for entry in wider] == [(5, 3, 1, 0, 1), (2, 1, 1, 0, 0)]
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables.event_ids == ["a", "b", "f", "g"]
    assert len(tables.quarantine) == 1


def test_quarantined_file_that_can_be_read_now(warehouse: Warehouse) -> None:
    warehouse.write([file_rows("20260203T1000Z", body=b"no gzip")])
    assert len(read_table(warehouse).quarantine) == 1
    warehouse.write(reread(warehouse, file_rows("20260203T1000Z", event("a"))))
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables.quarantine == []
    assert tables.files[0]["status"] == "loaded"


def test_widened_selection_through_the_export(warehouse: Warehouse, trail: FolderTrail) -> None:
    for number in range(6):
        trail.deliver(f"20260203T100{number}Z", event(f"a{number // 2}"), foreign(f"f{number // 3}"), 7)
    trail.deliver("20260203T1010Z", foreign("g"))

    def export(selection: Any) -> Any:
        return export_log_files(trail.files(), store_of=lambda _: trail.store, warehouse=warehouse, selection=selection)

    first = export(MWAA)
    assert (first.files_read, first.loaded, first.duplicate, first.filtered) == (7, 3, 3, 6)
    wider = export(ALL)
    assert (wider.files_read, wider.loaded, wider.duplicate, wider.filtered) == (7, 3, 10, 0)
    # As XCom takes it, whatever numbers the driver gives.
    assert json.loads(json.dumps(wider.as_dict())) == wider.as_dict()
    assert export(MWAA).files_read == export(ALL).files_read == 0
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables.event_ids == ["a0", "a1", "a2", "f0", "f1", "g"]
    ((loaded, rows),) = query(
        warehouse, f"SELECT (SELECT SUM(loaded) FROM {warehouse.files}), (SELECT COUNT(*) FROM {warehouse.events})"
    )
    assert (loaded, rows) == (6, 6)


@pytest.mark.parametrize("value", TEXTS)
def test_values_come_back(warehouse: Warehouse, value: str) -> None:
    if len(value) > 65_535 and getattr(warehouse, "_staging", warehouse) is None:
        pytest.skip("what Redshift keeps without staged files: see test_redshift_rows.py")
    stored = value.replace("\0", "").replace("\ud83d", "\ufffd")
    record = event(
        "v",
        userAgent=value,
        eventName=value,
        requestParameters={"Name": value, "": "", value: [value, "", None, {}]},
        responseElements=value,
        resources=[],
        errorMessage="",
    )
    file = file_rows("20260203T1000Z", record, event(value, eventTime=None, x=value))
    warehouse.write([file])
    tables = read_table(warehouse)
    (row,) = tables.events
    assert row == expected_row(file.events[0], warehouse)
    in_column = kept(warehouse, stored)
    assert row["user_agent"] == row["event_name"] == row["environment_name"] == in_column
    assert row["request_parameters"] == {"Name": in_column, "": "", in_column: [in_column, "", None, {}]}
    assert row["response_elements"] == in_column
    assert (row["error_message"], row["resources"]) == (None, [])
    assert json.loads(row["raw_event"])["userAgent"] == stored
    (entry,) = tables.quarantine
    assert entry["raw"] == kept(warehouse, file.quarantine[0].raw)


def test_numbers_in_json_come_back(warehouse: Warehouse) -> None:
    numbers = {
        "above 2^53": 2**53 + 1,
        "2^63": 2**63,
        "2^64": 2**64,
        "least": -(2**63),
        "fraction": 0.1,
        "large": 1e22,
    }
    file = file_rows("20260203T1000Z", event("n", requestParameters=numbers))
    warehouse.write([file])
    (row,) = read_table(warehouse).events
    assert row["request_parameters"] == numbers
    assert json.loads(row["raw_event"])["requestParameters"] == numbers


def test_raw_event_keeps_order_space_and_repeated_members(warehouse: Warehouse) -> None:
    raw = b'{ "z":1, "eventTime":"2026-02-03T09:58:00Z", "a":1.50, "a":2e1,\n "A":"\\/" }'
    file = file_rows("20260203T1000Z", raw)
    warehouse.write([file])
    assert [row["raw_event"] for row in read_table(warehouse).events] == [raw.decode()]


def test_moments_come_back_in_utc(warehouse: Warehouse) -> None:
    times = ["2026-02-03T09:58:00.000001Z", "2026-07-01T01:00:00+05:30", "1969-12-31T23:59:59Z", "2038-01-19T03:14:08Z"]
    file = file_rows("20260203T1000Z", *[event(str(number), eventTime=at) for number, at in enumerate(times)])
    warehouse.write([file])
    assert [row["event_time"] for row in read_table(warehouse).events] == [row.event_time for row in file.events]


def test_ids_that_differ_in_case_are_different(warehouse: Warehouse) -> None:
    # In MySQL's collations trailing spaces do not count. No service makes such ids.
    ids = ["A", "a", *(["a "] if warehouse.engine != "mysql" else [])]
    (entry,) = warehouse.write([file_rows("20260203T1000Z", *map(event, ids))])
    assert entry.loaded == len(ids)
    assert read_table(warehouse).event_ids == ids


TABLES = [
    (AuditEvent, "events", "user_agent"),
    (LedgerEntry, "files", "reason"),
    (QuarantineEntry, "quarantine", "raw"),
]


@pytest.mark.parametrize(("row_type", "table", "column"), TABLES, ids=[table for _, table, _ in TABLES])
def test_columns_of_a_later_version_are_added(
    warehouse: Warehouse, new_warehouse: NewWarehouse, row_type: Any, table: str, column: str
) -> None:
    name = getattr(warehouse, table)
    warehouse.write([file_rows("20260203T1000Z", event("a"), 7), file_rows("20260203T1005Z", body=b"no gzip")])
    drop_column(warehouse, name, column)
    warehouse.prepare()
    warehouse.prepare()
    warehouse.write([file_rows("20260203T1010Z", event("b"), 7), file_rows("20260203T1015Z", body=b"no gzip")])
    tables = read_table(warehouse)
    assert_balanced(tables)
    values = {row[column] is None for row in getattr(tables, table)}
    assert values == {True, False}
    assert column_names(warehouse, name) == {wanted.name for wanted in columns_of(row_type)}


def test_table_of_the_user_with_more_columns_goes_on_working(warehouse: Warehouse) -> None:
    add_column(warehouse, warehouse.events, "remark", "TEXT")
    warehouse.prepare()
    warehouse.write([file_rows("20260203T1000Z", event("a"))])
    assert read_table(warehouse).event_ids == ["a"]


def test_a_batch_is_stored_as_a_whole_or_not_at_all(warehouse: Warehouse) -> None:
    warehouse.write([file_rows("20260203T1000Z", event("a"))])
    before = read_table(warehouse)
    file = file_rows("20260203T1005Z", event("b"), 7)
    # The quarantine is written last: what comes before it must be undone.
    drop_table(warehouse, warehouse.quarantine)
    with pytest.raises(WarehouseError, match=f"{warehouse.engine}, writing"):
        warehouse.write([file])
    warehouse.prepare()
    assert read_table(warehouse) == before
    warehouse.write([file])
    assert_balanced(read_table(warehouse))
    assert read_table(warehouse).event_ids == ["a", "b"]


def test_all_engines_hold_the_same(new_warehouse: NewWarehouse) -> None:
    results = {}
    for engine in ENGINES:
        warehouse = new_warehouse(engine)
        warehouse.prepare()
        warehouse.write(hostile_batch())
        warehouse.write([
            file_rows(
                "20260203T1100Z", *[event(str(number), userAgent=case.values[0]) for number, case in enumerate(TEXTS)]
            )
        ])
        results[engine] = (warehouse, read_table(warehouse))
    ((_, expected), *others) = results.values()
    assert len(expected.events) == 6 + len(TEXTS)
    for other, tables in others:
        for row, wanted in zip(tables.events, expected.events, strict=True):
            assert row == {name: value if name == "raw_event" else kept(other, value) for name, value in wanted.items()}
        assert (tables.files, tables.quarantine) == (expected.files, expected.quarantine)


def test_previous_is_what_the_ledger_says(warehouse: Warehouse) -> None:
    (entry,) = warehouse.write([file_rows("20260203T1000Z", body=b"no gzip")])
    (found,) = warehouse.known_files([entry.log_file_uri]).values()
    assert found == KnownFile(entry.log_file_uri, entry.etag, "quarantined", entry.reason, entry.selection, None, None)
