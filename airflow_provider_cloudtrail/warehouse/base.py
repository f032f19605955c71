"""
What every warehouse promises, whatever its engine: SQL or not, with transactions or without.

A batch of log files is stored as a whole: rows, ledger and quarantine. The ledger is asked again when
it is, so that a file that somebody else has read in the meantime is not counted twice, and only events whose
id is new become rows.
"""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta
from typing import Any, ClassVar, TypeVar

from airflow_provider_cloudtrail.audit_event import (
    AuditEvent,
    Column,
    FileRows,
    KnownFile,
    LedgerEntry,
    QuarantineEntry,
    columns_of,
)
from airflow_provider_cloudtrail.warehouse.conditions import Condition, Value

_Result = TypeVar("_Result")

LOCK_TIMEOUT = timedelta(minutes=5)
"""How long a writer waits for another one before it gives up."""

LONGEST_PAUSE = timedelta(seconds=2)
"""How often it looks at least whether the other one is done."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_TABLE_NAME = 63 - len("_quarantine")


class WarehouseError(Exception):
    """Raised when the warehouse refuses; the message holds no value of a record."""


class WarehouseUnavailableError(WarehouseError):
    """Raised when the warehouse cannot be connected to, or other writers keep it for too long."""


class BatchesLostError(WarehouseError):
    """Raised when batches that were written are not stored, after all, though nothing is wrong with all of them."""


class Warehouse(ABC):
    """
    The audit table with its ledger and quarantine, in one engine.

    :param hook: Airflow's hook of the connection.
    :param table: name of the audit table; ``<table>_files`` and ``<table>_quarantine`` stand beside it.
    :param schema: schema of the tables; None: the connection's default. It must exist.
    :param lock_timeout: how long to wait for another writer.
    :raises ValueError: if ``table`` or ``schema`` is no plain identifier.
    """

    engine: ClassVar[str]
    limits: ClassVar[Mapping[str, int]] = {}
    """Which limits of an export suit this engine better than the defaults; see ``export.Limits``."""

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
        expected = {self.qualified(name): columns for name, columns in self._expected().items()}
        self.ensure_tables(expected, without_key=[self.quarantine])

    def session(self, *, together: bool = False) -> AbstractContextManager[None]:  # noqa: ARG002 - few engines gain
        """
        Return what to do several batches within, one after the other.

        An engine may keep open what takes long to open or to close.

        :param together: whether it may also commit several batches at once, if that takes it less: ask
            :meth:`pending` which of them are stored for good, and call :meth:`store` behind the last one. What is
            pending when the process ends is not stored. Otherwise each batch is when it is written.
        """
        return nullcontext()

    def pending(self) -> bool:
        """Tell whether batches were written that are not stored for good yet."""
        return False

    def overdue(self) -> bool:
        """Tell whether others have waited for so long that :meth:`store` should be called before more is written."""
        return False

    def store(self) -> None:  # noqa: B027 - most engines have nothing pending
        """
        Store for good what is pending.

        :raises BatchesLostError: if that is not possible. So may all that is done within a session. Nothing that was
            pending is in the tables then, and it can be written again.
        """

    @abstractmethod
    def known_files(self, uris: Sequence[str]) -> dict[str, KnownFile]:
        """
        Return what the ledger says about log files, by URI; files that it does not know are left out.

        :param uris: any number of URIs.
        :raises WarehouseError: if the warehouse cannot be read.
        """

    @abstractmethod
    def write(self, files: Sequence[FileRows]) -> list[LedgerEntry]:
        """
        Store a batch of log files.

        :param files: each log file at most once.
        :return: the ledger entries that were written. A file without one was not stored, because
            somebody else has read it since ``previous`` was asked for: ask the ledger again.
        :raises WarehouseError: if it cannot be stored; none of the files is in the ledger then.
        """

    # -- what further tables beside these go through -----------------------------------------------

    @abstractmethod
    def ensure_tables(self, expected: Mapping[str, Sequence[Column]], *, without_key: Collection[str] = ()) -> None:
        """
        Create the tables that are missing, and add the columns that they lack.

        :param expected: columns by qualified name of a table; the first column is its key.
        :param without_key: those of them that have none.
        :raises WarehouseError: if the warehouse cannot be reached or does not allow it.
        """

    @abstractmethod
    def qualified(self, name: str) -> str:
        """Return the name of a table in the schema, as the other methods take it."""

    @abstractmethod
    def transact(self, doing: str, work: Callable[[Any], _Result], *, writes: bool = False) -> _Result:
        """
        Return what work gives that is done in a transaction of its own, again if other writers are in the way.

        :param doing: what it does, for errors.
        :param work: takes the transaction, which the methods below are given.
        :param writes: whether other writers are kept out meanwhile, or noticed at the end.
        :raises WarehouseError: if it fails.
        """

    @abstractmethod
    def insert(self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows, in a transaction."""

    @abstractmethod
    def insert_new_events(self, cursor: Any, events: Iterable[AuditEvent]) -> set[str]:
        """Insert the events whose id the table does not hold, in a transaction that writes, and return their ids."""

    @abstractmethod
    def replace(self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        """
        Insert rows in the place of those with the same keys, in a transaction.

        What the table has in further columns, which are the user's own, stays as it is.

        :param columns: the first is the key.
        :param rows: each key at most once.
        """

    @abstractmethod
    def find(self, cursor: Any, table: str, columns: Sequence[str], keys: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return columns of the rows with some keys, each given once, in a transaction; the first column is the key."""

    @abstractmethod
    def select(
        self, cursor: Any, table: str, columns: Sequence[str], where: Condition, *, distinct: bool = False
    ) -> list[tuple[Any, ...]]:
        """
        Return columns of the rows that fulfil a condition, in a transaction.

        :param distinct: whether equal ones are given once.
        """

    @abstractmethod
    def update(
        self,
        cursor: Any,
        table: str,
        columns: Sequence[Column],
        rows: Sequence[Sequence[Any]],
        where: Condition | None = None,
    ) -> None:
        """
        Update rows that are there, in a transaction; others are passed over.

        :param columns: the key of the table, and what is updated.
        :param rows: values of these columns, each key at most once.
        :param where: which of the rows are updated, by what they hold.
        """

    @abstractmethod
    def assign(self, cursor: Any, table: str, values: Mapping[str, Value | None], where: Condition) -> None:
        """Set columns of the rows that fulfil a condition to values, in a transaction."""

    # -- shared by all -----------------------------------------------------------------------------

    @abstractmethod
    def _is_conflict(self, error: Exception) -> bool:
        """Tell whether work failed only because of another writer, so that it can be tried again."""

    def _describe(self, error: Exception) -> str:
        """Return kind and place of an error of the engine, without any value."""
        return type(error).__name__

    def _unfit(self) -> str:
        """Return what is there in the place of the tables and cannot hold their rows, or nothing."""
        return ""

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Have an error of a write say what is wrong with the tables, if something is."""
        try:
            yield
        except WarehouseError as error:
            if type(error) is not WarehouseError:
                raise
            found = ""
            # What is told is why the write failed; this is asked besides.
            with suppress(Exception):
                found = self._unfit()
            if not found:
                raise
            raise WarehouseError(f"{error}. {found}") from None

    def _expected(self) -> dict[str, Sequence[Column]]:
        """Return the columns of the tables that every warehouse has, by their plain names."""
        return {
            self.table: columns_of(AuditEvent),
            f"{self.table}_files": columns_of(LedgerEntry),
            f"{self.table}_quarantine": columns_of(QuarantineEntry),
        }

    def _obstacle(self, error: Exception) -> str:
        return f"another writer ({self._describe(error)}). {self._advice()}"

    def _advice(self) -> str:
        return "Let the other task finish, or run tasks that write this table one after another (a pool with one slot)."

    def _again_and_again(self, doing: str, work: Callable[[], _Result]) -> _Result:
        """Do work, again and again while other writers are in the way."""
        deadline = time.monotonic() + self._lock_timeout.total_seconds()
        pause = 0.05
        while True:
            try:
                return work()
            except WarehouseError:
                raise
            except Exception as error:
                if not self._is_conflict(error):
                    # The engine's own text can quote values of records: only its kind is passed on.
                    raise WarehouseError(f"{self.engine}, {doing}: {self._describe(error)}") from None
                if time.monotonic() > deadline:
                    raise WarehouseUnavailableError(
                        f"{self.engine}, {doing}: gave up after {self._lock_timeout.total_seconds():.0f} seconds "
                        f"because of {self._obstacle(error)}"
                    ) from None
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE.total_seconds())


def first_of_each(events: Iterable[AuditEvent]) -> dict[str, AuditEvent]:
    """Return the first event with each id: it is the one that becomes a row, so that a re-run attributes alike."""
    first: dict[str, AuditEvent] = {}
    for event in events:
        first.setdefault(event.event_id, event)
    return first


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
