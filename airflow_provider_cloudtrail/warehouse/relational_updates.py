"""
Updates of rows that are there, in the words of SQL, and what all statements about rows are put together from.

Many rows may get values of their own each, as when a month is validated: engines for which so many statements take
long hand them over at once, and update from there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, ClassVar

from airflow_provider_cloudtrail.audit_event import Column, ColumnKind
from airflow_provider_cloudtrail.warehouse.conditions import AllOf, Condition, Value
from airflow_provider_cloudtrail.warehouse.delivery_times import TIMES_IN_KEYS, covered_within, delivered_within
from airflow_provider_cloudtrail.warehouse.relational_tables import RelationalTables
from airflow_provider_cloudtrail.warehouse.sql_conditions import SqlCondition, as_sql

# Tables that somebody else has made may hold times without a zone, and compare them in one of the session's.
_MARGIN = timedelta(days=1)


class RelationalUpdates(RelationalTables):
    """
    What of a warehouse behind a DB-API connection has to do with rows that stay, and get other values.

    Parameters are those of :class:`~airflow_provider_cloudtrail.warehouse.base.Warehouse`.
    """

    portion: ClassVar[int] = 500
    """Values that are asked for in one statement."""

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
            besides = [] if where is None else [where]
            which = self._where(AllOf([*self._time_bound(table, [row[0] for row in rows]), *besides]))
            self._update(cursor, table, columns, rows, which)

    def assign(self, cursor: Any, table: str, values: Mapping[str, Value | None], where: Condition) -> None:
        """Set columns of the rows that fulfil a condition to values, in a transaction."""
        text, of_condition = self._where(where)
        assignments = ", ".join(f"{self.quoted(name)} = {self.hook.placeholder}" for name in values)
        given = [self._given(value) for value in values.values()]
        cursor.execute(f"UPDATE {table} SET {assignments} WHERE {text}", [*given, *of_condition])

    # -- what an engine may do otherwise -----------------------------------------------------------

    def _update(
        self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]], where: SqlCondition
    ) -> None:
        """
        Update rows: one statement for those that get the same.

        :param where: which rows are updated, by what they hold.
        """
        key, *others = columns
        groups: dict[tuple[Any, ...], list[str]] = {}
        for row in rows:
            groups.setdefault(tuple(row[1:]), []).append(row[0])
        if unlike := [(keys[0], *new) for new, keys in groups.items() if len(keys) == 1]:
            self._update_each(cursor, table, columns, unlike, where)
        assignments = ", ".join(f"{self.quoted(column.name)} = {self.hook.placeholder}" for column in others)
        for new, keys in groups.items():
            for portion, marks in self._portions(keys if len(keys) > 1 else []):
                cursor.execute(
                    f"UPDATE {table} SET {assignments} WHERE {self.quoted(key.name)} IN ({marks}){where.besides}",
                    [*self._converted(others, new), *portion, *where.values],
                )

    def _update_each(
        self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]], where: SqlCondition
    ) -> None:
        """Update rows that get values of their own each; parameters are those of :meth:`_update`."""
        key, *others = columns
        assignments = ", ".join(f"{self.quoted(column.name)} = {self.hook.placeholder}" for column in others)
        cursor.executemany(
            f"UPDATE {table} SET {assignments} WHERE {self.quoted(key.name)} = {self.hook.placeholder}{where.besides}",
            [[*self._converted(others, row[1:]), row[0], *where.values] for row in rows],
        )

    def _update_from(
        self, cursor: Any, table: str, source: str, columns: Sequence[Column], where: SqlCondition
    ) -> None:
        """Update rows from those of a source, which has the columns of :meth:`_fresh`."""
        (key, fresh_key), *others = [
            (self.quoted(column.name), self.quoted(fresh.name))
            for column, fresh in zip(columns, self._fresh(columns), strict=True)
        ]
        assignments = ", ".join(f"{column} = {fresh}" for column, fresh in others)
        cursor.execute(
            f"UPDATE {table} SET {assignments} FROM {source} WHERE {key} = {fresh_key}{where.besides}", where.values
        )

    @staticmethod
    def _fresh(columns: Sequence[Column]) -> list[Column]:
        """Return columns with names that no table has, for rows that are on their way into one."""
        return [replace(column, name=f"new_{column.name}") for column in columns]

    # -- what statements are put together from -----------------------------------------------------

    def _times_in_keys(self) -> dict[str, str]:
        """Return, by the qualified name of a table, the column of the time that its keys say."""
        return {self.qualified(f"{self.table}{suffix}"): column for suffix, column in TIMES_IN_KEYS.items()}

    def _time_bound(self, table: str, keys: Collection[str]) -> list[Condition]:
        """Return what rows with some keys have in common by which an engine finds them: when they are from."""
        if table == self.files:
            return delivered_within(keys, _MARGIN)
        return covered_within(keys, _MARGIN) if table in self._times_in_keys() else []

    def _where(self, condition: Condition) -> SqlCondition:
        """Return a condition in the words of SQL."""
        return as_sql(
            condition,
            quoted=self.quoted,
            mark=self.hook.placeholder,
            value=self._given,
            max_in_list=self.dialect.max_in_list,
        )

    def _given(self, value: Value | None) -> Any:
        """Return a value that a column is compared with or set to as the driver takes it."""
        # Times that users give are of pendulum's class.
        kinds = ((datetime, ColumnKind.TIMESTAMP), (bool, ColumnKind.BOOLEAN))
        kind = next((kind for of_python, kind in kinds if isinstance(value, of_python)), ColumnKind.TEXT)
        convert = self.dialect.convert.get(kind)
        return value if value is None or convert is None else convert(value)

    def _converted(self, columns: Sequence[Column], row: Sequence[Any]) -> list[Any]:
        """Return a row as the driver takes it."""
        convert = self.dialect.convert
        return [
            value if value is None or column.kind not in convert else convert[column.kind](value)
            for column, value in zip(columns, row, strict=True)
        ]

    def _portions(self, values: Sequence[str]) -> Iterator[tuple[list[str], str]]:
        """Yield portions of values that fit into one statement, each with its placeholders."""
        for start in range(0, len(values), self.portion):
            portion = list(values[start : start + self.portion])
            yield portion, ", ".join([self.hook.placeholder] * len(portion))
