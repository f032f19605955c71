"""From a trail in S3 to Redshift: operator, Airflow's RedshiftSQLHook, its driver, COPY from a staging folder."""

from __future__ import annotations

import json

import pytest

from airflow_provider_cloudtrail.exceptions import CloudTrailWarehouseError
from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator
from tests.support.engines import REDSHIFT, airflow_redshift_hook, warehouse_of
from tests.support.face import DAY
from tests.support.redshift import ROLE
from tests.support.s3 import client_of
from tests.support.tables import assert_balanced, read_table

pytestmark = pytest.mark.skipif(not REDSHIFT, reason="needs embedded PostgreSQL, redshift_connector, sqlglot and moto")


def test_operator_loads_through_the_staging_folder(bucket, redshift, redshift_address, s3_server, monkeypatch):
    hook = airflow_redshift_hook(redshift.port)
    staging = s3_server.new_bucket()

    def load(**arguments):
        given = {"conn_id": hook.get_conn_id(), "table": "operator_audit", "fail_on_quarantine": False, **arguments}
        return CloudTrailToSqlOperator(task_id="export", bucket=bucket, **DAY, **given).execute({})

    with pytest.raises(ValueError, match="staging_role='redshift-copy' is no role"):
        load(staging_uri=f"s3://{staging}/a", staging_role="redshift-copy")
    with pytest.raises(CloudTrailWarehouseError, match="not authorized to assume IAM Role"):
        load(staging_uri=f"s3://{staging}/a", staging_role="arn:aws:iam::111122223333:role/other")
    first = load(staging_uri=f"s3://{staging}/a", staging_role=ROLE)
    again = load()

    assert (first["records"], first["loaded"], first["duplicate"]) == (6, 3, 1)
    assert (first["filtered"], first["quarantined"]) == (1, 1)
    assert (again["files_read"], again["loaded"]) == (0, 0)
    warehouse = warehouse_of("redshift", redshift_address, "operator_audit")
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables.event_ids == ["a", "b", "c"]
    assert json.loads(tables.events[2]["raw_event"])["userAgent"] == "x" * 100_000
    assert client_of(s3_server.endpoint).list_objects_v2(Bucket=staging).get("Contents") is None
    text = "".join(redshift.statements)
    assert "AKIAEXAMPLEKEY" not in text
    assert "secret-of-the-worker" not in text
