"""What the page on warehouses says of the tables over the years: its SQL runs as it stands there, and does it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from airflow_provider_cloudtrail.trail.log_file import LogFile
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.lookups import Lookups
from tests.integration.test_readme_queries import README, answers
from tests.support.engines import ONE_OF_EACH, POSTGRES, REPOSITORY
from tests.support.exports import WatchedStore, export
from tests.support.log_files import FolderTrail, event, foreign
from tests.support.rows import ALL, AT, HOUR, lookup_rows
from tests.support.tables import assert_balanced, drop_table, execute, query, read_table

PAGE = REPOSITORY / "airflow_provider_cloudtrail" / "warehouse" / "README.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="the README is not part of an installation")

NewWarehouse = Callable[[str], Warehouse]
CUT = "2026-02-03"
QUESTION = "Were rows deleted"
DORA = {"type": "AssumedRole", "arn": "arn:aws:sts::111122223333:assumed-role/Platform/dora"}


def said(warehouse: Warehouse, behind: str) -> list[str]:
    """Return the statements of the block behind a text of the page, for the table and the days of this test."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(behind)
    block = re.search(r"```sql\n(.*?)```", rest, re.DOTALL)
    assert block is not None, behind
    text = block[1].replace("mwaa_audit_events", warehouse.table).replace("2025-01-01", CUT)
    return [statement.strip() for statement in text.split(";") if statement.strip()]


def delete_old_rows(warehouse: Warehouse) -> None:
    # Quarantined before, too, not when this test runs.
    execute(warehouse, f"UPDATE {warehouse.quarantine} SET quarantined_at = '2026-02-02T23:00:00.000000+00:00'")
    execute(warehouse, *said(warehouse, "**Old rows**"))


@pytest.fixture(params=ONE_OF_EACH)
def warehouse(request: pytest.FixtureRequest, new_warehouse: NewWarehouse) -> Warehouse:
    prepared = new_warehouse(request.param)
    prepared.prepare()
    return prepared


@pytest.fixture
def store(trail: FolderTrail) -> WatchedStore:
    return WatchedStore(trail)


@pytest.fixture
def files(trail: FolderTrail, store: WatchedStore, warehouse: Warehouse) -> list[LogFile]:
    """Deliver and load three days; of each day some events come late, and one in the next day's files again."""
    delivered = [
        trail.deliver(
            f"2026020{day}T000{minute}Z",
            event(f"{day}-{minute}", eventTime=f"2026-02-0{day}T00:00:00Z"),
            event(f"{day}-{minute}-late", eventTime=f"2026-02-0{day - 1}T23:59:00Z", userIdentity=DORA),
            event(f"{day - 1}-{minute}", eventTime=f"2026-02-0{day - 1}T00:00:00Z"),
            foreign(f"{day}-{minute}-foreign"),
            7,
        )
        for day in (2, 3, 4)
        for minute in (0, 1)
    ]
    delivered.append(trail.put(trail.deliver("20260202T1200Z").key, b"no gzip"))
    assert export(delivered, store, warehouse).loaded == 14
    return delivered


def test_old_rows_are_deleted_and_the_queries_hold(
    warehouse: Warehouse, files: list[LogFile], store: WatchedStore
) -> None:
    execute(warehouse, *said(warehouse, "**Old rows**")[:1])
    assert len(answers(warehouse, QUESTION)) == 2
    delete_old_rows(warehouse)
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert [f"{row['delivered_at']:%d}" for row in tables.files] == ["03", "03", "04", "04"]
    assert (len(tables.events), len(tables.quarantine)) == (8, 4)
    assert answers(warehouse, QUESTION) == []
    store.taken()
    assert export([file for file in files if file.delivered_at.day > 2], store, warehouse).files_read == 0
    assert read_table(warehouse) == tables
    assert sum(store.taken().values()) == 0


def test_by_the_time_of_the_event_the_query_names_the_files(warehouse: Warehouse, files: list[LogFile]) -> None:
    execute(warehouse, *(text.replace("delivered_at", "event_time") for text in said(warehouse, "**Old rows**")[:1]))
    assert len(answers(warehouse, QUESTION)) == 4


@pytest.mark.parametrize("lost", ["events", "files", "quarantine", "rows", "entries"])
def test_after_a_restore_all_is_as_it_was(
    warehouse: Warehouse, files: list[LogFile], store: WatchedStore, lost: str
) -> None:
    before = read_table(warehouse)
    if lost in ("rows", "entries"):
        table = warehouse.events if lost == "rows" else warehouse.files
        execute(warehouse, f"DELETE FROM {table} WHERE delivered_at >= '2026-02-04T00:00:00.000000+00:00'")
    else:
        drop_table(warehouse, getattr(warehouse, lost))
    warehouse.prepare()
    named = {str(row[0]) for row in answers(warehouse, QUESTION)}
    assert len(named) == {"events": 6, "files": 6, "quarantine": 0, "rows": 2, "entries": 2}[lost]
    execute(warehouse, *said(warehouse, "**After a restore**"))
    if lost in ("quarantine", "files"):
        # What has no rows in the table is loaded again by its day.
        named |= {file.uri for file in files}
    if lost == "quarantine":
        execute(warehouse, f"DELETE FROM {warehouse.files} WHERE status = 'quarantined' OR quarantined > 0")
    export([file for file in files if file.uri in named], store, warehouse)
    assert read_table(warehouse) == before
    assert answers(warehouse, QUESTION) == []


def test_after_a_restore_event_history_is_asked_again(warehouse: Warehouse) -> None:
    lookups = Lookups(warehouse)
    lookups.prepare()
    whole = lookups.write(lookup_rows(event("a"), event("b")))
    in_part = lookups.write(lookup_rows(event("c"), event("d"), start=AT + HOUR, end=AT + 2 * HOUR))
    lookups.write(lookup_rows(start=AT + 2 * HOUR, end=AT + 3 * HOUR))
    forget = said(warehouse, "Event history has a ledger of its own")
    execute(warehouse, *forget)
    assert query(warehouse, f"SELECT COUNT(*) FROM {lookups.name}") == [(3,)]
    execute(warehouse, f"DELETE FROM {warehouse.events} WHERE event_id = 'd'", *forget)
    left = {row[0] for row in query(warehouse, f"SELECT lookup_uri FROM {lookups.name}")}
    assert whole.lookup_uri in left
    assert in_part.lookup_uri not in left
    assert len(left) == 2


def test_a_person_who_was_erased_stays_so(warehouse: Warehouse, files: list[LogFile], store: WatchedStore) -> None:
    execute(warehouse, *said(warehouse, "**To erase a person**"))
    erased = [row for row in read_table(warehouse).events if row["raw_event"] == "{}"]
    assert [row["event_id"] for row in erased] == [f"{day}-{minute}-late" for day in (2, 3, 4) for minute in (0, 1)]
    assert "dora" not in str(read_table(warehouse).events)
    assert answers(warehouse, QUESTION) == []

    assert export(files, store, warehouse, ALL).files_read == 6
    execute(warehouse, f"DELETE FROM {warehouse.files}")
    assert export(files, store, warehouse, ALL).loaded == 0

    tables = read_table(warehouse)
    assert_balanced(tables)
    assert "dora" not in str(tables.events)
    assert [row for row in tables.events if row["raw_event"] == "{}"] == erased
    assert answers(warehouse, QUESTION) == []


@pytest.mark.parametrize("warehouse", POSTGRES, indirect=True)
def test_partitions_are_made_and_dropped(warehouse: Warehouse, files: list[LogFile], store: WatchedStore) -> None:
    before = read_table(warehouse)
    table = warehouse.table
    execute(warehouse, *said(warehouse, "partitions can be dropped"))
    assert read_table(warehouse) == before
    assert export(files, store, warehouse, ALL).loaded == 6
    for part in ("2024", "default"):
        execute(warehouse, f"ALTER TABLE {table} DETACH PARTITION {table}_{part}", f"DROP TABLE {table}_{part}")
    execute(warehouse, f"CREATE TABLE {table}_new PARTITION OF {table} DEFAULT", f"DELETE FROM {warehouse.files}")
    assert export(files, store, warehouse).loaded == 14
    assert query(warehouse, f"SELECT COUNT(*), COUNT(DISTINCT event_id) FROM {table}") == [(14, 14)]
