"""What listing the folders of many accounts and Regions asks of S3: nothing more because threads do it ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from itertools import islice

import pytest

from airflow_provider_cloudtrail.trail import bucket_threads
from airflow_provider_cloudtrail.trail.bucket_threads import BucketThreads
from airflow_provider_cloudtrail.trail.delivered import account_regions
from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
from airflow_provider_cloudtrail.trail.listing import list_log_files, new_log_files, region_folders
from airflow_provider_cloudtrail.trail.listings_ahead import MOST_LISTINGS
from airflow_provider_cloudtrail.trail.log_file import TrailLocation
from airflow_provider_cloudtrail.trail.s3_store import S3Store
from airflow_provider_cloudtrail.trail.store import ListedObject, StoreError
from tests.benchmarks.runner import counted, s3_server
from tests.support.log_files import key_of
from tests.support.s3 import TRANSPORTS, s3_store

BEGIN = datetime(2026, 2, 3, tzinfo=timezone.utc)
DAY = timedelta(days=1)
WINDOW = DeliveryWindow(BEGIN, BEGIN + 2 * DAY)
ACCOUNTS = [f"{number:012d}" for number in range(1, 9)]
REGIONS = ["eu-west-1", "eu-west-2", "us-east-1"]
# Files of a Region in two days; S3 has to be asked to learn that there are no more than a page of them.
SIZES = [3, 1_000, 0, 1_001, 4_100, 3, 3, 3]
# Of the day behind the window, of which one file ends a listing.
BEHIND = 2_500
LOCATION = TrailLocation("bench", organization_id="o-exampleorgid")
# Accounts, Regions of each, and the pages.
LISTS = 1 + len(ACCOUNTS) + len(REGIONS) * sum(-(-(size + 1) // 1_000) for size in SIZES)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("organization")
    for account, size in zip(ACCOUNTS, SIZES, strict=True):
        for region in REGIONS:
            stamps = [BEGIN + number * 2 * DAY / size for number in range(size)]
            stamps += [BEGIN + 3 * DAY] * (BEHIND if size == 3 else 1)
            for number, stamp in enumerate(stamps):
                key = key_of(
                    f"{stamp:%Y%m%dT%H%MZ}",
                    account=account,
                    region=region,
                    root="AWSLogs/o-exampleorgid/",
                    unique=f"{number:016d}",
                )
                (folder / key).parent.mkdir(parents=True, exist_ok=True)
                (folder / key).touch()
    with s3_server(folder) as endpoint:
        yield endpoint


@pytest.fixture(params=TRANSPORTS)
def store(endpoint: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    # As many threads as there may be.
    monkeypatch.setattr(bucket_threads, "SLOW_SECONDS", 0)
    counted(endpoint)
    return s3_store(endpoint, "bench", request.param)


def test_the_same_files_in_the_same_order_for_the_same_requests(endpoint: str, store: S3Store) -> None:
    one_by_one = list(list_log_files(store, LOCATION, WINDOW, ahead=False))
    assert len(one_by_one) == len(REGIONS) * sum(SIZES)
    assert counted(endpoint) == store.requests == {"LIST": LISTS}
    assert list(list_log_files(store, LOCATION, WINDOW)) == one_by_one
    assert counted(endpoint) == {"LIST": LISTS}
    assert store.requests == {"LIST": 2 * LISTS}


def test_what_is_given_by_name_is_not_looked_for(endpoint: str, store: S3Store) -> None:
    given = (ACCOUNTS[:3], ["eu-west-2", "us-east-1"])
    found = list(list_log_files(store, LOCATION, WINDOW, *given))
    assert found == list(list_log_files(store, LOCATION, WINDOW, *given, ahead=False))
    assert len(found) == 2 * sum(SIZES[:3])
    assert counted(endpoint) == {"LIST": 2 * 2 * (1 + 2 + 1)}


def test_one_account_and_region_needs_no_thread(store: S3Store) -> None:
    before = set(threading.enumerate())
    with closing(list_log_files(store, LOCATION, WINDOW, ACCOUNTS[4:5], REGIONS[:1])) as files:
        for _ in files:
            # One of another test may end meanwhile.
            assert set(threading.enumerate()) <= before


def test_who_has_found_enough_leaves_few_pages_unused(endpoint: str, store: S3Store) -> None:
    before = set(threading.enumerate())
    for limit in (1, 100, 5_000):
        needed = len(list(islice(list_log_files(store, LOCATION, WINDOW, ahead=False), limit)))
        used = counted(endpoint)["LIST"]
        files = new_log_files(list_log_files(store, LOCATION, WINDOW), (), limit)
        assert len(files) == needed == limit
        for thread in set(threading.enumerate()) - before:
            thread.join(60)
            assert not thread.is_alive()
        # Folders of accounts, and pages.
        assert counted(endpoint)["LIST"] <= used + 2 * MOST_LISTINGS


class FailingStore(S3Store):
    """A bucket that stops to answer for one folder."""

    fails_in = ""

    def folders(self, prefix: str) -> list[str]:
        if prefix == self.fails_in:
            raise StoreError("no answer")
        return super().folders(prefix)

    def objects(self, prefix: str, start_after: str = "", **arguments: bool) -> Iterator[ListedObject]:
        for number, listed in enumerate(super().objects(prefix, start_after, **arguments)):
            if prefix == self.fails_in and number == 1_500:
                raise StoreError("no answer")
            yield listed


@pytest.mark.parametrize("fails_in", [f"{ACCOUNTS[4]}/CloudTrail/eu-west-2/", f"{ACCOUNTS[5]}/CloudTrail/", ""])
def test_files_before_a_failure_are_not_lost(store: S3Store, fails_in: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = list(list_log_files(store, LOCATION, WINDOW, ahead=False))
    monkeypatch.setattr(store, "__class__", FailingStore)
    store.fails_in = f"AWSLogs/o-exampleorgid/{fails_in}"
    for ahead in (False, True):
        found = []
        with pytest.raises(StoreError, match="no answer"):
            found.extend(list_log_files(store, LOCATION, WINDOW, ahead=ahead))
        broken_off = [file for file in expected if fails_in and f"/{fails_in}" in file.key][:1_500]
        before = [file for file in expected if file.key < f"AWSLogs/o-exampleorgid/{fails_in}"]
        assert found == (before + broken_off if "eu-west-2" in fails_in else before)


def test_folders_and_places_are_found_in_the_same_order(endpoint: str, store: S3Store) -> None:
    for find, lists in ((region_folders, 1 + len(ACCOUNTS)), (account_regions, 1 + 2 * len(ACCOUNTS))):
        one_by_one = list(find(store, LOCATION))
        assert counted(endpoint) == {"LIST": lists}
        with BucketThreads(MOST_LISTINGS) as pool:
            assert list(find(store, LOCATION, pool=pool)) == one_by_one
        assert counted(endpoint) == {"LIST": lists}
        assert len(one_by_one) == len(ACCOUNTS) * len(REGIONS)
