"""Chains of digests as the window of a trail sees them, verified."""

from __future__ import annotations

import pytest

from airflow_provider_cloudtrail.trail.digest import digest_key
from airflow_provider_cloudtrail.trail.digest_chain import ChainVerifier, CheckedDigest, Coverage
from airflow_provider_cloudtrail.trail.digest_reader import fetch_digest
from airflow_provider_cloudtrail.trail.public_keys import KeyRing, PublicKey
from tests.support.signed_trail import (
    BUCKET,
    HOUR,
    WINDOW,
    MemoryStore,
    SignedTrail,
)


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
