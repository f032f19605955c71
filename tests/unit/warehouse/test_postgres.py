"""PostgreSQL's own ways: rows in portions, and times of tables that somebody else has made."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse import postgres
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
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


@pytest.mark.parametrize("engine", POSTGRES)
def test_a_server_that_takes_no_writes_is_called_so(engine: str, new_warehouse: NewWarehouse) -> None:
    warehouse = new_warehouse(engine)
    read_only, said = "SET default_transaction_read_only = on", r"ing .*The server takes no writes: it is a standby, or"
    with beginning_with(warehouse, read_only), pytest.raises(WarehouseError, match=f"creat{said}"):
        warehouse.prepare()
    warehouse.prepare()
    with beginning_with(warehouse, read_only), pytest.raises(WarehouseError, match=f"writ{said}"):
        warehouse.write([file_rows("20260203T1000Z", event("a"))])


@pytest.mark.parametrize("engine", POSTGRES)
def test_a_session_that_ends_because_it_is_idle_in_a_transaction_is_lost(
    engine: str, new_warehouse: NewWarehouse
) -> None:
    warehouse = new_warehouse(engine)

    def stall(cursor: Any) -> None:
        cursor.execute("SELECT 1")
        time.sleep(1)
        cursor.execute("SELECT 1")

    with (
        beginning_with(warehouse, "SET idle_in_transaction_session_timeout = '100ms'"),
        pytest.raises(WarehouseError, match=r"stalling: .*The connection was lost: run this again"),
    ):
        warehouse.transact("stalling", stall)
