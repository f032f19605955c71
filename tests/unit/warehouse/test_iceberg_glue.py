"""Glue commits and its answer is lost, or another writer was there first: the same tables, and counts that fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from tests.support.engines import ICEBERG_GLUE
from tests.support.faulty_proxy import CUT_OFF, Fault, FaultyProxy, Refusal, failing
from tests.support.iceberg import OldIcebergHook
from tests.support.iceberg_tasks import batch
from tests.support.log_files import event
from tests.support.rows import file_rows, reread
from tests.support.tables import assert_balanced, read_table

pytestmark = pytest.mark.skipif(not ICEBERG_GLUE, reason="needs pyiceberg and moto")

STEP = 17
"""Of some reads in a row one fails: that of each takes minutes."""
NewWarehouse = Callable[[str], Warehouse]


def test_answer_of_a_commit_that_is_lost(new_warehouse: NewWarehouse, glue_catalog_address: str) -> None:
    properties = json.loads(glue_catalog_address)
    with FaultyProxy(properties["glue.endpoint"]).running() as proxy:
        address = json.dumps(properties | {"glue.endpoint": proxy.endpoint})
        for number in range(10):
            warehouse = new_warehouse("iceberg-glue")
            warehouse.prepare()
            fault = Fault(number, True, [Refusal(400, "OperationTimeoutException")], 1, "AWSGlue.UpdateTable".__eq__)
            with failing(fault, proxy):
                entries = open_warehouse(OldIcebergHook(address), warehouse.table).write(batch())
            assert sum(entry.loaded or 0 for entry in entries) == 3
            tables = read_table(warehouse)
            assert_balanced(tables)
            assert (tables.event_ids, len(tables.files), len(tables.quarantine)) == (["a", "b", "c"], 4, 2)
            if not fault.happened:
                break
    # Rows, announcement, quarantine, ledger.
    assert number == 4


def test_other_writer_is_first_at_a_commit(new_warehouse: NewWarehouse, glue_catalog_address: str) -> None:
    properties = json.loads(glue_catalog_address)
    with FaultyProxy(properties["glue.endpoint"]).running() as proxy:
        address = json.dumps(properties | {"glue.endpoint": proxy.endpoint})
        # At the rows, at the ledger.
        for number in (0, 3):
            warehouse = new_warehouse("iceberg-glue")
            warehouse.prepare()
            others = [file_rows("20260203T0900Z", event("b"), event("z"), 8), batch()[1]]
            fault = Fault(
                *(number, False, [None], 1, "AWSGlue.UpdateTable".__eq__),
                meanwhile=lambda warehouse=warehouse, others=others: warehouse.write(others),  # type: ignore[misc]
            )
            with failing(fault, proxy):
                open_warehouse(OldIcebergHook(address), warehouse.table).write(batch())
            assert fault.happened
            tables = read_table(warehouse)
            assert_balanced(tables)
            assert (tables.event_ids, len(tables.files), len(tables.quarantine)) == (["a", "b", "c", "z"], 5, 3)


@pytest.mark.parametrize(
    "answer", [Refusal(500, "InternalError"), None, CUT_OFF], ids=["error 500", "connection lost", "cut off"]
)
def test_any_read_fails(new_warehouse: NewWarehouse, glue_catalog_address: str, answer: Refusal | str | None) -> None:
    properties = json.loads(glue_catalog_address) | {"glue.max-retries": 1}
    with FaultyProxy(properties["glue.endpoint"]).running() as proxy:
        address = json.dumps(properties | {"glue.endpoint": proxy.endpoint, "s3.endpoint": proxy.endpoint})
        for number in range(STEP // 2, 200, STEP):
            warehouse = new_warehouse("iceberg-glue")
            warehouse.prepare()
            fault = Fault(
                number, False, [answer], counts=lambda name: name.startswith(("GET ", "HEAD ", "AWSGlue.Get"))
            )
            with failing(fault, proxy), suppress(WarehouseError):
                open_warehouse(OldIcebergHook(address), warehouse.table).write(batch())
            warehouse.write(reread(warehouse, *batch()))
            tables = read_table(warehouse)
            assert_balanced(tables)
            assert (tables.event_ids, len(tables.files), len(tables.quarantine)) == (["a", "b", "c"], 4, 2)
            if not fault.happened:
                break
    assert STEP < number < 199
