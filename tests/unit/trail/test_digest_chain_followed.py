"""Digests that nobody listed: followed back along the names that signed ones give."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_cloudtrail.trail.digest import digest_key
from airflow_provider_cloudtrail.trail.digest_chain import ChainVerifier
from airflow_provider_cloudtrail.trail.digest_reader import fetch_digest
from airflow_provider_cloudtrail.trail.public_keys import KeyRing
from tests.support.chains import check, faults, gaps
from tests.support.signed_trail import (
    BUCKET,
    FIRST,
    TRAIL,
    WINDOW,
    Hour,
    MemoryStore,
    SignedTrail,
)

MIDDLE = 6


@pytest.fixture
def trail() -> SignedTrail:
    return SignedTrail().build()


def test_digests_that_were_not_listed_are_followed_back(trail):
    # As after a change of the prefix: the older ones lie elsewhere.
    checked = check(trail, listed=set(trail.digests[MIDDLE:]))
    assert faults(checked) == {}
    assert next(iter(checked)) == trail.digests[FIRST]
    assert gaps(checked) == []


def test_a_forged_digest_does_not_lead_elsewhere(trail):
    elsewhere = trail.digest_key(Hour(trail.hours[MIDDLE - 1].start - timedelta(minutes=20)))
    trail.hours[MIDDLE].document["previousDigestS3Object"] = elsewhere
    trail.build()
    trail.sign(trail.digests[MIDDLE], "00" * 256)
    assert faults(check(trail)) == {trail.digests[MIDDLE]: "wrong_signature"}


@pytest.mark.parametrize("signed", [pytest.param(True, id="signed"), pytest.param(False, id="unsigned")])
@pytest.mark.parametrize(
    "named",
    [
        pytest.param(lambda trail: trail.digests[MIDDLE], id="itself"),
        pytest.param(lambda trail: trail.digests[MIDDLE + 1], id="the one behind"),
        pytest.param(lambda trail: trail.digests[MIDDLE - 1].replace(TRAIL, "another"), id="one of another trail"),
        pytest.param(lambda trail: trail.logs(MIDDLE - 1)[0], id="a log file"),
    ],
)
def test_a_digest_that_does_not_name_an_earlier_one_is_not_followed(trail, named, signed):
    trail.hours[MIDDLE].document["previousDigestS3Object"] = named(trail)
    trail.build()
    if not signed:
        trail.lose_metadata(trail.digests[MIDDLE])
    found = fetch_digest(MemoryStore(trail), BUCKET, digest_key(trail.digests[MIDDLE]))
    asked = []
    ring = KeyRing(lambda *_: trail.public_keys(), *WINDOW)
    (checked,) = ChainVerifier(ring, asked.append, WINDOW[0]).check([found])
    assert (checked.key, checked.valid) == (found.key, signed)
    assert asked == []


@pytest.mark.parametrize("change", [{"bucket": "new-trail"}, {"root": "new/AWSLogs/"}], ids=["bucket", "prefix"])
def test_a_change_of_the_trail_is_followed_back(trail, change):
    old, new = trail.split(MIDDLE, **change)
    buckets = {BUCKET: MemoryStore(old), "new-trail": MemoryStore(new)} if "bucket" in change else {}
    both, asked = MemoryStore(old, new), []

    def fetch(key):
        asked.append((key.bucket, key.key))
        return fetch_digest(buckets.get(key.bucket, both), key.bucket or BUCKET, key)

    ring = KeyRing(lambda *_: trail.public_keys(), *WINDOW)
    fetched = [fetch_digest(MemoryStore(new), new.bucket, digest_key(key)) for key in new.digests]
    checked = {one.key.key: one for one in ChainVerifier(ring, fetch, WINDOW[0]).check(fetched)}
    assert list(checked) == [*old.digests[FIRST:MIDDLE], *new.digests]
    assert faults(checked) == {}
    assert gaps(checked) == []
    before = BUCKET if "bucket" in change else None
    assert asked == [(before, key) for key in reversed(old.digests[FIRST:MIDDLE])]


def test_a_digest_that_was_replaced_in_the_bucket_before_is_found(trail):
    old, new = trail.split(MIDDLE, bucket="new-trail")
    other = SignedTrail()
    other.hours[MIDDLE - 1].files.clear()
    other.build()
    # Validly signed, but not what the first digest in the new bucket names.
    old.objects[old.digests[MIDDLE - 1]] = other.objects[other.digests[MIDDLE - 1]]
    store = MemoryStore(old)
    ring = KeyRing(lambda *_: trail.public_keys(), *WINDOW)
    fetched = [fetch_digest(MemoryStore(new), new.bucket, digest_key(key)) for key in new.digests]
    verifier = ChainVerifier(ring, lambda key: fetch_digest(store, BUCKET, key), WINDOW[0])
    checked = {one.key.key: one for one in verifier.check(fetched)}
    assert faults(checked) == {new.digests[0]: "broken_chain"}
