from __future__ import annotations

import pytest

from airflow_provider_cloudtrail.warehouse import iceberg_files, iceberg_schema
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from tests.support.engines import ICEBERG
from tests.support.iceberg_tasks import table_of
from tests.support.log_files import event
from tests.support.rows import file_rows

pytestmark = pytest.mark.skipif(not ICEBERG, reason="needs pyiceberg")

LONG = "z" * 5_000
"""Longer than what Arrow keeps as the greatest value of a row group."""


@pytest.mark.parametrize("agent", ["a", "b", "c", LONG])
def test_every_value_is_found_by_the_bounds_of_its_file(
    iceberg: Warehouse, monkeypatch: pytest.MonkeyPatch, agent: str
) -> None:
    monkeypatch.setattr(iceberg_schema, "_ROWS_IN_ONE_BATCH", 2)
    monkeypatch.setattr(iceberg_files, "_BATCHES_IN_ONE_GROUP", 1)
    agents = ["b", "c", "a", LONG]
    iceberg.write([
        file_rows("20260203T1000Z", *[event(f"{number}", userAgent=one) for number, one in enumerate(agents)])
    ])
    table = table_of(iceberg, iceberg.events)
    (found,) = table.scan(f"user_agent = '{agent}'", selected_fields=("user_agent",)).to_arrow().to_pylist()
    assert found == {"user_agent": agent}
    # Of other columns bounds are kept: an engine finds a day and an id by them.
    (file,) = table.inspect.files().to_pylist()
    assert file["readable_metrics"]["event_id"]["lower_bound"] == "0"
