"""What an error of a write shows, over every engine that is installed: no value of a record."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import pytest

from airflow_provider_cloudtrail.audit_event import AuditEvent, columns_of
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from tests.support.engines import ENGINES, ONE_OF_EACH
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.tables import add_column, drop_column, execute, query

NewWarehouse = Callable[[str], Warehouse]

SECRET = "a-value-that-must-not-show-up"


def assert_silent(error: pytest.ExceptionInfo[WarehouseError]) -> None:
    """Check that nothing that Airflow could log of an error shows a value."""
    text = "".join(traceback.format_exception(error.value))
    assert SECRET not in str(error.value)
    assert SECRET not in repr(error.value)
    assert SECRET not in text
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


@pytest.mark.parametrize("kind", ["INTEGER", "TIMESTAMP"])
def test_error_shows_no_value(new_warehouse: NewWarehouse, kind: str, request: pytest.FixtureRequest) -> None:
    for engine in ENGINES:
        if engine == "sqlite":
            continue
        warehouse = new_warehouse(engine)
        warehouse.prepare()
        drop_column(warehouse, warehouse.events, "user_agent")
        add_column(warehouse, warehouse.events, "user_agent", kind)
        with pytest.raises(WarehouseError, match=f"{warehouse.engine}, writing .*: [A-Z]") as caught:
            warehouse.write([file_rows("20260203T1000Z", event("a", userAgent=SECRET))])
        assert_silent(caught)
        tables_left = query(warehouse, f"SELECT COUNT(*) FROM {warehouse.files}")
        assert tables_left == [(0,)]


def test_error_of_a_check_shows_no_value(new_warehouse: NewWarehouse) -> None:
    for engine in ONE_OF_EACH:
        warehouse = new_warehouse(engine)
        warehouse.prepare()
        definitions = ", ".join(
            f"{warehouse.quoted(column.name)} {warehouse.dialect.types[column.kind]}"
            for column in columns_of(AuditEvent)
        )
        execute(
            warehouse,
            f"DROP TABLE {warehouse.events}",
            f"CREATE TABLE {warehouse.events} ({definitions}, "
            f"PRIMARY KEY (event_id), CHECK (user_agent <> '{SECRET}'))",
        )
        with pytest.raises(WarehouseError) as caught:
            warehouse.write([file_rows("20260203T1000Z", event("a", userAgent=SECRET))])
        assert_silent(caught)


def test_error_of_a_schema_that_is_missing_says_what_to_do(new_warehouse: NewWarehouse) -> None:
    for engine in ONE_OF_EACH:
        warehouse = open_warehouse(new_warehouse(engine).hook, "audit", "nowhere")
        with pytest.raises(WarehouseError, match="There is no such schema: create it, or leave schema out"):
            warehouse.prepare()
