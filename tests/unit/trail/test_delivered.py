from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.trail import delivered
from airflow_provider_cloudtrail.trail.delivered import SLACK, AccountRegion, DeliveredFiles, list_digests, list_logs
from tests.support.signed_trail import ACCOUNT, BUCKET, REGION, Hour, MemoryStore, Object, SignedTrail

START = datetime(2026, 2, 3, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
LOGS = f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/"


def key_of(moment: datetime, name: str = "Q1w2E3r4T5y6U7i8") -> str:
    return f"{LOGS}{moment:%Y/%m/%d}/{ACCOUNT}_CloudTrail_{REGION}_{moment:%Y%m%dT%H%MZ}_{name}.json.gz"


def test_the_listing_is_not_asked_before_the_first_digest():
    asked = []

    def listed():
        asked.append(True)
        yield (key_of(START), START, "etag")

    store = MemoryStore()
    files = DeliveredFiles(listed(), store, BUCKET, (LOGS,), START - HOUR, START + 24 * HOUR)
    assert asked == []
    files.move_to(START + HOUR)
    assert files.claim(key_of(START)) == "etag"
    assert files.claim(key_of(START)) == "etag"
    assert files.claim(key_of(START, "unknown")) is None
    files.finish()
    assert files.unlisted == {}
    # The listing has shown that it is not there.
    assert store.listings == []


def test_what_nobody_claims_is_unlisted_until_a_later_digest_lists_it():
    listed = [(key_of(START + number * HOUR), START + number * HOUR, f"etag-{number}") for number in range(12)]
    files = DeliveredFiles(iter(listed), MemoryStore(), BUCKET, (LOGS,), START - HOUR, START + 24 * HOUR)
    files.move_to(START + 11 * HOUR)
    late = key_of(START + HOUR)
    assert late in files.unlisted
    assert files.unlisted[late].uri == f"s3://{BUCKET}/{late}"
    assert files.claim(late) == "etag-1"
    files.finish()
    assert sorted(files.unlisted) == [key for key, _, _ in listed if key != late]


def test_a_trail_without_digests_is_read_to_its_end():
    listed = [(key_of(START + number * HOUR), START + number * HOUR, "etag") for number in range(12)]
    files = DeliveredFiles(iter(listed), MemoryStore(), BUCKET, (LOGS,), START - HOUR, START + 24 * HOUR)
    files.finish()
    assert len(files.unlisted) == 12


@pytest.mark.parametrize(
    ("believed", "etag", "asked"),
    [
        pytest.param(True, "d41d8cd98f00b204e9800998ecf8427e", 1, id="signed"),
        pytest.param(False, None, 0, id="nobody has signed it"),
    ],
)
def test_the_bucket_is_asked_for_what_was_delivered_outside_of_the_listing(believed, etag, asked):
    store, early = MemoryStore(), key_of(START - 9 * HOUR)
    store.contents[early] = Object(b"")
    files = DeliveredFiles(iter(()), store, BUCKET, (LOGS,), START - HOUR, START + 24 * HOUR)
    files.move_to(START + HOUR)
    assert files.claim(early, believed=believed) == etag
    assert store.listings == [early] * asked


def test_of_more_than_are_kept_by_name_those_of_the_window_are_counted(monkeypatch):
    monkeypatch.setattr(delivered, "MOST_UNLISTED", 2)
    floor, ceiling = START - SLACK, START + 6 * HOUR + SLACK
    moments = [floor + number * HOUR for number in range((ceiling - floor) // HOUR)]
    files = DeliveredFiles(
        ((key_of(moment), moment, "etag") for moment in moments), MemoryStore(), BUCKET, (LOGS,), floor, ceiling
    )
    files.finish()
    assert list(files.unlisted) == [key_of(moment) for moment in moments[:2]]
    assert files.unlisted_beyond == 6


def test_the_log_files_of_all_layouts_are_listed_by_their_stamps():
    other = LOGS.replace("AWSLogs/", "AWSLogs/o-abc123/")
    store = MemoryStore()
    # What is too early, what is too late and what is no log file is left out.
    for number in range(-1, 8):
        moment = START + number * HOUR / 2
        store.contents[key_of(moment).replace(LOGS, LOGS if number % 2 else other)] = Object(b"")
    store.contents[f"{LOGS}2026/02/03/notes.txt"] = Object(b"")
    place = AccountRegion(ACCOUNT, REGION, (), (LOGS, other))
    found = list(list_logs(store, place, START + timedelta(seconds=30), START + 3 * HOUR))
    assert [stamp for _, stamp, _ in found] == [START + number * HOUR / 2 for number in range(6)]
    assert [key.startswith(other) for key, _, _ in found] == [True, False] * 3


class Taken(MemoryStore):
    """Remembers what was taken of its listings."""

    def __init__(self):
        super().__init__()
        self.taken = []

    def objects(self, *arguments, **options):
        for found in super().objects(*arguments, **options):
            self.taken.append(found.key)
            yield found


@pytest.mark.parametrize("digests", [pytest.param(True, id="digests"), pytest.param(False, id="log files")])
def test_listings_end_at_the_first_day_behind(digests):
    days, end = [START + number * 24 * HOUR for number in range(5)], START + 30 * HOUR
    trail = SignedTrail(hours=[Hour(day) for day in days])
    keys = [trail.digest_key(hour) for hour in trail.hours] if digests else [key_of(day) for day in days]
    store = Taken()
    store.contents = {key: Object(b"") for key in keys}
    if digests:
        list_digests(store, [LOGS.replace("CloudTrail", "CloudTrail-Digest")], START, end)
    else:
        list(list_logs(store, AccountRegion(ACCOUNT, REGION, (), (LOGS,)), START, end))
    assert store.taken == keys[:3]
