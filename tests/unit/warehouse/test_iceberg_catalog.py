from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError, WarehouseUnavailableError
from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from airflow_provider_cloudtrail.warehouse.iceberg_catalog import catalog_of
from tests.support.engines import ICEBERG
from tests.support.iceberg import NAMESPACE, OldIcebergHook, catalog, sql_catalog
from tests.support.iceberg_tasks import at_commits, batch
from tests.support.tables import assert_balanced, read_table

pytestmark = pytest.mark.skipif(not ICEBERG, reason="needs pyiceberg")


def test_namespace_is_that_of_the_connection_or_has_to_be_named() -> None:
    hook = OldIcebergHook("{}")
    assert open_warehouse(hook, "t").events == f"{NAMESPACE}.t"
    assert open_warehouse(hook, "t", "other").quarantine == "other.t_quarantine"
    hook.get_connection = lambda conn_id: SimpleNamespace(schema="", extra_dejson={"namespace": "n"})  # type: ignore[method-assign]
    assert open_warehouse(hook, "t").events == "n.t"
    hook.get_connection = lambda conn_id: SimpleNamespace(schema=None, extra_dejson={})  # type: ignore[method-assign]
    with pytest.raises(ValueError, match=r"need a namespace .* set the parameter schema"):
        open_warehouse(hook, "t")


def test_namespace_that_is_missing(iceberg: Warehouse) -> None:
    other = open_warehouse(iceberg.hook, "audit", "nowhere")
    name = re.escape(repr(catalog_of(iceberg.hook).name))
    said = f"there is no namespace 'nowhere' in the catalog {name}; .* CREATE DATABASE nowhere.* only those of {name}"
    with pytest.raises(WarehouseError, match=said):
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
    with pytest.raises(WarehouseUnavailableError, match=r"iceberg: cannot open the catalog of conn_id='"):
        warehouse.prepare()


# Rows, announcement, quarantine, ledger.
@pytest.mark.parametrize("commit", range(4))
def test_commit_that_a_reader_of_the_database_has_refused_is_not_taken_for_stored(tmp_path: Path, commit: int) -> None:
    address = json.dumps(sql_catalog(str(tmp_path / "c.db")))
    catalog(address)
    warehouse = open_warehouse(OldIcebergHook(address), "audit")
    warehouse.prepare()
    refusals = []

    def read_meanwhile(number: int, store: Callable[[], Any]) -> Any:
        if number != commit:
            return store()
        with closing(sqlite3.connect(tmp_path / "c.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM iceberg_tables").fetchall()
            try:
                return store()
            except Exception as error:
                refusals.append(str(error))
                raise

    with at_commits(warehouse, read_meanwhile):
        entries = warehouse.write(batch())
    assert ["database is locked" in refusal for refusal in refusals] == [True]
    assert sum(entry.loaded or 0 for entry in entries) == 3
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert (tables.event_ids, len(tables.files), len(tables.quarantine)) == (["a", "b", "c"], 4, 2)
