"""Iceberg for tests: catalogs that run here, the provider's hook with and without Airflow, SQL to read back with."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow_provider_cloudtrail.warehouse.base import Warehouse

NAMESPACE = "audit"


def sql_catalog(file: str) -> dict[str, str]:
    """Return the properties of a catalog in a SQLite file, with the tables beside it."""
    # Two that have read and want to write wait for each other, by default for 5 seconds. Who gives up tries again.
    return {"type": "sql", "uri": f"sqlite:///{file}?timeout=0.2", "warehouse": f"file://{Path(file).parent}"}


def glue_catalog(endpoint: str, bucket: str) -> dict[str, str]:
    """Return the properties of Glue's catalog on moto's server, with the tables in a bucket of its S3."""
    keys = {"access-key-id": "example", "secret-access-key": "example", "region": "eu-west-1", "endpoint": endpoint}
    of_services = {f"{service}.{name}": value for service in ("glue", "s3") for name, value in keys.items()}
    return {"type": "glue", "warehouse": f"s3://{bucket}/warehouse", **of_services}


def connection_of(uri: str) -> str:
    """Return the id of an address's connection; to a catalog in a database it is the catalog's name, too."""
    return f"iceberg_{hashlib.sha256(uri.encode()).hexdigest()[:12]}"


class OldIcebergHook:
    """What of the provider's hook before 2.0 is of use: it says which connection it has, and opens no catalog."""

    conn_type = "iceberg"

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.conn_id = connection_of(uri)

    def get_connection(self, conn_id: str) -> Any:
        assert conn_id == self.conn_id
        return SimpleNamespace(
            schema=NAMESPACE, host=None, login=None, password=None, extra_dejson=json.loads(self.uri)
        )

    def get_conn(self) -> str:
        raise AssertionError("it would ask a server for a token")


def airflow_iceberg_hook(uri: str) -> Any:
    from airflow.providers.apache.iceberg.hooks.iceberg import IcebergHook

    conn_id = connection_of(uri)
    connection = {"conn_type": "iceberg", "schema": NAMESPACE, "extra": json.loads(uri)}
    os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = json.dumps(connection)
    hook = IcebergHook(conn_id)
    hook.uri = uri
    return hook


@cache
def catalog(uri: str) -> Any:
    """Return the catalog of an address, with its namespace."""
    from pyiceberg.catalog import load_catalog

    opened = load_catalog(connection_of(uri), **json.loads(uri))
    opened.create_namespace_if_not_exists(NAMESPACE)
    return opened


def query(warehouse: Warehouse, statement: str) -> list[tuple[Any, ...]]:
    """Run a query in DuckDB, on tables as pyiceberg reads them."""
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"CREATE SCHEMA {warehouse.schema}")
    for name in set(re.findall(rf"\b{warehouse.schema}\.\w+", statement)):
        rows = catalog(warehouse.hook.uri).load_table(name).scan().to_arrow()
        connection.register("loaded", rows)
        connection.execute(f"CREATE TABLE {name} AS FROM loaded")
        connection.unregister("loaded")
    return connection.execute(statement).fetchall()


def drop_column(warehouse: Warehouse, table: str, column: str) -> None:
    with catalog(warehouse.hook.uri).load_table(table).update_schema() as change:
        change.delete_column(column)


def add_column(warehouse: Warehouse, table: str, column: str, kind: str) -> None:
    from pyiceberg.types import LongType, StringType, TimestampType

    types: dict[str, Any] = {"TEXT": StringType(), "INTEGER": LongType(), "TIMESTAMP": TimestampType()}
    with catalog(warehouse.hook.uri).load_table(table).update_schema() as change:
        change.add_column(column, types[kind])


def delete_rows(warehouse: Warehouse, table: str, log_file_uri: str) -> None:
    catalog(warehouse.hook.uri).load_table(table).delete(f"log_file_uri = '{log_file_uri}'")


def drop_table(warehouse: Warehouse, table: str) -> None:
    # S3 Tables drops none without its files.
    catalog(warehouse.hook.uri).purge_table(table)


def column_names(warehouse: Warehouse, table: str) -> Sequence[str]:
    names: Sequence[str] = catalog(warehouse.hook.uri).load_table(table).schema().column_names
    return names
