"""
The way of Event history: lookups to records to audit events to the warehouse, part by part.

Region after Region, what the ledger of lookups does not have yet is asked for and stored. Needs no Airflow: a
plain function can call it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from airflow_provider_cloudtrail.audit_event import LookupRows
from airflow_provider_cloudtrail.trail.event_history import EventHistory
from airflow_provider_cloudtrail.trail.lookup import Lookup, Span, lookups_of, missing, span_of_uri
from airflow_provider_cloudtrail.trail.lookup_errors import EventHistoryError, RegionRefusedError
from airflow_provider_cloudtrail.trail.lookup_reader import EVENTS_IN_A_PART, Part, Parts, read_part
from airflow_provider_cloudtrail.trail.selection import Selection
from airflow_provider_cloudtrail.warehouse.lookups import KnownLookup, Lookups

log = logging.getLogger(__name__)

_NAMED = 10


@dataclass
class EventHistorySummary:
    """
    What a run did. Counts of events are those of the spans that this run read.

    :param account_id: account whose Event history was read.
    :param regions: Regions that were read, or of which nothing was missing.
    :param regions_refused: Regions that could not be read, and why.
    :param window_from: begin of the window, as far as Event history reaches back, UTC.
    :param window_to: its end, UTC.
    :param complete_to: up to when it is complete: what is younger may still appear, and is read again.
    :param lookups: entries that were added to the ledger of lookups.
    :param requests: LookupEvents requests.
    :param throttled: of these, refused because the quota was used up.
    :param resumed: how often reading went on without the token of the last page.
    :param events: events that the service gave; ``events = loaded + duplicate + filtered + quarantined``.
    :param loaded: rows that this run added.
    :param duplicate: selected events that were there already, from a trail or from an earlier lookup.
    :param filtered: events that were not selected.
    :param quarantined: events that could not be read.
    :param redacted: secret values that were replaced.
    :param first_event_time: earliest selected event, UTC.
    :param last_event_time: latest selected event, UTC.
    :param seconds: how long it took.
    :param quarantine: reasons of the first events that this run put into quarantine.
    :param known_quarantined: events of the window that an earlier run put into quarantine.
    """

    account_id: str
    regions: list[str] = field(default_factory=list)
    regions_refused: dict[str, str] = field(default_factory=dict)
    window_from: datetime | None = None
    window_to: datetime | None = None
    complete_to: datetime | None = None
    lookups: int = 0
    requests: int = 0
    throttled: int = 0
    resumed: int = 0
    events: int = 0
    loaded: int = 0
    duplicate: int = 0
    filtered: int = 0
    quarantined: int = 0
    redacted: int = 0
    first_event_time: datetime | None = None
    last_event_time: datetime | None = None
    seconds: float = 0.0
    quarantine: list[str] = field(default_factory=list)
    known_quarantined: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as JSON types, times in ISO 8601."""
        values = asdict(self)
        for name in ("window_from", "window_to", "complete_to", "first_event_time", "last_event_time"):
            values[name] = values[name].isoformat() if values[name] else None
        values["seconds"] = round(self.seconds, 3)
        return values


def export_event_history(
    history: EventHistory,
    *,
    lookups: Lookups,
    account_id: str,
    regions: Sequence[str],
    window: Span,
    settled: datetime,
    selection: Selection,
    loaded_by: str | None = None,
    events_in_a_part: int = EVENTS_IN_A_PART,
    log: logging.Logger = log,
) -> EventHistorySummary:
    """
    Load what Event history has of a window and the ledger of lookups has not.

    :param history: reads it, for the account of its credentials.
    :param lookups: the ledger; prepared, see :meth:`Lookups.prepare`.
    :param account_id: the account.
    :param regions: Regions, read in this order.
    :param window: event times.
    :param settled: up to when events have appeared in Event history by now, UTC; what is younger is loaded too,
        but read again by the next run.
    :param selection: which events are wanted.
    :param loaded_by: who loads, for the columns of that name.
    :param events_in_a_part: events that are enough for a transaction.
    :param log: receives a line for each part, and one for each Region that is refused.
    :return: what was done. Regions that cannot be read are named in it, and the others are read.
    :raises EventHistoryError: if no Region can be read any further; what was read before is stored.
    :raises WarehouseError: if a part cannot be stored; the parts before it are.
    """
    return _Export(history, lookups, account_id, window, settled, selection, loaded_by, events_in_a_part, log).run(
        regions
    )


class _Export:
    def __init__(
        self,
        history: EventHistory,
        lookups: Lookups,
        account_id: str,
        window: Span,
        settled: datetime,
        selection: Selection,
        loaded_by: str | None,
        events_in_a_part: int,
        log: logging.Logger,
    ) -> None:
        self._history = history
        self._lookups = lookups
        self._account_id = account_id
        self._window = window
        self._settled = settled
        self._selection = selection
        self._loaded_by = loaded_by
        self._events_in_a_part = events_in_a_part
        self._log = log
        self._summary = EventHistorySummary(
            account_id,
            window_from=window.start,
            window_to=window.end,
            complete_to=min(window.end, settled),
        )

    def run(self, regions: Sequence[str]) -> EventHistorySummary:
        started = self._history.clock.monotonic()
        for region in regions:
            try:
                self._read_region(region)
            except RegionRefusedError as error:
                self._log.error("%s", error)
                self._summary.regions_refused[region] = str(error)
            else:
                self._summary.regions.append(region)
        self._summary.requests = self._history.requests
        self._summary.throttled = self._history.throttled
        self._summary.resumed = self._history.resumed
        self._summary.seconds = self._history.clock.monotonic() - started
        return self._summary

    def _read_region(self, region: str) -> None:
        known = self._lookups.complete(self._account_id, region, self._window.start, self._window.end)
        quarantined: dict[str, int] = {}
        for lookup in lookups_of(self._selection):
            covering = [entry for entry in known if _covers(entry, lookup)]
            quarantined.update({entry.lookup_uri: entry.quarantined for entry in covering})
            # The oldest first: it is the next to be forgotten.
            for gap in missing(self._window, [span_of_uri(entry.lookup_uri) for entry in covering]):
                self._read(region, lookup, gap)
        self._summary.known_quarantined += sum(quarantined.values())

    def _read(self, region: str, lookup: Lookup, gap: Span) -> None:
        parts = Parts(gap, self._settled, self._events_in_a_part)
        try:
            for page in self._history.pages(region, lookup.attribute, gap):
                for part in parts.add(page):
                    self._store(region, lookup, part)
        except EventHistoryError:
            for part in parts.rest():
                self._store(region, lookup, part)
            raise

    def _store(self, region: str, lookup: Lookup, part: Part) -> None:
        rows = read_part(
            part, lookup, self._account_id, region, loaded_by=self._loaded_by, now=self._history.clock.now()
        )
        entry = self._lookups.write(rows)
        self._add(rows, entry.loaded, entry.duplicate)
        self._log.info(
            "%s %s, %s (%s): %s events = %s loaded + %s duplicate + %s filtered + %s quarantined. "
            "So far %s events with %s requests (%s throttled).",
            region,
            lookup.attribute or "all management events",
            part.span,
            entry.status,
            entry.events,
            entry.loaded,
            entry.duplicate,
            entry.filtered,
            entry.quarantined,
            self._summary.events,
            self._history.requests,
            self._history.throttled,
        )

    def _add(self, rows: LookupRows, loaded: int, duplicate: int) -> None:
        total = self._summary
        total.lookups += 1
        total.events += rows.entry.events
        total.loaded += loaded
        total.duplicate += duplicate
        total.filtered += rows.entry.filtered
        total.quarantined += rows.entry.quarantined
        for quarantined in rows.quarantine:
            if len(total.quarantine) < _NAMED:
                self._log.warning("Quarantine: %s", quarantined.reason)
                total.quarantine.append(quarantined.reason)
        if rows.rows:
            total.redacted += sum(row.redacted for row in rows.rows)
            times = [row.event_time for row in rows.rows]
            total.first_event_time = min(filter(None, (total.first_event_time, min(times))))
            total.last_event_time = max(filter(None, (total.last_event_time, max(times))))


def _covers(known: KnownLookup, lookup: Lookup) -> bool:
    try:
        return Selection.from_text(known.selection).covers(lookup.selection)
    except ValueError:
        return False
