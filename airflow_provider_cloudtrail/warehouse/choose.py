"""Which warehouse stands behind a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cloudtrail.warehouse.base import Warehouse

if TYPE_CHECKING:
    from airflow_provider_cloudtrail.warehouse.staging import StagingFolder


def open_warehouse(
    hook: Any, table: str = "mwaa_audit_events", schema: str | None = None, staging: StagingFolder | None = None
) -> Warehouse:
    """
    Return the warehouse of a hook; nothing is connected yet.

    :param hook: Airflow's hook of the connection; its ``conn_type`` decides.
    :param table: name of the audit table.
    :param schema: its schema, or None for the connection's default.
    :param staging: S3 folder for engines that bulk-load through one: Redshift and Snowflake; Athena needs it.
    :raises ValueError: if a name is not a plain identifier, the hook is no ``DbApiHook``, or the engine needs a
        staging folder and has none.
    """
    engine = getattr(hook, "conn_type", None)
    # Each module is imported when it is needed: what its engine needs is installed for that engine only.
    if engine == "duckdb":
        from airflow_provider_cloudtrail.warehouse.duckdb import DuckDBWarehouse

        return DuckDBWarehouse(hook, table, schema)
    if engine == "postgres":
        from airflow_provider_cloudtrail.warehouse.postgres import PostgresWarehouse

        return PostgresWarehouse(hook, table, schema)
    if engine == "redshift":
        from airflow_provider_cloudtrail.warehouse.redshift import RedshiftWarehouse

        return RedshiftWarehouse(hook, table, schema, staging=staging)
    if engine == "snowflake":
        from airflow_provider_cloudtrail.warehouse.snowflake import SnowflakeWarehouse

        return SnowflakeWarehouse(hook, table, schema, staging=staging)
    if engine == "athena":
        from airflow_provider_cloudtrail.warehouse.athena import AthenaWarehouse

        return AthenaWarehouse(hook, table, schema, staging=staging)
    if not (hasattr(hook, "get_conn") and hasattr(hook, "placeholder")):
        raise ValueError(
            f"the connection has type {engine!r}, which is no SQL database; use one whose hook is a DbApiHook, "
            "such as duckdb, postgres, sqlite, mysql, redshift, snowflake or athena"
        )
    from airflow_provider_cloudtrail.warehouse.sql import SqlWarehouse

    return SqlWarehouse(hook, table, schema)
