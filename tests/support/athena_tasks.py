"""Tasks that write one audit table in Athena, and what they write."""

from __future__ import annotations

import json

from airflow_provider_cloudtrail.warehouse.athena import AthenaWarehouse
from tests.support.engines import warehouse_of
from tests.support.log_files import event
from tests.support.rows import file_rows


def again(warehouse: AthenaWarehouse, place) -> AthenaWarehouse:
    """Return a warehouse of the same tables, as another task has it."""
    other = warehouse_of("athena", json.dumps(place), warehouse.table, airflow=False)
    assert isinstance(other, AthenaWarehouse)
    return other


def many(number: int, stamp: str = "20260203T1000Z", prefix: str = "many"):
    """Return a file of so many events that they do not fit into a statement."""
    return file_rows(stamp, *[event(f"{prefix}-{index:04}", userAgent="x" * 500) for index in range(number)])
