"""The statements that a warehouse sends, with their values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest import mock

from airflow_provider_cloudtrail.warehouse.base import Warehouse


class Statement(NamedTuple):
    """
    A statement.

    :param values: what was handed over with it: of an ``executemany`` the rows.
    """

    text: str
    values: Any


class _NotingCursor:
    def __init__(self, cursor: Any, noted: list[Statement]) -> None:
        self._cursor = cursor
        self._noted = noted

    def execute(self, text: str, values: Any = None, *more: Any) -> Any:
        self._noted.append(Statement(text, values))
        return self._cursor.execute(text, *(() if values is None else (values,)), *more)

    def executemany(self, text: str, rows: Any) -> Any:
        self._noted.append(Statement(text, rows))
        return self._cursor.executemany(text, rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


@contextmanager
def noted_statements(warehouse: Warehouse) -> Iterator[list[Statement]]:
    """Yield what receives the statements of a warehouse behind a DB-API connection."""
    noted: list[Statement] = []
    cursor_of: Callable[[Any], Any] = warehouse._cursor  # type: ignore[attr-defined]
    with mock.patch.object(warehouse, "_cursor", lambda connection: _NotingCursor(cursor_of(connection), noted)):
        yield noted
