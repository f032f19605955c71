"""What the validation of a loaded trail asks of S3, and how much memory it takes."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from math import ceil, inf
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import DigestEntry
from airflow_provider_cloudtrail.export.log_files import export_log_files
from airflow_provider_cloudtrail.trail.bucket_threads import AT_FIRST, MOST_AT_ONCE
from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
from airflow_provider_cloudtrail.trail.listing import list_log_files
from airflow_provider_cloudtrail.trail.log_file import TrailLocation
from airflow_provider_cloudtrail.trail.public_keys import KeyRing
from airflow_provider_cloudtrail.trail.store import ListedObject, Store, StoredObject
from airflow_provider_cloudtrail.validation.run import Validation
from airflow_provider_cloudtrail.validation.summary import ValidationSummary
from airflow_provider_cloudtrail.validation.validate import validate_trail
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.evidence import Evidence, HashedFile
from tests.support.engines import DUCKDB, installed
from tests.support.rows import MWAA
from tests.support.s3 import TRANSPORTS, CountedS3, client_of, s3_store
from tests.support.signed_trail import BUCKET, HOUR, Hour, MemoryStore, SignedTrail

ENGINE = next(iter(DUCKDB), "sqlite")
BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
DAY = timedelta(days=1)
PLACES = [(account, region) for account in ("111122223333", "444455556666") for region in ("eu-west-1", "us-east-1")]
FILES_PER_HOUR = 2
KEYS_PER_PAGE = 1_000
# Both ends of the window lie within an hour of a digest.
DIGESTS_OF_A_DAY = 24
BEHIND = 3
HELD_AT_ONCE = 1_500_000
BYTES_OF_A_KEY = 250


def trails(days: int, bucket: str = BUCKET) -> list[SignedTrail]:
    """Return 2 accounts and 2 Regions with a digest for each hour from 2 hours before the days to 3 behind."""
    made = []
    for account, region in PLACES:
        begin = BEGIN + timedelta(minutes=5, seconds=12) - 2 * HOUR
        trail = SignedTrail(account, region, bucket=bucket)
        trail.hours = [Hour(begin + number * HOUR) for number in range(days * DIGESTS_OF_A_DAY + 2 + BEHIND)]
        for hour in trail.hours:
            for number in range(FILES_PER_HOUR):
                trail.add_file(hour, hour.start + timedelta(minutes=10 + 20 * number))
        made.append(trail.build())
    return made


class PagedStore(MemoryStore):
    """A bucket in memory that counts the pages that S3 would be asked for."""

    pages = 0

    def folders(self, prefix: str) -> list[str]:
        self.pages += 1
        return super().folders(prefix)

    def objects(self, prefix: str, start_after: str = "", **arguments: bool) -> Iterator[ListedObject]:
        # One key more than is taken: S3 has to be asked to learn that there is none.
        for number, listed in enumerate(super().objects(prefix, start_after, **arguments)):
            self.pages += number % KEYS_PER_PAGE == 0
            yield listed

    def get(self, key: str, most_bytes: int | None = None) -> StoredObject:
        assert "/CloudTrail-Digest/" in key, f"a log file was fetched: {key}"
        return super().get(key, most_bytes)


def load(store: Store, warehouse: Warehouse, days: int, bucket: str = BUCKET) -> None:
    warehouse.prepare()
    window = DeliveryWindow(BEGIN - DAY, BEGIN + (days + 1) * DAY)
    files = list_log_files(store, TrailLocation(bucket), window)
    export_log_files(files, store_of=lambda _: store, warehouse=warehouse, selection=MWAA)


def validate(
    store: Store,
    warehouse: Warehouse,
    of: list[SignedTrail],
    days: int,
    bucket: str = BUCKET,
    *,
    download_missing: bool = False,
) -> ValidationSummary:
    window = DeliveryWindow(BEGIN, BEGIN + days * DAY, lookback=timedelta(days=7))
    evidence = Evidence(warehouse)
    evidence.prepare()
    return validate_trail(
        Validation(
            location=TrailLocation(bucket),
            window=window,
            store_of=lambda _: store,
            evidence=evidence,
            ring=KeyRing(lambda *_: of[0].public_keys(), window.start, window.end),
            download_missing=download_missing,
        )
    )


def assert_proven(summary: ValidationSummary, days: int) -> None:
    digests = len(PLACES) * (days * DIGESTS_OF_A_DAY + 1)
    assert (summary.digests, summary.digests_valid) == (digests, digests)
    assert summary.files_listed == summary.files_verified == digests * FILES_PER_HOUR
    assert set(summary.findings().values()) == {0}


def fetched(of: list[SignedTrail], days: int) -> list[str]:
    """Return the keys of the digests of a window and of those next to it, which may prove or contradict them."""
    number = days * DIGESTS_OF_A_DAY + 3
    return sorted(key for trail in of for key in trail.digests[:number])


def pages(days: int) -> int:
    """Return the pages of a run: layouts, accounts, Regions of both folders, and what lies in each of them."""
    digests = (days + 1) * DIGESTS_OF_A_DAY
    in_folders = ceil(digests / KEYS_PER_PAGE) + ceil(digests * FILES_PER_HOUR / KEYS_PER_PAGE)
    return 1 + 1 + 2 * 2 + len(PLACES) * in_folders


def test_a_loaded_month_is_proven_without_a_get_on_log_files(
    new_warehouse: Callable[[str], Warehouse], monkeypatch: pytest.MonkeyPatch
) -> None:
    month, week = 31, 7
    # So that little is held at once, by few threads, also if the machine is so busy that the bucket looks slow.
    bounds = {
        "validation.digest_batches._BATCH_DIGESTS": 25,
        "validation.digest_batches._AHEAD": 8,
        "trail.delivered._PAGE": 50,
    }
    bounds |= {"trail.listings_ahead._PAGE": 50, "trail.bucket_threads.SLOW_SECONDS": inf}
    for bound, number in bounds.items():
        monkeypatch.setattr(f"airflow_provider_cloudtrail.{bound}", number)
    made = trails(month)
    warehouse = new_warehouse(ENGINE)
    load(MemoryStore(*made), warehouse, month)
    for days in (week, month):
        store = PagedStore(*made)
        gc.collect()
        tracemalloc.start()
        try:
            summary = validate(store, warehouse, made, days)
            _, highest = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert_proven(summary, days)
        assert sorted(store.gets) == fetched(made, days)
        assert store.pages == pages(days)
        # How much of what may be ahead is so at the worst moment is up to the scheduler: the bound is all of it. Only
        # the keys of the digests are held for the whole window.
        assert highest < HELD_AT_ONCE + summary.digests * BYTES_OF_A_KEY


class CrowdedStore(MemoryStore):
    """A bucket in which late GETs of digests, and of log files, wait until as many run as are wanted."""

    def __init__(self, wanted: int, *trails: SignedTrail) -> None:
        super().__init__(*trails)
        self.wanted = wanted
        self.lock = threading.Lock()
        self.running = Counter[bool]()
        self.most = Counter[bool]()
        self.begun = Counter[bool]()
        self.enough = {False: threading.Event(), True: threading.Event()}
        self.given_up = False

    def get(self, key: str, most_bytes: int | None = None) -> StoredObject:
        is_digest = "/CloudTrail-Digest/" in key
        with self.lock:
            self.begun[is_digest] += 1
            self.running[is_digest] += 1
            self.most[is_digest] = max(self.most[is_digest], self.running[is_digest])
            if self.running[is_digest] >= self.wanted:
                self.enough[is_digest].set()
            late = self.begun[is_digest] > 60
        if late and not self.given_up:
            # Without so many threads the first ones end by their timeout.
            self.given_up = not self.enough[is_digest].wait(timeout=60)
        try:
            return super().get(key, most_bytes)
        finally:
            with self.lock:
                self.running[is_digest] -= 1


@pytest.mark.parametrize(
    ("slow_seconds", "most"),
    [
        pytest.param(0, MOST_AT_ONCE, id="a bucket that takes long to answer"),
        pytest.param(inf, AT_FIRST, id="one that answers at once"),
    ],
)
def test_many_gets_at_once_only_from_a_slow_bucket(
    new_warehouse: Callable[[str], Warehouse], slow_seconds: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_cloudtrail.trail.bucket_threads.SLOW_SECONDS", slow_seconds)
    days = 7
    made = trails(days)
    warehouse = new_warehouse(ENGINE)
    warehouse.prepare()
    store = CrowdedStore(most, *made)
    summary = validate(store, warehouse, made, days, download_missing=True)
    assert summary.digests_valid == len(PLACES) * (days * DIGESTS_OF_A_DAY + 1)
    assert summary.files_downloaded == summary.files_verified == summary.digests_valid * FILES_PER_HOUR
    assert [gate.is_set() for gate in store.enough.values()] == [True, True]
    # A batch may be hashed while the digests of the next one are fetched, by the same threads.
    assert store.most[True] == most
    assert store.most[False] == most


def test_log_files_alone_show_that_a_bucket_is_slow(
    new_warehouse: Callable[[str], Warehouse], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_cloudtrail.trail.bucket_threads.SLOW_SECONDS", 0)
    trail = SignedTrail(*PLACES[0], bucket=BUCKET)
    trail.hours = [Hour(BEGIN + number * HOUR) for number in range(8)]
    for hour in trail.hours:
        for number in range(20):
            trail.add_file(hour, hour.start + timedelta(minutes=number))
    warehouse = new_warehouse(ENGINE)
    warehouse.prepare()
    store = CrowdedStore(MOST_AT_ONCE, trail.build())
    summary = validate(store, warehouse, [trail], 1, download_missing=True)
    # Too few of them to show anything.
    assert store.begun[True] < 16
    assert summary.files_verified == summary.files_downloaded == 8 * 20
    assert store.most[False] == MOST_AT_ONCE


def test_the_ledger_is_asked_and_told_in_turn_with_the_keys(new_warehouse: Callable[[str], Warehouse]) -> None:
    made, warehouse = trails(1), new_warehouse(ENGINE)
    store = MemoryStore(*made)
    load(store, warehouse, 1)
    window = DeliveryWindow(BEGIN, BEGIN + DAY)
    ring = KeyRing(lambda *_: made[0].public_keys(), window.start, window.end)
    called = []

    class InTurn(Evidence):
        """Fails where another thread could ask for keys meanwhile."""

        def loaded_files(self, uris: Sequence[str]) -> dict[str, tuple[Any, ...]]:
            called.append(("asked", ring.turn.locked()))
            return super().loaded_files(uris)

        def hashed_files(self, uris: Sequence[str]) -> dict[str, HashedFile]:
            called.append(("hashes", ring.turn.locked()))
            return super().hashed_files(uris)

        def write(self, digests: Sequence[DigestEntry], *rest: Any) -> None:
            called.append(("told" if digests else "told of findings", ring.turn.locked() or not digests))
            super().write(digests, *rest)

    evidence = InTurn(warehouse)
    evidence.prepare()
    summary = validate_trail(
        Validation(
            location=TrailLocation(BUCKET), window=window, store_of=lambda _: store, evidence=evidence, ring=ring
        )
    )
    assert_proven(summary, 1)
    assert dict(called) == {"asked": True, "hashes": True, "told": True, "told of findings": True}
    assert all(in_turn for _, in_turn in called)


@pytest.mark.skipif(not installed("moto", "werkzeug"), reason="needs moto's server")
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_loaded_day_is_proven_without_a_get_on_log_files(
    s3_server: CountedS3, transport: str, new_warehouse: Callable[[str], Warehouse]
) -> None:
    bucket = s3_server.new_bucket()
    made, client = trails(1, bucket), client_of(s3_server.endpoint)
    for trail in made:
        for key, stored in trail.objects.items():
            client.put_object(Bucket=bucket, Key=key, Body=stored.body, Metadata=stored.metadata)
    store, warehouse = s3_store(s3_server.endpoint, bucket, transport), new_warehouse(ENGINE)
    load(store, warehouse, 1, bucket)
    s3_server.requests()

    summary = validate(store, warehouse, made, 1, bucket)

    assert_proven(summary, 1)
    asked = s3_server.requests()
    assert {method for method, _, _ in asked} == {"GET"}
    objects = [path.removeprefix(f"/{bucket}/") for _, path, query in asked if "list-type" not in query]
    assert sorted(objects) == fetched(made, 1)
    assert len(asked) - len(objects) == pages(1)
