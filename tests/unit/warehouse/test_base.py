from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from airflow_provider_cloudtrail.warehouse.driver_errors import (
    CONNECTION_LOST,
    describe,
    is_of_lost_connection,
    refused_by,
    sqlstate,
)
from tests.support.engines import SqliteHook


class DriverError(Exception):
    """An error of a driver, with whatever that driver adds to it."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args)
        vars(self).update(attributes)


@pytest.mark.parametrize(
    ("detail", "constraint"),
    [
        pytest.param("Key (event_id)=(a) already exists.", None, id="our key"),
        pytest.param("Key (event_time, event_id)=(2026-02-03, a)=(b) already exists.", None, id="that of partitions"),
        pytest.param("Key (user_agent)=(x)=(event_id) already exists.", "a unique user_agent", id="a column"),
        pytest.param('Key ("-")=(x) already exists.', None, id="no letter"),
        pytest.param("Key ((raw_event ->> 'x'::text))=(a) already exists.", "a unique raw_event", id="an expression"),
    ],
)
def test_key_of_the_users_own_is_told_from_ours(detail: str, constraint: str | None) -> None:
    error = DriverError("secret", sqlstate="23505", diag=SimpleNamespace(message_detail=detail))
    assert refused_by(error) == constraint


DIAGNOSTICS = SimpleNamespace(
    table_name="audit", column_name="user_agent", constraint_name=None, message_detail="Failing row contains (secret)"
)


@pytest.mark.parametrize(
    "said",
    [
        # psycopg2, of a server behind TLS that a network has cut off, idle or in the middle of a COPY.
        "SSL SYSCALL error: EOF detected\n",
        "SSL error: unexpected eof while reading\n",
        "SSL SYSCALL error: EOF detected\ninvalid socket\n",
        "invalid socket\n",
        "SSL connection has been closed unexpectedly\n",
        "could not send data to server: Broken pipe\n",
        # psycopg
        "sending copy data failed: SSL connection has been closed unexpectedly",
        "sending copy end failed: no COPY in progress",
        "flushing failed: the connection is closed",
        "consuming input failed: SSL error: unexpected eof while reading",
    ],
)
def test_connection_that_is_gone_is_called_lost(said: str) -> None:
    error = DriverError(said)
    assert is_of_lost_connection(error)
    assert describe(error) == f"DriverError. {CONNECTION_LOST}"


@pytest.mark.parametrize(
    ("error", "state", "text"),
    [
        pytest.param(DriverError("secret"), None, "DriverError", id="text alone"),
        pytest.param(DriverError(), None, "DriverError", id="nothing"),
        pytest.param(DriverError("secret", sqlstate="22P02"), "22P02", "DriverError, SQLSTATE 22P02", id="psycopg"),
        pytest.param(
            DriverError("secret", pgcode="23502", diag=DIAGNOSTICS),
            "23502",
            "DriverError, SQLSTATE 23502, table audit, column user_agent. The column user_agent must be allowed to be "
            "null, which a default does not do (ALTER TABLE)",
            id="psycopg2 with diagnostics",
        ),
        pytest.param(
            DriverError({"C": "42P01", "M": "secret"}), "42P01", "DriverError, SQLSTATE 42P01", id="redshift_connector"
        ),
        pytest.param(DriverError(1062, "Duplicate entry 'secret'"), None, "DriverError, code 1062", id="MySQL"),
        pytest.param(
            DriverError(1366, "Incorrect integer value: 'secret'", sqlstate="HY000"),
            "HY000",
            "DriverError, SQLSTATE HY000, code 1366",
            id="pymysql from 1.2 on",
        ),
        pytest.param(DriverError("secret", sqlstate=None, pgcode=None), None, "DriverError", id="no state"),
        pytest.param(
            DriverError({"C": "57014", "M": "Query (12) cancelled on user's request"}),
            "57014",
            "DriverError, SQLSTATE 57014. The statement was cancelled, by somebody or at a limit of use or time (as "
            "statement_timeout is): its history in the database says why. Run this again, it goes on from what is "
            "stored",
            id="cancelled",
        ),
        pytest.param(
            DriverError("secret", sqlstate="3F000"),
            "3F000",
            "DriverError, SQLSTATE 3F000. There is no such schema: create it, or leave schema out to use the "
            "connection's default",
            id="no schema",
        ),
        pytest.param(
            DriverError("secret", pgcode="42501"),
            "42501",
            "DriverError, SQLSTATE 42501. The user of the connection may not do that: it needs CREATE on the schema "
            "(or tables that are there), and SELECT, INSERT, UPDATE and DELETE on the tables",
            id="no privilege",
        ),
    ],
)
def test_description_of_an_error(error: Exception, state: str | None, text: str) -> None:
    assert sqlstate(error) == state
    assert describe(error) == text


@pytest.mark.parametrize(
    ("conn_type", "name"),
    [
        pytest.param("duckdb", "DuckDBWarehouse", id="duckdb"),
        pytest.param("postgres", "PostgresWarehouse", id="postgres"),
        pytest.param("sqlite", "SqlWarehouse", id="sqlite"),
        pytest.param("redshift", "RedshiftWarehouse", id="redshift"),
        pytest.param("exasol", "SqlWarehouse", id="one that is not listed"),
    ],
)
def test_engine_of_a_connection(conn_type: str, name: str) -> None:
    hook = SqliteHook("never opened")
    hook.conn_type = conn_type
    warehouse = open_warehouse(hook, "t", "s")
    assert type(warehouse).__name__ == name
    assert warehouse.engine == conn_type
    assert (warehouse.events, warehouse.files, warehouse.quarantine) == (
        '"s"."t"',
        '"s"."t_files"',
        '"s"."t_quarantine"',
    )


@pytest.mark.parametrize(
    ("conn_type", "name"),
    [
        pytest.param("mysql", "`s`.`t`", id="mysql"),
        pytest.param("snowflake", "s.t", id="snowflake"),
        pytest.param("iceberg", "s.t", id="iceberg"),
    ],
)
def test_names_are_quoted_as_the_engine_wants_it(conn_type: str, name: str) -> None:
    hook = SqliteHook("never opened")
    hook.conn_type = conn_type
    assert open_warehouse(hook, "t", "s").events == name
