from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail import stopping_pool
from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
from airflow_provider_cloudtrail.trail.listing import list_log_files, region_folders
from airflow_provider_cloudtrail.trail.log_file import TrailLocation
from airflow_provider_cloudtrail.trail.store import ListedObject
from tests.support.log_files import key_of
from tests.support.signed_trail import BUCKET, MemoryStore, Object

ACCOUNTS = ["111122223333", "444455556666", "777788889999"]
REGIONS = ["eu-west-1", "us-east-1"]
BEGIN = datetime(2026, 2, 3, tzinfo=timezone.utc)


class AskedStore(MemoryStore):
    """Remembers which folders it was asked for."""

    def __init__(self, *keys: str) -> None:
        super().__init__()
        self.contents = {key: Object(b"") for key in keys}
        self.asked: list[str] = []

    def folders(self, prefix: str) -> list[str]:
        self.asked.append(prefix)
        return super().folders(prefix)


def test_accounts_and_regions_are_listed_in_the_same_order_however_they_are_given() -> None:
    # The first file that holds an event has its row: a run that is made again must not come to another.
    given = region_folders(MemoryStore(), TrailLocation(BUCKET), ACCOUNTS[::-1], REGIONS[::-1])
    found = [(folder.account_id, folder.region) for folder in given]
    assert found == [(account, region) for account in ACCOUNTS for region in REGIONS]


def test_folders_are_looked_for_of_what_nothing_was_listed() -> None:
    first, second, third = ACCOUNTS
    # The second account has log files of another Region only, the third none.
    here = key_of("20260203T1000Z", account=first, region="eu-west-1")
    store = AskedStore(here, key_of("20260203T1000Z", account=second, region="us-east-1"))
    window, without = DeliveryWindow(BEGIN, BEGIN + timedelta(days=1)), []
    listed = list_log_files(
        store,
        TrailLocation(BUCKET),
        window,
        ACCOUNTS,
        ["eu-west-1"],
        look_for_folders=True,
        without_folder=without,
        ahead=False,
    )
    assert [file.key for file in listed] == [here]
    assert without == [third]
    assert store.asked == ["AWSLogs/", *(f"AWSLogs/{account}/CloudTrail/" for account in (second, third))]


def test_who_has_enough_does_not_wait_for_what_was_begun_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping_pool, "_PATIENCE", 100.0)
    asked, answer, answered = threading.Event(), threading.Event(), threading.Event()

    class SilentStore(MemoryStore):
        def objects(self, prefix: str, start_after: str = "", *, make_sure: bool = True) -> Iterator[ListedObject]:
            if REGIONS[1] in prefix:
                asked.set()
                answer.wait(50)
                answered.set()
            return super().objects(prefix, start_after, make_sure=make_sure)

    store = SilentStore()
    store.contents = {key_of(region=region): Object(b"") for region in REGIONS}
    window = DeliveryWindow(BEGIN, BEGIN + timedelta(days=1))
    listed = list_log_files(store, TrailLocation(BUCKET), window, ACCOUNTS[:1], REGIONS)
    assert next(listed).region == REGIONS[0]
    assert asked.wait(60)
    del listed
    assert not answered.is_set()
    answer.set()
    assert answered.wait(60)
