"""Connections to DuckDB whose commit fails, as it does when memory or the disk is full: the transaction is gone then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse


class _FailingCommit:
    def __init__(self, connection: Any, errors: Iterator[Exception | None]) -> None:
        self._connection = connection
        self._errors = errors

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def commit(self) -> None:
        error = next(self._errors, None)
        if error is None:
            self._connection.commit()
        else:
            self._connection.rollback()
            raise error


def fail_commits(
    monkeypatch: pytest.MonkeyPatch, warehouse: Warehouse, *errors: Exception | None
) -> Callable[[], list[Any]]:
    """
    Have the next commits fail with errors, where one is given, and those behind them succeed.

    :return: gives the connections that were opened since.
    """
    following = iter(errors)
    connect = warehouse.hook.get_conn
    opened: list[Any] = []

    def get_conn() -> Any:
        opened.append(_FailingCommit(connect(), following))
        return opened[-1]

    monkeypatch.setattr(warehouse.hook, "get_conn", get_conn)
    return lambda: opened
