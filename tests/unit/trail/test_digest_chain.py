from __future__ import annotations

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from airflow_provider_cloudtrail.trail import digest_chain
from airflow_provider_cloudtrail.trail.digest import digest_key
from airflow_provider_cloudtrail.trail.digest_chain import ChainVerifier, DigestStatus, Proof
from airflow_provider_cloudtrail.trail.digest_reader import fetch_digest
from airflow_provider_cloudtrail.trail.digest_signature import own_signature_fault, verified_early
from airflow_provider_cloudtrail.trail.public_keys import KeyRing, PublicKey
from tests.support.chains import at, check, faults, gaps
from tests.support.signed_trail import (
    BUCKET,
    EMPTY,
    FIRST,
    HOUR,
    HOURS,
    LAST,
    REGION,
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
    assert faults(check(trail, bucket="audit-q1w2e3r4t5-s3alias")) == {}


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
