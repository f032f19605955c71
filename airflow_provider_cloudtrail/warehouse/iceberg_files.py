"""
Rows as data files, one for each day, group by group.

pyiceberg appends what it is given as one Arrow table, and copies it to find the days: all rows of a batch are
in memory several times. Here they are parted before they are made Arrow, and what is in memory is one row group.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timezone
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_provider_cloudtrail.audit_event import Column, ColumnKind
from airflow_provider_cloudtrail.warehouse.arrow_rows import arrow_batches
from airflow_provider_cloudtrail.warehouse.iceberg_schema import iceberg_type

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.partitioning import PartitionField, PartitionKey
    from pyiceberg.table import Table

_EPOCH = date(1970, 1, 1)
_BATCHES_IN_ONE_GROUP = 4
_CODEC = "write.parquet.compression-codec"


def day_of(table: Table, column: str) -> PartitionField | None:
    """Return the partition field of a table of Parquet files that is parted by the day of a column and nothing else."""
    from pyiceberg.transforms import DayTransform

    if table.properties.get("write.format.default", "parquet") != "parquet":
        return None
    fields = table.spec().fields
    source = table.schema().find_field(column).field_id
    is_day = len(fields) == 1 and fields[0].source_id == source and isinstance(fields[0].transform, DayTransform)
    return fields[0] if is_day else None


def write_day_files(
    table: Table, field: PartitionField, columns: Sequence[Column], rows: Iterable[Sequence[Any]], time: int
) -> Iterator[tuple[DataFile, Sequence[Sequence[Any]]]]:
    """
    Write rows into data files that a commit can add; yield each with its rows.

    :param field: from :func:`day_of`.
    :param time: index of the column that the table is parted by.
    :raises TypeError: if a column of the table has another type than it should have.
    """
    from pyiceberg.partitioning import PartitionFieldValue, PartitionKey

    for column in columns:
        found = table.schema().find_field(column.name).field_type
        if found != iceberg_type(column.kind):
            raise TypeError(f"{column.name} is of type {found}, not {iceberg_type(column.kind)}")
    for day, of_day in _by_day(rows, time).items():
        value = PartitionFieldValue(field=field, value=(day - _EPOCH).days)
        yield _write(table, PartitionKey([value], table.spec(), table.schema()), columns, of_day), of_day


def _by_day(rows: Iterable[Sequence[Any]], time: int) -> dict[date, list[Sequence[Any]]]:
    days: dict[date, list[Sequence[Any]]] = {}
    for row in rows:
        moment: datetime = row[time]
        in_utc = moment if moment.tzinfo is timezone.utc else moment.astimezone(timezone.utc)
        days.setdefault(in_utc.date(), []).append(row)
    return days


def _write(table: Table, key: PartitionKey, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> DataFile:
    import pyarrow
    from pyarrow.parquet import ParquetWriter
    from pyiceberg.io import pyarrow as parquet
    from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
    from pyiceberg.schema import Schema

    # Columns of the user are left out: readers find them to be null.
    schema = Schema(*(table.schema().find_field(column.name) for column in columns))
    arrow_schema = parquet.schema_to_pyarrow(schema)
    codec = table.properties.get(_CODEC, "zstd")
    # A dictionary of what is another in each row costs time and memory, and saves nothing.
    repeated = [column.name for column in columns if column.kind not in (ColumnKind.KEY, ColumnKind.RAW_JSON)]
    output = table.io.new_output(table.location_provider().new_data_location(f"00000-0-{uuid.uuid4()}.parquet", key))
    with output.create(overwrite=True) as stream:
        with ParquetWriter(
            stream, arrow_schema, compression="none" if codec == "uncompressed" else codec, use_dictionary=repeated
        ) as writer:
            batches = arrow_batches(arrow_schema, rows)
            while group := list(islice(batches, _BATCHES_IN_ONE_GROUP)):
                writer.write_table(pyarrow.Table.from_batches(group))
        metadata = writer.writer.metadata
    ids = parquet.parquet_path_to_id_mapping(schema)
    statistics = parquet.data_file_statistics_from_parquet_metadata(
        metadata, parquet.compute_statistics_plan(schema, table.properties), ids
    )
    for path in _without_bounds(metadata):
        statistics.column_aggregates.pop(ids[path], None)
    # Before pyiceberg 0.10 it was made by its constructor.
    make: Any = getattr(DataFile, "from_args", DataFile)
    data_file: DataFile = make(
        content=DataFileContent.DATA,
        file_path=output.location,
        file_format=FileFormat.PARQUET,
        partition=key.partition,
        file_size_in_bytes=len(output),
        sort_order_id=None,
        spec_id=table.metadata.default_spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )
    return data_file


def _without_bounds(metadata: Any) -> set[str]:
    """
    Return the columns of a Parquet file of whose least and greatest value not all of its groups tell.

    Arrow does not if one has more than 4 KiB. pyiceberg would take what the other groups say for the bounds of the
    file, and whoever asks for a value beyond them would not find it.
    """
    unsaid = set()
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for position in range(metadata.num_columns):
            column = group.column(position)
            statistics = column.statistics
            if statistics is not None and statistics.num_values and not statistics.has_min_max:
                unsaid.add(column.path_in_schema)
    return unsaid
