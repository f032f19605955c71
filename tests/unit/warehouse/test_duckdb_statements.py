from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import QuarantineEntry, columns_of
from airflow_provider_cloudtrail.warehouse import arrow_rows
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from airflow_provider_cloudtrail.warehouse.duckdb_statements import InterruptibleConnection, staged
from tests.support.ending import TaskEndedError, functions_of, statements_have_ended
from tests.support.rows import AT
from tests.support.tables import query

duckdb = pytest.importorskip("duckdb")
NewWarehouse = Callable[[str], Warehouse]
COLUMNS = columns_of(QuarantineEntry)


@pytest.fixture
def new_threads() -> Callable[[], list[threading.Thread]]:
    """Return threads of this package that are there only now: those of other tests may wait for the collector."""
    before = set(threading.enumerate())

    def find() -> list[threading.Thread]:
        found = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("cloudtrail")]
        for thread in found:
            if thread.name.startswith("cloudtrail-ahead"):
                # Not waited for by who has closed what it makes.
                thread.join(60)
        return [thread for thread in found if thread.is_alive()]

    return find


@pytest.fixture
def warehouse(new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    monkeypatch.setattr(arrow_rows, "ROWS_IN_ONE_BATCH", 1)
    warehouse = new_warehouse("duckdb")
    warehouse.prepare()
    return warehouse


class Rows(list[QuarantineEntry]):
    """Rows of which the third says that it is looked at."""

    def __init__(self, rows: list[QuarantineEntry], look: Callable[[], None]) -> None:
        super().__init__(rows)
        self._look = look

    def __getitem__(self, part: Any) -> Any:
        if part.start == 2:
            self._look()
        return super().__getitem__(part)


def rows(look: Callable[[], None]) -> Rows:
    return Rows([QuarantineEntry("s3://b/k", number, "reason", None, AT) for number in range(5)], look)


def insert(warehouse: Warehouse, given: Rows) -> None:
    warehouse.transact(
        f"writing {warehouse.quarantine}",
        lambda cursor: warehouse.insert(cursor, warehouse.quarantine, COLUMNS, given),
        writes=True,
    )


def numbers(warehouse: Warehouse) -> list[int]:
    return [number for (number,) in query(warehouse, f"SELECT record_index FROM {warehouse.quarantine} ORDER BY 1")]


def test_rows_are_made_by_another_thread_in_their_order(warehouse: Warehouse) -> None:
    threads = set()
    insert(warehouse, rows(lambda: threads.add(threading.current_thread())))
    assert numbers(warehouse) == [0, 1, 2, 3, 4]
    assert threads
    assert threading.main_thread() not in threads
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_who_ends_the_task_while_rows_are_read_is_heard(
    warehouse: Warehouse, end_task: Callable[[], None], new_threads: Callable[[], list[threading.Thread]]
) -> None:
    with pytest.raises(TaskEndedError):
        insert(warehouse, rows(end_task))
    assert not new_threads()
    assert statements_have_ended()
    assert numbers(warehouse) == []
    insert(warehouse, rows(lambda: None))
    assert numbers(warehouse) == [0, 1, 2, 3, 4]


def test_rows_that_a_thread_of_duckdb_still_reads_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB 1.1 returns from an interrupted statement while its threads are at it."""
    monkeypatch.setattr(arrow_rows, "ROWS_IN_ONE_BATCH", 1)
    looked_at, go_on = threading.Event(), threading.Event()

    def look() -> None:
        looked_at.set()
        assert go_on.wait(60)

    readers: list[Any] = []
    left: list[bool] = []

    class Cursor:
        def register(self, _: str, reader: Any) -> None:
            readers.append(reader)

    def read() -> None:
        readers[0].read_all()
        left.append(True)

    def end_amid_reading() -> None:
        with staged(Cursor(), COLUMNS, rows(look)):
            thread.start()
            assert looked_at.wait(60)
            timer.start()
            raise TaskEndedError

    thread, timer = threading.Thread(target=read), threading.Timer(0.3, go_on.set)
    with pytest.raises(TaskEndedError):
        end_amid_reading()
    thread.join(60)
    assert left


def test_who_ends_the_task_while_a_statement_runs_is_heard(end_task: Callable[[], None]) -> None:
    connection = InterruptibleConnection(duckdb.connect())
    timer = threading.Timer(0.5, end_task)
    timer.start()
    with pytest.raises(TaskEndedError):
        # Would take hours.
        connection.execute("SELECT COUNT(*) FROM range(1000000) AS a, range(10000000) AS b WHERE a.range <> b.range")
    timer.join()
    assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_who_ends_the_task_before_a_statement_has_begun_is_heard(end_task: Callable[[], None]) -> None:
    """DuckDB forgets an interruption when a statement begins."""

    class Slow:
        def __init__(self) -> None:
            self.interruptions = threading.Semaphore(0)
            self.ended = False

        def interrupt(self) -> None:
            self.interruptions.release()

        def execute(self, _: str) -> None:
            while "in_thread" not in functions_of(threading.main_thread().ident or 0):
                time.sleep(0.001)
            end_task()
            assert self.interruptions.acquire(timeout=60)
            # Only now it begins; it would go on to its end.
            self.ended = self.interruptions.acquire(timeout=30)

    slow = Slow()
    with pytest.raises(TaskEndedError):
        InterruptibleConnection(slow).execute("SELECT 1")
    assert slow.ended


class Interrupted:
    """
    A connection of DuckDB whose main thread is told to end the task, as soon as it is at work on some statement.

    :param connection: what carries out statements.
    :param of: its method, and what its first argument begins with.
    :param at_work: ends the task.
    """

    def __init__(self, connection: Any, of: tuple[str, str], end_task: Callable[[], None]) -> None:
        self._connection = connection
        self._of = of
        self._end_task = end_task

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._connection, name)
        if name != self._of[0]:
            return found

        def ending(*arguments: Any) -> Any:
            if str(next(iter(arguments), "")).startswith(self._of[1]):
                if threading.current_thread() is threading.main_thread():
                    # What DuckDB makes of whatever the handler of a signal raises while it is at work.
                    raise RuntimeError("Query interrupted")
                self._end_task()
            return found(*arguments)

        return ending


@pytest.mark.parametrize(
    "of",
    [
        pytest.param(("execute", "SELECT estimated_size"), id="the size of the table is asked for"),
        pytest.param(("execute", "BEGIN"), id="a transaction is new_threads"),
        pytest.param(("execute", "SELECT"), id="a setting is read"),
        pytest.param(("register", ""), id="rows are given a name"),
        pytest.param(("unregister", ""), id="rows are forgotten"),
        pytest.param(("fetchall", ""), id="rows are fetched"),
        pytest.param(("commit", ""), id="a transaction is committed"),
    ],
)
def test_who_ends_the_task_is_heard_whatever_duckdb_is_at(
    of: tuple[str, str],
    warehouse: Warehouse,
    end_task: Callable[[], None],
    new_threads: Callable[[], list[threading.Thread]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connect = warehouse.hook.get_conn
    with monkeypatch.context() as patch:
        patch.setattr(warehouse.hook, "get_conn", lambda: Interrupted(connect(), of, end_task))
        with pytest.raises(TaskEndedError):
            insert(warehouse, rows(lambda: None))
    assert not new_threads()
    assert statements_have_ended()
    # What was being committed may be there, as a whole.
    assert numbers(warehouse) in ([], [0, 1, 2, 3, 4])
    warehouse.known_files(["s3://b/k"])


def test_who_ends_the_task_while_it_is_rolled_back_is_heard(
    warehouse: Warehouse, end_task: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = warehouse.hook.get_conn

    def fail(_: Any) -> None:
        raise KeyError

    with monkeypatch.context() as patch:
        patch.setattr(warehouse.hook, "get_conn", lambda: Interrupted(connect(), ("rollback", ""), end_task))
        with pytest.raises(TaskEndedError):
            warehouse.transact("failing", fail)
    warehouse.known_files(["s3://b/k"])


def test_who_ends_the_task_while_the_thread_of_a_statement_starts_is_heard(
    end_task: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    began, interrupted = threading.Event(), threading.Event()
    start = _thread.start_new_thread

    class Endless:
        def interrupt(self) -> None:
            interrupted.set()

        def execute(self, _: str) -> None:
            began.set()
            assert interrupted.wait(60)

    def start_and_end(*thread: Any) -> None:
        start(*thread)
        assert began.wait(60)
        end_task()

    monkeypatch.setattr(_thread, "start_new_thread", start_and_end)
    with pytest.raises(TaskEndedError):
        InterruptibleConnection(Endless()).execute("SELECT 1")
    assert statements_have_ended()


def test_what_is_wrong_with_a_row_is_no_value(warehouse: Warehouse) -> None:
    bad = rows(lambda: None)
    list.__setitem__(bad, 3, bad[3:4][0]._replace(record_index="secret"))
    with pytest.raises(WarehouseError) as failure:
        insert(warehouse, bad)
    assert "secret" not in str(failure.value)
    assert numbers(warehouse) == []
