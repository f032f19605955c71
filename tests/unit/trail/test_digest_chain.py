from __future__ import annotations

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from airflow_provider_cloudtrail.trail import digest_chain
from airflow_provider_cloudtrail.trail.digest import digest_key
from airflow_provider_cloudtrail.trail.digest_chain import ChainVerifier, CheckedDigest, Coverage, DigestStatus, Proof
from airflow_provider_cloudtrail.trail.digest_reader import fetch_digest
from airflow_provider_cloudtrail.trail.digest_signature import own_signature_fault, verified_early
from airflow_provider_cloudtrail.trail.public_keys import KeyRing, PublicKey
from tests.support.signed_trail import (
    BUCKET,
    EMPTY,
    FIRST,
    HOUR,
    HOURS,
    LAST,
    REGION,
    TRAIL,
    WINDOW,
    Hour,
    MemoryStore,
    SignedTrail,
    signing_key,
)

MIDDLE = 6


@pytest.fixture
def trail() -> SignedTrail:
    return SignedTrail().build()


def check(
    trail: SignedTrail, keys: list[PublicKey] | None = None, bucket: str = BUCKET, listed: set[str] | None = None
) -> dict[str, CheckedDigest]:
    """Verify the ordinary digests of a trail as the window sees them."""
    store = MemoryStore(trail)
    ring = KeyRing(lambda region, start, end: trail.public_keys() if keys is None else keys, *WINDOW)
    found = [
        key
        for key in map(digest_key, trail.objects)
        if key is not None and not key.chain.backfill and (listed is None or key.key in listed)
    ]
    verifier = ChainVerifier(ring, lambda key: fetch_digest(store, bucket, key), WINDOW[0])
    fetched = (fetch_digest(store, bucket, key) for key in sorted(found, key=lambda key: key.end))
    checked = list(verifier.check(digest for digest in fetched if digest is not None))
    assert len({one.key.key for one in checked}) == len(checked)
    return {one.key.key: one for one in checked}


def faults(checked: dict[str, CheckedDigest]) -> dict[str, str]:
    return {key: one.fault.code for key, one in checked.items() if one.fault is not None}


def gaps(checked: dict[str, CheckedDigest], *, expected: bool = True) -> list[tuple[float, float]]:
    """Return begin and end of the gaps, in hours of the window."""
    ordered = sorted(checked.values(), key=lambda one: one.end)
    coverage = Coverage(ordered[0].key.chain, *WINDOW, WINDOW[1], expected=expected)
    found = [coverage.add(one) for one in ordered if one.end > WINDOW[0] and one.start < WINDOW[1]]
    return [((gap.start - WINDOW[0]) / HOUR, (gap.end - WINDOW[0]) / HOUR) for gap in (*found, coverage.rest()) if gap]


def at(number: int) -> float:
    """Return the begin of an hour of the trail, in hours of the window."""
    return pytest.approx((SignedTrail().hours[number].start - WINDOW[0]) / HOUR)


def test_an_untouched_chain_is_valid(trail):
    checked = check(trail)
    assert list(checked) == trail.digests
    assert faults(checked) == {}
    assert {one.proof for one in checked.values()} == {Proof.OWN_SIGNATURE}
    assert gaps(checked) == []
    assert checked[trail.digests[EMPTY]].digest.files == ((), (), ())


def test_keys_are_asked_for_when_nobody_else_asks():
    asked = threading.Event()
    ring = KeyRing(lambda *_: asked.set() or [PublicKey("ab", b"")], *WINDOW)
    with ThreadPoolExecutor(1) as pool, ring.turn:
        found = pool.submit(ring.find, "eu-west-1", "ab")
        assert not asked.wait(0.05)
        ring.turn.release()
        assert found.result(timeout=60).fingerprint == "ab"
        ring.turn.acquire()


def test_signatures_that_are_verified_early_say_the_same(trail):
    trail.objects[trail.digests[MIDDLE]].metadata["signature"] = "00" * 256
    trail.lose_metadata(trail.digests[MIDDLE + 3])
    asked = []
    ring = KeyRing(lambda *question: asked.append(question) or trail.public_keys(), *WINDOW)
    store = MemoryStore(trail)
    fetched = [fetch_digest(store, BUCKET, digest_key(key)) for key in trail.digests]
    # Whoever fetches does not ask for keys.
    assert [verified_early(found, ring) for found in fetched] == fetched
    assert asked == []

    ring.find(REGION, fetched[0].digest.fingerprint)
    early = [verified_early(found, ring) for found in fetched]
    assert [found.verdict is not None for found in early] == [found.signature is not None for found in fetched]
    assert early[MIDDLE].verdict.fault.code == "wrong_signature"
    assert [own_signature_fault(found, ring) for found in early if found.signature is not None] == [
        own_signature_fault(found, ring) for found in fetched if found.signature is not None
    ]
    late, soon = (list(ChainVerifier(ring, lambda _: None, WINDOW[0]).check(digests)) for digests in (fetched, early))
    assert soon == late
    assert len(asked) == 1


@pytest.mark.parametrize("number", [FIRST, MIDDLE, LAST, HOURS - 1])
@pytest.mark.parametrize("damage", [SignedTrail.flip, SignedTrail.flip_raw])
def test_a_byte_flipped_in_a_digest(trail, number, damage):
    damage(trail, trail.digests[number])
    assert list(faults(check(trail))) == [trail.digests[number]]


@pytest.mark.parametrize(
    "behind",
    [gzip.compress(b"{}"), b"\0padding", b"\x1f\x8b"],
    ids=["second-member", "leftover-bytes", "half-a-member"],
)
def test_bytes_behind_a_digest(trail, behind):
    trail.append(trail.digests[MIDDLE], behind)
    assert faults(check(trail)) == {trail.digests[MIDDLE]: "invalid_format"}


def test_a_document_that_is_no_digest(trail):
    for number, content in enumerate((b"[]", b"{", b'{"logFiles": 7}', b"null", b"[" * 100_000)):
        trail.replace(trail.digests[FIRST + number], gzip.compress(content))
    checked = check(trail)
    assert set(faults(checked).values()) == {"invalid_format"}
    assert len(faults(checked)) == 5
    assert gaps(checked) == []


@pytest.mark.parametrize("missing", [(MIDDLE,), (MIDDLE, MIDDLE + 1), (FIRST,), (LAST,)])
def test_deleted_digests(trail, missing):
    keys = [trail.digests[number] for number in missing]
    trail.delete(*keys)
    checked = check(trail)
    assert faults(checked) == {keys[-1]: "not_found"}
    lost = checked[keys[-1]]
    assert lost.status is DigestStatus.MISSING
    assert lost.fault.message == f"{trail.digests[missing[-1] + 1]} names it as the digest before itself"
    assert list(checked) == sorted(checked)
    # What it has covered nobody can say; digests cover an hour.
    assert (lost.start, lost.end) == (trail.hours[missing[-1]].end - HOUR, trail.hours[missing[-1]].end)
    start = max(0.0, (SignedTrail().hours[missing[0]].start - WINDOW[0]) / HOUR)
    end = min(10.0, (SignedTrail().hours[missing[-1]].end - WINDOW[0]) / HOUR)
    assert gaps(checked) == [pytest.approx((start, end))]


def test_a_digest_that_two_name_is_reported_once(trail):
    trail.hours[MIDDLE + 2].document["previousDigestS3Object"] = trail.digests[MIDDLE]
    trail.build()
    # check() holds that there are no two verdicts on it, if it is found as well.
    assert faults(check(trail, listed={*trail.digests} - {trail.digests[MIDDLE]})) == {
        trail.digests[MIDDLE + 2]: "broken_chain"
    }
    trail.delete(trail.digests[MIDDLE])
    assert faults(check(trail)) == {trail.digests[MIDDLE]: "not_found"}


def test_the_newest_three_deleted(trail):
    trail.delete(*trail.digests[LAST - 2 :])
    checked = check(trail)
    assert faults(checked) == {}
    assert gaps(checked) == [(at(LAST - 2), 10.0)]


def test_a_moved_digest_is_invalid_where_it_is_and_missing_where_it_was(trail):
    other = SignedTrail().digest_key(Hour(trail.hours[MIDDLE].start + timedelta(minutes=20)))
    trail.move(trail.digests[MIDDLE], other)
    assert faults(check(trail)) == {other: "moved", trail.digests[MIDDLE]: "not_found"}


def test_a_digest_of_another_bucket(trail):
    assert set(faults(check(trail, bucket="another-bucket")).values()) == {"moved"}
    # Nor does it lead to what it names.
    assert list(check(trail, bucket="another-bucket", listed={trail.digests[MIDDLE]})) == [trail.digests[MIDDLE]]
    assert faults(check(trail, bucket="file:///copy")) == {}


@pytest.mark.parametrize("signature", ["00" * 256, "", "no hex", "abc"])
def test_wrong_signature(trail, signature):
    trail.sign(trail.digests[MIDDLE], signature)
    assert faults(check(trail)) == {trail.digests[MIDDLE]: "wrong_signature"}


def test_the_signature_of_another_digest(trail):
    trail.sign(trail.digests[MIDDLE], trail.objects[trail.digests[MIDDLE - 1]].metadata["signature"])
    assert faults(check(trail)) == {trail.digests[MIDDLE]: "wrong_signature"}


@pytest.mark.parametrize("name", ["previousDigestSignature", "previousDigestHashValue"])
def test_a_signed_digest_that_contradicts_the_one_before(trail, name):
    trail.hours[MIDDLE].document[name] = "ab" * 32
    trail.build()
    assert faults(check(trail)) == {trail.digests[MIDDLE]: "broken_chain"}


def test_a_changed_previous_signature_is_not_signed(trail):
    key = trail.digests[MIDDLE]
    content = gzip.decompress(trail.objects[key].body)
    before = trail.objects[trail.digests[MIDDLE - 1]].metadata["signature"].encode()
    trail.replace(key, gzip.compress(content.replace(before, b"ab" * 256)))
    assert faults(check(trail)) == {key: "wrong_signature"}


def test_unknown_key(trail):
    trail.hours[MIDDLE].signed_by = 1
    trail.build()
    keys = [key for key in trail.public_keys() if key.fingerprint == signing_key(0).fingerprint]
    assert faults(check(trail, keys)) == {trail.digests[MIDDLE]: "unknown_key"}


def test_rotated_key(trail):
    for hour in trail.hours[MIDDLE:]:
        hour.signed_by = 1
    assert faults(check(trail.build())) == {}


def test_expired_key(trail):
    end = trail.hours[MIDDLE].end - timedelta(hours=2, seconds=1)
    keys = [PublicKey(signing_key(0).fingerprint, signing_key(0).public_key, end)]
    found = faults(check(trail, keys))
    assert list(found) == trail.digests[MIDDLE:]
    assert set(found.values()) == {"expired_key"}


def test_unusable_key(trail):
    keys = [PublicKey(signing_key(0).fingerprint, b"no key")]
    assert set(faults(check(trail, keys)).values()) == {"unusable_key"}


def test_key_as_subject_public_key_info(trail):
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

    info = load_der_public_key(signing_key(0).public_key).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert info != signing_key(0).public_key
    assert faults(check(trail, [PublicKey(signing_key(0).fingerprint, info)])) == {}


def test_keys_are_asked_for_once_with_a_margin():
    asked = []
    ring = KeyRing(lambda *question: asked.append(question) or (), *WINDOW)
    for _ in range(3):
        assert ring.find(REGION, "unknown") is None
    assert asked == [(REGION, WINDOW[0] - timedelta(hours=2), WINDOW[1] + timedelta(hours=2))]


def test_a_starting_digest_in_the_middle(trail):
    trail.hours[MIDDLE].starting = True
    checked = check(trail.build())
    assert faults(checked) == {}
    assert gaps(checked) == []


def test_logging_was_off_for_two_hours(trail):
    trail.hours[MIDDLE].starting = True
    del trail.hours[MIDDLE - 2 : MIDDLE]
    checked = check(trail.build())
    assert faults(checked) == {}
    assert gaps(checked) == [(at(MIDDLE - 2), at(MIDDLE))]


def test_a_chain_that_begins_in_the_window(trail):
    del trail.hours[:MIDDLE]
    checked = check(trail.build())
    assert faults(checked) == {}
    assert gaps(checked, expected=False) == []
    assert gaps(checked, expected=True) == [(0.0, at(MIDDLE))]


def test_metadata_of_a_digest_lost(trail):
    trail.lose_metadata(trail.digests[MIDDLE])
    checked = check(trail)
    assert faults(checked) == {}
    assert checked[trail.digests[MIDDLE]].proof is Proof.NEXT_DIGEST


def test_all_metadata_lost_leaves_only_the_newest_unproven(trail):
    trail.lose_metadata()
    assert faults(check(trail)) == {trail.digests[-1]: "no_signature"}
    trail.flip(trail.digests[MIDDLE])
    found = faults(check(trail))
    assert found == {trail.digests[-1]: "no_signature", trail.digests[MIDDLE]: "wrong_signature"}


def test_the_hash_in_the_next_digest_vouches_where_the_key_is_gone(trail):
    trail.hours[MIDDLE].signed_by = 1
    trail.build()
    trail.lose_metadata(trail.digests[MIDDLE])
    keys = [key for key in trail.public_keys() if key.fingerprint == signing_key(0).fingerprint]
    assert faults(check(trail, keys)) == {}


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda trail: trail.flip(trail.digests[MIDDLE]), id="another hash"),
        pytest.param(lambda trail: trail.lose_metadata(trail.digests[MIDDLE + 1]), id="no signature of its own"),
        pytest.param(lambda trail: trail.sign(trail.digests[MIDDLE + 1], "00" * 256), id="a wrong signature"),
    ],
)
def test_only_a_signed_digest_with_the_right_hash_vouches(trail, damage):
    trail.hours[MIDDLE].signed_by = 1
    trail.build()
    trail.lose_metadata(trail.digests[MIDDLE])
    damage(trail)
    keys = [key for key in trail.public_keys() if key.fingerprint == signing_key(0).fingerprint]
    assert faults(check(trail, keys))[trail.digests[MIDDLE]] == "unknown_key"


def test_a_next_digest_without_the_signature_proves_nothing(trail):
    trail.hours[MIDDLE + 1].document["previousDigestSignature"] = None
    trail.build()
    trail.lose_metadata(trail.digests[MIDDLE])
    assert faults(check(trail)) == {trail.digests[MIDDLE]: "no_signature"}


def test_of_a_long_chain_only_the_last_digests_are_remembered(trail, monkeypatch):
    monkeypatch.setattr(digest_chain, "_REMEMBERED", 1)
    assert faults(check(trail)) == {}
    trail.hours[MIDDLE].document["previousDigestHashValue"] = "ab" * 32
    trail.build()
    trail.delete(trail.digests[LAST])
    assert faults(check(trail)) == {trail.digests[MIDDLE]: "broken_chain", trail.digests[LAST]: "not_found"}


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
