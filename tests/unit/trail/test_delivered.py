from __future__ import annotations

import threading
from contextlib import closing
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.trail.delivered import DeliveredFiles, one_ahead
from tests.support.signed_trail import ACCOUNT, BUCKET, REGION, MemoryStore

START = datetime(2026, 2, 3, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
LOGS = f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/"


def key_of(moment: datetime, name: str = "Q1w2E3r4T5y6U7i8") -> str:
    return f"{LOGS}{moment:%Y/%m/%d}/{ACCOUNT}_CloudTrail_{REGION}_{moment:%Y%m%dT%H%MZ}_{name}.json.gz"


def test_items_come_in_their_order_with_the_error_behind_them():
    def items():
        yield from ("first", "second")
        raise LookupError("third")

    found = []
    with pytest.raises(LookupError, match="third"):
        found.extend(one_ahead(items()))
    assert found == ["first", "second"]


def test_the_next_item_is_made_while_this_one_is_used():
    made, threads = threading.Semaphore(0), set()

    def items():
        for number in range(10):
            threads.add(threading.current_thread())
            made.release()
            yield number

    with closing(one_ahead(items())) as ahead:
        assert next(ahead) == 0
        for _ in range(2):
            assert made.acquire(timeout=60)
        assert next(ahead) == 1
    # Those two that were taken, and the one that was made ahead.
    assert made.acquire(timeout=60)
    assert not made.acquire(blocking=False)
    assert threading.current_thread() not in threads
    assert len(threads) == 1
    assert not any(thread.is_alive() for thread in threads)


def test_the_listing_is_not_asked_before_the_first_digest():
    asked = []

    def listed():
        asked.append(True)
        yield (key_of(START), START, "etag")

    files = DeliveredFiles(listed(), MemoryStore(), BUCKET, (LOGS,), START - HOUR, START + 24 * HOUR)
    assert asked == []
    files.move_to(START + HOUR)
    assert files.claim(key_of(START)) == "etag"
    assert files.claim(key_of(START)) == "etag"
    assert files.claim(key_of(START, "unknown")) is None
    files.finish()
    assert files.unlisted == {}


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
