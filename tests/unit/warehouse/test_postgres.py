"""PostgreSQL's own ways: rows in portions, and times of tables that somebody else has made."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_provider_cloudtrail.warehouse import postgres
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from tests.support.engines import POSTGRES
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.tables import assert_balanced, beginning_with, execute, read_table

pytestmark = pytest.mark.skipif(not POSTGRES, reason="needs a PostgreSQL server")

NewWarehouse = Callable[[str], Warehouse]


@pytest.mark.parametrize("engine", POSTGRES)
def test_events_are_asked_for_and_copied_in_portions(
    engine: str, new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_IDS_IN_ONE_QUESTION", 2)
    monkeypatch.setattr(postgres, "_ROWS_IN_ONE_BUFFER", 2)
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    (first,) = warehouse.write([file_rows("20260203T1000Z", *map(event, "abcde"))])
    (second,) = warehouse.write([file_rows("20260203T1005Z", *map(event, "abcdef"))])
    assert (first.loaded, second.loaded, second.duplicate) == (5, 1, 5)
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables.event_ids == list("abcdef")


@pytest.mark.parametrize("engine", POSTGRES)
@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Tokyo"])
def test_files_are_found_in_a_table_whose_times_have_no_zone(
    engine: str, zone: str, new_warehouse: NewWarehouse
) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    execute(warehouse, f"ALTER TABLE {warehouse.files} ALTER COLUMN delivered_at TYPE TIMESTAMP")
    with beginning_with(warehouse, f"SET TIME ZONE '{zone}'"):
        file = file_rows("20260203T1000Z", event("a"))
        warehouse.write([file])
        assert list(warehouse.known_files([file.entry.log_file_uri])) == [file.entry.log_file_uri]
