from __future__ import annotations

import json
import random
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.trail import watch as module
from airflow_provider_cloudtrail.trail.log_file import LogFile, log_file
from airflow_provider_cloudtrail.trail.watch import Watch
from tests.support.log_files import key_of

NOON = datetime(2026, 2, 3, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


def file_at(moment: datetime, name: str = "Q1w2E3r4T5y6U7i8") -> LogFile:
    key = key_of(f"{moment:%Y%m%dT%H%MZ}", unique=name)
    found = log_file("trail", key)
    assert found is not None
    return found


@pytest.mark.parametrize("every", [1, 7, 50, 499])
def test_500_files_that_become_visible_out_of_order(every):
    """Ten minutes of stamps, seen in a random order by a poller that looks every N arrivals."""
    chance = random.Random(every)
    arrivals = [file_at(NOON + timedelta(minutes=chance.randrange(10)), f"{number:016}") for number in range(500)]
    chance.shuffle(arrivals)
    watch, visible, found = Watch(HOUR, NOON), [], []
    for number, file in enumerate(arrivals, 1):
        visible.append(file)
        if number % every == 0 or number == len(arrivals):
            found += watch.new(file for file in visible if file.delivered_at >= watch.floor)
            watch.advance(NOON + timedelta(minutes=10))
    assert sorted(file.uri for file in found) == sorted(file.uri for file in arrivals)


def test_what_was_seen_is_not_new_and_survives_a_restart():
    watch = Watch(HOUR, NOON)
    files = [file_at(NOON + timedelta(minutes=minute)) for minute in range(5)]
    assert watch.new(files[:3]) == files[:3]
    watch.advance(NOON + HOUR)
    again = Watch(HOUR, NOON + 9 * HOUR, json.loads(json.dumps(watch.state())))
    assert again.floor == watch.floor
    assert again.new(files) == files[3:]


def test_the_floor_follows_the_newest_file_and_memory_what_lies_behind_it():
    watch = Watch(HOUR, NOON)
    for hours in range(100):
        watch.new([file_at(NOON + hours * HOUR)])
        watch.advance(NOON + hours * HOUR)
    assert watch.floor == NOON + 98 * HOUR
    assert len(watch._seen) == 2


def test_a_stamp_of_the_future_does_not_move_the_floor_there():
    watch = Watch(HOUR, NOON)
    watch.new([file_at(NOON + 24 * 365 * HOUR)])
    watch.advance(NOON)
    assert watch.floor == NOON - HOUR
    late = file_at(NOON - timedelta(minutes=30))
    assert watch.new([late]) == [late]


def test_too_many_to_remember_shortens_the_lookback_and_says_so(monkeypatch):
    monkeypatch.setattr(module, "MOST_SEEN", 10)
    watch = Watch(24 * HOUR, NOON)
    files = [file_at(NOON + timedelta(minutes=minute)) for minute in range(11)]
    assert watch.new(files) == files
    watch.advance(NOON + HOUR)
    assert watch.forgot_at == watch.floor == NOON + timedelta(minutes=6)
    assert len(watch._seen) == 5
    assert watch.new(files) == []


def test_a_memory_that_is_too_large_to_store_repeats_and_loses_nothing(monkeypatch):
    monkeypatch.setattr(module, "MOST_STORED", 3)
    watch = Watch(HOUR, NOON)
    files = [file_at(NOON + timedelta(minutes=minute)) for minute in range(4)]
    watch.new(files)
    watch.advance(NOON)
    assert Watch(HOUR, NOON, watch.state()).new(files) == files


@pytest.mark.parametrize(
    "state",
    [
        pytest.param("x", id="text"),
        pytest.param({}, id="empty"),
        pytest.param({"floor": "x", "newest": "y"}, id="no-times"),
        pytest.param({"floor": "2026-02-03", "newest": "2026-02-03"}, id="no-zone"),
        pytest.param({"floor": NOON.isoformat(), "newest": NOON.isoformat(), "seen": "a b"}, id="damaged"),
        pytest.param({"floor": NOON.isoformat(), "newest": NOON.isoformat(), "seen": "0000"}, id="half"),
    ],
)
def test_a_state_that_cannot_be_read_is_begun_anew(state):
    assert Watch(HOUR, NOON, state).floor == NOON - HOUR
