"""Which warehouse stands behind a connection."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow_provider_cloudtrail.warehouse.base import Warehouse

if TYPE_CHECKING:
    from airflow_provider_cloudtrail.warehouse.staging import StagingFolder


# Class of the warehouse in the module of the engine's name.
_MODULES = {
    "athena": "AthenaWarehouse",
    "duckdb": "DuckDBWarehouse",
    "iceberg": "IcebergWarehouse",
    "mysql": "MySqlWarehouse",
    "postgres": "PostgresWarehouse",
    "redshift": "RedshiftWarehouse",
    "snowflake": "SnowflakeWarehouse",
}
_STAGED = ("athena", "redshift", "snowflake")


def open_warehouse(
    hook: Any,
    table: str = "mwaa_audit_events",
    schema: str | None = None,
    staging: StagingFolder | None = None,
    *,
    conn_id: str | None = None,
) -> Warehouse:
    """
    Return the warehouse of a hook; nothing is connected yet.

    :param hook: Airflow's hook of the connection; its ``conn_type`` decides.
    :param table: name of the audit table.
    :param schema: its schema, or None for the connection's default.
    :param staging: S3 folder for engines that bulk-load through one: Redshift, Snowflake; Athena needs it.
    :param conn_id: the connection, for the error.
    :raises ValueError: if a name is not a plain identifier, the hook is neither a ``DbApiHook`` nor that of an
        Iceberg catalog, or the engine needs a staging folder and has none.
    """
    engine = getattr(hook, "conn_type", None)
    if engine in _MODULES:
        # Imported when it is needed: what its engine needs is installed for that engine only.
        module = import_module(f"airflow_provider_cloudtrail.warehouse.{engine}")
        kind: Callable[..., Warehouse] = getattr(module, _MODULES[engine])
        return kind(hook, table, schema, **({"staging": staging} if engine in _STAGED else {}))
    if not (hasattr(hook, "get_conn") and hasattr(hook, "placeholder")):
        connection = "the connection" if conn_id is None else f"conn_id={conn_id!r}"
        raise ValueError(
            f"{connection} has the type {engine!r}, which is no SQL database; use one whose hook is a DbApiHook, such "
            "as duckdb, postgres, sqlite, mysql, redshift, snowflake or athena, or an Iceberg catalog (type iceberg)"
        )
    from airflow_provider_cloudtrail.warehouse.sql import SqlWarehouse

    return SqlWarehouse(hook, table, schema)
