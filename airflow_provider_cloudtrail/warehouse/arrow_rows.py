"""Rows as Arrow, for the engines that take them so: what a column is there, and batches of rows."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_cloudtrail.audit_event import Column, ColumnKind

if TYPE_CHECKING:
    import pyarrow

ROWS_IN_ONE_BATCH = 2_048


def arrow_schema(columns: Sequence[Column], required: Collection[str] = ()) -> pyarrow.Schema:
    """
    Return columns as those of Arrow.

    :param required: names of those that take no null.
    """
    import pyarrow

    types = {
        ColumnKind.INTEGER: pyarrow.int64(),
        ColumnKind.BOOLEAN: pyarrow.bool_(),
        ColumnKind.TIMESTAMP: pyarrow.timestamp("us", tz="UTC"),
    }
    return pyarrow.schema([
        pyarrow.field(column.name, types.get(column.kind, pyarrow.string()), nullable=column.name not in required)
        for column in columns
    ])


def arrow_batches(schema: pyarrow.Schema, rows: Sequence[Sequence[Any]]) -> Generator[pyarrow.RecordBatch, None, None]:
    """Yield rows as Arrow, a portion after the other."""
    import pyarrow

    for start in range(0, len(rows), ROWS_IN_ONE_BATCH):
        columns = zip(*rows[start : start + ROWS_IN_ONE_BATCH], strict=True)
        yield pyarrow.record_batch(list(map(pyarrow.array, columns, schema.types)), schema=schema)
