from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow_provider_cloudtrail.trail.delivered import DeliveredFiles
from tests.support.signed_trail import ACCOUNT, BUCKET, REGION, MemoryStore

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
