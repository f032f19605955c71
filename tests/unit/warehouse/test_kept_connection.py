from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse import kept_connection
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from tests.support.engines import POSTGRES
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.tables import query, read_table
from tests.unit.warehouse.test_disturbed import Disturbance, disturb

NewWarehouse = Callable[[str], Warehouse]
OTHERS = "pid <> pg_backend_pid() AND datname = current_database() AND backend_type = 'client backend'"


class Connections:
    """Those that the hook of a warehouse has opened, in their order."""

    def __init__(self, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened: list[Any] = []
        connect = warehouse.hook.get_conn

        def get_conn() -> Any:
            connection = connect()
            self.opened.append(connection)
            return connection

        monkeypatch.setattr(warehouse.hook, "get_conn", get_conn)

    @property
    def open(self) -> int:
        return sum(not connection.closed for connection in self.opened)


@pytest.fixture(params=POSTGRES)
def warehouse(request: pytest.FixtureRequest, new_warehouse: NewWarehouse) -> Warehouse:
    warehouse = new_warehouse(request.param)
    warehouse.prepare()
    return warehouse


@pytest.fixture
def connections(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Connections:
    return Connections(warehouse, monkeypatch)


def write(warehouse: Warehouse, *numbers: int) -> None:
    for number in numbers:
        file = file_rows(f"20260203T10{number:02}Z", event(f"event {number}"))
        assert warehouse.known_files([file.entry.log_file_uri]) == {}
        assert len(warehouse.write([file])) == 1


def stored(warehouse: Warehouse) -> set[str]:
    return {event_id for (event_id,) in query(warehouse, f"SELECT event_id FROM {warehouse.events}")}


def end_sessions(warehouse: Warehouse) -> None:
    assert query(warehouse, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OTHERS}")


def test_a_session_needs_one_connection(warehouse: Warehouse, connections: Connections) -> None:
    with warehouse.session():
        write(warehouse, *range(12))
        assert connections.open == 1
        (kept,) = connections.opened
        cursor = kept.cursor()
        # A pool may give the next transaction another connection to the server, which has none of them.
        cursor.execute("SELECT name FROM pg_prepared_statements")
        assert cursor.fetchall() == []
        kept.rollback()
    assert len(connections.opened) == 1
    assert connections.open == 0
    assert len(read_table(warehouse).events) == 12


def test_without_a_session_each_transaction_opens_one(warehouse: Warehouse, connections: Connections) -> None:
    write(warehouse, 0, 1)
    assert len(connections.opened) == 4
    assert connections.open == 0


def test_idle_connection_that_was_lost_is_replaced(warehouse: Warehouse, connections: Connections) -> None:
    with warehouse.session():
        write(warehouse, 0)
        end_sessions(warehouse)
        write(warehouse, 1)
        end_sessions(warehouse)
        assert warehouse.known_files(["s3://example-trail/none"]) == {}
    # Those of the two queries besides.
    assert len(connections.opened) == 3 + 2
    assert connections.open == 0
    assert stored(warehouse) == {"event 0", "event 1"}


def test_connection_that_was_idle_for_long_is_not_used_again(
    warehouse: Warehouse, connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warehouse.session():
        write(warehouse, 0)
        monkeypatch.setattr(kept_connection, "LONGEST_IDLE", -1.0)
        write(warehouse, 1)
        assert len(connections.opened) == 3
        assert connections.open == 1
    assert connections.open == 0


@pytest.mark.parametrize("ran", [False, True], ids=["before it ran", "after it ran"])
def test_commit_without_an_answer_is_not_done_again(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, ran: bool
) -> None:
    commit = Disturbance(0, ran=ran)
    with warehouse.session(), monkeypatch.context() as disturbed:
        disturb(warehouse, Disturbance(1_000, ran=False), disturbed)
        write(warehouse, 0)
        connection = warehouse._connections._kept  # type: ignore[attr-defined]
        disturbed.setattr(type(connection), "commit", lambda wrapped: commit(wrapped.connection.commit))
        with pytest.raises(WarehouseError, match="connection was lost: run this again"):
            warehouse.write([file_rows("20260203T1001Z", event("event 1"))])
    assert commit.happened
    assert stored(warehouse) == ({"event 0", "event 1"} if ran else {"event 0"})


def test_a_failed_transaction_ends_its_connection(warehouse: Warehouse, connections: Connections) -> None:
    with warehouse.session():
        write(warehouse, 0)
        with pytest.raises(WarehouseError):
            warehouse.transact("failing", lambda cursor: cursor.execute("SELECT 1 FROM nowhere"))
        assert connections.open == 0
        write(warehouse, 1)
    assert len(connections.opened) == 2
    assert connections.open == 0


def test_other_threads_have_connections_of_their_own(warehouse: Warehouse, connections: Connections) -> None:
    with warehouse.session():
        write(warehouse, 0)
        thread = threading.Thread(target=write, args=[warehouse, 1])
        thread.start()
        thread.join(60)
        assert len(connections.opened) == 3
        assert connections.open == 1
    assert stored(warehouse) == {"event 0", "event 1"}
