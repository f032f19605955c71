from __future__ import annotations

import gzip
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest

from airflow_provider_cloudtrail.trail import delivered
from airflow_provider_cloudtrail.validation import digest_batches
from airflow_provider_cloudtrail.validation import place as validation_place
from airflow_provider_cloudtrail.validation import unlisted as validation_unlisted
from tests.support.signed_trail import ACCOUNT, BUCKET, FIRST, HOUR, LAST, REGION, WINDOW, MemoryStore, SignedTrail

MIDDLE = 6
COLUMNS = "first_seen_at, last_seen_at, resolved_at, resolved_by"


def history(world) -> list[tuple]:
    """Return what became of the findings: identity, first and last seen, when resolved and by whom."""
    return world.hook.rows(f"SELECT finding_id, {COLUMNS} FROM mwaa_audit_events_findings ORDER BY finding_id")


def restored(world, trail) -> None:
    world.use(trail.build())


def damage_all(trail: SignedTrail) -> dict[tuple[str, str], bool]:
    """Do one damage of each kind, and return the findings that must come of it."""
    altered, deleted = trail.logs(FIRST + 1)[0], trail.logs(LAST - 1)[1]
    invalid, gone = trail.digests[MIDDLE - 1], trail.digests[MIDDLE + 2]
    forged = trail.log_key(trail.hours[MIDDLE].start + HOUR / 3, "A" * 16)
    trail.objects[forged] = trail.objects[trail.logs(MIDDLE)[0]]
    trail.replace(altered, gzip.compress(b'{"Records":[{}]}'))
    trail.sign(invalid, "00" * 256)
    trail.delete(deleted, gone, *trail.digests[LAST:])
    wanted = [("altered", altered), ("deleted", deleted), ("invalid", invalid), ("unlisted", forged)]
    # What was listed by digests that are gone now, and lies in the window.
    wanted += [("unlisted", key) for key in (*trail.logs(MIDDLE + 2), *trail.logs(LAST))]
    wanted += [("missing", gone), ("gap", "audit_trail 04:05"), ("gap", "audit_trail 09:05")]
    return dict.fromkeys(wanted, True)


def test_every_finding_is_a_row(world, trail):
    world.load()
    expected = damage_all(trail)
    world.use(trail)
    world.fails()
    assert world.findings() == expected


def test_nothing_wrong_is_no_row(world, trail):
    world.load()
    world.validate()
    assert world.findings() == {}


def test_the_same_finding_is_one_row_and_keeps_its_first_time(world, trail):
    world.load()
    damage_all(trail)
    world.use(trail)
    world.fails()
    first = history(world)
    world.fails()
    again = history(world)
    assert [row[:2] for row in again] == [row[:2] for row in first]
    assert all(new[2] > old[2] for new, old in zip(again, first, strict=True))
    assert {row[3] for row in again} == {None}


def test_what_is_mended_is_resolved_and_stays_as_evidence(world, trail):
    world.load()
    damage_all(trail)
    world.use(trail)
    world.fails()
    open_before = len(world.findings())
    restored(world, trail)
    world.validate()
    assert world.findings() == {}
    assert [row[4] for row in history(world)] == ["d.t r"] * open_before

    trail.delete(trail.logs(MIDDLE)[0])
    world.use(trail)
    world.fails()
    restored(world, trail)
    world.validate()
    trail.delete(trail.logs(MIDDLE)[0])
    world.use(trail)
    world.fails()
    # It is back: the same row, open again.
    assert world.findings() == {("deleted", trail.logs(MIDDLE)[0]): True}
    assert len(history(world)) == open_before + 1


def test_only_what_was_looked_at_is_resolved(world, trail):
    other = SignedTrail(account="444455556666").build()
    world.use(trail, other)
    world.load()
    trail.delete(trail.logs(MIDDLE)[0])
    other.delete(other.logs(MIDDLE)[0])
    both = {("deleted", trail.logs(MIDDLE)[0]): True, ("deleted", other.logs(MIDDLE)[0]): True}
    world.use(trail, other)
    world.fails()
    assert world.findings() == both

    world.use(trail.build(), other.build())
    tomorrow = {"delivered_from": WINDOW[1], "delivered_to": WINDOW[1] + HOUR}
    world.validate(**tomorrow)
    assert world.findings() == both
    world.validate(account_ids=other.account)
    assert world.findings() == {("deleted", trail.logs(MIDDLE)[0]): True}
    world.validate(regions=REGION)
    assert world.findings() == {}


def test_trails_of_other_buckets_in_the_same_table_are_left_alone(world, trail):
    world.load()
    trail.delete(trail.logs(MIDDLE)[0])
    world.use(trail)
    world.fails()
    before = world.findings()

    other = SignedTrail(account="444455556666", bucket="other-trail").build()
    world.use(other)
    world.load(bucket=other.bucket)
    # Nor is the chain of the first bucket missed in the second one.
    assert world.validate(bucket=other.bucket)["gaps"] == 0
    assert world.findings() == before


def test_a_gap_that_shrinks_is_one_row(world, trail, monkeypatch):
    """Digests that come late, one after the other."""
    world.load()
    late = trail.digests[MIDDLE:]
    trail.delete(*late)
    world.use(trail)
    world.fails(fail_on="gap")
    ((end,),) = world.hook.rows("SELECT covered_to FROM mwaa_audit_events_findings WHERE kind = 'gap'")
    assert datetime.fromisoformat(end) == WINDOW[1]
    whole = SignedTrail().build()

    trail.objects |= {key: whole.objects[key] for key in late[2:]}
    world.use(trail)
    world.fails(fail_on="gap")
    rows = world.hook.rows("SELECT covered_from, resolved_at FROM mwaa_audit_events_findings WHERE kind = 'gap'")
    assert rows == [(trail.hours[MIDDLE].start.isoformat(timespec="microseconds"), None)]

    world.use(whole)
    world.validate()
    assert world.findings() == {}


def test_a_window_that_begins_within_a_gap_resolves_nothing(world, trail):
    world.load()
    trail.delete(*trail.digests[MIDDLE : MIDDLE + 4])
    world.use(trail)
    world.fails(fail_on="gap")
    world.fails(fail_on="gap", delivered_from=trail.hours[MIDDLE + 2].start)
    rows = world.hook.rows("SELECT resolved_at FROM mwaa_audit_events_findings WHERE kind = 'gap'")
    assert rows == [(None,), (None,)]
    restored(world, trail)
    world.validate()
    assert world.findings() == {}


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"account_ids": [ACCOUNT, "444455556666"]}, "444455556666"),
        ({"regions": [REGION, "us-east-1"]}, "us-east-1"),
        ({"account_ids": [ACCOUNT], "regions": [REGION, "us-east-1"]}, f"{ACCOUNT} us-east-1"),
    ],
    ids=["account", "region", "both"],
)
def test_that_there_is_no_digest_is_resolved_by_a_digest_only(world, trail, arguments, what):
    world.load()
    world.fails(**arguments)
    (((kind, _), fails),) = world.findings().items()
    assert (kind, fails) == ("gap", True)
    world.validate()
    assert len(world.findings()) == 1

    account = "444455556666" if "444455556666" in what else ACCOUNT
    region = "us-east-1" if "us-east-1" in what else REGION
    world.use(trail, SignedTrail(account, region).build())
    world.load()
    world.validate()
    assert world.findings() == {}


def test_an_empty_bucket_is_a_finding_that_always_fails(world, trail):
    world.store = MemoryStore()
    world.fails(fail_on=[])
    assert world.findings() == {("gap", "AWSLogs/"): True}
    world.use(trail)
    world.load()
    world.validate()
    assert world.findings() == {}


def test_what_was_never_loaded_is_a_finding_until_it_is_loaded(world, trail):
    summary = world.validate()
    keys = [uri.removeprefix(f"s3://{BUCKET}/") for uri in summary["not_loaded"]]
    assert world.findings() == {("not_loaded", key): False for key in keys}
    messages = dict(world.hook.rows("SELECT object_uri, message FROM mwaa_audit_events_findings"))
    listed_by = f"listed by s3://{BUCKET}/{trail.digests[MIDDLE]}, but never loaded"
    assert [messages[f"s3://{BUCKET}/{key}"] for key in trail.logs(MIDDLE)] == [listed_by] * 2
    world.load(files=summary["not_loaded"])
    world.validate()
    assert world.findings() == {}


def test_whether_a_finding_fails_is_what_the_last_run_said(world, trail):
    trail.delete(trail.logs(MIDDLE)[0])
    world.use(trail)
    world.load()
    for fail_on, fails in (["altered"], False), (["deleted"], True):
        (world.fails if fails else world.validate)(fail_on=fail_on)
        assert world.findings() == {("deleted", trail.logs(MIDDLE)[0]): fails}


def test_of_many_unlisted_files_the_number_is_kept(world, trail, monkeypatch):
    monkeypatch.setattr(delivered, "MOST_UNLISTED", 3)
    monkeypatch.setattr(digest_batches, "_BATCH_FILES", 2)
    monkeypatch.setattr(validation_unlisted, "_PORTION", 2)
    forged = [trail.log_key(WINDOW[0] + timedelta(minutes=10 * number), "A" * 16) for number in range(8)]
    # Outside of the window, but near it: not its business.
    forged += [trail.log_key(WINDOW[0] - timedelta(hours=2, minutes=30), "A" * 16)]
    for key in forged:
        trail.objects[key] = trail.objects[trail.logs(MIDDLE)[0]]
    world.use(trail)
    _, summary = world.fails()
    rows = world.hook.rows("SELECT objects, object_uri IS NULL FROM mwaa_audit_events_findings WHERE kind = 'unlisted'")
    # One of the three whose names were kept lies before the window.
    assert sorted(rows) == [(1, 0), (1, 0), (6, 1)]
    assert summary["files_unlisted"] == sum(objects for objects, _ in rows) == 8


def test_nothing_is_resolved_by_a_run_that_did_not_get_through(world, trail, monkeypatch):
    world.load()
    trail.delete(trail.logs(MIDDLE)[0])
    world.use(trail)
    world.fails()
    before = world.findings()
    restored(world, trail)
    monkeypatch.setattr(validation_place, "Coverage", SimpleNamespace)
    with pytest.raises(TypeError):
        world.validate()
    assert world.findings() == before
