"""
DuckDB: Arrow tables into a database file, one writer at a time.

A DuckDB file can be open for writing in one process only. The file is therefore opened for each
transaction and closed behind it, and a task that finds it taken waits.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from airflow_provider_cloudtrail.audit_event import AuditEvent, Column, ColumnKind, columns_of
from airflow_provider_cloudtrail.warehouse.base import Dialect, Warehouse, WarehouseError

# These say something about files and memory, never about values.
_SAFE_TO_QUOTE = ("IOException", "OutOfMemoryException", "ConnectionException", "CatalogException", "BinderException")
_HOLDER = re.compile(r"PID \d+")
_ONE_AT_A_TIME = threading.Lock()


class DuckDBWarehouse(Warehouse):
    """A warehouse in a DuckDB file (or MotherDuck), through Airflow's ``DuckDBHook``."""

    engine = "duckdb"
    # Each statement goes through the whole column, whatever the number of values that it looks for.
    portion = 5_000
    dialect = Dialect({
        ColumnKind.KEY: "VARCHAR",
        ColumnKind.TEXT: "VARCHAR",
        ColumnKind.INTEGER: "BIGINT",
        ColumnKind.BOOLEAN: "BOOLEAN",
        ColumnKind.TIMESTAMP: "TIMESTAMPTZ",
        ColumnKind.JSON: "JSON",
        ColumnKind.RAW_JSON: "JSON",
    })

    def prepare(self) -> None:
        """
        Create or extend the tables.

        :raises WarehouseError: also for an in-memory database, which would be gone with the task.
        """
        if str(self.hook.get_database()).startswith(":memory:"):
            raise WarehouseError(
                "the DuckDB connection names no database file, so the audit table would be lost when the task ends: "
                'set its host to the path of a file, as in {"conn_type": "duckdb", "host": "/data/audit.duckdb"}'
            )
        super().prepare()

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        # Threads that open and close one file at the same time get errors of all kinds from DuckDB.
        with _ONE_AT_A_TIME, super()._transaction() as cursor:
            yield cursor

    def _connect(self) -> Any:
        connection = self.hook.get_conn()
        connection.execute("BEGIN TRANSACTION")
        return connection

    def _cursor(self, connection: Any) -> Any:
        # DuckDB's cursor() opens a connection of its own, outside of this transaction.
        return connection

    def _lock(self, cursor: Any) -> None:
        """Do nothing: other processes are out while the file is open, other threads wait for their turn."""

    def _is_conflict(self, error: Exception) -> bool:
        name = type(error).__name__
        if name == "IOException":
            return "lock" in str(error).lower()
        return name in ("TransactionException", "ConstraintException") or super()._is_conflict(error)

    def _describe(self, error: Exception) -> str:
        name = type(error).__name__
        if name not in _SAFE_TO_QUOTE:
            return super()._describe(error)
        text = str(error).splitlines()[0]
        holder = _HOLDER.search(str(error))
        return f"{name}: {text}" + (f" ({holder[0]})" if holder and holder[0] not in text else "")

    def _advice(self) -> str:
        return (
            "DuckDB allows one writing process: let the other task finish, close programs that have the file open, "
            "run tasks that write it in a pool with one slot, or use PostgreSQL."
        )

    def _insert_new_events(self, cursor: Any, events: Sequence[AuditEvent]) -> set[str]:
        columns = columns_of(AuditEvent)
        names = self._names(columns)
        cursor.register("cloudtrail_stage", _arrow_table(columns, events))
        cursor.execute(
            f"INSERT INTO {self.events} ({names}) SELECT {names} FROM cloudtrail_stage "
            f"ON CONFLICT DO NOTHING RETURNING {self.quoted('event_id')}"
        )
        inserted = {row[0] for row in cursor.fetchall()}
        cursor.unregister("cloudtrail_stage")
        return inserted

    def _insert(self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        names = self._names(columns)
        cursor.register("cloudtrail_stage", _arrow_table(columns, rows))
        cursor.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM cloudtrail_stage")
        cursor.unregister("cloudtrail_stage")

    def _find(self, cursor: Any, table: str, columns: Sequence[str], keys: Sequence[str]) -> list[tuple[Any, ...]]:
        if not keys:
            return []
        # A join takes a fifth of the time of a list of placeholders.
        names, key = ", ".join(map(self.quoted, columns)), self.quoted(columns[0])
        wanted = Column("cloudtrail_wanted", ColumnKind.KEY, True, "key that is looked for")
        cursor.register("cloudtrail_stage", _arrow_table([wanted], [(one,) for one in dict.fromkeys(keys)]))
        cursor.execute(f"SELECT {names} FROM {table} JOIN cloudtrail_stage ON {key} = {wanted.name}")
        found: list[tuple[Any, ...]] = cursor.fetchall()
        cursor.unregister("cloudtrail_stage")
        return found

    def _update(
        self,
        cursor: Any,
        table: str,
        columns: Sequence[Column],
        rows: Sequence[Sequence[Any]],
        condition: str,
        values: Sequence[Any],
    ) -> None:
        staged = [replace(column, name=f"new_{column.name}") for column in columns]
        (key, new_key), *others = [
            (self.quoted(column.name), self.quoted(new.name)) for column, new in zip(columns, staged, strict=True)
        ]
        assignments = ", ".join(f"{column} = {new}" for column, new in others)
        cursor.register("cloudtrail_stage", _arrow_table(staged, rows))
        cursor.execute(
            f"UPDATE {table} SET {assignments} FROM cloudtrail_stage WHERE {key} = {new_key} {condition}", list(values)
        )
        cursor.unregister("cloudtrail_stage")


def _arrow_table(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> Any:
    import pyarrow

    types = {
        ColumnKind.INTEGER: pyarrow.int64(),
        ColumnKind.BOOLEAN: pyarrow.bool_(),
        ColumnKind.TIMESTAMP: pyarrow.timestamp("us", tz="UTC"),
    }
    return pyarrow.table({
        column.name: pyarrow.array(values, type=types.get(column.kind, pyarrow.string()))
        for column, values in zip(columns, zip(*rows, strict=True), strict=True)
    })
