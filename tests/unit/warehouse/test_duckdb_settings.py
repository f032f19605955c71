"""DuckDB databases that are opened with other settings than its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from tests.support.engines import DUCKDB
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.tables import assert_balanced, read_table

pytestmark = pytest.mark.skipif(not DUCKDB, reason="needs DuckDB and pyarrow")

NewWarehouse = Callable[[str], Warehouse]
OpenedWith = Callable[..., Warehouse]


@pytest.fixture
def opened_with(new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch) -> OpenedWith:
    """Return what has all connections to an empty database begin with settings, as those of Airflow's hook may."""
    import duckdb

    warehouse = new_warehouse("duckdb")

    def opened(*, read_only: bool = False, **settings: Any) -> Warehouse:
        def connect() -> Any:
            connection = duckdb.connect(warehouse.hook.path, read_only=read_only)
            for name, value in settings.items():
                connection.execute(f"SET {name} = '{value}'")
            return connection

        monkeypatch.setattr(warehouse.hook, "get_conn", connect)
        return warehouse

    return opened


def test_ids_that_differ_in_case_are_different_whatever_the_default_collation(opened_with: OpenedWith) -> None:
    warehouse = opened_with(default_collation="nocase")
    warehouse.prepare()
    warehouse.write([file_rows("20260203T1000Z", event("a"), event("b"))])
    (entry,) = warehouse.write([file_rows("20260203T1005Z", event("a"), event("B"))])
    assert (entry.loaded, entry.duplicate) == (1, 1)
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables.event_ids == ["B", "a", "b"]


def test_errors_are_read_in_whatever_form_they_come(opened_with: OpenedWith) -> None:
    warehouse = opened_with(errors_as_json=True)
    nowhere = open_warehouse(warehouse.hook, "audit", "nowhere")
    with pytest.raises(WarehouseError, match="There is no such schema: create it"):
        nowhere.prepare()


def test_a_configuration_that_is_locked_is_left_as_it_is(opened_with: OpenedWith) -> None:
    warehouse = opened_with(threads=2, lock_configuration=True)
    with warehouse.session(together=True):
        warehouse.prepare()
        (entry,) = warehouse.write([file_rows("20260203T1000Z", event("a"))])
    assert entry.loaded == 1


def test_a_database_that_is_opened_to_be_read_says_so(opened_with: OpenedWith) -> None:
    opened_with().prepare()
    warehouse = opened_with(read_only=True)
    warehouse.prepare()
    with pytest.raises(WarehouseError, match=r'type "INSERT" on database "audit" .*read-only mode'):
        warehouse.write([file_rows("20260203T1000Z", event("a"))])


def test_a_statement_that_may_not_take_its_time_says_so() -> None:
    import duckdb

    warehouse = open_warehouse(type("Hook", (), {"conn_type": "duckdb", "placeholder": "?"})())
    error = duckdb.InterruptException("INTERRUPT Error: Query exceeded maximum execution time")
    assert warehouse._describe(error) == "InterruptException: Query exceeded maximum execution time"
