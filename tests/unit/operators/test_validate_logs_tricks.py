"""What an auditor tries, or an account goes through: nothing of it may pass unseen, nothing harmless may fail."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest

from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.validation import run as validation_run
from tests.support.signed_trail import (
    ACCOUNT,
    BEGIN,
    BUCKET,
    FIRST,
    HOUR,
    HOURS,
    LAST,
    REGION,
    WINDOW,
    Hour,
    SignedTrail,
)

MIDDLE = 6
DIGESTS = LAST - FIRST + 1
ORGANIZATION = "AWSLogs/o-exampleorgid/"
MEMBER, DELEGATED = "444455556666", "777788889999"
NEXT = {"delivered_from": WINDOW[1], "delivered_to": WINDOW[1] + 8 * HOUR}


def trail_of(first: int, last: int, **settings) -> SignedTrail:
    """Return a trail with the digests from one number to another, the last one not included."""
    trail = SignedTrail(hours=[Hour(BEGIN + number * HOUR) for number in range(first, last)], **settings)
    for hour in trail.hours:
        trail.add_file(hour, hour.start + HOUR / 3)
    return trail.build()


def at(world, monkeypatch, moment) -> None:
    monkeypatch.setattr(validation_run, "datetime", SimpleNamespace(now=lambda zone: moment))


# -- harmless --------------------------------------------------------------------------------------


def test_a_trail_that_became_one_of_the_organization(world):
    """The same trail goes on in the other layout of the bucket."""
    world.use(*SignedTrail().split(MIDDLE, root=ORGANIZATION))
    world.load()
    summary = world.validate()
    assert (summary["accounts_and_regions"], summary["gaps"], summary["digests_valid"]) == (1, 0, DIGESTS)
    assert summary["files_verified"] == len(SignedTrail().in_window())
    assert world.findings() == {}


def test_the_management_account_with_a_trail_of_its_own_beside_that_of_the_organization(world):
    own = trail_of(0, HOURS)
    members = [trail_of(0, HOURS, account=who, root=ORGANIZATION, trail_name="org") for who in (ACCOUNT, MEMBER)]
    for number, trail in enumerate(members):
        # Log files do not say which trail they are from; their random characters differ.
        for hour in trail.hours:
            hour.files = {key.replace("Q1w2", f"Z{number}w2"): content for key, content in hour.files.items()}
        trail.build()
    world.use(own, *members)
    world.load()
    summary = world.validate()
    assert (summary["accounts_and_regions"], summary["digests_valid"], summary["gaps"]) == (2, 3 * DIGESTS, 0)
    assert summary["files_verified"] == 3 * DIGESTS
    members[0].delete(*members[0].digests)
    own.delete(own.digests[MIDDLE])
    world.use(own, *members)
    text, _ = world.fails()
    assert f"{ACCOUNT} {REGION} (trail org): no digest" in text
    assert f"{ACCOUNT} {REGION} (trail {own.trail_name}): no digest" in text


@pytest.mark.parametrize("organization", ["o-exampleorgid", None])
@pytest.mark.parametrize(
    ("accounts", "seen"), [(None, 3), ([DELEGATED], 1), ([ACCOUNT, DELEGATED], 2)], ids=["all", "delegated", "both"]
)
def test_management_account_delegated_administrator_and_members_are_accounts_like_others(
    world, organization, accounts, seen
):
    world.use(*(trail_of(0, HOURS, account=who, root=ORGANIZATION) for who in (ACCOUNT, DELEGATED, MEMBER)))
    world.load()
    summary = world.validate(organization_id=organization, account_ids=accounts)
    assert (summary["accounts_and_regions"], summary["digests_valid"]) == (seen, seen * DIGESTS)
    assert summary["files_verified"] == seen * DIGESTS


def test_a_member_that_joined_in_the_window(world):
    joined = trail_of(MIDDLE, HOURS, account=MEMBER, root=ORGANIZATION)
    world.use(trail_of(0, HOURS, root=ORGANIZATION), joined)
    world.load()
    summary = world.validate()
    assert summary["gaps"] == 0
    assert [text.partition(" ")[0] for text in summary["began"]] == [MEMBER]


def test_a_window_in_which_a_trail_began_is_validated_again(world):
    """It is no gap that there was nothing before, whatever later windows have found by then."""
    world.use(trail_of(MIDDLE, HOURS + 24))
    world.load(delivered_to=WINDOW[1] + 12 * HOUR)
    first = world.validate()
    assert first["began"] != []
    world.validate(**NEXT)
    again = world.validate(run_id="again")
    assert (again["gaps"], again["began"]) == (0, first["began"])
    assert world.findings() == {}


def test_a_trail_that_later_windows_know_is_not_missed_before_it_began(world):
    world.use(trail_of(0, HOURS, trail_name="older"), trail_of(LAST + 1, HOURS + 24))
    world.load(delivered_to=WINDOW[1] + 12 * HOUR)
    world.fails(**NEXT)
    assert world.validate()["gaps"] == 0


def test_digests_that_end_exactly_where_the_window_does(world):
    trail = SignedTrail(hours=[Hour(WINDOW[0] + number * HOUR) for number in range(-2, 11)])
    for hour in trail.hours:
        # In the first and in the last minute that it covers.
        for minute in (0, 59):
            trail.add_file(hour, hour.start + timedelta(minutes=minute))
    world.use(trail.build())
    world.load()
    summary = world.validate()
    hours = (WINDOW[1] - WINDOW[0]) // HOUR
    assert (summary["digests_valid"], summary["files_verified"], summary["gaps"]) == (hours, 2 * hours, 0)
    assert (summary["files_unlisted"], summary["not_loaded"]) == (0, [])


def test_late_digests_are_waited_for_and_then_clear_what_they_were_missed_for(world, trail, monkeypatch):
    late = trail.digests[LAST - 1 :]
    whole = dict(trail.objects)
    trail.delete(*late)
    world.use(trail)
    world.load()
    at(world, monkeypatch, WINDOW[1] + 3 * HOUR)
    world.fails()
    assert ("gap", "audit_trail 08:05") in world.findings()
    trail.objects = whole
    world.use(trail)
    at(world, monkeypatch, WINDOW[1] + 4 * HOUR)
    world.validate()
    assert world.findings() == {}


# -- not harmless ----------------------------------------------------------------------------------


def test_a_trail_replaced_by_one_of_another_name(world):
    """Every log file is listed, but the old trail may have recorded more than the new one: somebody must look."""
    old, new = trail_of(0, MIDDLE), trail_of(MIDDLE, HOURS, trail_name="renamed")
    world.use(old, new)
    world.load()
    text, summary = world.fails()
    assert (summary["gaps"], summary["files_unlisted"]) == (1, 0)
    assert "(trail audit_trail): no digest from 2026-02-03T02:05:12+00:00" in text
    assert summary["began"][0].startswith(f"{ACCOUNT} {REGION} (trail renamed)")


@pytest.mark.parametrize("what", [{"region": "ap-east-1"}, {"account": MEMBER}], ids=["region", "member"])
def test_a_region_opted_out_and_a_member_removed_are_reported_for_the_look_back(world, trail, what):
    gone = trail_of(0, MIDDLE, **what)
    rest = trail_of(0, HOURS + 24)
    world.use(rest, gone)
    world.load()
    text, summary = world.fails()
    assert (summary["gaps"], summary["files_unlisted"]) == (1, 0)
    assert "(trail audit_trail): no digest from 2026-02-03T02:05:12+00:00" in text
    world.fails(**NEXT)
    assert world.validate(**NEXT, lookback=timedelta(hours=4))["gaps"] == 0


@pytest.mark.parametrize("restarted", [False, True])
def test_digests_of_a_window_in_which_the_trail_began_are_deleted_after_a_validation(world, restarted):
    """Those behind them are still there, and may be the first ones of a trail that was stopped and started."""
    trail = trail_of(MIDDLE, HOURS)
    trail.hours[3].starting = restarted
    world.use(trail.build())
    world.load()
    assert world.validate()["gaps"] == 0
    trail.delete(*trail.digests[: 3 if restarted else LAST - MIDDLE + 1])
    world.use(trail)
    _, summary = world.fails(run_id="again")
    assert summary["gaps"] == 1


def test_digests_and_log_files_of_another_trail_copied_here(world, trail):
    """Validly signed, but delivered to another bucket or for another account."""
    elsewhere = SignedTrail(bucket="other-trail").build()
    trail.objects[trail.digests[MIDDLE]] = elsewhere.objects[elsewhere.digests[MIDDLE]]
    other = SignedTrail(account=MEMBER).build()
    trail.objects[trail.digests[MIDDLE + 2]] = other.objects[other.digests[MIDDLE + 2]]
    world.use(trail)
    world.load()
    _, summary = world.fails()
    assert summary["digests_invalid"] == 2
    assert [text.split(": ")[1] for text in summary["found"]["invalid"]] == ["moved", "moved"]


def test_logging_stopped_for_seconds(world):
    trail = SignedTrail()
    hour = trail.hours[MIDDLE]
    hour.starting = True
    hour.document = {"digestStartTime": f"{hour.start + timedelta(seconds=20):%Y-%m-%dT%H:%M:%SZ}"}
    world.use(trail.build())
    world.load()
    text, summary = world.fails()
    assert summary["gaps"] == 1
    assert "logging or log file validation was off before" in text


def test_a_forged_file_too_young_for_its_own_day_is_found_on_the_next(world, trail, monkeypatch):
    """At the end of a day that has just been proven complete a file without a digest may still get one."""
    forged = trail.log_key(WINDOW[1] - timedelta(minutes=20), "A" * 16)
    longer = trail_of(0, HOURS + 24)
    longer.objects[forged] = longer.objects[longer.logs(MIDDLE)[0]]
    world.use(longer)
    world.load()
    at(world, monkeypatch, WINDOW[1] + timedelta(minutes=70))
    assert world.validate(run_id="first day")["files_unlisted"] == 0

    at(world, monkeypatch, WINDOW[1] + 10 * HOUR)
    world.load(delivered_to=WINDOW[1] + 12 * HOUR)
    for _ in range(2):
        # The same run, tried again: as red as before.
        text, _ = world.fails(**NEXT, run_id="next day")
        assert forged in text
    assert world.findings() == {("unlisted", forged): True}
    # Removed: the same run is green, and says so.
    del world.store.contents[forged]
    at(world, monkeypatch, WINDOW[1] + 11 * HOUR)
    world.validate(**NEXT, run_id="next day")
    assert world.findings() == {}


def test_an_unsigned_digest_outside_of_the_window_vouches_for_nothing(world):
    """It is not reported where it lies, if that was validated before; what it lists within the window must be."""
    longer = trail_of(0, HOURS + 24)
    forger = SignedTrail(hours=[Hour(WINDOW[0] - HOUR - timedelta(minutes=10))])
    forged = forger.add_file(forger.hours[0], WINDOW[0] + 2 * HOUR)
    forger.build().lose_metadata(*forger.digests)
    world.use(longer, forger)
    world.load()
    text, summary = world.fails()
    assert forged in text
    assert (summary["files_unlisted"], summary["digests_invalid"]) == (1, 0)
    assert world.findings() == {("unlisted", forged): True}


def test_what_its_own_day_has_reported_is_not_reported_by_the_next(world, trail, monkeypatch):
    forged = trail.log_key(WINDOW[1] - timedelta(minutes=20), "A" * 16)
    longer = trail_of(0, HOURS + 24)
    longer.objects[forged] = longer.objects[longer.logs(MIDDLE)[0]]
    world.use(longer)
    world.load(delivered_to=WINDOW[1] + 12 * HOUR)
    at(world, monkeypatch, WINDOW[1] + 4 * HOUR)
    world.fails(run_id="first day")
    at(world, monkeypatch, WINDOW[1] + 10 * HOUR)
    world.validate(**NEXT, run_id="next day")
    # It is still there.
    assert world.findings() == {("unlisted", forged): True}


def test_a_late_file_of_an_earlier_day_that_was_never_loaded(world):
    """Listed by a digest within the window, stamped before it: no other window would ask for it."""
    trail = SignedTrail()
    late = trail.add_file(trail.hours[MIDDLE], WINDOW[0] - 2 * HOUR)
    world.use(trail.build())
    hidden = world.store.contents.pop(late)
    world.load()
    world.store.contents[late] = hidden
    assert world.validate()["not_loaded"] == [f"s3://{BUCKET}/{late}"]


def test_a_digest_of_another_region_key(world, trail, monkeypatch):
    """Keys of one Region do not vouch for digests of another."""
    other = SignedTrail(region="us-east-1")
    for hour in other.hours:
        hour.signed_by = 1
    world.use(trail, other.build())
    world.load()
    assert world.validate()["digests_invalid"] == 0
    keys = {REGION: other.public_keys(), "us-east-1": trail.public_keys()}
    monkeypatch.setattr(CloudTrailHook, "list_public_keys", lambda _, region, start, end: keys[region])
    assert world.fails()[1]["digests_invalid"] == 2 * DIGESTS
