"""Tasks that write one audit table in Athena, and what they write."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from airflow_provider_cloudtrail.warehouse.athena import AthenaWarehouse
from tests.support.engines import warehouse_of
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.s3 import client_of


def again(warehouse: AthenaWarehouse, place: dict[str, Any]) -> AthenaWarehouse:
    """Return a warehouse of the same tables, as another task has it."""
    other = warehouse_of("athena", json.dumps(place), warehouse.table, airflow=False)
    assert isinstance(other, AthenaWarehouse)
    return other


def let_lock_expire(warehouse: AthenaWarehouse, place: dict[str, Any]) -> None:
    """Have the lock of a writer hold no longer."""
    expire(client_of(place["s3"]), place["bucket"], f"stage/cloudtrail-locks/audit.{warehouse.table}.json")


def expire(client: Any, bucket: str, key: str) -> None:
    """
    Have a lock hold no longer, unless it has been given back.

    One whose lease is short from the beginning is lost on a busy machine by who still needs it.
    """
    with suppress(client.exceptions.NoSuchKey):
        content = json.loads(client.get_object(Bucket=bucket, Key=key)["Body"].read())
        client.put_object(Bucket=bucket, Key=key, Body=json.dumps(content | {"lease": -1}).encode())


def many(number: int, stamp: str = "20260203T1000Z", prefix: str = "many"):
    """Return a file of so many events that they do not fit into a statement."""
    return file_rows(stamp, *[event(f"{prefix}-{index:04}", userAgent="x" * 500) for index in range(number)])
