from __future__ import annotations

import logging
import re
import threading
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.sensors.cloudtrail import CloudTrailDigestSensor
from airflow_provider_cloudtrail.trail.log_file import TrailLocation
from airflow_provider_cloudtrail.trail.proven_delivery import waiting_for
from airflow_provider_cloudtrail.trail.public_keys import KeyRing
from airflow_provider_cloudtrail.trail.store import ObjectError
from tests.support.signed_trail import ACCOUNT, BUCKET, HOUR, REGION, WINDOW, Hour, MemoryStore, SignedTrail

UNTIL = WINDOW[1]


def covering(trail: SignedTrail) -> int:
    """Return the number of the digest that covers the moment."""
    return next(number for number, hour in enumerate(trail.hours) if hour.start < UNTIL <= hour.end)


def ask(*trails: SignedTrail, until: datetime = UNTIL, **arguments):
    def keys(region, start, end):
        return [key for trail in trails if trail.region == region for key in trail.public_keys()]

    return waiting_for(MemoryStore(*trails), TrailLocation(BUCKET), until, KeyRing(keys, until, until), **arguments)


@pytest.fixture
def trail():
    return SignedTrail().build()


class CountedStore(MemoryStore):
    """A bucket that knows which threads have asked it."""

    def __init__(self, *trails: SignedTrail) -> None:
        super().__init__(*trails)
        self.threads = set()

    def objects(self, prefix, start_after="", **arguments):
        self.threads.add(threading.current_thread())
        return super().objects(prefix, start_after, **arguments)


@pytest.mark.parametrize("ahead", [True, False])
def test_many_accounts_and_regions_are_asked_ahead_and_named_in_their_order(ahead):
    trails = [
        SignedTrail(f"{number:012d}", region).build() for number in range(12) for region in ("eu-west-1", "us-east-1")
    ]
    for late in trails[::3]:
        late.delete(*late.digests[covering(late) :])
    store, asked = CountedStore(*trails), []

    def keys(region, start, end):
        asked.append((region, threading.current_thread()))
        return trails[0].public_keys()

    ring = KeyRing(keys, UNTIL, UNTIL)
    waiting = waiting_for(store, TrailLocation(trails[0].bucket), UNTIL, ring, ahead=ahead)
    named = [tuple(reason.split()[:2]) for reason in waiting]
    assert named == [(late.account, late.region) for late in trails[::3]]
    # One listing of the digests of each, two digests of those that are there, the keys of each Region once.
    assert len(store.listings) == len(trails)
    assert len(store.gets) == 2 * (len(trails) - len(trails[::3]))
    assert asked == [("us-east-1", threading.current_thread()), ("eu-west-1", threading.current_thread())]
    # How many threads there are is up to the scheduler: one that has done its work does the next.
    assert (store.threads != {threading.current_thread()}) == ahead


def test_a_digest_is_valid_behind_an_access_point_too(trail):
    ring = KeyRing(lambda *_: trail.public_keys(), UNTIL, UNTIL)
    assert waiting_for(MemoryStore(trail), TrailLocation("audit-q1w2e3r4t5-s3alias"), UNTIL, ring) == []


def test_a_valid_digest_proves_delivery(trail):
    assert ask(trail) == []


@pytest.mark.parametrize(("behind", "waits"), [(0, False), (1, True), (59, True)])
def test_a_digest_that_ends_seconds_before_the_moment_does_not_cover_it(trail, behind, waits):
    """A log file of these seconds may still come: the next digest lists it."""
    number = covering(trail)
    trail.delete(*trail.digests[number:])
    until = trail.hours[number - 1].end + timedelta(seconds=behind)
    assert bool(ask(trail, until=until)) is waits


@pytest.mark.parametrize(
    ("behind", "waits"),
    [
        pytest.param(0, False, id="at the moment"),
        pytest.param(60, False, id="within what is no gap"),
        pytest.param(61, True, id="later"),
    ],
)
def test_a_digest_that_begins_seconds_behind_the_moment_covers_it(behind, waits):
    trail = SignedTrail(hours=[Hour(UNTIL - HOUR - timedelta(seconds=1)), Hour(UNTIL + timedelta(seconds=behind))])
    assert bool(ask(trail.build())) is waits


def test_an_unsigned_digest_is_not_proven_by_the_one_before(trail):
    """Whoever may write to the bucket would have the sensor go on before delivery is complete."""
    number = covering(trail)
    trail.hours[number].document["digestStartTime"] = (UNTIL + timedelta(minutes=1)).isoformat()
    trail.build()
    trail.delete(*trail.digests[number + 1 :])
    trail.lose_metadata(trail.digests[number])
    (reason,) = ask(trail)
    assert "no later digest repeats it" in reason


def test_digests_that_are_deleted_behind_the_listing_prove_nothing(trail, monkeypatch):
    def gone(_, key, *__):
        raise ObjectError("not_found", f"{key}: made up")

    monkeypatch.setattr(MemoryStore, "get", gone)
    (reason,) = ask(trail)
    assert f"{trail.digests[covering(trail)]} has just been deleted" in reason


def test_what_begins_behind_the_moment_is_not_waited_for(trail):
    """An account that joined the organization the morning after has no digest of the day, and never will."""
    joined = SignedTrail("444455556666")
    joined.hours = [hour for hour in joined.hours if hour.start > UNTIL]
    joined.hours[0].starting = True
    joined.build()
    assert ask(trail, joined) == []
    # By name it is.
    named = ask(trail, joined, account_ids=[ACCOUNT, "444455556666"])
    assert named[0] == "444455556666: no digest yet"
    assert "covers only what is later" in named[1]


def test_a_chain_that_begins_again_behind_the_moment_is_waited_for(trail):
    """Logging was stopped, or the digests between were deleted: that is not known."""
    again = SignedTrail("444455556666")
    again.hours = [hour for hour in again.hours if hour.end <= UNTIL - HOUR or hour.start > UNTIL]
    next(hour for hour in again.hours if hour.start > UNTIL).starting = True
    (reason,) = ask(trail, again.build())
    assert "444455556666" in reason
    assert "covers only what is later" in reason


def test_a_chain_that_was_silent_and_goes_on_behind_the_moment_is_waited_for(trail):
    """Its digest names one before: it has not begun there."""
    silent = SignedTrail("444455556666")
    silent.hours = [hour for hour in silent.hours if hour.end <= UNTIL - 5 * HOUR or hour.start > UNTIL]
    (reason,) = ask(trail, silent.build(), seen_within=3 * HOUR)
    assert "444455556666" in reason
    assert "covers only what is later" in reason


def test_backfill_digests_are_not_waited_for(trail):
    """They are made once, of a time without logging, and nothing says when."""
    trail.hours.append(Hour(UNTIL - 5 * HOUR, backfill=True))
    assert ask(trail.build()) == []
    assert len(trail.backfills) == 1


def test_waits_for_the_digest_that_covers_the_moment(trail):
    trail.delete(*trail.digests[covering(trail) :])
    (reason,) = ask(trail)
    assert reason.startswith(f"{ACCOUNT} {REGION} (trail audit_trail): the newest digest ends at 2026-02-03T")


def test_an_invalid_digest_proves_nothing(trail):
    trail.flip(trail.digests[covering(trail)])
    (reason,) = ask(trail)
    assert "is not valid (wrong_signature" in reason


def test_a_digest_behind_a_hole_proves_nothing(trail):
    number = covering(trail)
    trail.delete(trail.digests[number])
    (reason,) = ask(trail)
    assert "is not valid (not_found" in reason


def test_the_next_digest_vouches_for_a_copy_without_metadata(trail):
    trail.lose_metadata(trail.digests[covering(trail)])
    assert ask(trail) == []


def test_every_account_and_region_seen_is_waited_for(trail):
    other = SignedTrail(region="us-east-1").build()
    assert ask(trail, other) == []
    other.delete(*other.digests[covering(other) :])
    (reason,) = ask(trail, other)
    assert reason.startswith(f"{ACCOUNT} us-east-1")
    assert ask(trail, other, regions=[REGION]) == []


def test_what_has_been_silent_for_longer_is_not_waited_for(trail):
    other = SignedTrail(region="us-east-1").build()
    other.delete(*other.digests[5:])
    assert len(ask(trail, other)) == 1
    assert ask(trail, other, seen_within=timedelta(hours=3)) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        pytest.param({"account_ids": [ACCOUNT, "444455556666"]}, "444455556666: no digest yet", id="account"),
        pytest.param({"regions": [REGION, "us-east-1"]}, "us-east-1: no digest yet", id="region"),
        pytest.param(
            {"account_ids": [ACCOUNT], "regions": [REGION, "us-east-1"]},
            f"{ACCOUNT} us-east-1: no digest yet",
            id="both",
        ),
    ],
)
def test_what_was_asked_for_by_name_is_waited_for(trail, arguments, reason):
    assert ask(trail, **arguments) == [reason]


def test_no_digest_at_all(trail):
    trail.delete(*trail.digests)
    (said,) = ask(trail)
    assert re.match(r"no digest at all below \S*AWSLogs/ in \S+: is log file validation on", said)
    assert said.endswith("and is that where it delivers to?")


@pytest.fixture
def sensor(trail, monkeypatch):
    monkeypatch.setattr(CloudTrailHook, "get_store", lambda *_: MemoryStore(trail))
    monkeypatch.setattr(CloudTrailHook, "list_public_keys", lambda *_: trail.public_keys())
    return lambda **arguments: CloudTrailDigestSensor(task_id="wait", bucket=BUCKET, **arguments)


def test_sensor(trail, sensor, caplog, capsys):
    assert sensor(until=UNTIL).poke({})
    trail.delete(*trail.digests[covering(trail) :])
    task = sensor(until=UNTIL.isoformat())
    if isinstance(task.log, logging.Logger):  # Airflow 2; Airflow 3 logs to the standard output
        task.log.propagate = True
    with caplog.at_level(logging.INFO):
        assert not task.poke({})
    assert f"{ACCOUNT} {REGION}" in caplog.text + capsys.readouterr().out


def test_before_the_moment_no_request_is_made(sensor, monkeypatch):
    def refused(*_):
        raise AssertionError("no request is needed")

    monkeypatch.setattr(CloudTrailHook, "get_store", refused)
    assert not sensor(until=datetime.now(timezone.utc) + HOUR).poke({})


def test_wrong_parameters(sensor):
    with pytest.raises(ValueError, match=r"until is not set.*00Z$"):
        sensor(until="None").poke({})
    with pytest.raises(ValueError, match="'eu-west1' is no Region"):
        sensor(until="2026-02-03T00:00:00Z", regions="eu-west1").poke({})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        pytest.param(7, "seen_within=7 is no duration; write a timedelta", id="number"),
        pytest.param(-HOUR, "seen_within=.* zero or more", id="negative"),
        pytest.param(timedelta.max, "seen_within=.* is longer than 100 years", id="for-ever"),
    ],
)
def test_what_is_no_duration_is_named(sensor, value, message):
    with pytest.raises(ValueError, match=message):
        sensor(until=UNTIL, seen_within=value).poke({})
    with pytest.raises(ValueError, match=message):
        sensor(until=UNTIL, seen_within=value).trigger(UNTIL)


@pytest.mark.parametrize("until", ["0001-01-01", "0050-01-01", "9999-12-31"])
def test_a_moment_that_nobody_can_look_around_at_is_named(sensor, until):
    with pytest.raises(ValueError, match=rf"until={until}T.* leaves the years 2 to 9998; write a time nearer to now"):
        sensor(until=until, seen_within=timedelta(days=36_000)).poke({})


def test_template_fields_are_attributes(sensor):
    task = sensor()
    assert all(hasattr(task, name) for name in task.template_fields)


def test_a_chain_that_starts_behind_the_moment_proves_nothing():
    trail = SignedTrail()
    trail.hours = [hour for hour in trail.hours if hour.start > UNTIL]
    trail.hours[0].starting = True
    (reason,) = ask(trail.build())
    assert "covers only what is later" in reason
