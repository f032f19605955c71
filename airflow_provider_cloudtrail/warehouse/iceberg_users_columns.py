"""Columns of Iceberg tables that are the user's own: a row that is written anew keeps what it has in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_cloudtrail.warehouse.conditions import Condition
from airflow_provider_cloudtrail.warehouse.iceberg_tables import PinnedTable

if TYPE_CHECKING:
    import pyarrow


def with_users_columns(table: PinnedTable, rows: pyarrow.Table, where: Condition) -> pyarrow.Table:
    """
    Return rows with the columns that only the table has, and their values in its rows with the same keys.

    :param where: what the rows of the table with the same keys fulfil.
    """
    import pyarrow

    users = [name for name in table.columns if name not in rows.column_names]
    batches = list(table.read([table.key, *users], where)) if users else []
    if not batches:
        return rows
    there = pyarrow.concat_tables(
        [pyarrow.Table.from_batches([batch]) for batch in batches], promote_options="permissive"
    )
    places = {key: place for place, key in enumerate(there.column(table.key).to_pylist())}
    taken = pyarrow.array([places.get(key) for key in rows.column(table.key).to_pylist()], pyarrow.int64())
    for name in users:
        values = there.column(name).take(taken)
        # New rows have none: of a required column pyiceberg has to be told so, or it writes null into it.
        field = there.schema.field(name).with_nullable(values.null_count > 0)
        rows = rows.append_column(field, values)
    return rows
