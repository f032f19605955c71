"""Which files an export reads again: those that have changed, or in which it wants more than was looked for."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from airflow_provider_cloudtrail.export.log_files import Limits
from airflow_provider_cloudtrail.export.summary import NAMED_FILES
from airflow_provider_cloudtrail.trail.log_file import log_file_of_uri
from airflow_provider_cloudtrail.trail.selection import Selection
from airflow_provider_cloudtrail.trail.store import ObjectError
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from tests.support.exports import WatchedStore, export, fill
from tests.support.log_files import MWAA as MWAA_SOURCE
from tests.support.log_files import FolderTrail, event, foreign, log_bytes
from tests.support.rows import ALL, MWAA
from tests.support.tables import assert_balanced, execute, read_table


@pytest.fixture
def store(trail: FolderTrail) -> WatchedStore:
    return WatchedStore(trail)


@pytest.fixture
def warehouse(new_warehouse: Callable[[str], Warehouse]) -> Warehouse:
    prepared = new_warehouse("sqlite")
    prepared.prepare()
    return prepared


def test_quarantined_file_is_not_read_again(trail: FolderTrail, store: WatchedStore, warehouse: Warehouse) -> None:
    file = trail.put(trail.deliver("20260203T1000Z").key, b"no gzip")
    first = export([file], store, warehouse)
    store.taken()
    summary = export([file], store, warehouse)
    assert store.taken() == Counter()
    assert summary.known_quarantined == first.quarantine != []
    outside = export([file], store, warehouse, in_window=lambda _: False)
    assert outside.known_quarantined == []
    assert export([file], store, warehouse, ALL).files_read == 0


def test_quarantined_file_is_read_again_when_it_has_changed(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse
) -> None:
    file = trail.put(trail.deliver("20260203T1000Z").key, b"no gzip")
    export([file], store, warehouse)
    changed = trail.put(file.key, log_bytes(event("a")))
    assert changed.etag != file.etag
    assert export([changed], store, warehouse).loaded == 1
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables.quarantine == []


def test_quarantined_file_is_read_again_when_it_is_named(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse
) -> None:
    file = trail.put(trail.deliver("20260203T1000Z").key, b"no gzip")
    named = log_file_of_uri(file.uri)
    export([file], store, warehouse)
    again = export([named], store, warehouse)
    assert (again.files_read, again.files_quarantined, len(again.known_quarantined)) == (1, 0, 1)
    trail.put(file.key, log_bytes(event("a")))
    assert export([named], store, warehouse).loaded == 1
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables.quarantine == []
    store.taken()
    known = export([named], store, warehouse)
    assert (known.files_known, known.files_changed) == (1, 0)
    assert store.taken() == Counter()


@pytest.mark.parametrize(
    ("before", "limit", "loaded"),
    [
        pytest.param(300, 100, 0, id="lowered"),
        pytest.param(300, 300, 0, id="the same"),
        pytest.param(300, 301, 0, id="raised, but not enough"),
        pytest.param(300, 100_000, 1, id="raised"),
        pytest.param(50, 50, 0, id="the same, below the size of the object"),
        pytest.param(50, 100_000, 1, id="raised, from below the size of the object"),
    ],
)
def test_large_file_is_read_again_when_the_limit_is_raised(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse, before: int, limit: int, loaded: int
) -> None:
    file = trail.deliver("20260203T1000Z", event("a"))
    first = export([file], store, warehouse, max_file_bytes=before)
    assert first.files_quarantined == 1
    assert f"max_file_bytes={before}" in first.quarantine[0]
    assert ("when unpacked" in first.quarantine[0]) == (before > file.size_bytes)
    store.taken()
    summary = export([file], store, warehouse, max_file_bytes=limit)
    assert summary.loaded == loaded
    assert sum(store.taken().values()) == (limit > before)
    assert_balanced(read_table(warehouse))


@pytest.mark.parametrize("code", ["access_denied", "archived", "not_found"])
def test_file_that_could_not_be_fetched_is_tried_again(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse, code: str
) -> None:
    files = fill(trail, 3)
    store.faults[files[1].key] = ObjectError(code, f"{files[1].uri}: made up")
    first = export(files, store, warehouse)
    assert (first.loaded, first.files_quarantined) == (4, 1)
    assert first.quarantine == [f"{code}: {files[1].uri}: made up"]
    store.taken()
    again = export(files, store, warehouse)
    # No news, and for a run in whose look-back it lies none of its business.
    assert (again.files_quarantined, again.quarantine, again.known_quarantined) == (0, [], first.quarantine)
    assert store.taken() == Counter([files[1].key])
    outside = export(files, store, warehouse, in_window=lambda _: False)
    assert (outside.files_quarantined, outside.quarantine, outside.known_quarantined) == (0, [], [])
    assert len(read_table(warehouse).quarantine) == 1
    # Another reason is.
    other = "access_denied" if code == "not_found" else "not_found"
    store.faults[files[1].key] = ObjectError(other, f"{files[1].uri}: made up")
    assert export(files, store, warehouse, in_window=lambda _: False).files_quarantined == 1
    store.faults.clear()
    assert export(files, store, warehouse).loaded == 2
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables.quarantine == []


def test_loaded_file_that_changes_is_left_alone_and_named(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    files = fill(trail, 2)
    export(files, store, warehouse)
    store.taken()
    before = read_table(warehouse)
    changed = [trail.put(file.key, log_bytes(event("b"), event(file.key))) for file in files]
    for selection in (MWAA, ALL):
        summary = export(changed, store, warehouse, selection)
        assert (summary.files_changed, summary.files_known, summary.files_read) == (2, 2, 0)
    assert store.taken() == Counter()
    assert read_table(warehouse) == before
    assert all(f"{file.uri} was loaded with ETag {file.etag} and now has " in caplog.text for file in files)


@pytest.mark.parametrize("body", [pytest.param(log_bytes(event("d")), id="log file"), pytest.param(b"x", id="no gzip")])
@pytest.mark.parametrize("is_listed", [False, True])
def test_loaded_file_whose_change_the_listing_does_not_show_is_left_alone_and_named(
    trail: FolderTrail,
    store: WatchedStore,
    warehouse: Warehouse,
    caplog: pytest.LogCaptureFixture,
    body: bytes,
    is_listed: bool,
) -> None:
    # Named without an ETag, or replaced behind the listing.
    file = trail.deliver("20260203T1000Z", event("a"), event("b"), foreign("c"), 7)
    other = trail.deliver("20260203T1001Z", foreign("e"))
    export([file], store, warehouse)
    export([other], store, warehouse, ALL)
    before = read_table(warehouse)
    trail.put(file.key, body)
    given = file if is_listed else replace(file, size_bytes=None, etag=None)
    summary = export([other, given], store, warehouse, ALL)
    assert (summary.files, summary.files_known, summary.files_read, summary.files_not_read_again) == (2, 2, 0, 0)
    assert (summary.files_changed, set(summary.balance().values())) == (1, {0})
    assert summary.known_quarantined == [f"{file.uri}: 1 of its records"]
    assert read_table(warehouse) == before
    assert f"{file.uri} was loaded with ETag" in caplog.text


def test_records_in_quarantine_of_a_loaded_file_that_changes_are_not_forgotten(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse
) -> None:
    file = trail.deliver("20260203T1000Z", event("a"), 7)
    export([file], store, warehouse)
    summary = export([trail.put(file.key, log_bytes(event("b")))], store, warehouse)
    assert (summary.files_changed, summary.known_quarantined) == (1, [f"{file.uri}: 1 of its records"])


def test_wider_selection_of_a_file_that_is_gone_keeps_what_there_was(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse
) -> None:
    files = fill(trail, 3)
    export(files, store, warehouse)
    before = read_table(warehouse)
    store.faults[files[1].key] = ObjectError("not_found", f"{files[1].uri}: gone")
    summary = export(files, store, warehouse, ALL)
    assert (summary.files_not_read_again, summary.files_quarantined, summary.files_read) == (1, 0, 2)
    assert any("not readable any more: not_found" in reason for reason in summary.quarantine)
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables.file(files[1].uri) == before.file(files[1].uri)


def test_loaded_file_that_nobody_can_read_any_more_keeps_what_there_was_though_its_etag_is_not_known(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse
) -> None:
    (file,) = fill(trail, 1)
    export([file], store, warehouse)
    execute(warehouse, f"UPDATE {warehouse.files} SET etag = NULL")
    before = read_table(warehouse)
    summary = export([trail.put(file.key, gzip.compress(b"no JSON"))], store, warehouse, ALL)
    assert (summary.files_changed, summary.files_not_read_again, summary.files_quarantined) == (0, 1, 0)
    assert read_table(warehouse) == before


def test_of_many_files_some_are_named(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    files = fill(trail, NAMED_FILES + 2)
    export(files, store, warehouse)
    store.faults.update((file.key, ObjectError("not_found", f"{file.uri}: gone")) for file in files)
    summary = export(files, store, warehouse, ALL)
    assert (summary.files_not_read_again, len(summary.quarantine)) == (NAMED_FILES + 2, NAMED_FILES)
    assert caplog.text.count("Quarantine: wanted for a wider selection") == NAMED_FILES


@pytest.mark.parametrize("batch_files", [100, 8])
def test_of_many_files_in_quarantine_the_first_are_named(
    trail: FolderTrail,
    store: WatchedStore,
    warehouse: Warehouse,
    caplog: pytest.LogCaptureFixture,
    batch_files: int,
) -> None:
    files = [trail.put(file.key, b"no gzip") for file in fill(trail, NAMED_FILES + 2)]
    limits = Limits(batch_files=batch_files)
    first = export(files, store, warehouse, limits=limits)
    assert (first.files_quarantined, len(first.quarantine)) == (NAMED_FILES + 2, NAMED_FILES)
    assert caplog.text.count("Quarantine: not_gzip") == NAMED_FILES
    again = export(files, store, warehouse, limits=limits)
    assert (again.files_known, again.known_quarantined) == (NAMED_FILES + 2, first.quarantine)
    # Without an ETag they are tried again.
    named = [log_file_of_uri(file.uri) for file in files]
    tried = export(named, store, warehouse, limits=limits)
    assert (tried.files_read, tried.known_quarantined, tried.quarantine) == (NAMED_FILES + 2, first.quarantine, [])


def test_file_without_a_match_is_read_again_only_if_something_else_is_looked_for(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse
) -> None:
    files = [trail.deliver("20260203T1000Z", event("a")), trail.deliver("20260203T1001Z", foreign("b"))]
    narrow = Selection.of([MWAA_SOURCE], event_names=["DeleteEnvironment"])
    assert export(files, store, warehouse, narrow).files_without_match == 1
    store.taken()
    # Other names of events of the same sources: the same bytes were looked for.
    wider = export(files, store, warehouse, Selection.of([MWAA_SOURCE]))
    assert (wider.loaded, wider.files_read, wider.files_known) == (1, 1, 1)
    assert store.taken() == Counter([files[0].key])
    with_activity = Selection.of([MWAA_SOURCE], include_environment_activity=True)
    assert export(files, store, warehouse, with_activity).files_read == 2
    assert export(files, store, warehouse, ALL).loaded == 1
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert sorted(tables.event_ids) == ["a", "b"]


def test_file_without_a_match_that_turns_out_to_be_no_log_file(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse
) -> None:
    body = gzip.compress(b'{"Records":' + json.dumps(foreign()).encode(), mtime=0)
    file = trail.put(trail.deliver("20260203T1000Z").key, body)
    assert export([file], store, warehouse).files_without_match == 1
    # Too large for this run, not for the one that searched it: what that one said holds.
    assert export([file], store, warehouse, ALL, max_file_bytes=100).files_not_read_again == 1
    assert read_table(warehouse).file(file.uri)["status"] == "no_match"
    summary = export([file], store, warehouse, ALL)
    assert (summary.files_quarantined, summary.files_not_read_again) == (1, 0)
    assert [reason.partition(":")[0] for reason in summary.quarantine] == ["not_json"]
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables.file(file.uri)["status"] == "quarantined"
    store.taken()
    assert export([file], store, warehouse, ALL).files_known == 1
    assert store.taken() == Counter()


def test_selection_of_a_later_version_is_read_again(
    trail: FolderTrail, store: WatchedStore, warehouse: Warehouse
) -> None:
    (file,) = fill(trail, 1)
    export([file], store, warehouse)
    execute(warehouse, f"UPDATE {warehouse.files} SET selection = '{{\"version\":2}}'")
    summary = export([file], store, warehouse)
    assert (summary.files_read, summary.loaded, summary.duplicate) == (1, 0, 2)
    assert_balanced(read_table(warehouse))
