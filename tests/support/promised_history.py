"""Event history beside a trail: lookups into the same table, as rules of a state machine."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta, timezone

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from airflow_provider_cloudtrail.audit_event import LookupEntry, LookupRows
from airflow_provider_cloudtrail.export.event_history import export_event_history
from airflow_provider_cloudtrail.trail.event_history import EventHistory
from airflow_provider_cloudtrail.trail.lookup import Span
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.lookups import Lookups
from tests.support.event_history import EventHistoryStandIn, SimulatedClock
from tests.support.history_client import HistoryClient
from tests.support.log_files import ACCOUNT, REGION
from tests.support.promised import RECORDS, SELECTIONS, Promised
from tests.support.promised_bucket import StoppedError
from tests.support.rows import lookup_rows
from tests.support.tables import query, read_table

BEGIN = datetime(2026, 2, 3, 1, 0, tzinfo=timezone.utc)
HOURS = 4
END = BEGIN + timedelta(hours=HOURS)
_COUNTS = ("events", "loaded", "duplicate", "filtered", "quarantined")

numbers = st.lists(st.integers(0, len(RECORDS) - 1), max_size=4).map(tuple)
names = st.sampled_from(list(SELECTIONS))
minutes = st.integers(0, HOURS * 60 - 1)


class StoppingLookups(Lookups):
    """
    A ledger of lookups behind which the process ends at a write.

    :param at: at which, from 1; 0: it does not.
    :param is_stored: whether it ends behind the write.
    """

    def __init__(self, warehouse: Warehouse, at: int, is_stored: bool) -> None:
        super().__init__(warehouse)
        self._left, self._is_stored = at, is_stored

    def write(self, lookup: LookupRows) -> LookupEntry:
        self._left -= 1
        if self._left == 0 and not self._is_stored:
            raise StoppedError
        entry = super().write(lookup)
        if self._left == 0:
            raise StoppedError
        return entry


class HistoryRules(RuleBasedStateMachine):
    """What lookups do to an audit table."""

    warehouse: Warehouse
    promised: Promised

    def __init__(self) -> None:
        super().__init__()
        self.quarantined_lookups: Counter[str] = Counter()
        self.known_lookups: set[str] = set()
        # It has the records of the trail, those of which nobody can say when they happened as well.
        self.history = EventHistoryStandIn(clock=SimulatedClock(END + timedelta(days=1)), quota=None)
        for record in RECORDS:
            is_read = isinstance(record, dict) and record["eventTime"] != "soon"
            self.history.record(REGION, [record if is_read else json.dumps(record)], at=BEGIN + timedelta(hours=2))

    @rule(records=numbers, start=st.integers(0, 3))
    def look_up(self, records: tuple[int, ...], start: int) -> None:
        """Have Event history of another Region give some events, as if it had no others."""
        found = [RECORDS[number] for number in records if isinstance(RECORDS[number], dict)]
        start_at = BEGIN + timedelta(hours=start)
        entry = Lookups(self.warehouse).write(lookup_rows(*found, start=start_at, end=END, region="us-east-1"))
        of_mwaa = [record for record in found if SELECTIONS["mwaa"][1](record)]
        ids = [record["eventID"] for record in of_mwaa if record["eventTime"] != "soon"]
        new = set(ids) - set(self.promised.events)
        assert (entry.events, entry.loaded, entry.duplicate) == (len(found), len(new), len(ids) - len(new))
        assert (entry.filtered, entry.quarantined) == (len(found) - len(of_mwaa), len(of_mwaa) - len(ids))
        self.quarantined_lookups[entry.lookup_uri] = entry.quarantined
        self.known_lookups.add(entry.lookup_uri)
        self.promised.events |= dict.fromkeys(new, entry.lookup_uri)

    @rule(
        start=st.just(0) | minutes,
        length=st.just(HOURS * 60) | st.integers(1, HOURS * 60),
        name=names,
        part=st.integers(1, 4),
        at=st.integers(0, 4),
        is_stored=st.booleans(),
    )
    def export_history(self, start: int, length: int, name: str, part: int, at: int, is_stored: bool) -> None:
        """Load a span of Event history; if the process ends meanwhile, once more, and then nothing is asked for."""
        begin = BEGIN + timedelta(minutes=start)
        window = Span(begin, min(begin + timedelta(minutes=length), END))
        with suppress(StoppedError):
            self._export_history(window, name, part, StoppingLookups(self.warehouse, at, is_stored))
        self._take_lookups(window, name, is_whole=False)
        self._export_history(window, name, part, Lookups(self.warehouse))
        self._take_lookups(window, name, is_whole=True)
        asked = len(self.history.asked)
        self._export_history(window, name, part, Lookups(self.warehouse))
        assert len(self.history.asked) == asked

    def _export_history(self, window: Span, name: str, part: int, lookups: Lookups) -> None:
        export_event_history(
            EventHistory(lambda region: HistoryClient(self.history, region), clock=self.history.clock),
            lookups=lookups,
            account_id=ACCOUNT,
            regions=[REGION],
            window=window,
            settled=END + timedelta(hours=1),
            selection=SELECTIONS[name][0],
            events_in_a_part=part,
        )

    def _take_lookups(self, window: Span, name: str, *, is_whole: bool) -> None:
        """Take over which lookup has brought which events; it can only be those that were wanted and not there."""
        times = {
            record["eventID"]: datetime.fromisoformat(record["eventTime"])
            for record in RECORDS
            if isinstance(record, dict) and record["eventTime"] != "soon" and SELECTIONS[name][1](record)
        }
        missing = {event_id for event_id, at in times.items() if window.start <= at < window.end}
        missing -= set(self.promised.events)
        columns = ", ".join(("lookup_uri", *_COUNTS))
        rows = query(self.warehouse, f"SELECT {columns} FROM {Lookups(self.warehouse).name}")
        new = {uri: dict(zip(_COUNTS, counts, strict=True)) for uri, *counts in rows if uri not in self.known_lookups}
        brought = {
            row["event_id"]: row["log_file_uri"]
            for row in read_table(self.warehouse).events
            if row["log_file_uri"] in new
        }
        assert Counter(brought.values()) == +Counter({uri: counts["loaded"] for uri, counts in new.items()})
        assert set(brought) == missing if is_whole else set(brought) <= missing
        for uri, counts in new.items():
            assert counts["events"] == sum(counts[name] for name in _COUNTS[1:])
            self.quarantined_lookups[uri] = counts["quarantined"]
        self.known_lookups |= set(new)
        self.promised.events |= brought
