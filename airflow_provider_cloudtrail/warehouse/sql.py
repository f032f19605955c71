"""
Any connection whose hook is a ``DbApiHook``, through SQL that all engines understand.

SQLite and others: which ids are new is asked in portions, inserts carry many rows, one
transaction holds a batch. Nothing relies on upserts, temporary tables or ``RETURNING``. Engines without
enforced keys keep one row per event by their table lock, if they have one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from airflow_provider_cloudtrail.audit_event import MAX_KEY_LENGTH, AuditEvent, Column, ColumnKind, columns_of
from airflow_provider_cloudtrail.warehouse.dialect import Dialect
from airflow_provider_cloudtrail.warehouse.relational import RelationalWarehouse


def _utc_text(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")


def _types(key: str, text: str, integer: str, boolean: str, timestamp: str, json: str) -> dict[ColumnKind, str]:
    return {
        ColumnKind.KEY: key,
        ColumnKind.TEXT: text,
        ColumnKind.INTEGER: integer,
        ColumnKind.BOOLEAN: boolean,
        ColumnKind.TIMESTAMP: timestamp,
        ColumnKind.JSON: json,
        ColumnKind.RAW_JSON: json,
    }


_KEY = f"VARCHAR({MAX_KEY_LENGTH})"
REDSHIFT_KEY_BYTES = 4 * MAX_KEY_LENGTH

ANSI = Dialect(_types(_KEY, "TEXT", "BIGINT", "BOOLEAN", "TIMESTAMP WITH TIME ZONE", "TEXT"))

DIALECTS = {
    # Times as text in one form, so that they sort; booleans as 0 and 1. Its JSON functions read text.
    "sqlite": Dialect(
        _types("TEXT", "TEXT", "INTEGER", "INTEGER", "TEXT", "TEXT"),
        convert={ColumnKind.TIMESTAMP: _utc_text, ColumnKind.BOOLEAN: int},
    ),
    # Lengths are in bytes. Of more than ten values behind IN Redshift makes an array, and bound arrays are refused.
    # Whether an array of bound values is, too, is documented nowhere: none is made of fewer than ten.
    # https://docs.aws.amazon.com/redshift/latest/dg/r_in_condition.html
    # https://github.com/aws/amazon-redshift-python-driver/issues/45
    "redshift": Dialect(
        _types(f"VARCHAR({REDSHIFT_KEY_BYTES})", "VARCHAR(65535)", "BIGINT", "BOOLEAN", "TIMESTAMPTZ", "SUPER"),
        max_parameters=30_000,
        max_in_list=9,
    ),
}


class SqlWarehouse(RelationalWarehouse):
    """
    A warehouse behind any ``DbApiHook``.

    The engine is the hook's ``conn_type``; one that is not listed here gets standard SQL types.
    """

    dialect = ANSI

    def __init__(self, hook: Any, *args: Any, **kwargs: Any) -> None:
        self.engine = str(getattr(hook, "conn_type", "sql"))  # type: ignore[misc]
        self.dialect = DIALECTS.get(self.engine, self.dialect)  # type: ignore[misc]
        super().__init__(hook, *args, **kwargs)

    def _lock(self, cursor: Any) -> None:
        # Takes the write lock where an engine locks tables (SQLite). Where it locks
        # rows, keys are enforced, and the loser of a race is told by an IntegrityError and tries again.
        uri = self.quoted("log_file_uri")
        cursor.execute(f"UPDATE {self.files} SET {uri} = {uri} WHERE {uri} = ''")

    def _is_conflict(self, error: Exception) -> bool:
        return super()._is_conflict(error) or (
            type(error).__name__ == "OperationalError" and "database is locked" in str(error)
        )

    def _what_is(self, cursor: Any, table: str) -> tuple[str, dict[str, str]]:
        if self.engine != "sqlite":
            return super()._what_is(cursor, table)
        # Any value fits into any of its columns.
        cursor.execute("SELECT type FROM sqlite_master WHERE LOWER(name) = LOWER(?)", [table])
        return str(next(iter(cursor.fetchall()), ("",))[0]), {}

    def _insert_new_events(self, cursor: Any, events: Sequence[AuditEvent]) -> set[str]:
        event_id = self.quoted("event_id")
        present: set[str] = set()
        for portion, marks in self._portions([event.event_id for event in events]):
            cursor.execute(f"SELECT {event_id} FROM {self.events} WHERE {event_id} IN ({marks})", portion)
            present.update(row[0] for row in cursor.fetchall())
        new = [event for event in events if event.event_id not in present]
        self._insert(cursor, self.events, columns_of(AuditEvent), new)
        return {event.event_id for event in new}

    def _insert(self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        for statement, values in self._inserts(table, columns, rows):
            cursor.execute(statement, values)

    def _inserts(
        self, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]
    ) -> Iterator[tuple[str, list[Any]]]:
        """Yield the statements that insert rows, each with its values."""
        in_one = max(1, self.dialect.max_parameters // len(columns))
        marks = f"({', '.join([self.hook.placeholder] * len(columns))})"
        for portion in _portions(rows, in_one, self.dialect.max_characters):
            statement = f"INSERT INTO {table} ({self._names(columns)}) VALUES {', '.join([marks] * len(portion))}"
            yield statement, [value for row in portion for value in self._converted(columns, row)]


def _portions(rows: Sequence[Sequence[Any]], most: int, characters_in_one: int) -> Iterator[list[Sequence[Any]]]:
    """Yield rows, as many at once as fit into a statement; one that is longer on its own stands alone."""
    portion: list[Sequence[Any]] = []
    characters = 0
    for row in rows:
        of_row = sum(len(value) for value in row if isinstance(value, str))
        if portion and (len(portion) == most or characters + of_row > characters_in_one):
            yield portion
            portion, characters = [], 0
        portion.append(row)
        characters += of_row
    if portion:
        yield portion
