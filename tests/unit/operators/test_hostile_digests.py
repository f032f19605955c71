"""Digests that nobody has signed, by who may write to the bucket: each is reported, and nothing else suffers."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from tests.support.signed_trail import ACCOUNT, BUCKET, FIRST, LAST, REGION, Object, SignedTrail

MIDDLE = 6
HALF = "\ud800"


def listed(key: str, bucket: str = BUCKET, sha256: str = "aa") -> dict[str, str]:
    return {"s3Bucket": bucket, "s3Object": key, "hashValue": sha256, "hashAlgorithm": "SHA-256"}


def stamped(key: str, stamp: str) -> str:
    return f"{key[: key.rindex('_') + 1]}{stamp}.json.gz"


KEY = SignedTrail().digest_key(SignedTrail().hours[MIDDLE])
LOG = SignedTrail().logs(MIDDLE)[0]
MEMBERS: dict[str, dict[str, Any]] = {
    "half a surrogate pair as signature": {"previousDigestSignature": HALF},
    "half a surrogate pair in a time": {"digestEndTime": f"2026-02-03{HALF}03:05:12Z"},
    "half a surrogate pair as key": {"digestS3Object": HALF},
    "NUL in the bucket": {"digestS3Bucket": "a\0b"},
    "half a surrogate pair as fingerprint": {"digestPublicKeyFingerprint": HALF},
    "NUL in the fingerprint": {"digestPublicKeyFingerprint": "a\0"},
    "a fingerprint of megabytes": {"digestPublicKeyFingerprint": "a" * 5_000_000},
    "half a surrogate pair as key before": {"previousDigestS3Object": HALF},
    "half a surrogate pair as bucket before": {"previousDigestS3Bucket": HALF},
    "year 1 before": {"previousDigestS3Object": stamped(KEY, "00010101T000000Z")},
    "year 9999 before": {"previousDigestS3Object": stamped(KEY, "99991231T235959Z")},
    "a key before longer than S3 takes": {
        "previousDigestS3Object": f"{'p' * 1_100}/{stamped(KEY, '20260203T010512Z')}"
    },
    "begins in year 1": {"digestStartTime": "0001-01-01T00:00:00+23:00"},
    "ends in year 9999": {"digestEndTime": "9999-12-31T23:59:59-23:00"},
    "lists half a surrogate pair": {"logFiles": [listed(HALF)]},
    "lists another bucket": {"logFiles": [listed(LOG, "other-trail")]},
    "lists what lies elsewhere": {"logFiles": [listed("../../../etc/passwd"), listed("/etc/passwd"), listed("secret")]},
    "lists everything": {"logFiles": [listed("")]},
    "lists one file often": {"logFiles": [listed(LOG)] * 50},
    "lists files of other days": {
        "logFiles": [listed(LOG.replace("2026/02/03", "2026/01/01").replace("20260203T", "20260101T"))] * 50
    },
    "lists no list": {"logFiles": "abc"},
    "lists numbers": {"logFiles": [[1]]},
    "no list": {"logFiles": None},
}
DOCUMENTS: dict[str, bytes] = {
    "nested too deeply": b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a number of 100,000 digits": b'{"x":' + b"9" * 100_000 + b"}",
    "no number": b'{"x":NaN}',
    "not UTF-8": b"\xff\xfe{}",
    "a list": b"[]",
    "nothing": b"null",
    "no byte": b"",
}
METADATA: dict[str, dict[str, str]] = {
    "none": {},
    "a backfill of year 9999": {"signature": "aa", "backfill-generation-timestamp": "9999-12-31T23:30:00Z"},
    "a backfill of year 1": {"signature": "aa", "backfill-generation-timestamp": "0001-01-01T00:30:00Z"},
    "digits of another script": {"signature": "\u0661\u0661"},
    "an empty signature": {"signature": ""},
}


def forge(trail: SignedTrail, case: str) -> None:
    stored = trail.objects[trail.digests[MIDDLE]]
    document = json.loads(gzip.decompress(stored.body)) | MEMBERS.get(case, {"digestPublicKeyFingerprint": "ff"})
    content = DOCUMENTS.get(case, json.dumps(document).encode())
    trail.objects[trail.digests[MIDDLE]] = Object(gzip.compress(content), METADATA.get(case, stored.metadata))


@pytest.mark.parametrize(
    ("case", "signature"),
    [*((case, True) for case in [*MEMBERS, *DOCUMENTS, *METADATA]), *((case, False) for case in MEMBERS)],
)
def test_is_invalid_and_all_others_are_verified(world, trail, monkeypatch, case, signature):
    world.load()
    forge(trail, case)
    if not signature:
        trail.lose_metadata(trail.digests[MIDDLE])
    world.use(trail)
    bucket, asked = world.store, set()
    monkeypatch.setattr(CloudTrailHook, "get_store", lambda _, name: (asked.add(name), bucket)[1])
    for _ in range(2):
        text, summary = world.fails()
        assert len(text) < 10_000
    invalid = {line.split(": ")[0].removeprefix(f"s3://{BUCKET}/") for line in summary["found"]["invalid"]}
    assert invalid == {trail.digests[MIDDLE]}
    assert (summary["digests_valid"], summary["gaps"]) == (LAST - FIRST, 0)
    assert summary["files_verified"] == len(trail.in_window()) - len(trail.logs(MIDDLE))
    assert world.digests()[trail.digests[MIDDLE]][0] == "invalid"
    # Nothing outside of what a validation of this trail has to do with.
    assert asked == {BUCKET}
    assert {key.split("/CloudTrail")[0] for key in bucket.gets} == {f"AWSLogs/{ACCOUNT}"}
    folders = [f"AWSLogs/{ACCOUNT}/{kind}/{REGION}/" for kind in ("CloudTrail-Digest", "CloudTrail")]
    assert bucket.listings == folders * 2
