"""
Rows of every engine that speaks SQL: statements with placeholders, in one transaction for a batch.

Rows, ledger and quarantine commit together. Engines differ in how they lock, ask and insert.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from airflow_provider_cloudtrail.audit_event import (
    LOADED,
    AuditEvent,
    Column,
    FileRows,
    KnownFile,
    LedgerEntry,
    QuarantineEntry,
    columns_of,
)
from airflow_provider_cloudtrail.warehouse.base import WarehouseUnavailableError, first_of_each
from airflow_provider_cloudtrail.warehouse.conditions import AllOf, Condition
from airflow_provider_cloudtrail.warehouse.driver_errors import CONFLICTS, describe, left_out, refused_by, sqlstate
from airflow_provider_cloudtrail.warehouse.relational_updates import RelationalUpdates

_Result = TypeVar("_Result")


_LONGEST_REASON = 2_000


class RelationalWarehouse(RelationalUpdates):
    """
    A warehouse behind a hook with a ``get_conn()`` that returns a DB-API connection, and a ``placeholder``.

    Parameters are those of :class:`~airflow_provider_cloudtrail.warehouse.base.Warehouse`.
    """

    # -- what a caller uses ------------------------------------------------------------------------

    def known_files(self, uris: Sequence[str]) -> dict[str, KnownFile]:
        """Return what the ledger says about log files; they are asked for in portions."""
        if not uris:
            return {}
        return self.transact(f"reading {self.files}", lambda cursor: self._known_files(cursor, uris))

    def write(self, files: Sequence[FileRows]) -> list[LedgerEntry]:
        """Store a batch of log files in one transaction; if it fails, nothing of it is stored."""
        return self.transact(f"writing {self.events}", lambda cursor: self._write(cursor, files), writes=True)

    # -- what further tables beside these go through -----------------------------------------------

    def transact(self, doing: str, work: Callable[[Any], _Result], *, writes: bool = False) -> _Result:
        """Return what work gives that is done in a transaction of its own; if it fails, nothing of it is stored."""

        def once() -> _Result:
            with self._transaction() as cursor:
                if writes:
                    self._lock(cursor)
                else:
                    self._limit_waits(cursor)
                return work(cursor)

        if not writes:
            return self._again_and_again(doing, once)
        with self._explained():
            return self._again_and_again(doing, once)

    def insert(self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows, in a transaction."""
        if rows:
            self._insert(cursor, table, columns, rows)

    def insert_new_events(self, cursor: Any, events: Iterable[AuditEvent]) -> set[str]:
        """Insert the events whose id the table does not hold, in a transaction that writes, and return their ids."""
        first = first_of_each(events)
        return self._insert_new_events(cursor, list(first.values())) if first else set()

    def replace(self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        """Update the rows with the same keys and insert the others, in a transaction."""
        there = {row[0] for row in self.find(cursor, table, [columns[0].name], [row[0] for row in rows])}
        self.update(cursor, table, columns, [row for row in rows if row[0] in there])
        self.insert(cursor, table, columns, [row for row in rows if row[0] not in there])

    def find(self, cursor: Any, table: str, columns: Sequence[str], keys: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return columns of the rows with some keys, each given once, in a transaction; the first column is the key."""
        return self._find(cursor, table, columns, keys) if keys else []

    def select(
        self, cursor: Any, table: str, columns: Sequence[str], where: Condition, *, distinct: bool = False
    ) -> list[tuple[Any, ...]]:
        """Return columns of the rows that fulfil a condition, in a transaction."""
        text, values = self._where(where)
        names = ", ".join(map(self.quoted, columns))
        cursor.execute(f"SELECT {'DISTINCT ' if distinct else ''}{names} FROM {table} WHERE {text}", values)
        return [tuple(row) for row in cursor.fetchall()]

    # -- what an engine brings ---------------------------------------------------------------------

    @abstractmethod
    def _insert_new_events(self, cursor: Any, events: Sequence[AuditEvent]) -> set[str]:
        """Insert the events whose id the table does not hold, and return their ids. The ids given are distinct."""

    @abstractmethod
    def _insert(self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows."""

    def _find(self, cursor: Any, table: str, columns: Sequence[str], keys: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return columns of the rows with some keys; the first column is the key."""
        names = ", ".join(map(self.quoted, columns))
        found: list[tuple[Any, ...]] = []
        bound = self._where(AllOf(self._time_bound(table, keys)))
        for portion, marks in self._portions(keys):
            cursor.execute(
                f"SELECT {names} FROM {table} WHERE {self.quoted(columns[0])} IN ({marks}){bound.besides}",
                [*portion, *bound.values],
            )
            found += cursor.fetchall()
        return found

    @abstractmethod
    def _lock(self, cursor: Any) -> None:
        """Keep other writers of these tables out until the transaction ends, as far as the engine can."""

    def _limit_waits(self, cursor: Any) -> None:
        """Have a transaction without that lock wait for who keeps a table to themselves no longer than writers do."""

    def _is_conflict(self, error: Exception) -> bool:
        """Tell whether a transaction failed only because of another one, so that it can be tried again."""
        if left_out(error) or refused_by(error):
            return False
        return type(error).__name__ == "IntegrityError" or sqlstate(error) in CONFLICTS

    def _connect(self) -> Any:
        """Return a DB-API connection that is not in autocommit mode."""
        connection = self.hook.get_conn()
        try:
            if getattr(self.hook, "supports_autocommit", False):
                self.hook.set_autocommit(connection, False)
            self._set_up(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_up(self, connection: Any) -> None:
        """Give a new connection the settings that are relied on, whatever those of the user are."""

    def _release(self, connection: Any, *, failed: bool) -> None:  # noqa: ARG002 - for engines that keep some
        """
        Give a connection back behind its transaction.

        :param failed: whether it was rolled back.
        """
        connection.close()

    def _commit(self, connection: Any) -> None:
        """End a transaction that has done its work."""
        connection.commit()

    def _roll_back(self, connection: Any, error: BaseException) -> None:  # noqa: ARG002 - for engines that must wait
        """
        End a transaction that has failed.

        :param error: why.
        """
        connection.rollback()

    def _cursor(self, connection: Any) -> Any:
        """Return what statements of the connection's transaction are executed on."""
        return connection.cursor()

    # -- shared by all -----------------------------------------------------------------------------

    def _names(self, columns: Iterable[Column]) -> str:
        return ", ".join(self.quoted(column.name) for column in columns)

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        try:
            connection = self._connect()
        except Exception as error:
            if self._is_conflict(error):
                raise
            # No value of a record has been handed over yet: the driver's text is safe, and what a user needs.
            # All lines of it: of several hosts each has a reason of its own. Some drivers add pages.
            reason = " ".join(str(error).split())[:_LONGEST_REASON]
            name = getattr(self.hook, str(getattr(self.hook, "conn_name_attr", None)), None)
            raise WarehouseUnavailableError(
                f"{self.engine}: cannot connect{f' with conn_id={name!r}' if name else ''} ({type(error).__name__}): "
                f"{reason}"
            ) from None
        failed = True
        try:
            cursor = self._cursor(connection)
            try:
                yield cursor
                self._commit(connection)
                failed = False
            except BaseException as error:
                # A transaction that failed to commit may be gone, as the connection may: what is told is why.
                with suppress(Exception):
                    self._roll_back(connection, error)
                raise
        finally:
            self._release(connection, failed=failed)

    def _describe(self, error: Exception) -> str:
        return describe(error)

    def _known_files(self, cursor: Any, uris: Sequence[str]) -> dict[str, KnownFile]:
        rows = self._find(cursor, self.files, KnownFile._fields, uris)
        return {row[0]: KnownFile(*row) for row in rows}

    def _delete(self, cursor: Any, table: str, uris: Sequence[str]) -> None:
        for portion, marks in self._portions(uris):
            cursor.execute(f"DELETE FROM {table} WHERE {self.quoted('log_file_uri')} IN ({marks})", portion)

    def _write(self, cursor: Any, files: Sequence[FileRows]) -> list[LedgerEntry]:
        known = self._known_files(cursor, [file.entry.log_file_uri for file in files])
        files = [file for file in files if known.get(file.entry.log_file_uri) == file.previous]
        first = first_of_each(event for file in files for event in file.events)
        inserted = self._insert_new_events(cursor, list(first.values())) if first else set()
        self._count_rows_there(cursor, files, inserted)
        entries = [self._settled(file, first, inserted) for file in files]
        if again := {file.entry.log_file_uri for file in files if file.previous is not None}:
            # Not replaced: the ledger has just said that they are there.
            self.update(cursor, self.files, columns_of(LedgerEntry), [row for row in entries if row[0] in again])
        if before := again | {file.entry.log_file_uri for file in files if file.rows_there or file.quarantine}:
            self._delete(cursor, self.quarantine, sorted(before))
        if new := [row for row in entries if row[0] not in again]:
            self._insert(cursor, self.files, columns_of(LedgerEntry), new)
        if quarantined := [row for file in files for row in file.quarantine]:
            self._insert(cursor, self.quarantine, columns_of(QuarantineEntry), quarantined)
        return entries

    def _count_rows_there(self, cursor: Any, files: Sequence[FileRows], inserted: set[str]) -> None:
        """Note how many rows the table has of each file: of earlier reads, also of those that the ledger forgot."""
        ids = {event.event_id for file in files for event in file.events} - inserted
        columns = ["event_id", "log_file_uri"]
        there = Counter(row[1] for row in self.find(cursor, self.events, columns, sorted(ids)))
        for file in files:
            file.rows_there = there[file.entry.log_file_uri]

    @staticmethod
    def _settled(file: FileRows, first: Mapping[str, AuditEvent], inserted: set[str]) -> LedgerEntry:
        """Return the ledger entry of a file with the counts that only the warehouse knows."""
        if file.entry.status != LOADED:
            return file.entry
        loaded = sum(1 for event in file.events if event.event_id in inserted and first[event.event_id] is event)
        loaded += file.rows_there or 0
        return file.entry._replace(loaded=loaded, duplicate=len(file.events) - loaded)
