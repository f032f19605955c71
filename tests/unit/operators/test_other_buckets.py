"""Log files that digests list under another name: of a bucket that the trail left, behind a copy or an access point."""

from __future__ import annotations

import pytest

from airflow_provider_cloudtrail.exceptions import CloudTrailBucketError
from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.trail.local_store import LocalStore
from airflow_provider_cloudtrail.trail.store import StoreError
from tests.support.signed_trail import BUCKET, HOUR, MemoryStore, SignedTrail, sha256

MIDDLE = 6
OLD = "old-trail"
ALIAS = "audit-q1w2e3r4t5-s3alias"
LISTED = len(SignedTrail().in_window())


class Refusing(MemoryStore):
    def objects(self, prefix, start_after="", **arguments):
        raise StoreError(f"listing {prefix}: AccessDenied")


@pytest.fixture
def left(world) -> str:
    """Return the key of a log file in the bucket that the trail delivered to before, and that a digest here lists."""
    trail = SignedTrail()
    hour = trail.hours[MIDDLE]
    key = next(iter(hour.files))
    hour.document["logFiles"] = [
        {
            "s3Bucket": OLD if name == key else BUCKET,
            "s3Object": name,
            "hashValue": sha256(content),
            "hashAlgorithm": "SHA-256",
        }
        for name, content in hour.files.items()
    ]
    trail.build()
    world.stores[OLD] = MemoryStore()
    world.stores[OLD].contents[key] = trail.objects.pop(key)
    world.use(trail)
    return key


@pytest.mark.parametrize("refusing", [True, False], ids=["not to be listed", "gone"])
def test_what_lies_in_a_bucket_that_cannot_be_read_any_more(world, left, monkeypatch, refusing):
    """What was loaded from there is known from the ledger; all else is compared as ever."""
    world.load()
    world.load(files=[f"s3://{OLD}/{left}"])
    assert world.validate()["files_verified"] == LISTED

    def get_store(_, bucket):
        if bucket == OLD and not refusing:
            raise CloudTrailBucketError(f"there is no bucket {bucket}")
        return Refusing() if bucket == OLD else world.store

    monkeypatch.setattr(CloudTrailHook, "get_store", get_store)
    assert world.validate()["files_verified"] == LISTED
    summary = world.validate(table="never_loaded", download_missing=True)
    assert (summary["files_verified"], summary["files_deleted"]) == (LISTED - 1, 0)
    assert summary["not_loaded"] == [f"s3://{OLD}/{left}"]


def test_what_was_loaded_from_there_and_altered_is_found_without_the_bucket(world, left):
    body = world.stores[OLD].contents[left].body
    world.stores[OLD].contents[left].body = world.trails[0].objects[world.trails[0].logs(MIDDLE)[1]].body
    world.load()
    world.load(files=[f"s3://{OLD}/{left}"])
    assert body != world.stores[OLD].contents[left].body
    world.stores[OLD] = Refusing()
    _, summary = world.fails()
    assert (summary["files_altered"], summary["files_verified"]) == (1, LISTED - 1)


def test_a_copy_in_a_folder_asks_for_no_bucket(world, left, tmp_path, monkeypatch):
    world.trails[0].write(tmp_path)
    asked = set()
    monkeypatch.setattr(CloudTrailHook, "get_store", lambda _, name: (asked.add(name), LocalStore(name))[1])
    world.load(bucket=f"file://{tmp_path}")
    summary = world.validate(bucket=f"file://{tmp_path}")
    assert (summary["files_verified"], summary["not_loaded"]) == (LISTED - 1, [f"s3://{OLD}/{left}"])
    assert asked == {f"file://{tmp_path}"}


def test_a_log_file_of_another_day_is_found_in_a_copy_in_a_folder(world, tmp_path, monkeypatch):
    trail = SignedTrail()
    trail.add_file(trail.hours[MIDDLE], trail.hours[MIDDLE].start - 9 * HOUR)
    trail.build().write(tmp_path)
    world.trails = [trail]
    monkeypatch.setattr(CloudTrailHook, "get_store", lambda _, name: LocalStore(name))
    world.load(bucket=f"file://{tmp_path}")
    summary = world.validate(bucket=f"file://{tmp_path}")
    assert (summary["files_verified"], summary["files_deleted"]) == (LISTED + 1, 0)


def test_through_an_access_point(world, trail, monkeypatch):
    """Digests name the bucket behind it, which nobody may be allowed to ask for itself."""
    asked = set()
    monkeypatch.setattr(CloudTrailHook, "get_store", lambda _, name: (asked.add(name), world.store)[1])
    world.load(bucket=ALIAS)
    summary = world.validate(bucket=ALIAS)
    assert (summary["digests_valid"], summary["files_verified"]) == (summary["digests"], LISTED)
    assert asked == {ALIAS}
