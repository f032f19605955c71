from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse
from tests.support.athena import AthenaStandIn
from tests.support.s3 import client_of

NewWarehouse = Callable[[str], Warehouse]


@pytest.fixture
def iceberg(new_warehouse: NewWarehouse) -> Warehouse:
    """Return a warehouse in Iceberg, its tables made."""
    warehouse = new_warehouse("iceberg")
    warehouse.prepare()
    return warehouse


@pytest.fixture
def athena_warehouse(new_warehouse: NewWarehouse) -> Warehouse:
    """Return a warehouse in Athena, its tables made."""
    warehouse = new_warehouse("athena")
    warehouse.prepare()
    return warehouse


@pytest.fixture
def athena_place(athena_address: str) -> dict[str, Any]:
    """Return where the stand-ins for Athena and S3 are, and the staging bucket."""
    place: dict[str, Any] = json.loads(athena_address)
    return place


@pytest.fixture
def staged_keys(athena_place: dict[str, Any], athena_warehouse: Warehouse) -> Callable[[], list[str]]:
    """Return what lists the staging bucket, but for what killed tasks of earlier tests have left, and other locks."""
    client = client_of(athena_place["s3"])

    def listed() -> list[str]:
        found = [entry["Key"] for entry in client.list_objects_v2(Bucket=athena_place["bucket"]).get("Contents", [])]
        own = [key for key in found if "cloudtrail-locks" not in key or f".{athena_warehouse.table}.json" in key]
        return [key for key in own if "/AWSLogs/" not in key]

    before = set(listed())
    return lambda: [key for key in listed() if key not in before]


@pytest.fixture
def staged_tables(athena: AthenaStandIn) -> Callable[[], set[str]]:
    """Return what lists the external tables, but for those of earlier tests that were killed."""

    def listed() -> set[str]:
        return {name for name, table in athena.catalog.items() if table.external}

    before = listed()
    return lambda: listed() - before


@pytest.fixture
def statements_since(athena: AthenaStandIn) -> Callable[[], list[str]]:
    """Return what gives the first words of the statements since the test began."""
    before = len(athena.statements)
    return lambda: [text.split()[0] for text in athena.statements[before:]]


@pytest.fixture
def staged(new_warehouse: NewWarehouse) -> Warehouse:
    """Return a warehouse in Redshift that loads staged files, its tables made."""
    warehouse = new_warehouse("redshift")
    warehouse.prepare()
    return warehouse


@pytest.fixture
def inserted(new_warehouse: NewWarehouse) -> Warehouse:
    """Return a warehouse in Redshift that inserts rows, its tables made."""
    warehouse = new_warehouse("redshift-inserts")
    warehouse.prepare()
    return warehouse
