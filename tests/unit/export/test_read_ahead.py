from __future__ import annotations

import logging
import math
import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import FileRows
from airflow_provider_cloudtrail.export import log_files, read_ahead
from airflow_provider_cloudtrail.export.log_files import Limits
from airflow_provider_cloudtrail.export.read_ahead import FILES_HANDED_OVER, PARTS_IF_SLOW
from airflow_provider_cloudtrail.trail import bucket_threads
from airflow_provider_cloudtrail.trail.bucket_threads import AT_FIRST
from airflow_provider_cloudtrail.trail.reader import read_log_file
from airflow_provider_cloudtrail.trail.store import StoreError
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from tests.support.exports import EndlessTrail, NoWarehouse, WatchedWarehouse, export
from tests.support.log_files import event, log_bytes

NewWarehouse = Callable[[str], Warehouse]


@pytest.fixture
def warehouse(new_warehouse: NewWarehouse) -> Warehouse:
    prepared = new_warehouse("sqlite")
    prepared.prepare()
    return prepared


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_no_more_gets_at_once_than_threads(warehouse: Warehouse, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_threads, "SLOW_SECONDS", 0)
    store = EndlessTrail(lambda index: log_bytes(event(str(index))))
    export(store.files(200, 1000), store, warehouse, limits=Limits(threads=threads, files_asked=50))
    assert store.started == 200
    assert 1 <= store.most_running <= threads


@pytest.mark.parametrize(
    ("slow_seconds", "most"),
    [
        pytest.param(0, 8, id="a bucket that takes long to answer"),
        pytest.param(math.inf, AT_FIRST, id="one that answers at once"),
    ],
)
def test_many_gets_at_once_only_from_a_slow_bucket(
    warehouse: Warehouse, slow_seconds: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_threads, "SLOW_SECONDS", slow_seconds)
    all_there = threading.Event()

    def body_of(index: int) -> bytes:
        # The last ones wait until as many run as may: without more threads this would end by its timeout.
        if index >= 100 and store.running >= most:
            all_there.set()
        if index >= 100:
            all_there.wait(timeout=60)
        return log_bytes(event(str(index)))

    store = EndlessTrail(body_of)
    # Too large for several to go to one thread.
    export(store.files(140, 100_000), store, warehouse, limits=Limits(threads=8))
    assert all_there.is_set()
    assert store.started == 140
    assert store.most_running == most


@pytest.mark.parametrize(
    ("fetched_ahead", "most"),
    [
        # Beside those that wait, one is being read.
        pytest.param(20 * 100_000, 8, id="as many as there are threads"),
        pytest.param(3 * 100_000, 3 + 1, id="as many as there is memory for"),
    ],
)
def test_a_slow_bucket_is_asked_for_files_that_there_is_no_room_to_unpack(
    warehouse: Warehouse, fetched_ahead: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_threads, "SLOW_SECONDS", 0)
    monkeypatch.setattr(read_ahead, "_BYTES_FETCHED_AHEAD", fetched_ahead)
    asked = threading.Event()

    def body_of(index: int) -> bytes:
        # Each waits until as many are asked for as may be: otherwise this would end by its timeout.
        if index >= 60:
            if store.running >= most:
                asked.set()
            assert asked.wait(timeout=60)
        return log_bytes(event(str(index)))

    store = EndlessTrail(body_of)
    loaded = export(store.files(100, 100_000), store, warehouse, limits=Limits(threads=8, bytes_ahead=1)).loaded
    assert (loaded, store.started, store.most_running) == (100, 100, most)


def test_what_was_fetched_before_a_slow_bucket_failed_is_loaded(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_threads, "SLOW_SECONDS", 0)

    def body_of(index: int) -> bytes:
        if index == 70:
            raise StoreError("made up")
        return log_bytes(event(str(index)))

    store = EndlessTrail(body_of)
    with pytest.raises(StoreError, match="made up"):
        export(store.files(100, 100_000), store, warehouse, limits=Limits(threads=8, bytes_ahead=1))
    files = list(store.files(100, 100_000))
    known = warehouse.known_files([file.uri for file in files])
    assert sorted(known) == [file.uri for file in files[:70]]


def fetched_ahead(warehouse: Warehouse, limits: Limits, size_bytes: int) -> list[int]:
    """Export 400 files, and return how many more were begun than were stored, as each batch is written."""
    store = EndlessTrail(lambda index: log_bytes(event(str(index))))
    watched = WatchedWarehouse(warehouse)
    ahead = []

    def written(batch: list[FileRows]) -> None:
        store.stored += len(batch)
        ahead.append(store.started - store.stored)

    watched.before_write = written
    export(store.files(400, size_bytes), store, watched, limits=limits)
    assert store.stored == 400
    return ahead


@pytest.mark.parametrize(
    ("limits", "size_bytes", "most"),
    [
        pytest.param(Limits(threads=2, batch_files=1), 1000, (2 * 2 + 1) * FILES_HANDED_OVER, id="small files"),
        pytest.param(Limits(threads=2, batch_files=1), 100_000, 2 * 2 + 2, id="files"),
        pytest.param(Limits(threads=8, batch_files=1, bytes_ahead=50_000), 1000, 4 + 2, id="bytes"),
        pytest.param(Limits(threads=8, batch_files=1, bytes_ahead=1), 1000, 1 + 2, id="a file larger than the bound"),
    ],
)
def test_read_ahead_is_bounded(
    warehouse: Warehouse, limits: Limits, size_bytes: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of a slow bucket, and on a busy machine this one looks like that, more is fetched ahead.
    monkeypatch.setattr(bucket_threads, "SLOW_SECONDS", math.inf)
    assert 0 <= max(fetched_ahead(warehouse, limits, size_bytes)) <= most


def test_few_files_wait_for_one_thread_of_a_slow_bucket(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_threads, "SLOW_SECONDS", 0)
    ahead = fetched_ahead(warehouse, Limits(threads=2, batch_files=1), 1000)
    # What was begun before the bucket was found to be slow is done by then.
    assert 0 <= max(ahead[200:]) <= (2 * 2 + 1) * FILES_HANDED_OVER // PARTS_IF_SLOW


def test_few_threads_unpack_what_many_fetch(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket_threads, "SLOW_SECONDS", 0)
    threads: set[int] = set()

    def read(*arguments: Any, **named: Any) -> FileRows:
        threads.add(threading.get_ident())
        # The others get to their work meanwhile.
        time.sleep(0.001)
        return read_log_file(*arguments, **named)

    monkeypatch.setattr(log_files, "read_log_file", read)
    store = EndlessTrail(lambda index: log_bytes(event(str(index))))
    assert export(store.files(300, 100_000), store, warehouse, limits=Limits(threads=32)).loaded == 300
    # Those at first, and those that read once the bucket was found to be slow.
    assert len(threads) <= 2 * AT_FIRST


def test_listing_is_not_taken_further_than_the_ledger_is_asked(warehouse: Warehouse) -> None:
    store = EndlessTrail(lambda index: log_bytes(event(str(index))))
    watched = WatchedWarehouse(warehouse)

    def written(batch: list[FileRows]) -> None:
        store.stored += len(batch)

    watched.before_write = written
    export(store.files(500, 1000), store, watched, limits=Limits(threads=2, files_asked=10, batch_files=1))
    assert store.most_ahead <= 10 + (2 * 2 + 2) * FILES_HANDED_OVER


def test_memory_is_bound_by_what_is_ahead_and_not_by_the_number_of_files(caplog: pytest.LogCaptureFixture) -> None:
    # pytest keeps what is logged: a warning of each file, which are not as large as they are given.
    caplog.set_level(logging.ERROR, "airflow_provider_cloudtrail.export.log_files")
    limits = Limits(threads=2, files_asked=20, batch_files=10)
    padding = "x" * 2_000

    def export_files(files: int) -> None:
        store = EndlessTrail(lambda index: log_bytes(*[event(f"{index}-{number}", x=padding) for number in range(5)]))
        warehouse = NoWarehouse()
        export(store.files(files, 1000), store, warehouse, limits=limits)
        assert warehouse.loaded == files * 5

    export_files(20)
    tracemalloc.start()
    try:
        export_files(4000)
        _, highest = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # How much of what may be ahead is so at the worst moment is up to the scheduler: the bound is what may be, as
    # unpacked text, as rows, and once more for what surrounds them. It is a sixth of the text of all files.
    text_of_a_file = 5 * len(padding)
    files_ahead = 10 + (2 * 2 + 2) * FILES_HANDED_OVER
    assert highest < 3 * files_ahead * text_of_a_file < 4000 * text_of_a_file / 6
