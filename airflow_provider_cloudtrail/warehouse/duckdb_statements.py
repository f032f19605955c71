"""How statements of DuckDB are carried out: rows come to them as a stream, and who ends the task is heard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

from airflow_provider_cloudtrail.audit_event import Column, ColumnKind
from airflow_provider_cloudtrail.one_ahead import one_ahead

STAGE = "cloudtrail_stage"
"""The name of the rows that a statement is given."""

_ROWS_IN_ONE_BATCH = 2_048


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
        with ThreadPoolExecutor(1, thread_name_prefix="cloudtrail-duckdb") as pool:
            future = pool.submit(self._connection.execute, *statement)
            try:
                future.result()
            except BaseException:
                if not future.done():
                    self._connection.interrupt()
                raise
        return self

    def __getattr__(self, name: str) -> Any:
        """Return what else the connection has."""
        return getattr(self._connection, name)


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

    schema = pyarrow.schema([
        pyarrow.field(column.name, _arrow_types().get(column.kind, pyarrow.string())) for column in columns
    ])
    batches = (
        pyarrow.record_batch(
            list(map(pyarrow.array, zip(*rows[start : start + _ROWS_IN_ONE_BATCH], strict=True), schema.types)),
            schema=schema,
        )
        for start in range(0, len(rows), _ROWS_IN_ONE_BATCH)
    )
    # DuckDB stores the one while the next is made: it lets go of Python's lock for most of its time.
    with closing(one_ahead(batches) if len(rows) > _ROWS_IN_ONE_BATCH else batches) as ready:
        cursor.register(STAGE, pyarrow.RecordBatchReader.from_batches(schema, ready))
        yield
    # Not after an error: it would hide it behind "transaction is aborted", and the connection is closed then.
    cursor.unregister(STAGE)


def _arrow_types() -> dict[ColumnKind, Any]:
    import pyarrow

    return {
        ColumnKind.INTEGER: pyarrow.int64(),
        ColumnKind.BOOLEAN: pyarrow.bool_(),
        ColumnKind.TIMESTAMP: pyarrow.timestamp("us", tz="UTC"),
    }
