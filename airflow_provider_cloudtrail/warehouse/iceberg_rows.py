"""
Rows of Iceberg tables that are there: found, and written anew with other values.

A change of a row is a delete and an append. Which files are read for it is told by keys, and by the times that the rows
with these keys can have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from airflow_provider_cloudtrail.audit_event import Column
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.conditions import AllOf, Condition, Value, between
from airflow_provider_cloudtrail.warehouse.delivery_times import delivered_within
from airflow_provider_cloudtrail.warehouse.iceberg_conditions import keys_within
from airflow_provider_cloudtrail.warehouse.iceberg_schema import PARTITIONED, arrow_table
from airflow_provider_cloudtrail.warehouse.iceberg_tables import TablesAtOnce
from airflow_provider_cloudtrail.warehouse.iceberg_users_columns import with_users_columns

_KEYS_AT_ONCE = 10_000


class IcebergRows(Warehouse):
    """
    What of a warehouse in an Iceberg catalog has to do with rows that are there.

    Parameters are those of :class:`~airflow_provider_cloudtrail.warehouse.base.Warehouse`.
    """

    def replace(self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows in the place of those with the same keys, in a transaction."""
        if rows:
            where = self._with_keys(table, columns[0].name, [row[0] for row in rows])
            where = AllOf([where, *self._of_the_times(table, columns, rows)])
            fresh = arrow_table(columns, rows, cursor[table].schema)
            if any(cursor[table].read([columns[0].name], where)):
                fresh = with_users_columns(cursor[table], fresh, where)
                cursor[table].delete(where)
            cursor[table].append(fresh)

    def find(self, cursor: Any, table: str, columns: Sequence[str], keys: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return columns of the rows with some keys, each given once, in a transaction; the first column is the key."""
        found: list[tuple[Any, ...]] = []
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            where = self._with_keys(table, columns[0], keys[start : start + _KEYS_AT_ONCE])
            found += self.select(cursor, table, columns, where)
        return found

    def select(
        self, cursor: Any, table: str, columns: Sequence[str], where: Condition, *, distinct: bool = False
    ) -> list[tuple[Any, ...]]:
        """Return columns of the rows that fulfil a condition, in a transaction."""
        rows: Iterable[tuple[Any, ...]] = (
            row
            for batch in cursor[table].read(columns, where)
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
        )
        return list(dict.fromkeys(rows)) if distinct else list(rows)

    def update(
        self,
        cursor: Any,
        table: str,
        columns: Sequence[Column],
        rows: Sequence[Sequence[Any]],
        where: Condition | None = None,
    ) -> None:
        """Update rows that are there, in a transaction; others are passed over."""
        if rows:
            keys = self._with_keys(table, columns[0].name, [row[0] for row in rows])
            new = {row[0]: dict(zip((column.name for column in columns), row, strict=True)) for row in rows}
            self._rewrite(cursor, table, keys if where is None else AllOf([keys, where]), lambda key: new[key])

    def assign(self, cursor: Any, table: str, values: Mapping[str, Value | None], where: Condition) -> None:
        """Set columns of the rows that fulfil a condition to values, in a transaction."""
        self._rewrite(cursor, table, where, lambda _: values)

    def _rewrite(
        self, tables: TablesAtOnce, name: str, where: Condition, new: Callable[[str], Mapping[str, Any]]
    ) -> None:
        """Write rows that fulfil a condition anew; ``new`` gives, by their key, columns that change."""
        import pyarrow

        table = tables[name]
        columns, key = table.columns, table.key
        batches = []
        for batch in table.read(columns, where):
            changes = [new(value) for value in batch.column(key).to_pylist()]
            rows = pyarrow.Table.from_batches([batch])
            for column in changes[0]:
                index = columns.index(column)
                field = rows.schema.field(index)
                values = pyarrow.array([change[column] for change in changes], field.type)
                rows = rows.set_column(index, field, values)
            batches.append(rows)
        if batches:
            keys = [value for rows in batches for value in rows.column(key).to_pylist()]
            table.delete(self._with_keys(name, key, keys))
            table.append(pyarrow.concat_tables(batches, promote_options="permissive"))

    # -- where rows can be -------------------------------------------------------------------------

    def _with_keys(self, table: str, key: str, keys: Sequence[str]) -> Condition:
        """Return the condition for rows with some keys; for the ledger also with the months that they can be in."""
        return AllOf([*(delivered_within(keys) if table == self.files else []), keys_within(key, keys)])

    def _of_the_times(self, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> list[Condition]:
        """Return what rows with the same keys have in common with these: when it was, by the table's partitions."""
        partitioned_by, _ = PARTITIONED.get(table.removeprefix(self.events), (None, None))
        for index, column in enumerate(columns):
            if column.name == partitioned_by:
                moments = [row[index] for row in rows]
                return between(column.name, min(moments), max(moments))
        return []
