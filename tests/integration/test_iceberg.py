"""From a trail in S3 to Iceberg tables: operator, the hook of Airflow's Iceberg provider, catalogs in SQL and Glue."""

from __future__ import annotations

import json

import pytest

from airflow_provider_cloudtrail.exceptions import CloudTrailWarehouseError
from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator
from tests.support.engines import ICEBERG, ICEBERG_GLUE, installed
from tests.support.log_files import event, foreign, key_of, log_bytes
from tests.support.s3 import REGION, client_of
from tests.support.tables import assert_balanced, read_table

pytestmark = pytest.mark.skipif(
    not ICEBERG or not ICEBERG_GLUE or not installed("airflow.providers.apache.iceberg"),
    reason="needs pyiceberg, the Iceberg provider and moto",
)

DAY = {"delivered_from": "2026-02-03T00:00:00Z", "delivered_to": "2026-02-04T00:00:00Z"}


@pytest.fixture
def bucket(s3_server, monkeypatch):
    connection = {
        "conn_type": "aws",
        "login": "AKIAEXAMPLEKEY",
        "password": "secret-of-the-worker",
        "extra": {
            "region_name": REGION,
            "endpoint_url": s3_server.endpoint,
            "config_kwargs": {"s3": {"addressing_style": "path"}},
        },
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    bucket = s3_server.new_bucket()
    client = client_of(s3_server.endpoint)
    for stamp, records in {
        "20260203T1000Z": [event("a"), event("b"), foreign("f"), 7],
        "20260203T1005Z": [event("b"), event("c", userAgent="x" * 100_000)],
    }.items():
        client.put_object(Bucket=bucket, Key=key_of(stamp), Body=log_bytes(*records))
    return bucket


@pytest.mark.parametrize("engine", [*ICEBERG, *ICEBERG_GLUE])
def test_operator_loads_into_iceberg(engine, bucket, new_warehouse):
    warehouse = new_warehouse(engine)
    assert type(warehouse.hook).__name__ == "IcebergHook"

    def load(**arguments):
        given = {"conn_id": warehouse.hook.conn_id, "table": warehouse.table, "fail_on_quarantine": False, **arguments}
        return CloudTrailToSqlOperator(task_id="export", bucket=bucket, **DAY, **given).execute({})

    with pytest.raises(CloudTrailWarehouseError, match="there is no namespace 'nowhere' in the catalog; create it"):
        load(schema="nowhere")
    first, again = load(), load(schema="audit")

    assert (first["records"], first["loaded"], first["duplicate"]) == (6, 3, 1)
    assert (first["filtered"], first["quarantined"]) == (1, 1)
    assert (again["files_read"], again["loaded"]) == (0, 0)
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables.event_ids == ["a", "b", "c"]
    assert json.loads(tables.events[2]["raw_event"])["userAgent"] == "x" * 100_000
