from __future__ import annotations

import gzip
import json

import pytest

from airflow_provider_cloudtrail.trail.codec import MalformedError, StandardCodec
from airflow_provider_cloudtrail.trail.digest import digest_key
from airflow_provider_cloudtrail.trail.digest_reader import fetch_digest, get_digest, parse_digest, read_digest
from tests.support.signed_trail import BUCKET, Hour, MemoryStore, Object, SignedTrail

MIDDLE = 6


class Untouched(StandardCodec):
    def decode(self, data):
        raise AssertionError("it was decoded")


def test_a_document_of_more_values_than_a_digest_has_is_not_decoded():
    """Decoded, such a document takes 25 times its size: a megabyte of gzip takes more memory than a worker has."""
    for many in (b"[],", b"1,", b'"",', b'{"":0},'):
        with pytest.raises(MalformedError) as raised:
            parse_digest(b'{"logFiles":[' + many * 100_000 + b"0]}", Untouched())
        assert raised.value.code == "invalid_format"


def test_a_document_that_is_packed_smaller_than_hashes_can_be_is_not_unpacked():
    trail = SignedTrail()
    trail.build()
    key = trail.digests[MIDDLE]
    stored = trail.objects[key]
    document = json.loads(gzip.decompress(stored.body))
    document["logFiles"] = document["logFiles"][:1] * 10_000
    trail.objects[key] = Object(gzip.compress(json.dumps(document).encode()), stored.metadata)
    found = fetch_digest(MemoryStore(trail), BUCKET, digest_key(key))
    assert (found.digest, found.fault.code) == (None, "invalid_format")
    assert "unpacks to more than a digest does" in found.fault.message


def test_an_object_that_is_larger_than_a_digest_is_not_read():
    trail = SignedTrail()
    trail.build()
    key = trail.digests[MIDDLE]
    size = len(trail.objects[key].body)
    store = MemoryStore(trail)
    assert get_digest(store, digest_key(key), size).body == trail.objects[key].body
    fault = get_digest(store, digest_key(key), size - 1)
    # Nobody can raise a limit of max_file_bytes here.
    assert (fault.code, fault.message) == ("too_large", "it has more bytes than a digest does")
    assert read_digest(store, BUCKET, digest_key(key), fault).fault == fault


def test_a_digest_of_many_log_files_with_the_shortest_names_is_read():
    trail = SignedTrail(bucket="abc")
    hour = trail.hours[MIDDLE]
    for number in range(2_000):
        hour.files[trail.log_key(hour.start, f"{number:016}")] = b"%d" % number
    trail.build()
    found = fetch_digest(MemoryStore(trail), "abc", digest_key(trail.digests[MIDDLE]))
    assert found.fault is None
    assert len(found.digest.files.keys) == 2_000 + 2


@pytest.mark.parametrize(
    ("stamp", "signed", "code"),
    [
        pytest.param("2026-02-03T23:00:00.000Z", True, None, id="when it was made"),
        pytest.param(None, True, "invalid_format", id="nothing"),
        pytest.param("yesterday", True, "invalid_format", id="no time"),
        pytest.param("2025-02-03T23:00:00Z", True, "invalid_format", id="before what it covers"),
        pytest.param(None, False, None, id="nothing, as its metadata are lost"),
    ],
)
def test_a_signed_backfill_digest_says_when_it_was_made(stamp, signed, code):
    trail = SignedTrail()
    trail.hours.append(Hour(trail.hours[MIDDLE].start, backfill=True))
    trail.build()
    (key,) = trail.backfills
    stored = trail.objects[key]
    metadata = {"signature": stored.metadata["signature"]} if signed else {}
    if stamp is not None:
        metadata["backfill-generation-timestamp"] = stamp
    trail.objects[key] = Object(stored.body, metadata)
    found = fetch_digest(MemoryStore(trail), BUCKET, digest_key(key))
    assert (found.fault.code if found.fault is not None else None) == code
    assert (found.generated_at is not None) is (signed and code is None)
