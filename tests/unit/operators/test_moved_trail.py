"""A trail that delivers to another bucket or under another prefix now: its digests are followed back."""

from __future__ import annotations

import pytest

from airflow_provider_cloudtrail.exceptions import CloudTrailBucketError
from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from tests.support.signed_trail import BUCKET, FIRST, LAST, MemoryStore, SignedTrail

MIDDLE = 6
DIGESTS = LAST - FIRST + 1


def test_a_changed_prefix_is_followed_back(world):
    old, new = SignedTrail(root="old/AWSLogs/").split(MIDDLE, root="AWSLogs/")
    world.use(new, old)
    world.load()
    world.load(prefix="old")
    summary = world.validate()
    assert (summary["gaps"], summary["digests_valid"], summary["files_unlisted"]) == (0, DIGESTS, 0)
    assert summary["files_verified"] == summary["files_listed"] == len(SignedTrail().in_window())


@pytest.fixture
def moved(world):
    """A trail that delivers to another bucket since the middle of the window."""
    old, new = SignedTrail(bucket="old-trail").split(MIDDLE, bucket=BUCKET)
    world.use(new, old)
    world.stores = {trail.bucket: MemoryStore(trail) for trail in (new, old)}
    for trail in (old, new):
        world.load(bucket=trail.bucket)
        world.stores[trail.bucket].gets.clear()
    return old


def test_a_changed_bucket_is_followed_back(world, moved):
    summary = world.validate()
    assert (summary["gaps"], summary["digests_valid"], summary["files_unlisted"]) == (0, DIGESTS, 0)
    assert summary["files_verified"] == summary["files_listed"] == len(SignedTrail().in_window())
    rows = world.hook.rows(
        "SELECT substr(digest_uri, 1, 12), substr(previous_digest_uri, 1, 12), count(*) "
        "FROM mwaa_audit_events_digests GROUP BY 1, 2 ORDER BY 3, 1"
    )
    assert rows == [
        ("s3://example", "s3://old-tra", 1),
        ("s3://old-tra", "s3://old-tra", MIDDLE - FIRST),
        ("s3://example", "s3://example", LAST - MIDDLE),
    ]
    assert [key for store in world.stores.values() for key in store.gets if "/CloudTrail/" in key] == []


def test_what_is_wrong_in_the_bucket_before_is_found_there(world, moved):
    del world.stores["old-trail"].contents[moved.logs(MIDDLE - 1)[0]]
    del world.stores["old-trail"].contents[moved.digests[MIDDLE - 2]]
    _, summary = world.fails()
    assert (summary["files_deleted"], summary["digests_missing"], summary["gaps"]) == (1, 1, 1)
    found = summary["found"]["deleted"] + summary["found"]["missing"]
    assert [text.split("/")[2] for text in found] == ["old-trail"] * 2


@pytest.mark.parametrize("gone", [CloudTrailBucketError("there is no bucket old-trail"), None], ids=["gone", "empty"])
def test_the_bucket_before_cannot_be_read(world, moved, monkeypatch, gone):
    stores = world.stores

    def get_store(_, bucket):
        if bucket == "old-trail" and gone is not None:
            raise gone
        return stores[bucket] if bucket == BUCKET else MemoryStore()

    monkeypatch.setattr(CloudTrailHook, "get_store", get_store)
    text, summary = world.fails()
    assert summary["digests_valid"] == LAST - MIDDLE + 1
    if gone is None:
        assert (summary["digests_missing"], summary["gaps"]) == (1, 1)
        assert "in the bucket old-trail" in text
    else:
        assert summary["digests_invalid"] == 1
        assert "bucket_not_readable: there is no bucket old-trail" in text


def test_a_digest_without_a_signature_leads_to_no_other_bucket(world, moved):
    new = world.trails[0]
    new.lose_metadata(new.digests[0])
    _, summary = world.fails()
    assert world.stores["old-trail"].gets == []
    assert (summary["digests_vouched"], summary["gaps"]) == (1, 1)
