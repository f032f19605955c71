"""The way of Event history with whatever can go wrong on it, by chance: in the end everything is there once."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.export.event_history import export_event_history
from airflow_provider_cloudtrail.trail.event_history import EventHistory
from airflow_provider_cloudtrail.trail.lookup import Span, missing, span_of_uri
from airflow_provider_cloudtrail.trail.lookup_errors import EventHistoryError
from airflow_provider_cloudtrail.trail.selection import Selection
from airflow_provider_cloudtrail.warehouse.lookups import Lookups
from tests.support.event_history import NOW, EventHistoryStandIn, RefusalError, SimulatedClock
from tests.support.history_client import HistoryClient, KilledError
from tests.support.log_files import ACCOUNT, MWAA, event
from tests.support.tables import query

REGIONS = ("eu-west-1", "us-east-1")
SETTLE = timedelta(hours=1)
KINDS = ("ThrottlingException", "ExpiredTokenException", "InternalFailure", "AccessDeniedException", None)


def some_events(chance: random.Random, region: str, count: int):
    """Return events that crowd in a few seconds, lie far apart, or happened just now."""
    crowded = [NOW - timedelta(seconds=chance.randrange(60 * 86_400)) for _ in range(3)]
    for index in range(count):
        spread = NOW - timedelta(seconds=chance.randrange(80 * 86_400))
        recent = NOW - timedelta(seconds=chance.randrange(7_200))
        at = chance.choice([*crowded, spread, spread, recent])
        yield event(f"{region}-{index:04}", eventTime=f"{at:%Y-%m-%dT%H:%M:%SZ}", awsRegion=region)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_everything_is_there_once(seed, new_warehouse):
    chance = random.Random(seed)
    stand_in = EventHistoryStandIn(clock=SimulatedClock(), quota=chance.choice([1, 2, 2, None]))
    ids = set()
    for region in REGIONS:
        records = list(some_events(chance, region, chance.choice([0, 1, 50, 51, 300, 600])))
        ids |= {record["eventID"] for record in records}
        stand_in.record(region, records)
    stand_in.tokens_lost = frozenset(chance.sample(range(1, 60), chance.randrange(12)))
    for number in chance.sample(range(1, 60), chance.randrange(10)):
        kind = chance.choice(KINDS)
        stand_in.refusals[number] = kind and RefusalError(kind, status=500 if kind == "InternalFailure" else 400)
    lookups = Lookups(new_warehouse("sqlite"))
    lookups.prepare()
    part = chance.choice([1, 60, 200, 2_000])
    window = Span(NOW - timedelta(days=85), NOW)

    def run(kill_at):
        history = EventHistory(
            lambda region: HistoryClient(stand_in, region, kill_at), clock=stand_in.clock, chance=chance.random
        )
        return export_event_history(
            history,
            lookups=lookups,
            account_id=ACCOUNT,
            regions=REGIONS,
            window=window,
            settled=stand_in.clock.now() - SETTLE,
            selection=Selection.of(),
            events_in_a_part=part,
        )

    for _ in range(60):
        kill_at = len(stand_in.asked) + chance.randrange(1, 12) if chance.random() < 0.4 else None
        try:
            summary = run(kill_at)
        except (EventHistoryError, KilledError):
            summary = None
        assert_honest(lookups, stand_in, ids)
        if summary is not None and not summary.regions_refused and stand_in.clock.now() > NOW + SETTLE:
            break
        stand_in.clock.sleep(chance.choice([1, 600, 4_000]))
    else:
        pytest.fail("never came to an end")

    warehouse = lookups.warehouse
    stored = [row[0] for row in query(warehouse, f"SELECT event_id FROM {warehouse.events}")]
    assert (len(stored), set(stored)) == (len(ids), ids)
    before = len(stand_in.asked)
    assert run(None).requests == 0
    assert len(stand_in.asked) == before


def assert_honest(lookups, stand_in, ids):
    """Whatever the ledger says is complete is in the table; its counts account for every row."""
    warehouse = lookups.warehouse
    balance = "sum(events) - sum(loaded) - sum(duplicate) - sum(filtered) - sum(quarantined)"
    assert query(warehouse, f"SELECT coalesce({balance}, 0) FROM {lookups.name}") == [(0,)]
    rows = query(warehouse, f"SELECT log_file_uri, count(*) FROM {warehouse.events} GROUP BY 1 ORDER BY 1")
    assert rows == query(warehouse, f"SELECT lookup_uri, loaded FROM {lookups.name} WHERE loaded > 0 ORDER BY 1")
    stored = {row[0] for row in query(warehouse, f"SELECT event_id FROM {warehouse.events}")}
    complete = query(
        warehouse,
        f"SELECT region, lookup_uri FROM {lookups.name} "
        f"WHERE status = 'complete' AND lookup_attribute = 'EventSource={MWAA}'",
    )
    for region in REGIONS:
        spans = [span_of_uri(uri) for where, uri in complete if where == region]
        for (negative, event_id), _ in stand_in._events.get(region, ()):
            at = datetime.fromtimestamp(-negative, timezone.utc)
            if not missing(Span(at, at + timedelta(seconds=1)), spans):
                assert event_id in stored, (region, at)
    assert stored <= ids
