"""Read the three tables back, so that they compare equal whatever the engine."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any
from unittest import mock

from airflow_provider_cloudtrail.audit_event import (
    AuditEvent,
    Column,
    ColumnKind,
    LedgerEntry,
    QuarantineEntry,
    columns_of,
)
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.relational import RelationalWarehouse
from tests.support import iceberg

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_OF_THE_RUN = ("loaded_at", "loaded_by", "quarantined_at")
Row = dict[str, Any]
Ask = Callable[[str], list[tuple[Any, ...]]]


@dataclass
class Tables:
    """What a warehouse holds, without what differs from run to run; rows in the order of their keys."""

    events: list[Row]
    files: list[Row]
    quarantine: list[Row]

    @property
    def event_ids(self) -> list[str]:
        return [row["event_id"] for row in self.events]

    def file(self, uri: str) -> Row:
        (row,) = (row for row in self.files if row["log_file_uri"] == uri)
        return row


def read_table(warehouse: Warehouse) -> Tables:
    """Read all three tables, as they are at one moment where an engine has transactions."""
    with _session(warehouse) as ask:
        if warehouse.engine == "postgres":
            # A server goes on with the COMMIT of a process that was killed: maybe between the first table and the last.
            ask("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        return Tables(
            _read(warehouse, ask, warehouse.events, AuditEvent, ("event_id",)),
            _read(warehouse, ask, warehouse.files, LedgerEntry, ("log_file_uri",)),
            _read(warehouse, ask, warehouse.quarantine, QuarantineEntry, ("log_file_uri", "record_index")),
        )


def query(warehouse: Warehouse, statement: str) -> list[tuple[Any, ...]]:
    """Run a query in a connection of its own."""
    with _session(warehouse) as ask:
        return ask(statement)


def wait_for_server(warehouse: Warehouse) -> None:
    """Wait until a server has done what killed processes have asked for: it goes on with a COMMIT without them."""
    if warehouse.engine != "postgres":
        return
    others = "SELECT count(*) FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid()"
    deadline = time.monotonic() + 60
    while query(warehouse, others) != [(0,)]:
        assert time.monotonic() < deadline, "The server is still at work for a process that was killed."
        time.sleep(0.01)


@contextmanager
def _session(warehouse: Warehouse) -> Iterator[Ask]:
    """Yield what runs statements in one connection, and returns their rows."""
    if warehouse.engine == "iceberg":
        yield partial(iceberg.query, warehouse)
        return
    with closing(warehouse.hook.get_conn()) as connection:
        cursor = connection if warehouse.engine == "duckdb" else connection.cursor()

        def ask(statement: str) -> list[tuple[Any, ...]]:
            cursor.execute(statement)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

        yield ask


def execute(warehouse: Warehouse, *statements: str) -> None:
    """Run statements and commit them."""
    with closing(warehouse.hook.get_conn()) as connection:
        cursor = connection if warehouse.engine == "duckdb" else connection.cursor()
        for statement in statements:
            is_ddl = warehouse.engine == "athena" and not statement.startswith("DELETE")
            cursor.execute(_in_hive(statement) if is_ddl else statement)
        if warehouse.engine != "duckdb":
            connection.commit()


@contextmanager
def beginning_with(warehouse: Warehouse, statement: str) -> Iterator[None]:
    """Have each new connection of a warehouse in PostgreSQL begin with a statement, such as one that takes a role."""
    connect = warehouse.hook.get_conn

    def begun() -> Any:
        connection = connect()
        connection.cursor().execute(statement)
        connection.commit()
        return connection

    with mock.patch.object(warehouse.hook, "get_conn", begun):
        yield


def delete_rows(warehouse: Warehouse, table: str, log_file_uri: str) -> None:
    """Delete the rows of a log file, as a user does."""
    if warehouse.engine == "iceberg":
        iceberg.delete_rows(warehouse, table, log_file_uri)
    else:
        execute(warehouse, f"DELETE FROM {table} WHERE {quoted(warehouse, 'log_file_uri')} = '{log_file_uri}'")


def _in_hive(statement: str) -> str:
    """Return DDL as Athena has it."""
    types = {"TEXT": "string", "INTEGER": "int", "TIMESTAMP": "timestamp"}
    added = re.sub(r"ADD COLUMN (\w+) (\w+)", lambda found: f"ADD COLUMNS ({found[1]} {types[found[2]]})", statement)
    return added.replace('"', "`")


def drop_column(warehouse: Warehouse, table: str, column: str) -> None:
    if warehouse.engine == "iceberg":
        iceberg.drop_column(warehouse, table, column)
    else:
        execute(warehouse, f"ALTER TABLE {table} DROP COLUMN {quoted(warehouse, column)}")


def add_column(warehouse: Warehouse, table: str, column: str, kind: str) -> None:
    """Add a column: TEXT, INTEGER or TIMESTAMP."""
    if warehouse.engine == "iceberg":
        iceberg.add_column(warehouse, table, column, kind)
    else:
        execute(warehouse, f"ALTER TABLE {table} ADD COLUMN {column} {kind}")


def drop_table(warehouse: Warehouse, table: str) -> None:
    if warehouse.engine == "iceberg":
        iceberg.drop_table(warehouse, table)
    else:
        execute(warehouse, f"DROP TABLE {table}")


def column_names(warehouse: Warehouse, table: str) -> set[str]:
    if warehouse.engine == "iceberg":
        return set(iceberg.column_names(warehouse, table))
    connection = warehouse.hook.get_conn()
    try:
        cursor = connection.cursor()
        cursor.execute(f"SELECT * FROM {table} WHERE 1 = 0")
        return {column[0].lower() for column in cursor.description}
    finally:
        connection.close()


def quoted(warehouse: Warehouse, name: str) -> str:
    """Return a quoted identifier."""
    return warehouse.quoted(name) if isinstance(warehouse, RelationalWarehouse) else f'"{name}"'


def _read(warehouse: Warehouse, ask: Ask, table: str, row_type: Any, keys: tuple[str, ...]) -> list[Row]:
    columns = [column for column in columns_of(row_type) if column.name not in _OF_THE_RUN]
    names = ", ".join(_selected(warehouse, column) for column in columns)
    rows = [
        {column.name: _value(column, value) for column, value in zip(columns, row, strict=True)}
        for row in ask(f"SELECT {names} FROM {table}")
    ]
    return sorted(rows, key=lambda row: tuple((row[key] is not None, row[key]) for key in keys))


def _selected(warehouse: Warehouse, column: Column) -> str:
    name = quoted(warehouse, column.name)
    if warehouse.engine in ("duckdb", "iceberg") and column.kind is ColumnKind.TIMESTAMP:
        # Its Python client needs pytz for a time with a zone.
        return f"epoch_us({name})"
    if warehouse.engine == "postgres" and column.kind is ColumnKind.TIMESTAMP:
        return f"(extract(epoch FROM {name}) * 1000000)::BIGINT"
    if warehouse.engine == "postgres" and column.kind in (ColumnKind.JSON, ColumnKind.RAW_JSON):
        return f"{name}::TEXT"
    return name


def _value(column: Column, value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is None:
        # A column of an engine that has no zones holds UTC.
        return value.replace(tzinfo=timezone.utc)
    if value is None or isinstance(value, datetime):
        return value
    if column.kind is ColumnKind.RAW_JSON and value.startswith("["):
        # Pieces of the text of a record that Redshift cannot hold otherwise.
        return "".join(json.loads(value))
    if column.kind is ColumnKind.TIMESTAMP:
        return datetime.fromisoformat(value) if isinstance(value, str) else _EPOCH + timedelta(microseconds=value)
    if column.kind is ColumnKind.BOOLEAN:
        return bool(value)
    # Engines may re-order the members of JSON columns; of the raw event not a character may change.
    return json.loads(value) if column.kind is ColumnKind.JSON else value


def expected_row(row: AuditEvent, warehouse: Warehouse) -> Row:
    """Return a row that was handed to a warehouse in the form in which it is read back."""
    return {
        column.name: value
        if column.kind is ColumnKind.RAW_JSON
        else kept(warehouse, json.loads(value) if column.kind is ColumnKind.JSON and value is not None else value)
        for column, value in zip(columns_of(AuditEvent), row, strict=True)
        if column.name not in _OF_THE_RUN
    }


def _shortened(text: str, most: int) -> str:
    size = len(text.encode())
    remark = f"... (shortened from {size} bytes)"
    return text if size <= most else text.encode()[: most - len(remark)].decode(errors="ignore") + remark


def kept(warehouse: Warehouse, value: Any) -> Any:
    """Return what an engine keeps of a value: in Redshift no string has more than 65,535 bytes."""
    if warehouse.engine != "redshift":
        return value
    if isinstance(value, str):
        return _shortened(value, 65_535)
    if isinstance(value, dict):
        return {kept(warehouse, name): kept(warehouse, member) for name, member in value.items()}
    return [kept(warehouse, item) for item in value] if isinstance(value, list) else value


def assert_balanced(tables: Tables) -> None:
    """Check the balance of each parsed file, and that the files account for every row of the table."""
    parsed = [row for row in tables.files if row["status"] == "loaded"]
    for row in parsed:
        assert row["records"] == row["loaded"] + row["duplicate"] + row["filtered"] + row["quarantined"], row
        assert min(row[name] for name in ("loaded", "duplicate", "filtered", "quarantined")) >= 0, row
    for row in tables.files:
        if row["status"] != "loaded":
            counts = [row[name] for name in ("records", "loaded", "duplicate", "filtered", "quarantined")]
            assert counts == [None] * 5, row
    assert sum(row["loaded"] for row in parsed) == len(tables.events)
    assert len(set(tables.event_ids)) == len(tables.events)
    by_file: dict[str, int] = {}
    for row in tables.events:
        by_file[row["log_file_uri"]] = by_file.get(row["log_file_uri"], 0) + 1
    assert {row["log_file_uri"]: row["loaded"] for row in parsed if row["loaded"]} == by_file
    of_records = [row for row in tables.quarantine if row["record_index"] is not None]
    assert sum(row["quarantined"] for row in parsed) == len(of_records)
    of_files = {row["log_file_uri"] for row in tables.quarantine if row["record_index"] is None}
    assert of_files == {row["log_file_uri"] for row in tables.files if row["status"] == "quarantined"}
