"""Trails that are damaged at random, in one way or several, held against an oracle that judges them on its own."""

from __future__ import annotations

import copy
import gzip
import os
import random
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import pytest

from airflow_provider_cloudtrail.exceptions import CloudTrailIntegrityError
from airflow_provider_cloudtrail.trail.public_keys import PublicKey
from tests.support.damages import BUILDS, DAMAGES
from tests.support.digest_oracle import Expected, Oracle
from tests.support.signed_trail import BUCKET, HOUR, WINDOW, SignedTrail, sha256, signing_key

CASES = int(os.environ.get("CLOUDTRAIL_DAMAGED_TRAILS", "24"))
"""More of them, for instance 3000, for those who change the validation."""
SETTLE = timedelta(hours=2)
WAYS = ("loaded", "loaded after a validation", "loaded", "downloaded", "damaged before it was loaded")


@cache
def _whole() -> SignedTrail:
    return SignedTrail().build()


def _built(chance: random.Random) -> SignedTrail:
    builds = chance.choices(BUILDS, k=chance.choice((0, 0, 1, 2)))
    if not builds:
        return copy.deepcopy(_whole())
    trail = SignedTrail()
    for build in builds:
        build(trail, chance)
    return trail.build()


def _borders(chance: random.Random) -> tuple[datetime, datetime]:
    start, end = WINDOW
    of_digests = timedelta(minutes=5, seconds=12)
    return (
        start + chance.choice((timedelta(0), timedelta(0), of_digests, timedelta(minutes=30), -HOUR)),
        end + chance.choice((timedelta(0), timedelta(0), of_digests, timedelta(seconds=1), HOUR)),
    )


def _summary(world, **arguments: Any) -> dict[str, Any]:
    try:
        found = world.validate(**arguments)
    except CloudTrailIntegrityError:
        found = world.pushed["summary"]
    return {name: value for name, value in found.items() if name not in ("seconds", "files_downloaded")}


def _said(summary: dict[str, Any]) -> dict[str, set[str]]:
    start = f"s3://{BUCKET}/"
    return {
        kind: {text.partition(": ")[0].removeprefix(start) for text in texts}
        for kind, texts in summary["found"].items()
        if kind != "gap"
    }


def _open(world) -> dict[str, set[str]]:
    """Return the findings of the table that are not resolved, gaps left out."""
    kinds: dict[str, set[str]] = {}
    for kind, what in world.findings():
        if kind not in ("gap", "not_loaded"):
            kinds.setdefault(kind, set()).add(what)
    return kinds


def _statuses(expected: Expected, keys: dict[str, str], floor: datetime) -> dict[str, str]:
    """Return what the ledger must say of log files; those that nothing is said of are left out."""
    statuses = dict.fromkeys(expected.unlisted, "unlisted")
    # What an invalid digest lists is looked for only where files of the window lie.
    statuses |= {key: "digest_invalid" for key in expected.doubted if key.split("_")[3] >= f"{floor:%Y%m%dT%H%MZ}"}
    for status in ("verified", "deleted", "altered"):
        statuses |= dict.fromkeys(getattr(expected, status), status)
    return {key: status for key, status in statuses.items() if key in keys}


@pytest.mark.parametrize("number", range(CASES))
def test_what_is_reported_is_what_was_done(world, number):
    chance = random.Random(number)
    whole = _built(chance)
    # The Region knows two keys, and not a third one.
    ring = [PublicKey(key.fingerprint, key.public_key) for key in map(signing_key, (0, 1))]
    world.public_keys = lambda *_: ring
    damaged = copy.deepcopy(whole)
    for damage in chance.choices(DAMAGES, k=chance.randint(0, 3)):
        damage(damaged, chance)
    start, end = _borders(chance)
    way = chance.choice(WAYS)
    seen, is_loaded = way == "loaded after a validation", way.startswith("loaded")
    arguments = {"delivered_from": start, "delivered_to": end, "download_missing": way == "downloaded"}

    def expected_of(trail: SignedTrail, *, chains_before: bool) -> Expected:
        oracle = Oracle(BUCKET, trail.objects, ring, loaded)
        return oracle.expected(start, end, settle=SETTLE, chains_before=chains_before)

    def said_of(keys: dict[str, str]) -> dict[str, str]:
        return {key: status for key, status in world.statuses().items() if key in keys}

    world.use(whole)
    loaded: dict[str, str] = {}
    if is_loaded:
        world.load()
        loaded = {
            key: sha256(gzip.decompress(whole.objects[key].body)) for key in whole.objects if "/CloudTrail/" in key
        }
    if seen:
        before, expected = _summary(world, **arguments), expected_of(whole, chains_before=False)
        assert (_said(before), before["gaps"]) == (expected.kinds(), expected.gaps)
    world.use(damaged)
    if way.startswith("damaged"):
        world.load(fail_on_quarantine=False)

    summary = _summary(world, **arguments)

    expected = expected_of(damaged, chains_before=seen)
    assert (_said(summary), summary["gaps"]) == (expected.kinds(), expected.gaps)
    assert _open(world) == expected.kinds()
    statuses = _statuses(expected, loaded, start - timedelta(hours=3))
    assert said_of(statuses) == statuses
    # Looked at once more: the same.
    findings = world.findings()
    assert _summary(world, **arguments) == summary
    assert (world.findings(), said_of(statuses)) == (findings, statuses)
    if is_loaded:
        # Put right again.
        world.use(whole)
        _summary(world, run_id="put right", **arguments)
        expected = expected_of(whole, chains_before=True)
        assert _open(world) == expected.kinds()
        statuses = _statuses(expected, loaded, start - timedelta(hours=3))
        assert said_of(statuses) == statuses
