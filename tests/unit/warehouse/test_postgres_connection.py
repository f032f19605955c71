"""Connections whose settings, or those of the database, are others than ours."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from tests.support.engines import POSTGRES
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.tables import assert_balanced, read_table
from tests.unit.warehouse.test_tables_of_others import use_all

pytestmark = [
    pytest.mark.skipif(not POSTGRES, reason="needs a PostgreSQL server"),
    pytest.mark.parametrize("engine", POSTGRES),
]

NewWarehouse = Callable[[str], Warehouse]
OF_EVERY_KIND = "Zoë \N{CJK UNIFIED IDEOGRAPH-65E5} \N{WATER WAVE}"


def assert_stores_and_finds(warehouse: Warehouse) -> None:
    file = file_rows("20260203T1000Z", event("a", userAgent=OF_EVERY_KIND), 7)
    warehouse.prepare()
    warehouse.write([file])
    assert warehouse.known_files([file.entry.log_file_uri])[file.entry.log_file_uri].status == "loaded"
    (again,) = warehouse.write([file_rows("20260203T1005Z", event("a", userAgent=OF_EVERY_KIND))])
    assert (again.loaded, again.duplicate) == (0, 1)


def read(warehouse: Warehouse, column: str) -> list[Any]:
    columns = ["event_id", column]
    return warehouse.transact("reading", lambda cursor: warehouse.find(cursor, warehouse.events, columns, ["a"]))


def in_database_of_its_own(warehouse: Warehouse, encoding: str, setting: str = "") -> Warehouse:
    name = f"of_{warehouse.table}"
    connection = warehouse.hook.get_conn()
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    if setting:
        cursor.execute(f"ALTER DATABASE {name} SET {setting}")
    connection.close()
    uri = urlsplit(warehouse.hook.uri)._replace(path=f"/{name}").geturl()
    return open_warehouse(type(warehouse.hook)(uri, warehouse.hook.driver), warehouse.table)


def test_rows_are_read_whatever_cursor_the_connection_names(
    engine: str, new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow hands the extra ``cursor`` of a connection to the driver: "dictcursor", "realdictcursor"."""
    warehouse = new_warehouse(engine)
    connect = warehouse.hook.get_conn

    def with_cursor() -> Any:
        connection = connect()
        if engine.endswith("psycopg2"):
            from psycopg2.extras import RealDictCursor

            connection.cursor_factory = RealDictCursor
        else:
            from psycopg.rows import dict_row

            connection.row_factory = dict_row
        return connection

    monkeypatch.setattr(warehouse.hook, "get_conn", with_cursor)
    assert_stores_and_finds(warehouse)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_text_is_utf8_whatever_encoding_the_connection_names(
    engine: str, encoding: str, new_warehouse: NewWarehouse
) -> None:
    warehouse = new_warehouse(engine)
    plain = warehouse.hook.uri
    warehouse.hook.uri += f"{'&' if '?' in plain else '?'}client_encoding={encoding}"
    assert_stores_and_finds(warehouse)
    warehouse.hook.uri = plain
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables.events[0]["user_agent"] == OF_EVERY_KIND


def test_a_database_without_an_encoding_takes_every_character(engine: str, new_warehouse: NewWarehouse) -> None:
    warehouse = in_database_of_its_own(new_warehouse(engine), "SQL_ASCII")
    assert_stores_and_finds(warehouse)
    assert read(warehouse, "user_agent") == [("a", OF_EVERY_KIND)]


def test_a_database_that_lacks_characters_gets_no_tables(engine: str, new_warehouse: NewWarehouse) -> None:
    warehouse = in_database_of_its_own(new_warehouse(engine), "LATIN1")
    with pytest.raises(WarehouseError, match=r"creating .*the encoding LATIN1, which cannot store every character"):
        warehouse.prepare()


def test_tables_that_are_there_take_what_their_encoding_has(
    engine: str, new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = in_database_of_its_own(new_warehouse(engine), "LATIN1")
    with monkeypatch.context() as patch:
        patch.setattr("airflow_provider_cloudtrail.warehouse.postgres.lacks_characters", lambda _: None)
        warehouse.prepare()
    warehouse.prepare()
    warehouse.write([file_rows("20260203T1000Z", event("a", userAgent="Zoë"))])
    with pytest.raises(WarehouseError, match=r"UntranslatableCharacter, SQLSTATE 22P05.* move the tables to one with"):
        warehouse.write([file_rows("20260203T1005Z", event("b", userAgent=OF_EVERY_KIND))])


def test_a_connection_that_cannot_be_set_up_is_closed(
    engine: str, new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = new_warehouse(engine)
    opened: list[Any] = []

    def refuse(connection: Any) -> None:
        opened.append(connection)
        raise LookupError

    monkeypatch.setattr("airflow_provider_cloudtrail.warehouse.postgres.set_up", refuse)
    with pytest.raises(WarehouseError, match="LookupError"):
        warehouse.prepare()
    assert opened
    assert all(connection.closed for connection in opened)


@pytest.mark.parametrize(
    "setting",
    [
        "standard_conforming_strings=off",
        "backslash_quote=off",
        "array_nulls=off",
        "transform_null_equals=on",
        "quote_all_identifiers=on",
        "default_transaction_isolation=serializable",
        "default_transaction_deferrable=on",
        "row_security=off",
        "session_replication_role=replica",
        "lock_timeout=1",
        "TimeZone=America/New_York",
        "DateStyle=SQL,DMY",
        "IntervalStyle=sql_standard",
        "temp_file_limit=0",
        "client_min_messages=error",
    ],
)
def test_all_is_the_same_whatever_the_connection_sets(engine: str, setting: str, new_warehouse: NewWarehouse) -> None:
    warehouse = new_warehouse(engine)
    plain = warehouse.hook.uri
    warehouse.hook.uri += f"{'&' if '?' in plain else '?'}options={quote(f'-c {setting}')}"
    warehouse.prepare()
    use_all(warehouse)
    text = "\\.\n\\N \\' \\\\ '' \t é"
    warehouse.write([file_rows("20260203T1100Z", event("hostile", userAgent=text))])
    assert warehouse.transact(
        "reading", lambda cursor: warehouse.find(cursor, warehouse.events, ["event_id", "user_agent"], ["hostile"])
    ) == [("hostile", text)]


def test_times_are_read_whatever_form_the_database_has_them_in(engine: str, new_warehouse: NewWarehouse) -> None:
    """psycopg reads no other than ISO."""
    warehouse = in_database_of_its_own(new_warehouse(engine), "UTF8", "DateStyle TO German")
    assert_stores_and_finds(warehouse)
    ((_, event_time),) = read(warehouse, "event_time")
    assert event_time == datetime(2026, 2, 3, 9, 58, tzinfo=timezone.utc)
