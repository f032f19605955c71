"""Tables in Athena: how they are created and extended, where they lie, which columns they have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from airflow_provider_cloudtrail.audit_event import Column
from airflow_provider_cloudtrail.warehouse.athena_rows import DDL_TYPES
from airflow_provider_cloudtrail.warehouse.athena_session import AthenaSession, error_code
from airflow_provider_cloudtrail.warehouse.base import WarehouseError

# It is written into SQL: what would have to be escaped there is refused.
_LOCATION = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*()=+@:, -]+)*/?")


def schema_of(session: AthenaSession, schema: str | None) -> str:
    """Return the Glue database of the tables."""
    return schema or str(session.connection.schema_name)


def columns_of_table(session: AthenaSession, schema: str, table: str) -> frozenset[str] | None:
    """Return the columns of a table, by the API, which costs no statement; None if there is no such table."""
    from botocore.exceptions import ClientError

    try:
        found = _metadata(session, schema, table)
    except ClientError as error:
        if error_code(error) == "MetadataException" and "EntityNotFound" in str(error):
            return None
        raise
    return frozenset(column["Name"].lower() for column in found["Columns"])


def what_is(session: AthenaSession, schema: str, table: str) -> tuple[str, dict[str, str]]:
    """Return what a table is for Glue, which may be a view, and the types of its columns by their names."""
    found = _metadata(session, schema, table)
    return str(found.get("TableType")), {column["Name"].lower(): column["Type"] for column in found["Columns"]}


def _metadata(session: AthenaSession, schema: str, table: str) -> dict[str, Any]:
    connection = session.connection
    answer: dict[str, Any] = connection.client.get_table_metadata(
        CatalogName=connection.catalog_name,
        # Glue's names are all lowercase
        # (https://docs.aws.amazon.com/glue/latest/webapi/API_GetTable.html); in SQL case does not matter.
        DatabaseName=schema.lower(),
        TableName=_plain(table).lower(),
        **({"WorkGroup": connection.work_group} if connection.work_group else {}),
    )
    metadata: dict[str, Any] = answer["TableMetadata"]
    return metadata


def create_table(table: str, columns: Sequence[Column], folder: str, partitions: str | None) -> str:
    """
    Return the statement that creates an Iceberg table. The engine has no NOT NULL and no keys.

    :param table: its name as DML quotes it.
    :param folder: ``s3://`` folder below which it gets one of its own.
    :param partitions: what it is partitioned by.
    """
    definitions = ", ".join(f"`{column.name}` {DDL_TYPES[column.kind]}" for column in columns)
    partitioned = f"PARTITIONED BY ({partitions}) " if partitions else ""
    return (
        f"CREATE TABLE {_in_ddl(table)} ({definitions}) {partitioned}LOCATION '{folder}/{_plain(table)}/' "
        "TBLPROPERTIES ('table_type'='ICEBERG', 'format'='parquet', 'write_compression'='zstd')"
    )


def add_columns(table: str, columns: Sequence[Column]) -> str:
    """Return the statement that adds columns to a table."""
    definitions = ", ".join(f"`{column.name}` {DDL_TYPES[column.kind]}" for column in columns)
    return f"ALTER TABLE {_in_ddl(table)} ADD COLUMNS ({definitions})"


def folder_of_tables(hook: Any, session: AthenaSession, schema: str) -> str:
    """
    Return the folder below which tables are created: ``table_location`` in the extra, else where the database lies.

    :param hook: Airflow's hook.
    :raises WarehouseError: if neither is given, or it is no folder.
    """
    folder = hook.conn.extra_dejson.get("table_location") or _location_of_database(hook, session, schema)
    if not folder:
        raise WarehouseError(
            "athena: where the tables are to lie is not said; set table_location in the extra of the connection to "
            f"s3://bucket/folder, or give the Glue database {schema} a location"
        )
    if not _LOCATION.fullmatch(folder):
        raise WarehouseError(f"athena: {folder!r} is no folder of a bucket for tables; write s3://bucket/folder")
    return str(folder).rstrip("/")


def _location_of_database(hook: Any, session: AthenaSession, schema: str) -> str | None:
    connection = session.connection
    endpoint = hook.conn.get_service_endpoint_url("glue")
    glue = connection.session.client("glue", region_name=connection.region_name, endpoint_url=endpoint)
    location: str | None = glue.get_database(Name=schema.lower())["Database"].get("LocationUri")
    return location


def _plain(table: str) -> str:
    """Return the name of a table without schema and quotes."""
    return table.rpartition(".")[2].strip('"')


def _in_ddl(table: str) -> str:
    """Return the name of a table as DDL quotes it, which Hive reads."""
    return table.replace('"', "`")
