"""A task over PostgreSQL that is told to end while the server is at a statement."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseUnavailableError
from tests.support.ending import TaskEndedError, once
from tests.support.engines import POSTGRES
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.tables import query

NewWarehouse = Callable[[str], Warehouse]
FILE = file_rows("20260203T1000Z", event("event"))


@pytest.fixture(params=POSTGRES)
def warehouse(request: pytest.FixtureRequest, new_warehouse: NewWarehouse) -> Warehouse:
    warehouse = new_warehouse(request.param)
    warehouse.prepare()
    return warehouse


@pytest.fixture
def other_writer(warehouse: Warehouse) -> Iterator[Any]:
    """Yield the connection of another task, which has the writers' lock until it is rolled back."""
    with closing(warehouse.hook.get_conn()) as connection:
        connection.cursor().execute(f"LOCK TABLE {warehouse.files} IN EXCLUSIVE MODE")
        yield connection


def at_work(warehouse: Warehouse, wait: str) -> int:
    """Return how many sessions of the server are at a statement and wait for a kind of event."""
    return len(query(warehouse, f"SELECT pid FROM pg_stat_activity WHERE state = 'active' AND wait_event = '{wait}'"))


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_who_ends_a_task_that_waits_for_the_lock_is_heard(
    warehouse: Warehouse, other_writer: Any, end_task: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warehouse, "_lock_timeout", timedelta(seconds=60))
    ending = once(lambda: at_work(warehouse, "relation"), end_task)
    before = time.monotonic()
    with pytest.raises(TaskEndedError):
        warehouse.write([FILE])
    ending.join()
    assert time.monotonic() - before < 55, "it has waited for the lock"
    # Nor does the server wait on.
    until(lambda: not at_work(warehouse, "relation"))
    assert not [thread for thread in threading.enumerate() if thread.name == "cloudtrail-statement"]
    other_writer.rollback()
    assert len(warehouse.write([FILE])) == 1


def test_who_ends_a_task_while_the_server_is_at_a_statement_is_heard(
    warehouse: Warehouse, end_task: Callable[[], None]
) -> None:
    before = time.monotonic()
    once(lambda: at_work(warehouse, "PgSleep"), end_task)
    with pytest.raises(TaskEndedError):
        warehouse.transact("waiting", lambda cursor: cursor.execute("SELECT PG_SLEEP(60)"))
    assert time.monotonic() - before < 55, "it has waited for the statement"
    until(lambda: not at_work(warehouse, "PgSleep"))


def test_a_lock_that_is_not_given_in_time_is_an_error(
    warehouse: Warehouse, other_writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warehouse, "_lock_timeout", timedelta(seconds=0.2))
    with pytest.raises(WarehouseUnavailableError, match=r"gave up after .* because of another writer"):
        warehouse.write([FILE])
    other_writer.rollback()
    assert len(warehouse.write([FILE])) == 1
