"""What a REST catalog with signed requests, such as S3 Tables has, says of wrong connections."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse.base import WarehouseError
from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from tests.support.engines import ICEBERG_REST
from tests.support.iceberg import OldIcebergHook

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
