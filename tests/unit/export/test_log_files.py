from __future__ import annotations

import gc
import gzip
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import FileRows
from airflow_provider_cloudtrail.export.log_files import Limits
from airflow_provider_cloudtrail.export.summary import ExportSummary
from airflow_provider_cloudtrail.trail.log_file import LogFile
from airflow_provider_cloudtrail.trail.selection import Selection
from airflow_provider_cloudtrail.trail.store import StoreError
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from tests.support.engines import DUCKDB_TOGETHER, ONE_OF_EACH
from tests.support.exports import WatchedStore, WatchedWarehouse, export, fill
from tests.support.log_files import FolderTrail, event, foreign
from tests.support.rows import file_rows, reread
from tests.support.tables import assert_balanced, execute, read_table

NewWarehouse = Callable[[str], Warehouse]


@pytest.fixture
def store(trail: FolderTrail) -> WatchedStore:
    return WatchedStore(trail)


@pytest.fixture
def warehouse(new_warehouse: NewWarehouse) -> Warehouse:
    prepared = new_warehouse("sqlite")
    prepared.prepare()
    return prepared


def counts(summary: ExportSummary) -> tuple[int, ...]:
    return (summary.records, summary.loaded, summary.duplicate, summary.filtered, summary.quarantined)


@pytest.mark.parametrize("batch_files", [1, 100])
def test_summary(trail: FolderTrail, store: WatchedStore, warehouse: Warehouse, batch_files: int) -> None:
    secret = {"responseElements": {"CliToken": "x" * 20}}
    early = event("a", eventTime="2026-02-03T08:00:00Z", **secret)
    files = [
        trail.deliver("20260203T1000Z", early, event("a"), foreign(), 7),
        trail.deliver("20260203T1001Z", event("a"), event("b", **secret)),
        trail.deliver("20260203T1002Z", foreign()),
        trail.put(trail.deliver("20260203T1003Z").key, b"no gzip"),
    ]
    summary = export(files, store, warehouse, loaded_by="me", limits=Limits(batch_files=batch_files))
    assert counts(summary) == (6, 2, 2, 1, 1)
    assert (summary.files, summary.files_read, summary.files_known) == (4, 4, 0)
    assert (summary.files_without_match, summary.files_quarantined, summary.redacted) == (1, 1, 2)
    assert summary.bytes == sum(file.size_bytes or 0 for file in files)
    whole = [gzip.decompress(trail.store.get(file.key).body) for file in files[:3]]
    assert summary.unpacked_bytes == sum(map(len, whole))
    assert str(summary.first_event_time) == "2026-02-03 08:00:00+00:00"
    assert str(summary.last_event_time) == "2026-02-03 09:58:00+00:00"
    assert [reason.partition(":")[0] for reason in summary.quarantine] == ["not_an_object", "not_gzip"]
    said = json.loads(json.dumps(summary.as_dict()))
    assert said["first_event_time"] == "2026-02-03T08:00:00+00:00"
    assert said["last_event_time"] == "2026-02-03T09:58:00+00:00"
    assert_balanced(read_table(warehouse))

    again = export(files, store, warehouse)
    assert counts(again) == (0, 0, 0, 0, 0)
    assert (again.files, again.files_read, again.files_known) == (4, 0, 4)
    in_part, whole = again.known_quarantined
    assert in_part.endswith(".json.gz: 1 of its records")
    assert whole.startswith("not_gzip: ")
    outside = export(files, store, warehouse, in_window=lambda _: False)
    assert outside.known_quarantined == []
    assert again.as_dict()["first_event_time"] is None


def test_no_files(store: WatchedStore, warehouse: Warehouse) -> None:
    watched = WatchedWarehouse(warehouse)
    summary = export([], store, watched)
    assert (summary.files, counts(summary)) == (0, (0, 0, 0, 0, 0))
    assert watched.batches == []


def test_files_are_stored_in_the_order_of_the_listing(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse
) -> None:
    files = fill(trail, 50)[::-1]
    watched = WatchedWarehouse(warehouse)
    export(iter(files), store, watched, limits=Limits(threads=8, batch_files=7))
    assert [uri for batch in watched.batches for uri in batch] == [file.uri for file in files]


@pytest.mark.parametrize(
    ("limits", "sizes"),
    [
        pytest.param(Limits(), [20], id="all in one"),
        pytest.param(Limits(batch_files=8), [8, 8, 4], id="files"),
        pytest.param(Limits(batch_files=1), [1] * 20, id="one file each"),
        pytest.param(Limits(batch_events=10), [5, 5, 5, 5], id="events"),
        pytest.param(Limits(batch_events=1), [1] * 20, id="fewer events than a file has"),
        pytest.param(Limits(batch_bytes=1), [1] * 20, id="bytes"),
    ],
)
def test_limits_of_a_batch(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse, limits: Limits, sizes: list[int]
) -> None:
    watched = WatchedWarehouse(warehouse)
    summary = export(fill(trail, 20), store, watched, limits=limits)
    assert [len(batch) for batch in watched.batches] == sizes
    assert counts(summary) == (60, 40, 0, 20, 0)
    assert_balanced(read_table(warehouse))


def test_ledger_is_asked_in_portions(trail: FolderTrail, store: WatchedStore, warehouse: Warehouse) -> None:
    watched = WatchedWarehouse(warehouse)
    export(fill(trail, 20), store, watched, limits=Limits(files_asked=8))
    assert watched.asked == [8, 8, 4]


def test_known_files_are_not_read(trail: FolderTrail, store: WatchedStore, warehouse: Warehouse) -> None:
    files = fill(trail, 5)
    export(files, store, warehouse)
    assert store.taken() == Counter(file.key for file in files)
    new = trail.deliver("20260203T2300Z", event("new"))
    summary = export([*files, new], store, warehouse)
    assert store.taken() == Counter([new.key])
    assert (summary.files, summary.files_known, summary.files_read, summary.loaded) == (6, 5, 1, 1)


def test_rows_of_a_file_whose_entry_was_deleted_are_no_news(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse
) -> None:
    files = [trail.deliver("20260203T1000Z", event("a"), event("a"), event("b"), foreign())]
    everything = Selection.of(event_sources=None)
    export(files, store, warehouse, selection=everything)
    execute(warehouse, f"DELETE FROM {warehouse.files}")
    summary = export(files, store, warehouse)
    assert counts(summary) == (4, 0, 3, 1, 0)
    assert [(row["loaded"], row["duplicate"]) for row in read_table(warehouse).files] == [(2, 1)]
    summary = export(files, store, warehouse, selection=everything)
    assert counts(summary) == (4, 0, 4, 0, 0)
    assert [(row["loaded"], row["duplicate"]) for row in read_table(warehouse).files] == [(3, 1)]


@pytest.mark.parametrize(
    "limits",
    [
        pytest.param(Limits(), id="in one portion"),
        pytest.param(Limits(files_asked=2), id="in several portions"),
        pytest.param(Limits(files_asked=1, batch_files=100), id="before the ledger knows of it"),
    ],
)
def test_files_that_are_given_twice_count_once(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse, limits: Limits
) -> None:
    files = fill(trail, 3)
    summary = export([*files, *files[::-1], files[0]], store, warehouse, limits=limits)
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert len(tables.files) == 3
    assert (summary.files_read, summary.loaded) == (3, 6)
    assert summary.files == summary.files_read + summary.files_known
    assert store.taken() == Counter(file.key for file in files)


# -- others at work ----------------------------------------------------------------------------------


def test_file_that_another_run_reads_in_between(trail: FolderTrail, store: WatchedStore, warehouse: Warehouse) -> None:
    files = fill(trail, 4)
    watched = WatchedWarehouse(warehouse)

    def somebody_else(batch: list[FileRows]) -> None:
        watched.before_write = lambda _: None
        export(files[:2], store, warehouse)

    watched.before_write = somebody_else
    summary = export(files, store, watched)
    assert (summary.files, summary.files_read, summary.files_known, summary.loaded) == (4, 2, 2, 4)
    assert_balanced(read_table(warehouse))


def test_other_run_with_another_selection_in_between(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse
) -> None:
    files = fill(trail, 2)
    watched = WatchedWarehouse(warehouse)

    def somebody_else(batch: list[FileRows]) -> None:
        watched.before_write = lambda _: None
        export(files, store, warehouse, Selection.of(["ec2.amazonaws.com"]))

    watched.before_write = somebody_else
    summary = export(files, store, watched)
    assert (summary.files_read, summary.loaded, summary.duplicate) == (2, 4, 1 + 1)
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert len(tables.events) == 5


def test_ledger_that_changes_each_time_it_is_asked(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse
) -> None:
    files = fill(trail, 2)
    watched = WatchedWarehouse(warehouse)
    versions = iter(range(100))

    def somebody_else(batch: list[FileRows]) -> None:
        if batch[0].previous is None:
            export(files[:1], store, warehouse)
        execute(warehouse, f"UPDATE {warehouse.files} SET selection = '{next(versions)}'")

    watched.before_write = somebody_else
    with pytest.raises(WarehouseError, match=r"1 log files were not stored.*run this again") as caught:
        export(files, store, watched)
    assert files[0].uri in str(caught.value)
    assert_balanced(read_table(warehouse))


# -- faults ------------------------------------------------------------------------------------------


def test_bucket_that_stops_answering(trail: FolderTrail, store: WatchedStore, warehouse: Warehouse) -> None:
    files = fill(trail, 30)
    store.faults[files[20].key] = StoreError("s3://example-trail: SlowDown")
    with pytest.raises(StoreError, match="SlowDown"):
        export(files, store, warehouse, limits=Limits(threads=2, batch_files=8))
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert [row["log_file_uri"] for row in tables.files] == [file.uri for file in files[:20]]
    store.faults.clear()
    store.taken()
    summary = export(files, store, warehouse)
    assert store.taken() == Counter(file.key for file in files[20:])
    assert summary.loaded == 20


@pytest.mark.parametrize("threads", [1, 8])
def test_listing_that_fails_in_the_middle(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse, threads: int
) -> None:
    files = fill(trail, 10)

    def listing() -> Iterator[LogFile]:
        # The last of them alone: the ledger has not been asked about it yet.
        yield from files[:7]
        raise StoreError("listing: SlowDown")

    with pytest.raises(StoreError, match="listing: SlowDown"):
        export(listing(), store, warehouse, limits=Limits(threads=threads, files_asked=2))
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert [row["log_file_uri"] for row in tables.files] == [file.uri for file in files[:7]]


def test_batch_that_cannot_be_written(trail: FolderTrail, store: WatchedStore, warehouse: Warehouse) -> None:
    files = fill(trail, 12)
    watched = WatchedWarehouse(warehouse)

    def refuse(batch: list[FileRows]) -> None:
        if len(watched.batches) == 2:
            raise WarehouseError("made up")

    watched.before_write = refuse
    with pytest.raises(WarehouseError, match="made up"):
        export(files, store, watched, limits=Limits(batch_files=4))
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert [row["log_file_uri"] for row in tables.files] == [file.uri for file in files[:8]]
    assert export(files, store, warehouse).loaded == 8


def test_one_line_for_each_batch(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "airflow_provider_cloudtrail.export"):
        export(fill(trail, 10), store, warehouse, limits=Limits(batch_files=5))
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert (
        "Batch 2: 5 files (0 without match, 0 quarantined), 15 records = 10 loaded + 0 duplicate + 5 filtered"
        in lines[1]
    )
    assert "So far 10 of 10 listed files" in lines[1]


def test_the_summary_says_what_the_time_was_spent_on(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, pause = fill(trail, 2), 0.02

    def slowly(answer: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: (time.sleep(pause), answer(*arguments))[1]

    def listing() -> Iterator[LogFile]:
        for file in files:
            time.sleep(pause)
            yield file
        time.sleep(pause)

    monkeypatch.setattr(store, "get", slowly(store.get))
    watched = WatchedWarehouse(warehouse)
    for name in ("known_files", "write", "store"):
        monkeypatch.setattr(watched, name, slowly(getattr(watched, name)))
    summary = export(listing(), store, watched, limits=Limits(batch_files=1, files_asked=1))
    # Two batches are written, and what is left behind them is stored.
    least = {"listing": 3 * pause, "getting": 2 * pause, "asking": 2 * pause, "writing": 3 * pause}
    for part in ("listing", "getting", "asking", "writing", "unpacking", "parsing"):
        assert least.get(part, 0) < getattr(summary, f"seconds_{part}") < 300, part
    assert summary.seconds >= summary.seconds_listing + summary.seconds_asking + summary.seconds_writing


# -- bounds ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", [*ONE_OF_EACH, *DUCKDB_TOGETHER])
def test_tables_do_not_depend_on_the_limits(
    engine: str, trail: FolderTrail, store: WatchedStore, new_warehouse: NewWarehouse
) -> None:
    for minute in range(40):
        records = [event(f"{(minute * 7 + index) % 60}") for index in range(3)]
        trail.deliver(f"20260203T10{minute:02}Z", *records, foreign(), *([7] if minute % 9 == 0 else []))
    results = []
    for limits in (Limits(), Limits(threads=1, batch_files=1), Limits(threads=5, batch_events=7, files_asked=3)):
        warehouse = new_warehouse(engine)
        warehouse.prepare()
        export(trail.files(), store, warehouse, limits=limits)
        results.append(read_table(warehouse))
    assert_balanced(results[0])
    assert len(results[0].events) == 60
    assert results[1] == results[0]
    assert results[2] == results[0]


def test_garbage_is_looked_for_less_often_while_rows_are_made(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse
) -> None:
    usual = gc.get_threshold()
    seen = []
    watched = WatchedWarehouse(warehouse)
    watched.before_write = lambda _: seen.append(gc.get_threshold())
    export([trail.deliver("20260203T1000Z", event("a"))], store, watched)
    assert [threshold[0] > usual[0] for threshold in seen] == [True]
    assert gc.get_threshold() == usual


def test_rows_say_what_the_ledger_said_before(warehouse: Warehouse) -> None:
    warehouse.write([file_rows("20260203T1000Z", event("a"))])
    (again,) = reread(warehouse, file_rows("20260203T1000Z", event("a")))
    assert again.previous is not None
    assert (again.previous.status, again.previous.loaded) == ("loaded", 1)
