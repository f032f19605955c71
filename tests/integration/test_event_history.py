"""Event history into real engines: complete, within the quota, once, and gone on with after whatever ended a run."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_cloudtrail.exceptions import CloudTrailEventHistoryError
from airflow_provider_cloudtrail.trail.lookup import Span, missing, span_of_uri
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.lookups import Lookups
from tests.support.engines import DUCKDB, POSTGRES, REPOSITORY
from tests.support.event_history import (
    NOW,
    EventHistoryStandIn,
    RefusalError,
    SimulatedClock,
    management_events,
    served,
)
from tests.support.event_history_face import connect, operator
from tests.support.killing import kill_after
from tests.support.log_files import MWAA
from tests.support.rows import MWAA as SELECTION
from tests.support.rows import file_rows
from tests.support.tables import query, wait_for_server

REGIONS = ("ap-south-1", "eu-west-1", "us-east-1")
EVENTS = {"ap-south-1": 700, "eu-west-1": 6_300, "us-east-1": 3_000}
KILLS = 5
BALANCE = "sum(events) - sum(loaded) - sum(duplicate) - sum(filtered) - sum(quarantined)"


class World:
    """A warehouse, and the operator that loads it from the stand-in."""

    def __init__(self, stand_in: EventHistoryStandIn, warehouse: Warehouse, records: dict[str, list[Any]]) -> None:
        self.stand_in = stand_in
        self.warehouse = warehouse
        self.lookups = Lookups(warehouse)
        self.records = records

    def run(self, **arguments: Any) -> dict[str, Any]:
        return operator(**{"regions": REGIONS, "table": self.warehouse.table, **arguments}).execute({})

    @property
    def ids(self) -> set[str]:
        return {record["eventID"] for records in self.records.values() for record in records}

    def stored(self) -> list[str]:
        return [row[0] for row in query(self.warehouse, f"SELECT event_id FROM {self.warehouse.events}")]

    def assert_complete(self) -> None:
        """Check that every event is there once, that the ledger balances, and that it covers the window."""
        stored = self.stored()
        assert (len(stored), set(stored)) == (len(self.ids), self.ids)
        self.assert_balanced()
        for region in REGIONS:
            for source in (MWAA, "airflow-serverless.amazonaws.com"):
                uris = query(
                    self.warehouse,
                    f"SELECT lookup_uri FROM {self.lookups.name} WHERE status = 'complete' AND region = '{region}' "
                    f"AND lookup_attribute = 'EventSource={source}'",
                )
                settled = Span(NOW - timedelta(days=89), NOW - timedelta(hours=1))
                assert missing(settled, [span_of_uri(uri) for (uri,) in uris]) == []

    def assert_balanced(self) -> None:
        assert query(self.warehouse, f"SELECT coalesce({BALANCE}, 0) FROM {self.lookups.name}") == [(0,)]
        by_lookup = query(
            self.warehouse, f"SELECT log_file_uri, count(*) FROM {self.warehouse.events} GROUP BY 1 ORDER BY 1"
        )
        said = query(self.warehouse, f"SELECT lookup_uri, loaded FROM {self.lookups.name} WHERE loaded > 0 ORDER BY 1")
        assert by_lookup == said


@pytest.fixture(scope="module")
def records() -> dict[str, list[Any]]:
    return {region: management_events(number, region) for region, number in EVENTS.items()}


@pytest.fixture(params=[*DUCKDB, *POSTGRES[:1]])
def world(request, monkeypatch, new_warehouse, records):
    stand_in = EventHistoryStandIn(clock=SimulatedClock())
    for region, given in records.items():
        stand_in.record(region, given)
    warehouse = new_warehouse(request.param)
    with served(stand_in) as running:
        connect(monkeypatch, running, warehouse.hook)
        yield World(running, warehouse, records)


def test_ten_thousand_events_within_the_quota(world, capsys):
    """Tokens expire, and somebody at the console uses the quota too: complete, in 1.1 times the quota's time."""
    stand_in = world.stand_in
    stand_in.tokens_lost = frozenset({20, 90, 150})
    stand_in.others = [30.0, 30.4]
    summary = world.run()

    world.assert_complete()
    assert summary["loaded"] == summary["events"] == 10_000
    # What the quota allows: fifty events a request, two requests a second, none for anything else.
    allowed = 10_000 / 50 / 2
    with capsys.disabled():
        print(
            f"\n10,000 events, 3 Regions: {summary['requests']} requests ({summary['throttled']} throttled, "
            f"{summary['resumed']} resumed) in {stand_in.clock.passed:.1f} s; the quota allows {allowed:.1f} s",
        )
    assert stand_in.clock.passed <= 1.1 * allowed
    assert summary["resumed"] == 3
    codes = Counter(asked.code for asked in stand_in.asked)
    assert codes["InvalidNextTokenException"] == 3
    assert codes["ThrottlingException"] == summary["throttled"] >= 1
    for asked in stand_in.asked:
        assert {"StartTime", "EndTime", "MaxResults", "LookupAttributes"} <= set(asked.parameters)

    # Run again, it asks for what was too young to be complete, once for each Region and event source.
    stand_in.clock.sleep(60)
    again = world.run()
    assert (again["requests"], again["events"]) == (6, 0)
    before = {"events_from": NOW - timedelta(days=80), "events_to": NOW - timedelta(days=1)}
    assert world.run(**before)["requests"] == 0


def test_failures_in_the_middle(world):
    """Runs end on expired credentials, a closed Region and an outage; each goes on where the last one ended."""
    stand_in = world.stand_in
    outage = dict.fromkeys(range(100, 110), RefusalError("InternalFailure", status=500))
    stand_in.refusals = {50: RefusalError("ExpiredTokenException"), **outage}
    stand_in.closed = {"us-east-1": RefusalError("AccessDeniedException")}
    failed = 0
    for _ in range(10):
        try:
            world.run()
        except CloudTrailEventHistoryError:
            failed += 1
            world.assert_balanced()
            stand_in.clock.sleep(60)
        else:
            break
        if failed == 3:
            stand_in.closed = {}
    assert failed == 3

    world.assert_complete()
    # A failure costs the request that failed, the second in which it ended, and nothing that was stored.
    assert len(stand_in.answered()) <= 10_000 / 50 + 3 * len(REGIONS) * 3
    assert query(world.warehouse, f"SELECT sum(duplicate) FROM {world.lookups.name}") == [(0,)]


def test_events_that_came_from_a_trail(world):
    """The same event ids in log files and in Event history: one row each, and its origin is visible."""
    region = "us-east-1"
    delivered = world.records[region][::3]
    world.warehouse.prepare()
    world.warehouse.write([file_rows("20261120T1000Z", *delivered, selection=SELECTION)])
    summary = world.run(regions=region)
    (entry,) = world.warehouse.write([file_rows("20261120T1005Z", *world.records[region], selection=SELECTION)])

    assert (summary["loaded"], summary["duplicate"]) == (EVENTS[region] - len(delivered), len(delivered))
    assert (entry.loaded, entry.duplicate) == (0, EVENTS[region])
    stored = world.stored()
    assert len(stored) == len(set(stored)) == EVENTS[region]
    origins = query(
        world.warehouse,
        "SELECT CASE WHEN log_file_uri LIKE 'event-history://%' THEN 'Event history' ELSE 'trail' END, count(*) "
        f"FROM {world.warehouse.events} GROUP BY 1 ORDER BY 2",
    )
    assert origins == [("trail", len(delivered)), ("Event history", EVENTS[region] - len(delivered))]


def test_killed_and_run_again(world):
    """Kill -9 at any moment: what was stored stays, nothing is missing, nothing is there twice."""
    stand_in = world.stand_in
    stand_in.quota = None
    hook = world.warehouse.hook
    task = {
        "engine": world.warehouse.engine if world.warehouse.engine == "duckdb" else f"postgres-{hook.driver}",
        "address": hook.path if world.warehouse.engine == "duckdb" else hook.uri,
        "table": world.warehouse.table,
        "endpoint": stand_in.endpoint,
        "regions": REGIONS,
    }
    moments = random.Random(20261121)
    between = 0
    for _ in range(KILLS):
        parts, seconds = moments.randint(1, 6), moments.uniform(0, 0.15)
        between += kill_after(_started(task | {"lines": parts}), parts, seconds)
        wait_for_server(world.warehouse)
        world.assert_balanced()
    # The kills hit runs that were not done.
    assert between == KILLS
    stored = len(world.stored())
    assert stored > 0
    before = len(stand_in.asked)
    with _started(task) as process:
        output, _ = process.communicate(timeout=600)
    summary = json.loads(output.splitlines()[-1])
    assert summary["loaded"] == 10_000 - stored
    world.assert_complete()
    assert len(stand_in.asked) - before <= (10_000 - stored) / 50 + 3 * len(REGIONS) + 6


def _started(task: dict[str, Any]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.lookup_load", json.dumps(task)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        cwd=REPOSITORY,
    )
