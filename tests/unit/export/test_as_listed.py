"""What is read is what was listed: a log file that was overwritten in between, another object in its place."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
from airflow_provider_cloudtrail.trail.listing import list_log_files
from airflow_provider_cloudtrail.trail.log_file import LogFile, TrailLocation, log_file_of_uri
from airflow_provider_cloudtrail.trail.s3_store import S3Store
from airflow_provider_cloudtrail.trail.store import ListedObject, ListingDeniedError, StoredObject, StoreError
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from tests.support.engines import installed
from tests.support.exports import WatchedStore, export, fill
from tests.support.log_files import ACCOUNT, REGION, FolderTrail, event, key_of, log_bytes
from tests.support.s3 import TRANSPORTS, CountedS3, client_of, s3_store
from tests.support.tables import assert_balanced, read_table

ANOTHER = log_bytes(event("another"))


@pytest.fixture
def warehouse(new_warehouse: Callable[[str], Warehouse]) -> Warehouse:
    prepared = new_warehouse("sqlite")
    prepared.prepare()
    return prepared


class AnsweringStore(WatchedStore):
    """A store that answers something else, and counts the listings of single keys."""

    def __init__(self, trail: FolderTrail, answers: dict[str, StoredObject]) -> None:
        super().__init__(trail)
        self.answers = answers
        self.listings: list[str] = []
        self.is_denied = False

    def objects(self, prefix: str, start_after: str = "", *, make_sure: bool = True) -> Iterator[ListedObject]:
        self.listings.append(prefix)
        if self.is_denied:
            raise ListingDeniedError("the role needs s3:ListBucket on the bucket")
        return super().objects(prefix, start_after, make_sure=make_sure)

    def get(self, key: str, most_bytes: int | None = None) -> StoredObject:
        stored = super().get(key, most_bytes)
        return self.answers.get(key, stored)


@pytest.mark.parametrize("how", ["another ETag", "another size", "it is gone", "it must not be listed any more"])
def test_object_that_the_bucket_does_not_list_is_not_loaded(trail: FolderTrail, warehouse: Warehouse, how: str) -> None:
    files = fill(trail, 3)
    wrong = files[1]
    body, etag = (ANOTHER, wrong.etag) if how == "another size" else (ANOTHER, "another")
    store = AnsweringStore(trail, {wrong.key: StoredObject(body, etag)})
    store.is_denied = how == "it must not be listed any more"
    if how == "it is gone":
        (trail.folder / wrong.key).unlink()
        store.get = lambda key, _=None: store.answers.get(key) or trail.store.get(key)  # type: ignore[method-assign]
    said = {
        "it is gone": "the bucket lists nothing there",
        "it must not be listed any more": r"this key alone may not be listed \(s3:ListBucket\), although .*",
    }.get(how, f"the bucket lists {wrong.size_bytes} bytes with ETag {wrong.etag}")
    with pytest.raises(StoreError, match=rf"were answered, {said}. Run this again") as raised:
        export(files, store, warehouse)
    assert str(raised.value).startswith(f"{wrong.uri}: {len(body)} bytes with ETag {etag} ")
    assert store.listings == [wrong.key]
    assert [row["log_file_uri"] for row in read_table(warehouse).files] == [files[0].uri]


def test_what_comes_as_it_was_listed_is_not_listed_again(trail: FolderTrail, warehouse: Warehouse) -> None:
    store = AnsweringStore(trail, {})
    export(fill(trail, 5), store, warehouse)
    assert store.listings == []


@pytest.mark.parametrize("missing", ["in the listing", "in the answer", "in both"])
def test_an_etag_that_is_not_given_tells_nothing(trail: FolderTrail, warehouse: Warehouse, missing: str) -> None:
    file = trail.deliver("20260203T1000Z", event("a"))
    stored = trail.store.get(file.key)
    store = AnsweringStore(trail, {} if missing == "in the listing" else {file.key: replace(stored, etag=None)})
    given = file if missing == "in the answer" else replace(file, etag=None)
    assert export([given], store, warehouse).loaded == 1
    assert store.listings == []


def test_a_named_file_has_nothing_to_be_compared_with(trail: FolderTrail, warehouse: Warehouse) -> None:
    file = trail.deliver("20260203T1000Z", event("a"))
    store = AnsweringStore(trail, {file.key: StoredObject(ANOTHER, "another")})
    assert export([log_file_of_uri(file.uri)], store, warehouse).loaded == 1
    assert store.listings == []


def test_size_of_another_object_does_not_put_a_file_into_quarantine(trail: FolderTrail, warehouse: Warehouse) -> None:
    file = trail.deliver("20260203T1000Z", event("a"))
    trail.put(file.key, gzip.compress(bytes(range(256)) * 4, 0))
    assert file.size_bytes is not None
    limit = file.size_bytes
    with pytest.raises(
        StoreError, match=rf"more than max_file_bytes={limit}; listed are {limit} bytes. Run this again"
    ):
        export([file], WatchedStore(trail), warehouse, max_file_bytes=limit)
    assert read_table(warehouse).files == []


def list_of(store: S3Store, bucket: str) -> list[LogFile]:
    location = TrailLocation(bucket)
    day = log_file_of_uri(f"s3://{bucket}/{key_of()}").delivered_at
    return list(list_log_files(store, location, DeliveryWindow(day, day.replace(hour=23)), [ACCOUNT], [REGION]))


@pytest.mark.skipif(not installed("moto", "werkzeug"), reason="needs moto's server")
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_file_that_was_overwritten_since_it_was_listed(
    s3_server: CountedS3, warehouse: Warehouse, transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    bucket, client = s3_server.new_bucket(), client_of(s3_server.endpoint)

    def put(stamp: str, *records: Any) -> str:
        body = log_bytes(*records)
        etag: str = client.put_object(Bucket=bucket, Key=key_of(stamp), Body=body)["ETag"]
        return etag.strip('"')

    put("20260203T1000Z", event("a"))
    put("20260203T1001Z", event("b"))
    store = s3_store(s3_server.endpoint, bucket, transport)
    files = list_of(store, bucket)
    changed = put("20260203T1001Z", event("c"), event("d"))
    store.requests.clear()
    with caplog.at_level(logging.WARNING):
        assert export(files, store, warehouse).loaded == 3  # type: ignore[arg-type]
    assert store.requests == {"GET": 2, "LIST": 1}
    assert f"{files[1].uri} was overwritten while this ran: " in caplog.text
    tables = read_table(warehouse)
    assert_balanced(tables)
    entry = tables.file(files[1].uri)
    assert (entry["etag"], entry["size_bytes"]) == (changed, len(log_bytes(event("c"), event("d"))))

    again = export(list_of(store, bucket), store, warehouse)  # type: ignore[arg-type]
    assert (again.files_known, again.files_changed, again.files_read) == (2, 0, 0)
    assert store.requests["GET"] == 2
