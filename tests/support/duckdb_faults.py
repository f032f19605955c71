"""Connections to DuckDB that fail, as they do when memory or the disk is full: the transaction is gone then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse

COMMIT = "COMMIT"


class Faults:
    """
    What the connections of a warehouse go through.

    :param error_of: takes a statement, or ``COMMIT``, before it is carried out; returns what it fails with, or None.
    """

    def __init__(self, error_of: Callable[[str], Exception | None]) -> None:
        self._error_of = error_of
        self.opened: list[Any] = []

    def watch(self, monkeypatch: pytest.MonkeyPatch, warehouse: Warehouse) -> Faults:
        """Begin with the connections that are opened from now on."""
        connect = warehouse.hook.get_conn

        def get_conn() -> Any:
            self.opened.append(_Connection(connect(), self._error_of))
            return self.opened[-1]

        monkeypatch.setattr(warehouse.hook, "get_conn", get_conn)
        return self


class _Connection:
    def __init__(self, connection: Any, error_of: Callable[[str], Exception | None]) -> None:
        self._connection = connection
        self._error_of = error_of

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *parameters: Any) -> Any:
        self._fail(statement)
        return self._connection.execute(statement, *parameters)

    def commit(self) -> None:
        self._fail(COMMIT)
        self._connection.commit()

    def _fail(self, statement: str) -> None:
        if (error := self._error_of(statement)) is None:
            return
        if statement == COMMIT:
            self._connection.rollback()
        raise error


def fail_commits(monkeypatch: pytest.MonkeyPatch, warehouse: Warehouse, *errors: Exception) -> Faults:
    """Have the next commits fail with errors, and those behind them succeed."""
    following = iter(errors)
    return Faults(lambda statement: next(following, None) if statement == COMMIT else None).watch(
        monkeypatch, warehouse
    )
