"""A REST catalog with signed requests, such as S3 Tables has: wrong connections, what it refuses, what it lacks."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse import iceberg_schema
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from tests.support.engines import ICEBERG_REST
from tests.support.faulty_proxy import Fault, FaultyProxy, Refusal, failing
from tests.support.iceberg import OldIcebergHook, catalog
from tests.support.iceberg_rest import rest_catalog, rest_server
from tests.support.iceberg_tasks import batch
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.s3 import REGION, CountedS3, client_of
from tests.support.tables import assert_balanced, read_table

pytestmark = pytest.mark.skipif(not ICEBERG_REST, reason="needs pyiceberg and moto")


@pytest.mark.parametrize(
    ("changed", "schema", "message"),
    [
        pytest.param(
            {"rest.signing-name": "execute-api"}, None, "not signed for s3tables in eu-west-1", id="signed for another"
        ),
        pytest.param({"rest.signing-region": "us-east-1"}, None, "not signed for s3tables", id="another Region"),
        pytest.param({"rest.sigv4-enabled": "false"}, None, "not signed for s3tables", id="not signed"),
        pytest.param({"client.secret-access-key": "other"}, None, "signature does not fit", id="wrong key"),
        pytest.param({"warehouse": "s3://bucket/folder"}, None, "not the ARN of a table bucket", id="no table bucket"),
        pytest.param({}, "elsewhere", "there is no namespace 'elsewhere'", id="no such namespace"),
    ],
)
def test_wrong_connections_are_told(
    rest_catalog_address: str, changed: dict[str, Any], schema: str | None, message: str
) -> None:
    hook = OldIcebergHook(json.dumps(json.loads(rest_catalog_address) | changed))
    with pytest.raises(WarehouseError, match=message):
        open_warehouse(hook, "wrong", schema).prepare()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_catalog_that_is_asked_too_often_is_asked_again(
    new_warehouse: Callable[[str], Warehouse], rest_catalog_address: str, method: str
) -> None:
    properties = json.loads(rest_catalog_address)
    warehouse = new_warehouse("iceberg-rest")
    warehouse.prepare()
    server, path = properties["uri"].rsplit("/", 1)
    with FaultyProxy(server).running() as proxy:
        address = json.dumps(properties | {"uri": f"{proxy.endpoint}/{path}"})
        # https://docs.aws.amazon.com/goto/WebAPI/s3tables-2018-05-10/UpdateTableMetadataLocation
        fault = Fault(
            *(0, False, [Refusal(429, "TooManyRequestsException")], 1),
            counts=lambda name: name.startswith(method) and "/tables/" in name,
        )
        with failing(fault, proxy):
            open_warehouse(OldIcebergHook(address), warehouse.table).write(batch())
        assert fault.happened
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert (tables.event_ids, len(tables.files), len(tables.quarantine)) == (["a", "b", "c"], 4, 2)


@pytest.mark.parametrize(("bucket", "deletes"), [("0123--table-s3", False), ("example-tables", True)])
def test_old_metadata_is_left_to_a_bucket_that_lets_nobody_delete(
    s3_server: CountedS3,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    bucket: str,
    deletes: bool,
) -> None:
    monkeypatch.setitem(iceberg_schema._PROPERTIES, "write.metadata.previous-versions-max", "2")
    location = {"LocationConstraint": REGION}
    client_of(s3_server.endpoint).create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
    with rest_server(tmp_path, s3_server.endpoint, bucket) as endpoint:
        address = json.dumps(rest_catalog(endpoint, s3_server.endpoint))
        catalog(address)
        warehouse = open_warehouse(OldIcebergHook(address), "audit")
        warehouse.prepare()
        s3_server.requests()
        with caplog.at_level(logging.WARNING):
            for minute in range(4):
                warehouse.write([file_rows(f"20260203T100{minute}Z", event(f"{minute}"))])
    removed = [
        path for method, path, _ in s3_server.requests() if method == "DELETE" and path.startswith(f"/{bucket}/")
    ]
    assert bool(removed) is deletes
    assert "Failed to delete" not in caplog.text
