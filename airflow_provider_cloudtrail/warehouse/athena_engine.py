"""
What Athena makes of the statements that all SQL engines share: connection, lock, tables, errors, ``MERGE``.

Every statement commits on its own. What the others do in two statements of a transaction is one ``MERGE`` here, which
can be repeated when its answer was lost or the task was killed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from airflow_provider_cloudtrail.audit_event import Column, ColumnKind
from airflow_provider_cloudtrail.warehouse.athena_errors import advice, describe, is_of_busy_catalog, is_throttled
from airflow_provider_cloudtrail.warehouse.athena_lock import LEASE, WriterLock
from airflow_provider_cloudtrail.warehouse.athena_rows import DDL_TYPES, VALUES_BYTES, source_of
from airflow_provider_cloudtrail.warehouse.athena_session import (
    AthenaSession,
    LostLockError,
    connect,
    literal,
    with_values,
)
from airflow_provider_cloudtrail.warehouse.athena_tables import (
    add_columns,
    columns_of_table,
    create_table,
    folder_of_tables,
    schema_of,
    what_is,
)
from airflow_provider_cloudtrail.warehouse.base import WarehouseError
from airflow_provider_cloudtrail.warehouse.conditions import AllOf, Condition
from airflow_provider_cloudtrail.warehouse.dialect import Dialect
from airflow_provider_cloudtrail.warehouse.relational import RelationalWarehouse
from airflow_provider_cloudtrail.warehouse.sql_conditions import as_sql
from airflow_provider_cloudtrail.warehouse.staging import StagingFolder

log = logging.getLogger(__name__)

# With so many statements a staged table costs less.
_PORTIONS_IN_A_ROW = 3
_KEYS_OF_QUARANTINE = ["log_file_uri", "record_index"]


class _LockedError(Exception):
    """Raised when another writer keeps the lock."""


class AthenaEngine(RelationalWarehouse):
    """
    An engine whose every statement commits on its own, and whose writers a lock keeps apart.

    :param staging: S3 folder that rows go through, and that holds the lock.
    :raises ValueError: if there is none, or a name is no plain identifier.
    """

    engine = "athena"
    dialect = Dialect(DDL_TYPES)
    lease: ClassVar[timedelta] = LEASE
    """How long the lock of a writer that was killed keeps the others out."""

    def __init__(self, *args: Any, staging: StagingFolder | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if staging is None:
            raise ValueError(
                "Athena needs staging_uri: rows go through an S3 folder, because a statement has 262,144 bytes at "
                "most; write s3://bucket/folder, the same for all tasks that write these tables"
            )
        self._staging = staging
        # A warehouse may be used by several threads.
        self._of_thread = threading.local()

    # -- connection, lock, errors ------------------------------------------------------------------

    def _connect(self) -> AthenaSession:
        # Kept: a new one could have to assume a role first.
        if not hasattr(self._of_thread, "connection"):
            self._of_thread.connection = connect(self.hook)
        return AthenaSession(self._of_thread.connection, self.hook.placeholder, self._lock_timeout)

    def _lock(self, cursor: AthenaSession) -> None:
        if not hasattr(self._of_thread, "client"):
            self._of_thread.client = self._staging.connect()
        # As Glue knows the table, however it is written.
        name = f"{schema_of(cursor, self.schema)}.{self.table}".lower()
        key = self._staging.key(f"cloudtrail-locks/{name}.json")
        lock = WriterLock(self._of_thread.client, self._staging.bucket, key, self.lease)
        deadline = time.monotonic() + self._lock_timeout.total_seconds()
        pause = 0.1
        cursor.hold(lock)
        while not lock.acquire(cursor.end):
            if time.monotonic() > deadline:
                raise _LockedError
            time.sleep(pause)
            pause = min(pause * 1.5, 2.0)

    def _is_conflict(self, error: Exception) -> bool:
        if isinstance(error, (_LockedError, LostLockError)) or isinstance(error.__cause__, LostLockError):
            return True
        return is_throttled(error) or "ICEBERG_COMMIT_ERROR" in str(error)

    def _describe(self, error: Exception) -> str:
        if isinstance(error, _LockedError):
            return f"the lock below {self._staging.uri}/cloudtrail-locks was not to be had"
        said = describe(error)
        what_to_do = "" if self._is_conflict(error) else advice(error)
        return f"{said}. {what_to_do}" if what_to_do else said

    def _obstacle(self, error: Exception) -> str:
        if not is_throttled(error):
            return super()._obstacle(error)
        if is_of_busy_catalog(error):
            return (
                f"too many calls of the Glue catalog at once in its account and Region ({self._describe(error)}). Let "
                "other tasks and queries finish, or have Glue's quotas raised (calls such as GetTable)"
            )
        return (
            f"too many statements at once in its account and Region ({self._describe(error)}). Let other queries "
            "finish, or have Athena's quotas raised (active queries, calls of its API such as StartQueryExecution)"
        )

    # -- tables ------------------------------------------------------------------------------------

    def _columns_of_all(self, tables: Sequence[str]) -> dict[str, frozenset[str]]:
        def ask(session: AthenaSession) -> dict[str, frozenset[str]]:
            schema = schema_of(session, self.schema)
            answers = {table: columns_of_table(session, schema, table) for table in tables}
            return {table: columns for table, columns in answers.items() if columns is not None}

        return self.transact("looking for the tables", ask)

    def _create(self, table: str, columns: Sequence[Column], *, has_key: bool) -> frozenset[str]:  # noqa: ARG002
        def create(session: AthenaSession) -> None:
            folder = folder_of_tables(self.hook, session, schema_of(session, self.schema))
            partitions = "day(event_time)" if table == self.events else None
            session.execute(create_table(table, columns, folder, partitions))

        try:
            self.transact(f"creating {table}", create)
        except WarehouseError:
            # Another task may have created it since it was looked for.
            present = self._columns_of_all([table])
            if table not in present:
                raise
            return present[table]
        log.info("Created table %s", table)
        return frozenset(column.name for column in columns)

    def _add(self, cursor: AthenaSession, *, table: str, columns: Sequence[Column]) -> None:
        present = columns_of_table(cursor, schema_of(cursor, self.schema), table) or ()
        if missing := [column for column in columns if column.name not in present]:
            cursor.execute(add_columns(table, missing))

    def _what_is(self, cursor: AthenaSession, table: str) -> tuple[str, dict[str, str]]:
        return what_is(cursor, schema_of(cursor, self.schema), table)

    # -- statements --------------------------------------------------------------------------------

    def _portions(self, values: Sequence[str]) -> Iterator[tuple[list[str], str]]:
        # By bytes, which are what a statement may have only so many of.
        portion: list[str] = []
        size = 0
        for value in values:
            size += len(literal(value).encode()) + 2
            if portion and size > VALUES_BYTES:
                yield portion, ", ".join([self.hook.placeholder] * len(portion))
                portion, size = [], len(literal(value).encode()) + 2
            portion.append(value)
        if portion:
            yield portion, ", ".join([self.hook.placeholder] * len(portion))

    def _find(
        self, cursor: AthenaSession, table: str, columns: Sequence[str], keys: Sequence[str]
    ) -> list[tuple[Any, ...]]:
        if sum(1 for _ in self._portions(keys)) <= _PORTIONS_IN_A_ROW:
            return super()._find(cursor, table, columns, keys)
        key = Column(columns[0], ColumnKind.KEY, required=True, meaning="")
        names = ", ".join(f"t.{self.quoted(name)}" for name in columns)
        with source_of(cursor, self._staging, [key], [(value,) for value in keys], self.qualified) as source:
            cursor.execute(
                f"SELECT {names} FROM {table} AS t JOIN ({source}) AS s "
                f"ON t.{self.quoted(key.name)} = s.{self.quoted(key.name)}{self._and_time_bound(table, keys)}"
            )
            return cursor.fetchall()

    def _insert(
        self, cursor: AthenaSession, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]
    ) -> None:
        # Keys are new, so this is an INSERT that can be repeated when its answer was lost, or the task killed.
        keys = _KEYS_OF_QUARANTINE if table == self.quarantine else [columns[0].name]
        with source_of(cursor, self._staging, columns, rows, self.qualified) as source:
            self._merge(cursor, table, source, columns, keys)

    def replace(
        self, cursor: AthenaSession, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Insert rows in the place of those with the same keys, in one statement."""
        if rows:
            names = [self.quoted(column.name) for column in columns[1:]]
            matched = f"WHEN MATCHED THEN UPDATE SET {', '.join(f'{name} = s.{name}' for name in names)} "
            with source_of(cursor, self._staging, columns, rows, self.qualified) as source:
                within = self._and_time_bound(table, [row[0] for row in rows])
                self._merge(cursor, table, source, columns, [columns[0].name], within=within, matched=matched)

    def update(
        self,
        cursor: AthenaSession,
        table: str,
        columns: Sequence[Column],
        rows: Sequence[Sequence[Any]],
        where: Condition | None = None,
    ) -> None:
        """Update rows that are there, whatever each gets, in one statement."""
        if not rows:
            return
        condition = "" if where is None else self._and(where)
        within = self._and_time_bound(table, [row[0] for row in rows])
        key, *others = (self.quoted(column.name) for column in columns)
        assignments = ", ".join(f"{name} = s.{name}" for name in others)
        with source_of(cursor, self._staging, columns, rows, self.qualified) as source:
            cursor.execute(
                f"MERGE INTO {table} AS t USING ({source}) AS s ON t.{key} = s.{key}{within} "
                f"WHEN MATCHED{condition} THEN UPDATE SET {assignments}"
            )

    def _and_time_bound(self, table: str, keys: Sequence[str]) -> str:
        """Return when rows of a table (``t``) with some keys can be from, as it follows another condition."""
        bound = self._time_bound(table, keys)
        return self._and(AllOf(bound)) if bound else ""

    def _and(self, where: Condition) -> str:
        """Return a condition for rows of a table (``t``) as it follows another one."""
        mark = self.hook.placeholder
        text, values = as_sql(where, quoted=lambda name: f"t.{self.quoted(name)}", mark=mark, value=self._given)
        # At once: what looks like a placeholder in a row is none.
        return f" AND {with_values(text, values, mark)}"

    def _merge(
        self,
        cursor: AthenaSession,
        table: str,
        source: str,
        columns: Sequence[Column],
        keys: Sequence[str],
        *,
        within: str = "",
        matched: str = "",
    ) -> None:
        """
        Insert the rows of a source whose keys the table does not have.

        :param keys: columns that are compared, null being equal to null; of the source each value at most once.
        :param within: further condition for rows of the table (``t``) to be compared.
        :param matched: what becomes of those that it has.
        """
        same = [f"t.{name} IS NOT DISTINCT FROM s.{name}" for name in map(self.quoted, keys[1:])]
        # Only of an equation can the engine make a join by hash.
        on = " AND ".join([f"t.{self.quoted(keys[0])} = s.{self.quoted(keys[0])}", *same])
        values = ", ".join(f"s.{self.quoted(column.name)}" for column in columns)
        cursor.execute(
            f"MERGE INTO {table} AS t USING ({source}) AS s ON {on}{within} {matched}"
            f"WHEN NOT MATCHED THEN INSERT ({self._names(columns)}) VALUES ({values})"
        )
