from __future__ import annotations

import signal
import threading
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.audit_event import (
    QuarantineEntry,
    columns_of,
)
from airflow_provider_cloudtrail.warehouse.athena import AthenaWarehouse
from airflow_provider_cloudtrail.warehouse.athena_lock import WriterLock
from airflow_provider_cloudtrail.warehouse.base import WarehouseError, WarehouseUnavailableError
from tests.support.athena_tasks import again, let_lock_expire
from tests.support.engines import ATHENA
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.s3 import client_of
from tests.support.tables import assert_balanced, query, read_table

pytestmark = pytest.mark.skipif(not ATHENA, reason="needs pyathena, duckdb, pyarrow, sqlglot and moto")

AT = datetime(2026, 2, 3, 10, tzinfo=timezone.utc)


def test_second_writer_waits_for_the_first(athena_warehouse, athena_place):
    other = again(athena_warehouse, athena_place)
    other._lock_timeout = timedelta(0)

    def work(_):
        with pytest.raises(WarehouseUnavailableError, match=r"because of another writer \(the lock below s3://.*"):
            other.write([file_rows("20260203T1000Z", event("a"))])

    athena_warehouse.transact("holding", work, writes=True)
    # In the same thread, with the same client.
    assert len(other.write([file_rows("20260203T1000Z", event("a"))])) == 1


def test_lock_is_removed_afterwards_also_on_failure(athena_warehouse, staged_keys):
    def work(_):
        assert [key.rpartition("/")[2] for key in staged_keys()] == [f"audit.{athena_warehouse.table}.json"]
        raise RuntimeError

    with pytest.raises(WarehouseError):
        athena_warehouse.transact("failing", work, writes=True)
    assert staged_keys() == []


def test_without_the_lock_two_writers_store_an_event_twice(athena_warehouse, athena_place, athena, monkeypatch):
    # What the stand-in lets happen, and what is noticed of it.
    monkeypatch.setattr(AthenaWarehouse, "_lock", lambda *_: None)
    # Once: when both have merged, and neither has committed.
    met = threading.Barrier(2, lambda: monkeypatch.setattr(athena, "meet", None))
    monkeypatch.setattr(athena, "meet", met)
    writers = [again(athena_warehouse, athena_place) for _ in range(2)]
    errors = []

    def write(number: int) -> None:
        try:
            writers[number].write([file_rows(f"20260203T100{number}Z", event("a"))])
        except WarehouseError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert query(athena_warehouse, f"SELECT COUNT(*) FROM {athena_warehouse.events}") == [(2,)]
    assert "1 events were merged and 2 rows of them found" in errors[0]


def test_expired_lock_is_taken_over_and_its_statement_stopped(
    athena_warehouse, athena_place, athena, staged_keys, monkeypatch
):
    # As of a worker that is frozen, or gone.
    locks: list[WriterLock] = []

    def keep(lock: WriterLock) -> None:
        locks.append(lock)

    monkeypatch.setattr(WriterLock, "_keep_renewing", keep)
    held = threading.Event()
    monkeypatch.setattr(athena, "hold", held)
    errors = []

    def write() -> None:
        try:
            again(athena_warehouse, athena_place).write([file_rows("20260203T1000Z", event("a"))])
        except WarehouseError as error:
            errors.append(error)

    before = len(athena.statements)
    thread = threading.Thread(target=write)
    thread.start()
    assert held.wait(60)
    monkeypatch.setattr(athena, "hold", None)
    let_lock_expire(athena_warehouse, athena_place)
    locks[0]._until = 0.0
    other = again(athena_warehouse, athena_place)
    (entry,) = other.write([file_rows("20260203T1000Z", event("a"))])
    thread.join(60)
    assert entry.loaded == 1
    assert [query.state for query in list(athena.queries.values())[before:]][1] == "CANCELLED"
    tables = read_table(other)
    assert_balanced(tables)
    assert tables.event_ids == ["a"]
    assert "athena, writing" in str(errors[0])


def test_lock_that_was_lost_lets_nothing_be_written(athena_warehouse, statements_since, staged_keys, staged_tables):
    rows = [QuarantineEntry(f"s3://x/{number}", None, "reason", None, AT) for number in range(2_000)]

    def work(session):
        session._lock._until = 0.0
        athena_warehouse.insert(session, athena_warehouse.quarantine, columns_of(QuarantineEntry), rows)

    athena_warehouse._lock_timeout = timedelta(0)
    with pytest.raises(WarehouseUnavailableError, match="LostLockError"):
        athena_warehouse.transact("writing late", work, writes=True)
    # What was staged is cleared away all the same; the lock is left to whoever has it.
    assert statements_since() == ["CREATE", "DROP"]
    assert staged_tables() == set()
    assert [key.partition("/")[2].partition("/")[0] for key in staged_keys()] == ["cloudtrail-locks"]


def test_lock_that_is_given_back_while_it_is_taken_over(athena_place, monkeypatch):
    monkeypatch.setattr(WriterLock, "_keep_renewing", lambda _: None)
    bucket, key = athena_place["bucket"], "stage/cloudtrail-locks/audit.given_back.json"
    first, second = (WriterLock(client_of(athena_place["s3"]), bucket, key, timedelta(seconds=-1)) for _ in range(2))
    assert first.acquire(lambda _: True)
    first.note("query")

    def ends(_):
        client_of(athena_place["s3"]).delete_object(Bucket=bucket, Key=key)
        return True

    assert not second.acquire(ends)
    assert second.acquire(ends)


class EndedError(BaseException):
    """As Airflow's own of a task that has reached its timeout."""


@pytest.fixture
def ended_at_work(athena, monkeypatch):
    """Have the task ended while one of its statements runs, and return what ends it once more."""
    held = threading.Event()
    monkeypatch.setattr(athena, "hold", held)

    def end(*_):
        raise EndedError

    def send():
        signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)

    def end_when_held():
        if held.wait(60):
            send()

    before = signal.signal(signal.SIGALRM, end)
    threading.Thread(target=end_when_held).start()
    yield send
    signal.signal(signal.SIGALRM, before)


def test_task_that_is_ended_stops_its_statement_and_releases_the_lock(
    athena_warehouse, athena, staged_keys, ended_at_work, monkeypatch
):
    with pytest.raises(EndedError):
        athena_warehouse.write([file_rows("20260203T1000Z", event("a"))])
    assert list(athena.queries.values())[-1].state == "CANCELLED"
    assert staged_keys() == []
    monkeypatch.setattr(athena, "hold", None)
    assert read_table(athena_warehouse).events == []


def test_task_that_is_ended_again_before_its_statement_has_stopped_keeps_the_lock(
    athena_warehouse, athena, staged_keys, ended_at_work, monkeypatch
):
    asked = []

    def stop(request):
        asked.append(request["QueryExecutionId"])
        ended_at_work()
        return {}

    monkeypatch.setattr(athena, "_stop_query_execution", stop)
    with pytest.raises(EndedError):
        athena_warehouse.write([file_rows("20260203T1000Z", event("a"))])
    assert athena.queries[asked[0]].state == "RUNNING"
    assert [key.rpartition("/")[2] for key in staged_keys()] == [f"audit.{athena_warehouse.table}.json"]
    athena.queries[asked[0]].cancelled.set()
