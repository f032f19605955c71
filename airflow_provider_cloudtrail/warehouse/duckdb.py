"""DuckDB: Arrow tables into a database file, one writer at a time; a task that finds the file taken waits."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from airflow_provider_cloudtrail.audit_event import AuditEvent, Column, ColumnKind, columns_of
from airflow_provider_cloudtrail.warehouse.base import BatchesLostError, WarehouseError
from airflow_provider_cloudtrail.warehouse.conditions import AllOf
from airflow_provider_cloudtrail.warehouse.dialect import Dialect
from airflow_provider_cloudtrail.warehouse.driver_errors import NO_SCHEMA, is_of_missing_schema, left_out, refused_by
from airflow_provider_cloudtrail.warehouse.duckdb_file import DuckDBFile
from airflow_provider_cloudtrail.warehouse.duckdb_statements import STAGE, staged
from airflow_provider_cloudtrail.warehouse.duckdb_unfinished import is_being_made
from airflow_provider_cloudtrail.warehouse.relational import RelationalWarehouse
from airflow_provider_cloudtrail.warehouse.sql_conditions import SqlCondition

log = logging.getLogger(__name__)

# These say something about files and memory, never about values.
_SAFE_TO_QUOTE = ("IOException", "OutOfMemoryException", "ConnectionException", "CatalogException", "BinderException")
_TAKEN = "Could not set lock on file"
_WITHOUT_HEADERS = ("Could not read enough bytes from file", "it is not a valid DuckDB database file")
# A commit whose files could not be opened or written says so behind other words, in an error of another kind.
_FILE_FAULT = re.compile(
    r"(?:TransactionContext|FATAL) Error: (?:Failed to commit: |(?:FATAL|IO) Error: )*"
    r"(?:Failed to create checkpoint[a-z ]*: )?(?:IO Error: )?"
    r"((?:Could not (?!set lock)|Cannot |Failed to )[a-z ]+ (?:file|directory) .*)"
)
# What says nothing of values, in errors of kinds that may. From the begin: others may quote a value that reads so.
_SAFE_TEXTS = (
    _FILE_FAULT,
    re.compile(r'Invalid Input Error: (Cannot execute statement of type "\w+" on database .* in read-only mode)'),
    re.compile(r"INTERRUPT Error: (Query exceeded maximum execution time)"),
)
_HOLDER = re.compile(r"PID \d+")
# An absolute path, the home directory, or what an extension of DuckDB opens, such as md: (MotherDuck).
_SAME_FOR_EVERY_TASK = re.compile(r"/|~/|[A-Za-z][A-Za-z0-9+.-]+:")
_EXAMPLE = 'set its host to the path of a file, as in {"conn_type": "duckdb", "host": "/data/audit.duckdb"}'
# Up to here, a list of placeholders takes less than a join.
_FEW_KEYS = 100
# Beyond it, reading all ids takes longer than ON CONFLICT.
_MOST_ROWS_TO_SCAN = 5_000_000


class DuckDBWarehouse(RelationalWarehouse):
    """A warehouse in a DuckDB file (or MotherDuck), through Airflow's ``DuckDBHook``."""

    engine = "duckdb"
    # Beside the memory that DuckDB takes itself.
    limits: ClassVar[Mapping[str, int]] = {"batch_bytes": 16 * 1024 * 1024}
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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._file = DuckDBFile(self.hook, self.table)

    def prepare(self) -> None:
        """
        Create or extend the tables.

        :raises WarehouseError: also for an in-memory database, which would be gone with the task, and for a relative
            path, which another task may not find again.
        """
        database = str(self.hook.get_database())
        if database.startswith(":memory:"):
            raise WarehouseError(
                "the DuckDB connection names no database file, so the audit table would be lost when the task ends: "
                f"{_EXAMPLE}"
            )
        if not _SAME_FOR_EVERY_TASK.match(database):
            raise WarehouseError(
                f"the DuckDB connection names {database!r}, which is another file in each directory that a task runs "
                f"in, at first an empty one; write an absolute path: {_EXAMPLE}"
            )
        super().prepare()

    @contextmanager
    def session(self, *, together: bool = False) -> Iterator[None]:
        """Within it, the file stays open while much is stored: other tasks wait for it up to half a minute longer."""
        with self._file.session(together=together):
            try:
                yield
            except BaseException:
                # It has to do with what came next, not with what was written.
                self._store_if_possible()
                raise
            self.store()

    def pending(self) -> bool:
        """Tell whether a transaction holds batches that it has not committed."""
        return self._file.pending

    def overdue(self) -> bool:
        """Tell whether the file has been kept for so long that others should have it."""
        return self._file.overdue()

    def store(self) -> None:
        """
        Commit the batches that are pending, and let the file go if it is overdue.

        :raises BatchesLostError: if that is not possible.
        """
        try:
            self._file.store()
        except Exception as error:
            raise self._lost(error) from None

    def _store_if_possible(self) -> None:
        try:
            self.store()
        except BatchesLostError as error:
            log.warning("%s", error)

    def _lost(self, error: Exception) -> BatchesLostError:
        if not (_is_short_of_memory(error) and self._file.widen()):
            # Each on its own: those that can be stored will be.
            self._file.one_by_one()
        reason = str(error) if isinstance(error, WarehouseError) else self._describe(error)
        return BatchesLostError(
            f"{self.engine}, writing {self.events}: what was written since the last commit is not stored: {reason}"
        )

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        shared = self._file.pending
        try:
            with super()._transaction() as cursor:
                yield cursor
        except Exception as error:
            if not shared:
                raise
            raise self._lost(error) from None

    def _connect(self) -> Any:
        return self._file.begin()

    def _commit(self, connection: Any) -> None:
        self._file.commit(connection)

    def _release(self, connection: Any, *, failed: bool) -> None:
        self._file.end(connection, failed=failed)

    def _cursor(self, connection: Any) -> Any:
        # DuckDB's cursor() opens a connection of its own, outside of this transaction.
        return connection

    def _lock(self, cursor: Any) -> None:
        """Do nothing: other processes are out while the file is open, other threads wait for their turn."""

    def _is_conflict(self, error: Exception) -> bool:
        name = type(error).__name__
        if name == "IOException":
            # Nothing shorter: blocks of a damaged file and paths have it in their names, too.
            return _TAKEN in str(error) or (
                any(words in str(error) for words in _WITHOUT_HEADERS) and is_being_made(str(self.hook.get_database()))
            )
        if _is_short_of_memory(error) and self._file.widen():
            # Our bound was too tight for these rows.
            return True
        if name == "ConstraintException":
            return left_out(error) is None and refused_by(error) is None
        if name == "TransactionException":
            return _FILE_FAULT.match(str(error)) is None
        return super()._is_conflict(error)

    def _describe(self, error: Exception) -> str:
        name = type(error).__name__
        if name not in _SAFE_TO_QUOTE:
            safe = next((found[1] for pattern in _SAFE_TEXTS if (found := pattern.match(str(error)))), None)
            return f"{name}: {safe}" if safe else super()._describe(error)
        text = str(error).splitlines()[0]
        if is_of_missing_schema(error):
            return f"{name}: {text.rstrip('.!')}. {NO_SCHEMA}"
        holder = _HOLDER.search(str(error))
        return f"{name}: {text}" + (f" ({holder[0]})" if holder and holder[0] not in text else "")

    def _advice(self) -> str:
        return (
            "DuckDB allows one writing process: let the other task finish, close programs that have the file open, "
            "run tasks that write it in a pool with one slot, or use PostgreSQL."
        )

    def _insert_new_events(self, cursor: Any, events: Sequence[AuditEvent]) -> set[str]:
        columns = columns_of(AuditEvent)
        names, event_id = self._names(columns), self.quoted("event_id")
        if self._file.rows > _MOST_ROWS_TO_SCAN and self._has_key(cursor):
            with staged(cursor, columns, events):
                cursor.execute(
                    f"INSERT INTO {self.events} ({names}) SELECT {names} FROM {STAGE} "
                    f"ON CONFLICT ({event_id}) DO NOTHING RETURNING {event_id}"
                )
                inserted = {row[0] for row in cursor.fetchall()}
            self._file.stored(len(inserted))
            return inserted
        # To ask which ids are there takes a fraction of what ON CONFLICT does, as long as the table is not huge.
        with staged(cursor, columns[:1], [(event.event_id,) for event in events]):
            cursor.execute(f"SELECT {event_id} FROM {STAGE} WHERE {event_id} IN (SELECT {event_id} FROM {self.events})")
            present = {row[0] for row in cursor.fetchall()}
        new = [event for event in events if event.event_id not in present]
        self._insert(cursor, self.events, columns, new)
        return {event.event_id for event in new}

    def _has_key(self, cursor: Any) -> bool:
        """Tell whether the audit table has its key: a copy that a user has made of one has none."""
        cursor.execute(
            "SELECT COUNT(*) FROM duckdb_constraints() WHERE database_name = CURRENT_DATABASE() "
            "AND schema_name = COALESCE(?, CURRENT_SCHEMA()) AND table_name = ? "
            "AND constraint_type IN ('PRIMARY KEY', 'UNIQUE') AND constraint_column_names = ['event_id']",
            [self.schema, self.table],
        )
        return bool(cursor.fetchall()[0][0])

    def _insert(self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        names = self._names(columns)
        with staged(cursor, columns, rows):
            cursor.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM {STAGE}")
        self._file.stored(len(rows))

    def _find(self, cursor: Any, table: str, columns: Sequence[str], keys: Sequence[str]) -> list[tuple[Any, ...]]:
        if len(keys) <= _FEW_KEYS:
            return super()._find(cursor, table, columns, keys)
        # A join takes a fifth of the time of a list of placeholders.
        names, key = ", ".join(map(self.quoted, columns)), self.quoted(columns[0])
        wanted = Column("cloudtrail_wanted", ColumnKind.KEY, True, "key that is looked for")
        bound = self._where(AllOf(self._time_bound(table, keys)))
        with staged(cursor, [wanted], [(one,) for one in dict.fromkeys(keys)]):
            cursor.execute(
                f"SELECT {names} FROM {table} JOIN {STAGE} ON {key} = {wanted.name}{bound.besides}", bound.values
            )
            found: list[tuple[Any, ...]] = cursor.fetchall()
        return found

    def _update(
        self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]], where: SqlCondition
    ) -> None:
        with staged(cursor, self._fresh(columns), rows):
            self._update_from(cursor, table, STAGE, columns, where)
        self._file.stored(len(rows))


def _is_short_of_memory(error: Exception) -> bool:
    # A commit that finds too little is a TransactionException; they all advise to raise this setting.
    return type(error).__name__ in ("OutOfMemoryException", "FatalException") or "memory_limit" in str(error)
