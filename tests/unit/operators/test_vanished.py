"""A log file that was forged, loaded and taken away again: its rows are in the table, so it is not forgotten."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace

import pytest

from airflow_provider_cloudtrail.trail import delivered
from airflow_provider_cloudtrail.trail.log_file import log_file
from airflow_provider_cloudtrail.validation import run as validation_run
from airflow_provider_cloudtrail.validation import vanished as validation_vanished
from tests.support.signed_trail import BUCKET, HOUR, WINDOW, Hour, SignedTrail

MIDDLE = 6
NEXT = {"delivered_from": WINDOW[1], "delivered_to": WINDOW[1] + 8 * HOUR}
LEDGER = "mwaa_audit_events_files"


def forge(trail: SignedTrail, moment, unique: str = "A" * 16) -> str:
    """Put a log file with an event of its own into a bucket; return its key."""
    forger = SignedTrail(hours=[Hour(moment)])
    (name,) = [forger.add_file(forger.hours[0], moment)]
    key = name.replace("Q1w2E3r4T5y6U7i8", unique)
    forger.hours[0].files = {
        key: forger.hours[0].files[name].replace(b'"eventID": "', f'"eventID": "forged-{unique}'.encode())
    }
    trail.objects[key] = forger.build().objects[key]
    return key


def at(monkeypatch: pytest.MonkeyPatch, moment) -> None:
    monkeypatch.setattr(validation_run, "datetime", SimpleNamespace(now=lambda zone: moment))


def change(world, statement: str) -> None:
    with closing(world.hook.get_conn()) as connection, connection:
        connection.execute(statement)


def take_away(world, key: str) -> None:
    del world.store.contents[key]


def test_it_is_found_until_the_ledger_forgets_it(world, trail):
    forged = forge(trail, trail.hours[MIDDLE].start + HOUR / 4)
    world.use(trail)
    world.load()
    take_away(world, forged)
    for run_id in ("first", "again"):
        text, summary = world.fails(run_id=run_id)
        assert f"{forged}: its rows are in the table, but no digest lists it" in text
        assert summary["files_unlisted"] == 1
        assert world.findings() == {("unlisted", forged): True}
    assert world.statuses()[forged] == "unlisted"

    change(world, f"DELETE FROM {LEDGER} WHERE log_file_uri = 's3://{BUCKET}/{forged}'")
    assert world.validate()["files_unlisted"] == 0
    assert world.findings() == {}


@pytest.mark.parametrize(
    ("page", "most"),
    [pytest.param(1, 40, id="each"), pytest.param(7, 12, id="seven"), pytest.param(1_000, 1, id="all")],
)
def test_many_are_looked_for_together(world, trail, monkeypatch, page, most):
    monkeypatch.setattr(delivered, "MOST_UNLISTED", 0)
    monkeypatch.setattr(validation_vanished, "_PAGE", page)
    moments = [trail.hours[MIDDLE + number].start + HOUR / 4 for number in range(2)]
    forged = [forge(trail, moment, f"{number:016}") for moment in moments for number in range(20)]
    world.use(trail)
    world.load()
    gone = {forged[0], *forged[3:33:5], *forged[36:]}
    for key in gone:
        take_away(world, key)
    asked = len(world.store.listings)
    world.fails()
    assert {key for kind, key in world.findings() if key in forged} == gone
    folder = f"{forged[0].rpartition('/')[0]}/"
    assert 0 < world.store.listings[asked:].count(folder) <= most


def test_taking_it_away_does_not_resolve_what_was_found(world, trail):
    forged = forge(trail, trail.hours[MIDDLE].start + HOUR / 4)
    world.use(trail)
    world.load()
    assert world.fails()[1]["files_unlisted"] == 1
    take_away(world, forged)
    assert world.fails(run_id="again")[1]["files_unlisted"] == 1
    assert world.findings() == {("unlisted", forged): True}


def test_one_that_gave_no_row_is_resolved(world, trail):
    forged = trail.log_key(trail.hours[MIDDLE].start + HOUR / 4, "Z" * 16)
    trail.objects[forged] = trail.objects[trail.logs(MIDDLE)[0]]
    world.use(trail)
    world.load()
    world.fails()
    take_away(world, forged)
    assert world.validate(run_id="again")["files_unlisted"] == 0
    assert world.findings() == {}


def test_accounts_and_regions_that_were_not_asked_for_are_left_alone(world, trail):
    forged = forge(trail, trail.hours[MIDDLE].start + HOUR / 4)
    other = SignedTrail(region="us-east-1").build()
    world.use(trail, other)
    world.load()
    take_away(world, forged)
    assert world.validate(regions="us-east-1")["files_unlisted"] == 0
    assert world.fails(regions=trail.region)[1]["files_unlisted"] == 1


@pytest.mark.parametrize("reported", [True, False])
def test_at_the_end_of_a_day_it_is_found_on_one_of_two(world, monkeypatch, reported):
    longer = SignedTrail(hours=SignedTrail().hours + [Hour(SignedTrail().hours[-1].end + n * HOUR) for n in range(24)])
    forged = forge(longer.build(), WINDOW[1] - HOUR / 3)
    world.use(longer)
    world.load(delivered_to=WINDOW[1] + 12 * HOUR)
    take_away(world, forged)
    # An hour behind its day it might still get a digest.
    at(monkeypatch, WINDOW[1] + (4 * HOUR if reported else HOUR * 7 / 6))
    if reported:
        world.fails(run_id="first day")
    else:
        world.validate(run_id="first day")
    at(monkeypatch, WINDOW[1] + 10 * HOUR)
    if reported:
        world.validate(**NEXT, run_id="next day")
    else:
        world.fails(**NEXT, run_id="next day")
    assert world.findings() == {("unlisted", forged): True}


def test_what_was_loaded_without_its_hash_is_listed_and_not_looked_for(world, trail):
    """As by SQL alone: the ledger says of no digest that it lists the file, but one does."""
    world.load()
    asked = len(world.store.listings)
    # Of what digests just outside of the window list, the ledger names no digest either.
    world.validate()
    expected = len(world.store.listings) - asked
    change(world, f"UPDATE {LEDGER} SET digest_uri = 's3://elsewhere' WHERE digest_uri IS NULL")
    asked = len(world.store.listings)
    world.validate(run_id="again")
    assert len(world.store.listings) - asked == expected
    change(world, f"UPDATE {LEDGER} SET sha256 = NULL, digest_uri = NULL, digest_status = NULL")
    asked = len(world.store.listings)
    summary = world.validate(run_id="by SQL")
    stamps = [log_file(BUCKET, key).delivered_at for key in trail.in_window()]
    inside = [stamp for stamp in stamps if WINDOW[0] <= stamp < WINDOW[1]]
    assert (summary["files_unlisted"], summary["files_not_loaded"]) == (0, len(inside))
    assert len(world.store.listings) - asked == expected
