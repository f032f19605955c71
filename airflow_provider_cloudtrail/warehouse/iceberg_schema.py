"""What the tables are in Iceberg: columns, partitions, properties; and which rows they take."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_cloudtrail.audit_event import Column, ColumnKind
from airflow_provider_cloudtrail.warehouse.arrow_rows import arrow_batches, arrow_schema
from airflow_provider_cloudtrail.warehouse.base import WarehouseError

if TYPE_CHECKING:
    import pyarrow
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.schema import Schema
    from pyiceberg.types import PrimitiveType

PARTITIONED = {"": ("event_time", "day"), "_files": ("delivered_at", "month"), "_digests": ("covered_to", "month")}
"""
By what follows the name of the audit table: the column that a table is partitioned by, and how finely.

A month for tables whose rows are small: with a day each, a batch would write as many files as it has days.
"""
_PROPERTIES = {
    "format-version": "2",
    "write.parquet.compression-codec": "zstd",
    # pyiceberg writes a file of this size, which is that of the rows in memory, as one row group unless a limit of rows
    # is set. None is: the bounds that it states of several groups may not cover what is in them, see iceberg_files.
    "write.target-file-size-bytes": str(128 * 1024 * 1024),
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "50",
    # Else each batch adds a manifest for good, and to plan a question takes longer and longer.
    "commit.manifest-merge.enabled": "true",
}


def iceberg_type(kind: ColumnKind) -> PrimitiveType:
    """Return the type of a kind of column; JSON is text, because Iceberg's variants are read by few engines yet."""
    from pyiceberg.types import BooleanType, LongType, StringType, TimestamptzType

    types: dict[ColumnKind, PrimitiveType] = {
        ColumnKind.INTEGER: LongType(),
        ColumnKind.BOOLEAN: BooleanType(),
        ColumnKind.TIMESTAMP: TimestamptzType(),
    }
    return types.get(kind, StringType())


def schema_of(columns: Sequence[Column], *, has_key: bool) -> Schema:
    """Return the schema of a new table; the first column is its identifier field if it has a key."""
    from pyiceberg.schema import Schema
    from pyiceberg.types import NestedField

    fields = [
        NestedField(
            field_id=number,
            name=column.name,
            field_type=iceberg_type(column.kind),
            required=column.required,
            doc=column.meaning,
        )
        for number, column in enumerate(columns, 1)
    ]
    return Schema(*fields, identifier_field_ids=[1] if has_key else [])


def partitions_of(schema: Schema, suffix: str) -> PartitionSpec:
    """Return how a new table is partitioned, by what follows the name of the audit table."""
    from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
    from pyiceberg.transforms import DayTransform, MonthTransform

    if suffix not in PARTITIONED:
        return UNPARTITIONED_PARTITION_SPEC
    column, unit = PARTITIONED[suffix]
    transform: Any = DayTransform() if unit == "day" else MonthTransform()
    source = schema.find_field(column).field_id
    return PartitionSpec(PartitionField(source, 1000, transform, f"{column}_{unit}"))


def properties_of(columns: Sequence[Column]) -> dict[str, str]:
    """Return the properties of a new table; rows are looked for by its first column, whether that is a key or not."""
    # Bounds that are cut to 16 characters say nothing of URIs, which all begin alike.
    return {**_PROPERTIES, f"write.metadata.metrics.column.{columns[0].name}": "full"}


def refuse_left_out(schema: Schema, names: Collection[str]) -> None:
    """
    Refuse rows that have no value for a column of a table that takes no null.

    :param names: columns for which every row has one, or may.
    :raises WarehouseError: with the column, which must be one of the user's own, and what to do.
    """
    if column := next((field.name for field in schema.fields if field.required and field.name not in names), None):
        # Of defaults, which tables of version 3 can have, pyiceberg knows nothing when it writes.
        raise WarehouseError(
            f"the column {column} takes no null, so that no row can be added: let it take null (ALTER TABLE)"
        )


def arrow_table(columns: Sequence[Column], rows: Sequence[Sequence[Any]], schema: Schema) -> pyarrow.Table:
    """
    Return rows as a table of Iceberg takes them.

    :param schema: schema of the table: a column may be required by it or not.
    """
    import pyarrow

    required = [column.name for column in columns if schema.find_field(column.name).required]
    arrow = arrow_schema(columns, required)
    return pyarrow.Table.from_batches(arrow_batches(arrow, rows), arrow)
