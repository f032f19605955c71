"""What stands between the worker and S3 gives something else than the bucket holds, with headers that fit."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace

import pytest

from airflow_provider_cloudtrail.exceptions import CloudTrailBucketError, CloudTrailQuarantineError
from airflow_provider_cloudtrail.trail.store import ListingDeniedError, StoredObject
from tests.support.log_files import event, log_bytes
from tests.support.signed_trail import BUCKET

MIDDLE = 6
CHANGES = {
    "cut short": lambda stored: replace(stored, body=stored.body[: len(stored.body) // 2]),
    "nothing": lambda stored: replace(stored, body=b""),
    "compressed again": lambda stored: replace(stored, body=gzip.compress(stored.body)),
    "unpacked": lambda stored: replace(stored, body=gzip.decompress(stored.body)),
    "another document": lambda _: StoredObject(b"<html>Please log in</html>", "another"),
}
changed = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
Change = Callable[[StoredObject], StoredObject]


def another_log_file(_: StoredObject) -> StoredObject:
    """Whole, and of the form of others: nothing but the listing says that it is not the one that lies there."""
    return StoredObject(log_bytes(event("another")), "another")


changed_or_exchanged = pytest.mark.parametrize(
    "change", [*CHANGES.values(), another_log_file], ids=[*CHANGES, "another log file"]
)


@pytest.fixture
def disturb(world, monkeypatch):
    """Have what is got of a key be changed on its way, until it is undone."""

    def make(key: str, change: Change) -> Callable[[], None]:
        get = world.store.get

        def disturbed(asked, most_bytes=None):
            stored = get(asked, most_bytes)
            return change(stored) if asked == key else stored

        monkeypatch.setattr(world.store, "get", disturbed)
        return lambda: monkeypatch.setattr(world.store, "get", get)

    return make


def ledger(world):
    return world.hook.rows("SELECT log_file_uri, status FROM mwaa_audit_events_files ORDER BY 1")


@changed
@pytest.mark.parametrize("named", [False, True], ids=["listed", "named"])
def test_log_file_is_read_again(world, trail, disturb, change, named):
    key = trail.logs(MIDDLE)[1]
    arguments = {"files": [f"s3://{BUCKET}/{name}" for name in sorted(trail.in_window())]} if named else {}
    undo = disturb(key, change)
    with pytest.raises(CloudTrailBucketError, match="were answered, the bucket lists") as raised:
        world.load(**arguments)
    assert str(raised.value).startswith(f"s3://{BUCKET}/{key}: ")
    before = ledger(world)
    assert before[-1][0] < f"s3://{BUCKET}/{key}", "files before it are stored"
    assert {status for _, status in before} == {"loaded"}

    undo()
    world.load()
    world.validate()
    assert set(world.statuses().values()) == {"verified"}


def test_another_log_file_is_not_loaded_in_the_place_of_the_one_that_was_listed(world, trail, disturb):
    key = trail.logs(MIDDLE)[1]
    undo = disturb(key, another_log_file)
    with pytest.raises(CloudTrailBucketError, match="were answered, the bucket lists") as raised:
        world.load()
    assert str(raised.value).startswith(f"s3://{BUCKET}/{key}: ")
    assert f"s3://{BUCKET}/{key}" not in dict(ledger(world))

    undo()
    world.load()
    world.validate()
    assert set(world.statuses().values()) == {"verified"}


def test_log_file_that_is_broken_in_the_bucket_is_quarantined(world, trail, monkeypatch):
    key = trail.logs(MIDDLE)[1]
    trail.replace(key, trail.objects[key].body[:-9])
    world.use(trail)
    with pytest.raises(CloudTrailQuarantineError, match="truncated_gzip"):
        world.load(files=[f"s3://{BUCKET}/{key}"])
    world.hook.get_conn().execute("DELETE FROM mwaa_audit_events_files").connection.commit()

    def denied(*_, **__):
        raise ListingDeniedError("the role needs s3:ListBucket on the bucket")

    # An export of what it is told of does without.
    monkeypatch.setattr(world.store, "objects", denied)
    with pytest.raises(CloudTrailQuarantineError, match="truncated_gzip"):
        world.load(files=[f"s3://{BUCKET}/{key}"])


@changed_or_exchanged
def test_digest_is_not_called_invalid(world, trail, disturb, change):
    world.load()
    undo = disturb(trail.digests[MIDDLE], change)
    with pytest.raises(CloudTrailBucketError, match="were answered, the bucket lists") as raised:
        world.validate()
    assert str(raised.value).startswith(f"s3://{BUCKET}/{trail.digests[MIDDLE]}: ")
    assert not world.findings()

    undo()
    world.validate()
    assert {status for status, _ in world.digests().values()} == {"valid"}


@changed_or_exchanged
def test_log_file_that_is_only_compared_is_not_called_altered(world, trail, disturb, change):
    key = trail.logs(MIDDLE)[1]
    undo = disturb(key, change)
    with pytest.raises(CloudTrailBucketError, match="were answered, the bucket lists"):
        world.validate(download_missing=True)
    assert not world.findings()

    undo()
    assert world.validate(download_missing=True)["files_altered"] == 0
