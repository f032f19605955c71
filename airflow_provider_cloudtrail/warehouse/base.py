"""
What every warehouse promises, and the way to keep the promise that all of them share.

A batch of log files is stored in one transaction: rows, ledger and quarantine together. Inside of it
the ledger is asked again, so that a file that somebody else has read in the meantime is not counted
twice, and only events whose id is new become rows. Engines differ in how they lock, ask and insert.
"""

from __future__ import annotations

import logging
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, ClassVar, TypeVar

from airflow_provider_cloudtrail.audit_event import (
    LOADED,
    AuditEvent,
    Column,
    ColumnKind,
    FileRows,
    KnownFile,
    LedgerEntry,
    QuarantineEntry,
    columns_of,
)

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

LOCK_TIMEOUT = timedelta(minutes=5)
"""How long a writer waits for another one before it gives up."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_TABLE_NAME = 63 - len("_quarantine")


class WarehouseError(Exception):
    """Raised when the warehouse refuses; the message holds no value of a record."""


class WarehouseUnavailableError(WarehouseError):
    """Raised when the warehouse cannot be connected to, or other writers keep it for too long."""


@dataclass(frozen=True)
class Dialect:
    """
    What an engine calls things.

    :param types: its type for each kind of column.
    :param quote: format of a quoted identifier. Quoting keeps column names that are reserved words
        somewhere (``raw``) usable; it is left out where it would make names case-sensitive.
    :param convert: for kinds whose Python value the driver does not take as it is, what to hand over.
    :param max_parameters: most placeholders in one statement.
    """

    types: Mapping[ColumnKind, str]
    quote: str = '"{}"'
    convert: Mapping[ColumnKind, Callable[[Any], Any]] = field(default_factory=dict)
    max_parameters: int = 900


class Warehouse(ABC):
    """
    The audit table with its ledger and quarantine, in one engine.

    :param hook: Airflow's hook of the connection, or any object with a ``get_conn()`` that returns a
        DB-API connection and a ``placeholder``.
    :param table: name of the audit table; ``<table>_files`` and ``<table>_quarantine`` stand beside it.
    :param schema: schema of the tables; None: the connection's default. It must exist.
    :param lock_timeout: how long to wait for another writer.
    :raises ValueError: if ``table`` or ``schema`` is no plain identifier.
    """

    dialect: ClassVar[Dialect]
    engine: ClassVar[str]
    portion: ClassVar[int] = 500
    """Values that are asked for in one statement."""

    def __init__(
        self,
        hook: Any,
        table: str = "mwaa_audit_events",
        schema: str | None = None,
        *,
        lock_timeout: timedelta = LOCK_TIMEOUT,
    ) -> None:
        check_identifier("table", table, _LONGEST_TABLE_NAME)
        if schema is not None:
            check_identifier("schema", schema, 63)
        self.hook = hook
        self.table = table
        self.schema = schema
        self._lock_timeout = lock_timeout
        self.events = self.qualified(table)
        self.files = self.qualified(f"{table}_files")
        self.quarantine = self.qualified(f"{table}_quarantine")

    # -- what a caller uses ------------------------------------------------------------------------

    def prepare(self) -> None:
        """
        Create the tables that are missing, and add the columns that this version has and they lack.

        :raises WarehouseError: if the warehouse cannot be reached or does not allow it.
        """
        expected = {
            self.events: columns_of(AuditEvent),
            self.files: columns_of(LedgerEntry),
            self.quarantine: columns_of(QuarantineEntry),
        }
        self.ensure_tables(expected, without_key=[self.quarantine])

    def known_files(self, uris: Sequence[str]) -> dict[str, KnownFile]:
        """
        Return what the ledger says about log files, by URI; files that it does not know are left out.

        :param uris: any number of URIs; they are asked for in portions.
        :raises WarehouseError: if the warehouse cannot be read.
        """
        if not uris:
            return {}
        return self._run(f"reading {self.files}", lambda cursor: self._known_files(cursor, uris))

    def write(self, files: Sequence[FileRows]) -> list[LedgerEntry]:
        """
        Store a batch of log files in one transaction.

        :param files: each log file at most once.
        :return: the ledger entries that were written. A file without one was not stored, because
            somebody else has read it since ``previous`` was asked for: ask the ledger again.
        :raises WarehouseError: if it cannot be stored; nothing of the batch is then.
        """
        return self._run(f"writing {self.events}", lambda cursor: self._write(cursor, files), writes=True)

    # -- what further tables beside these go through -----------------------------------------------

    def ensure_tables(self, expected: Mapping[str, Sequence[Column]], *, without_key: Collection[str] = ()) -> None:
        """
        Create the tables that are missing, and add the columns that they lack.

        :param expected: columns by qualified name of a table; the first column is its key.
        :param without_key: those of them that have none.
        :raises WarehouseError: if the warehouse cannot be reached or does not allow it.
        """
        # In one transaction where all is well, which is nearly always.
        present = self._columns_of_all(list(expected))
        for table, columns in expected.items():
            names = present.get(table)
            if names is None:
                names = self._create(table, columns, has_key=table not in without_key)
            missing = [column for column in columns if column.name not in names]
            if missing:
                self._run(f"adding columns to {table}", partial(self._add, table=table, columns=missing))
                log.info("Added columns to %s: %s", table, ", ".join(column.name for column in missing))

    def transact(self, doing: str, work: Callable[[Any], _Result], *, writes: bool = False) -> _Result:
        """
        Return what work gives that is done in a transaction of its own, again if other writers are in the way.

        :param doing: what it does, for errors.
        :param work: takes what statements are executed on.
        :param writes: whether other writers are kept out meanwhile.
        :raises WarehouseError: if it fails; nothing of it is stored then.
        """
        return self._run(doing, work, writes=writes)

    def insert(self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows, in a transaction."""
        if rows:
            self._insert(cursor, table, columns, rows)

    def insert_new_events(self, cursor: Any, events: Iterable[AuditEvent]) -> set[str]:
        """Insert the events whose id the table does not hold, in a transaction that writes, and return their ids."""
        first: dict[str, AuditEvent] = {}
        for event in events:
            first.setdefault(event.event_id, event)
        return self._insert_new_events(cursor, list(first.values())) if first else set()

    def find(self, cursor: Any, table: str, columns: Sequence[str], keys: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return columns of the rows with some keys, each given once, in a transaction; the first column is the key."""
        return self._find(cursor, table, columns, keys) if keys else []

    def update(
        self,
        cursor: Any,
        table: str,
        columns: Sequence[Column],
        rows: Sequence[Sequence[Any]],
        condition: str = "",
        values: Sequence[Any] = (),
    ) -> None:
        """
        Update rows that are there, in a transaction; others are passed over.

        :param columns: the key of the table, and what is updated.
        :param rows: values of these columns, each key at most once.
        :param condition: beginning with AND: which rows are updated, by what they hold.
        :param values: for its placeholders.
        """
        if rows:
            self._update(cursor, table, columns, rows, condition, values)

    def portions(self, values: Sequence[str]) -> Iterator[tuple[list[str], str]]:
        """Yield portions of values that fit into one statement, each with its placeholders."""
        return self._portions(values)

    @property
    def mark(self) -> str:
        """Placeholder of a value in a statement."""
        return str(self.hook.placeholder)

    def value(self, kind: ColumnKind, value: Any) -> Any:
        """Return a value as the driver takes it in the place of a placeholder."""
        convert = self.dialect.convert.get(kind)
        return value if value is None or convert is None else convert(value)

    # -- what an engine brings ---------------------------------------------------------------------

    @abstractmethod
    def _insert_new_events(self, cursor: Any, events: Sequence[AuditEvent]) -> set[str]:
        """Insert the events whose id the table does not hold, and return their ids. The ids given are distinct."""

    @abstractmethod
    def _insert(self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows."""

    def _update(
        self,
        cursor: Any,
        table: str,
        columns: Sequence[Column],
        rows: Sequence[Sequence[Any]],
        condition: str,
        values: Sequence[Any],
    ) -> None:
        """Update rows: one statement for those that get the same."""
        key, *others = columns
        groups: dict[tuple[Any, ...], list[str]] = {}
        for row in rows:
            groups.setdefault(tuple(row[1:]), []).append(row[0])
        assignments = ", ".join(f"{self.quoted(column.name)} = {self.hook.placeholder}" for column in others)
        for new, keys in groups.items():
            for portion, marks in self._portions(keys):
                cursor.execute(
                    f"UPDATE {table} SET {assignments} WHERE {self.quoted(key.name)} IN ({marks}) {condition}",
                    [*self._converted(others, new), *portion, *values],
                )

    def _find(self, cursor: Any, table: str, columns: Sequence[str], keys: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return columns of the rows with some keys; the first column is the key."""
        names = ", ".join(map(self.quoted, columns))
        found: list[tuple[Any, ...]] = []
        for portion, marks in self._portions(keys):
            cursor.execute(f"SELECT {names} FROM {table} WHERE {self.quoted(columns[0])} IN ({marks})", portion)
            found += cursor.fetchall()
        return found

    @abstractmethod
    def _lock(self, cursor: Any) -> None:
        """Keep other writers of these tables out until the transaction ends, as far as the engine can."""

    def _table_options(self, table: str) -> str:  # noqa: ARG002
        """Return what follows the columns where a table is created."""
        return ""

    def _is_conflict(self, error: Exception) -> bool:
        """Tell whether a transaction failed only because of another one, so that it can be tried again."""
        return type(error).__name__ == "IntegrityError" or sqlstate(error) in _CONFLICTS

    def _connect(self) -> Any:
        """Return a DB-API connection that is not in autocommit mode."""
        connection = self.hook.get_conn()
        if getattr(self.hook, "supports_autocommit", False):
            self.hook.set_autocommit(connection, False)
        return connection

    def _cursor(self, connection: Any) -> Any:
        """Return what statements of the connection's transaction are executed on."""
        return connection.cursor()

    # -- shared by all -----------------------------------------------------------------------------

    def qualified(self, name: str) -> str:
        """Return the quoted name of a table in the schema."""
        return ".".join(self.quoted(part) for part in (self.schema, name) if part is not None)

    def quoted(self, name: str) -> str:
        """Return a quoted identifier."""
        return self.dialect.quote.format(name)

    def _names(self, columns: Iterable[Column]) -> str:
        return ", ".join(self.quoted(column.name) for column in columns)

    def _converted(self, columns: Sequence[Column], row: Sequence[Any]) -> list[Any]:
        """Return a row as the driver takes it."""
        convert = self.dialect.convert
        return [
            value if value is None or column.kind not in convert else convert[column.kind](value)
            for column, value in zip(columns, row, strict=True)
        ]

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        try:
            connection = self._connect()
        except Exception as error:
            if self._is_conflict(error):
                raise
            # No value of a record has been handed over yet: the driver's text is safe, and what a user needs.
            reason = str(error).strip().splitlines()
            raise WarehouseUnavailableError(
                f"{self.engine}: cannot connect ({type(error).__name__}): {reason[0] if reason else ''}"
            ) from None
        with closing(connection):
            cursor = self._cursor(connection)
            try:
                yield cursor
                connection.commit()
            except BaseException:
                connection.rollback()
                raise

    def _run(self, doing: str, work: Callable[[Any], _Result], *, writes: bool = False) -> _Result:
        """Run work in a transaction of its own, again and again while other writers are in the way."""
        deadline = time.monotonic() + self._lock_timeout.total_seconds()
        pause = 0.05
        while True:
            try:
                with self._transaction() as cursor:
                    if writes:
                        self._lock(cursor)
                    return work(cursor)
            except WarehouseError:
                raise
            except Exception as error:
                if not self._is_conflict(error):
                    # The driver's own text can quote values of records: only its kind is passed on.
                    raise WarehouseError(f"{self.engine}, {doing}: {self._describe(error)}") from None
                if time.monotonic() > deadline:
                    raise WarehouseUnavailableError(
                        f"{self.engine}, {doing}: gave up after {self._lock_timeout.total_seconds():.0f} seconds "
                        f"because of another writer ({self._describe(error)}). {self._advice()}"
                    ) from None
            time.sleep(pause)
            pause = min(pause * 1.5, 2.0)

    def _describe(self, error: Exception) -> str:
        """Return kind and place of an error of the driver, without any value."""
        return describe(error)

    def _advice(self) -> str:
        return "Let the other task finish, or run tasks that write this table one after another (a pool with one slot)."

    def _columns_of_all(self, tables: Sequence[str]) -> dict[str, frozenset[str]]:
        """Return the columns of the tables that are there."""
        try:
            return self._run("looking for the tables", lambda cursor: {t: self._columns(cursor, t) for t in tables})
        except WarehouseUnavailableError:
            raise
        except WarehouseError:
            # An engine may end the transaction with the first table that is missing: one by one, then.
            if len(tables) == 1:
                return {}
            return {name: columns for t in tables for name, columns in self._columns_of_all([t]).items()}

    @staticmethod
    def _columns(cursor: Any, table: str) -> frozenset[str]:
        cursor.execute(f"SELECT * FROM {table} WHERE 1 = 0")
        return frozenset(str(column[0]).lower() for column in cursor.description)

    def _create(self, table: str, columns: Sequence[Column], *, has_key: bool) -> frozenset[str]:
        definitions = [
            f"{self.quoted(column.name)} {self.dialect.types[column.kind]}{' NOT NULL' if column.required else ''}"
            for column in columns
        ]
        if has_key:
            definitions.append(f"PRIMARY KEY ({self.quoted(columns[0].name)})")
        statement = f"CREATE TABLE {table} ({', '.join(definitions)}){self._table_options(table)}"
        try:
            self._run(f"creating {table}", lambda cursor: cursor.execute(statement))
        except WarehouseError:
            # Another task may have created it since it was looked for.
            present = self._columns_of_all([table])
            if table not in present:
                raise
            return present[table]
        log.info("Created table %s", table)
        return frozenset(column.name for column in columns)

    def _add(self, cursor: Any, *, table: str, columns: Sequence[Column]) -> None:
        present = self._columns(cursor, table)
        for column in columns:
            if column.name not in present:
                # Never NOT NULL: the rows that are there have no value.
                kind = self.dialect.types[column.kind]
                cursor.execute(f"ALTER TABLE {table} ADD COLUMN {self.quoted(column.name)} {kind}")

    def _known_files(self, cursor: Any, uris: Sequence[str]) -> dict[str, KnownFile]:
        rows = self._find(cursor, self.files, KnownFile._fields, uris)
        return {row[0]: KnownFile(*row) for row in rows}

    def _delete(self, cursor: Any, table: str, uris: Sequence[str]) -> None:
        for portion, marks in self._portions(uris):
            cursor.execute(f"DELETE FROM {table} WHERE {self.quoted('log_file_uri')} IN ({marks})", portion)

    def _portions(self, values: Sequence[str]) -> Iterator[tuple[list[str], str]]:
        """Yield portions of values that fit into one statement, each with its placeholders."""
        for start in range(0, len(values), self.portion):
            portion = list(values[start : start + self.portion])
            yield portion, ", ".join([self.hook.placeholder] * len(portion))

    def _write(self, cursor: Any, files: Sequence[FileRows]) -> list[LedgerEntry]:
        known = self._known_files(cursor, [file.entry.log_file_uri for file in files])
        files = [file for file in files if known.get(file.entry.log_file_uri) == file.previous]
        # The first file that brings an event keeps it, so that a re-run attributes alike.
        first: dict[str, AuditEvent] = {}
        for file in files:
            for event in file.events:
                first.setdefault(event.event_id, event)
        inserted = self._insert_new_events(cursor, list(first.values())) if first else set()
        entries = [self._settled(file, first, inserted) for file in files]
        if again := [file.entry.log_file_uri for file in files if file.previous is not None]:
            self._delete(cursor, self.files, again)
            self._delete(cursor, self.quarantine, again)
        if entries:
            self._insert(cursor, self.files, columns_of(LedgerEntry), entries)
        if quarantined := [row for file in files for row in file.quarantine]:
            self._insert(cursor, self.quarantine, columns_of(QuarantineEntry), quarantined)
        return entries

    @staticmethod
    def _settled(file: FileRows, first: Mapping[str, AuditEvent], inserted: set[str]) -> LedgerEntry:
        """Return the ledger entry of a file with the counts that only the warehouse knows."""
        if file.entry.status != LOADED:
            return file.entry
        loaded = sum(1 for event in file.events if event.event_id in inserted and first[event.event_id] is event)
        if file.previous is not None:
            # Its rows of earlier reads are in the table and still its own.
            loaded += file.previous.loaded or 0
        return file.entry._replace(loaded=loaded, duplicate=len(file.events) - loaded)


# SQLSTATEs of a transaction that lost against another: serialization failure, deadlock, lock not
# available, and a key that somebody else has just made. Not 42P07: a table that is there stays there.
_CONFLICTS = frozenset({"40001", "40P01", "55P03", "23505"})


def sqlstate(error: Exception) -> str | None:
    """Return the SQLSTATE of a driver's error; psycopg, psycopg2 and redshift_connector name it differently."""
    for name in ("sqlstate", "pgcode"):
        code = getattr(error, name, None)
        if isinstance(code, str):
            return code
    first = error.args[0] if error.args else None
    code = first.get("C") if isinstance(first, dict) else None
    return code if isinstance(code, str) else None


def describe(error: Exception) -> str:
    """Return what is safe to log of a driver's error: its class, its code, the table and column it names."""
    details = [type(error).__name__]
    code = sqlstate(error) or next((str(part) for part in error.args[:1] if isinstance(part, int)), None)
    if code is not None:
        details.append(f"SQLSTATE {code}" if sqlstate(error) else f"code {code}")
    diagnostics = getattr(error, "diag", None)
    for name in ("schema_name", "table_name", "column_name", "constraint_name"):
        if value := getattr(diagnostics, name, None):
            details.append(f"{name.removesuffix('_name')} {value}")
    return ", ".join(details)


def check_identifier(what: str, name: str, longest: int) -> None:
    """
    Refuse a name that would have to be escaped in SQL.

    :raises ValueError: with what to write instead.
    """
    if not _IDENTIFIER.fullmatch(name) or len(name) > longest:
        raise ValueError(
            f"{what}={name!r} is not a usable name: write letters, digits and underscores, not starting with a "
            f"digit, at most {longest} characters (a schema is given by the parameter schema, not in the table name)"
        )
