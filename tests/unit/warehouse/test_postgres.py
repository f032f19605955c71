"""PostgreSQL's own ways: rows in portions, and times of tables that somebody else has made."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

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


def with_option(warehouse: Warehouse, setting: str) -> None:
    """Have connections of a warehouse begin with a setting, as the extra ``options`` of Airflow's connection does."""
    warehouse.hook.uri += f"{'&' if '?' in warehouse.hook.uri else '?'}options={quote(f'-c {setting}')}"


@pytest.mark.parametrize("path", ["nowhere", "", '"$user"'])
@pytest.mark.parametrize("engine", POSTGRES)
def test_a_search_path_that_leads_nowhere_is_named(engine: str, path: str, new_warehouse: NewWarehouse) -> None:
    warehouse = new_warehouse(engine)
    with_option(warehouse, f"search_path={path}")
    with pytest.raises(
        WarehouseError, match=r"SQLSTATE 3F000\. The search_path .* names no schema .*parameter schema, or"
    ):
        warehouse.prepare()


@pytest.mark.parametrize("engine", POSTGRES)
def test_of_several_hosts_each_says_why_it_cannot_be_connected_to(engine: str, new_warehouse: NewWarehouse) -> None:
    warehouse = new_warehouse(engine)
    folder = warehouse.hook.uri.partition("host=")[2]
    warehouse.hook.uri = f"postgresql://nobody@/postgres?host=127.0.0.1,{folder}&port=1,5432"
    with pytest.raises(WarehouseError) as caught:
        warehouse.prepare()
    assert "Connection refused" in str(caught.value)
    assert 'role "nobody" does not exist' in str(caught.value)
    assert "\n" not in str(caught.value)


def held_for(warehouse: Warehouse, seconds: float) -> threading.Timer:
    """Have another writer at the tables."""
    other = warehouse.hook.get_conn()
    other.cursor().execute(f"LOCK TABLE {warehouse.files} IN EXCLUSIVE MODE")
    timer = threading.Timer(seconds, other.close)
    timer.start()
    return timer


@pytest.mark.parametrize("engine", POSTGRES)
def test_a_limit_of_time_for_statements_is_none_for_how_long_writers_wait(
    engine: str, new_warehouse: NewWarehouse
) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    other = held_for(warehouse, 4)
    with_option(warehouse, "statement_timeout=2000")
    (entry,) = warehouse.write([file_rows("20260203T1000Z", event("a"))])
    other.join()
    assert entry.loaded == 1
    with pytest.raises(
        WarehouseError, match=r"sleeping: .*SQLSTATE 57014\..* limit of .* time \(as statement_timeout is"
    ):
        warehouse.transact("sleeping", lambda cursor: cursor.execute("SELECT pg_sleep(60)"), writes=True)


@pytest.mark.parametrize("engine", POSTGRES)
def test_a_transaction_that_takes_longer_than_it_may_is_told_so(engine: str, new_warehouse: NewWarehouse) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    other = held_for(warehouse, 3)
    with_option(warehouse, "transaction_timeout=1000")
    # All that psycopg2 gives is that the server has closed the connection.
    said = (
        "The connection was lost" if engine.endswith("psycopg2") else r"SQLSTATE 25P04\..*transaction_timeout lets it"
    )
    with pytest.raises(WarehouseError, match=f"writing .*{said}"):
        warehouse.write([file_rows("20260203T1000Z", event("a"))])
    other.join()


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
