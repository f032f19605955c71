from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse import kept_connection
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from airflow_provider_cloudtrail.warehouse.kept_connection import KeptConnection
from tests.support.engines import POSTGRES, REDSHIFT, SNOWFLAKE
from tests.support.log_files import event
from tests.support.rows import file_rows, reread
from tests.support.tables import assert_balanced, query, read_table
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
        return sum(not is_closed(connection) for connection in self.opened)


def is_closed(connection: Any) -> bool:
    """Tell whether a connection of any of the drivers was closed."""
    if hasattr(connection, "is_closed"):  # snowflake.connector
        return bool(connection.is_closed())
    return bool(connection.closed) if hasattr(connection, "closed") else connection._sock is None


@pytest.fixture(params=[*POSTGRES, *REDSHIFT, *SNOWFLAKE])
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
        write(warehouse, *range(8))
        assert connections.open == 1
        (kept,) = connections.opened
        if warehouse.engine == "postgres":
            cursor = kept.cursor()
            # A pool may give the next transaction another connection to the server, which has none of them.
            cursor.execute("SELECT name FROM pg_prepared_statements")
            assert cursor.fetchall() == []
            kept.rollback()
    assert len(connections.opened) == 1
    assert connections.open == 0
    assert len(read_table(warehouse).events) == 8
    # Behind the session none is kept any more.
    write(warehouse, 8)
    assert connections.open == 0


def test_without_a_session_each_transaction_opens_one(warehouse: Warehouse, connections: Connections) -> None:
    write(warehouse, 0, 1)
    assert len(connections.opened) == 4
    assert connections.open == 0


def test_batches_of_all_kinds_share_a_connection(warehouse: Warehouse, connections: Connections) -> None:
    first = [file_rows(f"20260203T10{number:02}Z", event(str(number)), 7, event("x")) for number in range(11)]
    with warehouse.session():
        warehouse.write(first)
        expected = read_table(warehouse)
        # Read again: entries are updated, all that is in quarantine is replaced.
        for _ in range(2):
            warehouse.write(reread(warehouse, *first))
            assert read_table(warehouse) == expected
        warehouse.write([file_rows("20260203T1100Z", body=b"no gzip")])
        write(warehouse, 12)
    # Those of the three looks at the tables besides.
    assert len(connections.opened) == 1 + 3
    assert_balanced(read_table(warehouse))


@pytest.mark.parametrize("warehouse", [*POSTGRES, *REDSHIFT], indirect=True)
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


def test_other_threads_neither_know_nor_change_that_a_connection_was_used_before() -> None:
    kept, seen = KeptConnection(lambda: SimpleNamespace(close=lambda: None)), []

    def use() -> None:
        connection = kept.take()
        seen.append(kept.reused)
        kept.committing()
        kept.give_back(connection, failed=False)

    with kept.session():
        use()
        kept.take()
        thread = threading.Thread(target=use)
        thread.start()
        thread.join(60)
        assert kept.reused
    assert seen == [False, False]


def test_sessions_of_two_threads_at_once(warehouse: Warehouse, connections: Connections) -> None:
    def load() -> None:
        write(warehouse, 1)
        with warehouse.session():
            write(warehouse, 2)

    with warehouse.session():
        write(warehouse, 0)
        thread = threading.Thread(target=load)
        thread.start()
        thread.join(60)
        write(warehouse, 3)
    assert connections.open == 0
    assert stored(warehouse) == {f"event {number}" for number in range(4)}


@pytest.mark.parametrize("engine", REDSHIFT)
def test_driver_that_keeps_every_statement_gets_a_new_connection_now_and_then(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    connections = Connections(warehouse, monkeypatch)
    with warehouse.session():
        for transaction in range(41):
            warehouse.known_files(["s3://example-trail/none"])
            assert len(connections.opened) == 1 + transaction // 20
            assert connections.open == 1


@pytest.mark.parametrize("engine", SNOWFLAKE[:1])
def test_snowflake_session_that_has_ended_is_replaced(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    from fakesnow.cursor import FakeSnowflakeCursor
    from snowflake.connector.errors import ProgrammingError

    warehouse = new_warehouse(engine)
    warehouse.prepare()
    connections, execute, ended = Connections(warehouse, monkeypatch), FakeSnowflakeCursor.execute, []

    def executed(cursor: Any, *statement: Any, **further: Any) -> Any:
        if any(cursor._conn is connection for connection in ended):
            raise ProgrammingError("Authentication token has expired.", errno=390114, sqlstate="08001")
        return execute(cursor, *statement, **further)

    monkeypatch.setattr(FakeSnowflakeCursor, "execute", executed)
    with warehouse.session():
        write(warehouse, 0)
        ended += connections.opened
        write(warehouse, 1)
        assert len(connections.opened) == 2
        assert connections.open == 1
        ended += connections.opened
    assert stored(warehouse) == {"event 0", "event 1"}


@pytest.mark.parametrize("engine", SNOWFLAKE)
def test_snowflake_stage_lasts_as_long_as_the_connection(
    new_warehouse: NewWarehouse, snowflake: list[str], engine: str
) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    with warehouse.session():
        write(warehouse, 0)
        del snowflake[:]
        write(warehouse, 1, 2)
        # What creates something would commit, and no file of an earlier load may be taken for one of a later.
        assert not any(text.split()[0] in ("CREATE", "ALTER", "DROP", "TRUNCATE") for text in snowflake)
        sources = [text.split(" FROM ")[1] for text in snowflake if text.startswith("COPY")]
        assert len(set(sources)) == len(sources) == 4


def test_each_thread_has_a_session_of_its_own() -> None:
    opened: list[Connection] = []

    class Connection:
        closed = False

        def close(self) -> None:
            self.closed = True

    def connect() -> Connection:
        opened.append(Connection())
        return opened[-1]

    connections = KeptConnection(connect)

    def transact() -> Connection:
        connection: Connection = connections.take()
        connections.give_back(connection, failed=False)
        return connection

    def of_another_thread() -> list[Connection]:
        with connections.session():
            return [transact(), transact()]

    with connections.session(), ThreadPoolExecutor(1) as other:
        ours = transact()
        theirs = other.submit(of_another_thread).result()
        assert [ours, transact()] == [opened[0]] * 2
        assert theirs == [opened[1]] * 2
        assert opened[1].closed
        assert not ours.closed
    assert ours.closed
    assert len(opened) == 2
