"""A task over PostgreSQL that is told to end while the server is at a statement."""

from __future__ import annotations

import json
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseUnavailableError
from tests.support.ending import TaskEndedError, once, statements_have_ended
from tests.support.engines import POSTGRES, REPOSITORY
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
    assert statements_have_ended()
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


def test_whoever_alters_a_table_is_waited_for_no_longer_than_another_writer(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warehouse, "_lock_timeout", timedelta(seconds=0.2))
    said = r"gave up after .*\(LockNotAvailable.* ALTER TABLE"
    with closing(warehouse.hook.get_conn()) as owner:
        owner.cursor().execute(f"LOCK TABLE {warehouse.files} IN ACCESS EXCLUSIVE MODE")
        end = threading.Timer(20, owner.rollback)
        end.start()
        try:
            for reading in (warehouse.prepare, lambda: warehouse.known_files([FILE.entry.log_file_uri])):
                with pytest.raises(WarehouseUnavailableError, match=said):
                    reading()
        finally:
            end.cancel()
        # The server notices a closed connection only after a while.
        owner.rollback()
    assert not warehouse.known_files([FILE.entry.log_file_uri])


class Middleman:
    """Stands between a task and the server: at first it passes all on, then nothing more, and ends no connection."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.is_deaf = False
        self._connections: list[socket.socket] = []

    @contextmanager
    def running(self) -> Iterator[Middleman]:
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield self
        finally:
            for one in (self._listener, *self._connections):
                one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                self._connections.append(self._listener.accept()[0])
                if not self.is_deaf:
                    threading.Thread(target=self._pass_on, args=[self._connections[-1]], daemon=True).start()

    def _pass_on(self, task: socket.socket) -> None:
        with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as server:
            server.connect(self._server)
            self._connections.append(server)
            while True:
                for one in select.select([task, server], [], [], 0.1)[0]:
                    if self.is_deaf or not (data := one.recv(65536)):
                        return
                    (server if one is task else task).sendall(data)


PROGRAM = """if True:
    import json, sys, time
    from airflow_provider_cloudtrail.audit_event import Column, ColumnKind
    from tests.support.ending import TaskEndedError, ended_by_signal
    from tests.support.engines import warehouse_of
    engine, uri, doing = json.loads(sys.argv[1])
    warehouse = warehouse_of(engine, uri, airflow=False)
    def fall_silent():
        print("ready", flush=True)
        sys.stdin.readline()
    class Rows(list):
        def __getitem__(self, part):
            if part.start:
                fall_silent()
            return super().__getitem__(part)
    def work(cursor):
        cursor.execute("SELECT 1")
        if doing == "copy":
            cursor.execute("CREATE TEMPORARY TABLE copied (id TEXT)")
            # More than all that lies between here and the server can hold.
            rows = Rows([("x" * 100_000,)] * 1_000)
            warehouse.insert(cursor, "copied", [Column("id", ColumnKind.TEXT, False, "")], rows)
            return
        fall_silent()
        if doing == "statement":
            cursor.execute("SELECT 2")
        elif doing == "many":
            cursor.executemany("SELECT %s", [(2,), (3,)])
        elif doing == "nothing":
            time.sleep(60)
    with ended_by_signal():
        try:
            warehouse.transact("waiting", work)
        except TaskEndedError:
            print("ended", flush=True)
"""


@pytest.mark.parametrize("engine", POSTGRES)
@pytest.mark.parametrize("doing", ["statement", "many", "copy", "nothing", "commit"])
def test_who_ends_a_task_whose_server_does_not_answer_any_more_is_heard(
    engine: str, doing: str, postgres_uri: str
) -> None:
    """In a process of its own: psycopg2 can stop all threads of one."""
    folder = postgres_uri.partition("?host=")[2]
    with Middleman(f"{folder}/.s.PGSQL.5432").running() as middleman:
        uri = f"postgresql://postgres@127.0.0.1:{middleman.port}/postgres"
        with subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps([engine, uri, doing])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        ) as task:
            assert task.stdout is not None
            assert task.stdin is not None
            try:
                assert task.stdout.readline() == "ready\n"
                middleman.is_deaf = True
                task.stdin.write("go on\n")
                task.stdin.flush()
                time.sleep(0.5)
                task.send_signal(signal.SIGALRM)
                assert task.communicate(timeout=60)[0] == "ended\n"
            finally:
                task.kill()
