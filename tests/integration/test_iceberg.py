"""From a trail in S3 to Iceberg tables: operator, the hook of Airflow's Iceberg provider, catalogs in SQL and Glue."""

from __future__ import annotations

import json

import pytest

from airflow_provider_cloudtrail.exceptions import CloudTrailWarehouseError
from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator
from tests.support.engines import ICEBERG, ICEBERG_GLUE, installed
from tests.support.face import DAY
from tests.support.tables import assert_balanced, read_table

pytestmark = pytest.mark.skipif(
    not ICEBERG or not ICEBERG_GLUE or not installed("airflow.providers.apache.iceberg"),
    reason="needs pyiceberg, the Iceberg provider and moto",
)


@pytest.mark.parametrize("engine", [*ICEBERG, *ICEBERG_GLUE])
def test_operator_loads_into_iceberg(engine, bucket, new_warehouse):
    warehouse = new_warehouse(engine)
    assert type(warehouse.hook).__name__ == "IcebergHook"

    def load(**arguments):
        given = {"conn_id": warehouse.hook.conn_id, "table": warehouse.table, "fail_on_quarantine": False, **arguments}
        return CloudTrailToSqlOperator(task_id="export", bucket=bucket, **DAY, **given).execute({})

    with pytest.raises(CloudTrailWarehouseError, match=r"no namespace 'nowhere' in the catalog '.*'; create it"):
        load(schema="nowhere")
    first, again = load(), load(schema="audit")

    assert (first["records"], first["loaded"], first["duplicate"]) == (6, 3, 1)
    assert (first["filtered"], first["quarantined"]) == (1, 1)
    assert (again["files_read"], again["loaded"]) == (0, 0)
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables.event_ids == ["a", "b", "c"]
    assert json.loads(tables.events[2]["raw_event"])["userAgent"] == "x" * 100_000
