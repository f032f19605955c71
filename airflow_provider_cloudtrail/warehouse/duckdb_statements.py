"""How statements of DuckDB are carried out: rows come to them as a stream, and who ends the task is heard."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from threading import Lock
from typing import Any, Generic, TypeVar

from airflow_provider_cloudtrail.audit_event import Column
from airflow_provider_cloudtrail.one_ahead import one_ahead
from airflow_provider_cloudtrail.warehouse import arrow_rows
from airflow_provider_cloudtrail.warehouse.in_thread import in_thread

_Item = TypeVar("_Item")
STAGE = "cloudtrail_stage"
"""The name of the rows that a statement is given."""


class InterruptibleConnection:
    """
    A connection whose statements another thread carries out.

    Airflow ends a task by an exception from a signal handler. Raised while DuckDB is at work in the main thread, it
    comes out as an error of DuckDB, and the task would fail for a reason that is none.

    :param connection: of DuckDB.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def execute(self, *statement: Any) -> InterruptibleConnection:
        """
        Carry out a statement, and wait for its end.

        :param statement: its text, and the values of its placeholders.
        :return: what its rows can be fetched from.
        :raises duckdb.Error: if it fails. What this thread is interrupted by ends the statement and is raised then.
        """
        in_thread(self._connection.interrupt, self._connection.execute, *statement)
        return self

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows of the statement, the rest of which DuckDB carries out now; interrupted as that is."""
        rows: list[tuple[Any, ...]] = in_thread(self._connection.interrupt, self._connection.fetchall)
        return rows

    def register(self, name: str, rows: Any) -> None:
        """
        Give rows a name; what this thread is interrupted by waits until that is done.

        DuckDB 1.1 imports a good part of pyarrow for that, and has errors of its own for what ends such an import.
        """
        in_thread(None, self._connection.register, name, rows)

    def unregister(self, name: str) -> None:
        """Forget rows by their name; what this thread is interrupted by waits until that is done."""
        in_thread(None, self._connection.unregister, name)

    def commit(self) -> None:
        """Commit; what this thread is interrupted by waits until that is done."""
        in_thread(None, self._connection.commit)

    def rollback(self) -> None:
        """Roll back; what this thread is interrupted by waits until that is done."""
        in_thread(None, self._connection.rollback)

    def __getattr__(self, name: str) -> Any:
        """Return what else the connection has."""
        return getattr(self._connection, name)


class _AskedByOthers(Generic[_Item]):
    """
    A generator that can be closed while a thread of DuckDB asks it: such a thread outlives an interrupted statement.

    Closed without waiting for that thread it raises a ValueError, which hides what the statement was interrupted by.
    """

    def __init__(self, items: Generator[_Item, None, None]) -> None:
        self._items = items
        self._asked = Lock()

    def __iter__(self) -> _AskedByOthers[_Item]:
        return self

    def __next__(self) -> _Item:
        with self._asked:
            return next(self._items)

    def close(self) -> None:
        with self._asked:
            self._items.close()


@contextmanager
def staged(cursor: Any, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> Iterator[None]:
    """
    Let a statement read rows, once, as a stream of Arrow batches: there is never a second copy of all of them.

    It finds them by the name ``cloudtrail_stage``.

    :param cursor: a connection of DuckDB.
    :param columns: of the rows, in their order.
    :param rows: not changed meanwhile: another thread reads them.
    """
    import pyarrow

    schema = arrow_rows.arrow_schema(columns)
    batches = arrow_rows.arrow_batches(schema, rows)
    # DuckDB stores the one while the next is made: it lets go of Python's lock for most of its time.
    ready = _AskedByOthers(one_ahead(batches) if len(rows) > arrow_rows.ROWS_IN_ONE_BATCH else batches)
    with closing(ready):
        cursor.register(STAGE, pyarrow.RecordBatchReader.from_batches(schema, ready))
        yield
    # Not after an error: it would hide it behind "transaction is aborted", and the connection is closed then.
    cursor.unregister(STAGE)
