"""
Rows as data files, a file for each day, without the copies that pyiceberg makes to find the days.

It appends what it is given as one Arrow table, and copies that twice more to part it. Here rows are parted before they
are made Arrow, portion by portion, so that what is in memory is what is being written.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_provider_cloudtrail.audit_event import Column
from airflow_provider_cloudtrail.warehouse.iceberg_schema import arrow_batches, arrow_schema_of

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.partitioning import PartitionField
    from pyiceberg.table import Table

_EPOCH = date(1970, 1, 1)


def day_of(table: Table, column: str) -> PartitionField | None:
    """Return the partition field of a table that is parted by the day of a column and by nothing else."""
    from pyiceberg.transforms import DayTransform

    fields = table.spec().fields
    source = table.schema().find_field(column).field_id
    is_day = len(fields) == 1 and fields[0].source_id == source and isinstance(fields[0].transform, DayTransform)
    return fields[0] if is_day else None


def write_day_files(
    table: Table, field: PartitionField, columns: Sequence[Column], rows: Iterable[Sequence[Any]], time: int
) -> Iterator[DataFile]:
    """
    Write rows into data files that a commit can add.

    :param field: from :func:`day_of`.
    :param time: index of the column that the table is parted by.
    """
    from pyiceberg.io.pyarrow import pyarrow_to_schema, write_file
    from pyiceberg.partitioning import PartitionFieldValue, PartitionKey
    from pyiceberg.table import WriteTask

    schema = table.schema()
    arrow_schema = arrow_schema_of(columns, schema)
    written_schema = pyarrow_to_schema(arrow_schema, name_mapping=schema.name_mapping)
    commit = uuid.uuid4()
    tasks = (
        WriteTask(
            write_uuid=commit,
            task_id=number,
            schema=written_schema,
            record_batches=arrow_batches(arrow_schema, of_day),  # type: ignore[arg-type]
            partition_key=PartitionKey(
                field_values=[PartitionFieldValue(field=field, value=(day - _EPOCH).days)],
                partition_spec=table.spec(),
                schema=schema,
            ),
        )
        for number, (day, of_day) in enumerate(_by_day(rows, time).items())
    )
    return write_file(io=table.io, table_metadata=table.metadata, tasks=tasks)


def _by_day(rows: Iterable[Sequence[Any]], time: int) -> dict[date, list[Sequence[Any]]]:
    days: dict[date, list[Sequence[Any]]] = {}
    for row in rows:
        moment: datetime = row[time]
        days.setdefault(moment.astimezone(timezone.utc).date(), []).append(row)
    return days
