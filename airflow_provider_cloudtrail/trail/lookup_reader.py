"""
The pages of a lookup to parts that can be stored, and the events of a part to rows.

Pages come newest first. A part ends at a second behind which nothing newer can follow, so it covers a span of
time completely, and what was stored before a run was killed need not be asked for again. Parts cost no request:
the lookup goes on with the token of its last page.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from airflow_provider_cloudtrail.audit_event import (
    COMPLETE,
    RECENT,
    AuditEvent,
    LookupEntry,
    LookupRows,
    QuarantineEntry,
)
from airflow_provider_cloudtrail.trail.event_history import HistoryEvent, Page
from airflow_provider_cloudtrail.trail.lookup import SECOND, Lookup, Span, lookup_uri
from airflow_provider_cloudtrail.trail.reader import read_record
from airflow_provider_cloudtrail.trail.record import Provenance

EVENTS_IN_A_PART = 2_000
"""Events that are enough for a part: twenty seconds of requests, which a kill can cost at most."""
BYTES_IN_A_PART = 24 * 1024 * 1024


@dataclass(frozen=True)
class Part:
    """
    A span that was read completely.

    :param span: event times.
    :param events: its events, newest first.
    :param status: ``complete``, or ``recent`` if events may still appear in it.
    :param received_at: when its last page came, UTC.
    """

    span: Span
    events: list[HistoryEvent]
    status: str
    received_at: datetime


class Parts:
    """
    Collects the pages of a lookup, and hands them on in parts.

    :param span: what is looked up.
    :param settled: up to when events have appeared in Event history by now, UTC; parts end there too.
    :param events: events that are enough for a part.
    """

    def __init__(self, span: Span, settled: datetime, events: int = EVENTS_IN_A_PART) -> None:
        self._span = span
        self._settled = Span(settled, settled).start
        self._events_in_a_part = events
        self._pending: list[HistoryEvent] = []
        self._bytes = 0
        self._last: Page | None = None

    def add(self, page: Page) -> Iterator[Part]:
        """Take a page, and yield the parts that are complete with it."""
        self._pending += page.events
        self._bytes += sum(len(event.raw or "") for event in page.events)
        self._last = page
        if page.is_last:
            # What has become too old meanwhile was not asked for.
            begin = max(page.since, self._span.start)
            yield from self._cut(
                min(begin, self._span.end, *(max(event.time, self._span.start) for event in self._pending))
            )
        elif len(self._pending) >= self._events_in_a_part or self._bytes >= BYTES_IN_A_PART:
            yield from self.rest()

    def rest(self) -> Iterator[Part]:
        """Yield what is complete of the pages that were taken; for a lookup that breaks off, too."""
        if self._last is not None and not self._last.is_last:
            # Of its last second, more may follow on the next page.
            yield from self._cut(min(self._last.oldest + SECOND, self._span.end))

    def _cut(self, down_to: datetime) -> Iterator[Part]:
        """Yield what has happened at this time or later."""
        for begin in sorted({down_to, max(down_to, self._settled)}, reverse=True):
            span = Span(begin, self._span.end)
            if not span or self._last is None:
                continue
            # An event outside of the span that was asked for is kept all the same.
            everything = self._last.is_last and begin == down_to
            events = [event for event in self._pending if everything or event.time >= begin]
            self._pending = [] if everything else [event for event in self._pending if event.time < begin]
            status = RECENT if begin >= self._settled else COMPLETE
            if events or status == COMPLETE:
                yield Part(span, events, status, self._last.received_at)
            self._span = Span(self._span.start, begin)
        self._bytes = sum(len(event.raw or "") for event in self._pending)


@dataclass(frozen=True)
class _Answer:
    """What stands where records of a trail have their log file."""

    uri: str
    delivered_at: datetime


def read_part(
    part: Part, lookup: Lookup, account_id: str, region: str, *, loaded_by: str | None, now: datetime
) -> LookupRows:
    """
    Return the rows of a part; ``events = len(rows) + filtered + quarantined`` holds.

    :param part: what was read.
    :param lookup: what was looked for; events that it does not want are counted and left out.
    :param account_id: account whose Event history it is.
    :param region: Region that was looked in.
    :param loaded_by: who loads it, for the rows.
    :param now: time of loading, UTC.
    """
    answer = _Answer(lookup_uri(account_id, region, part.span), part.received_at)
    provenance = Provenance(answer, now, loaded_by)
    rows: list[AuditEvent] = []
    quarantine: list[QuarantineEntry] = []
    for index, event in enumerate(part.events):
        if event.raw is None:
            reason = f"no_record: {answer.uri} record {index}: the answer has no CloudTrailEvent"
            quarantine.append(QuarantineEntry(answer.uri, index, reason, None, now))
            continue
        # A lone surrogate is no UTF-8: the record is quarantined by what decodes it.
        found = read_record(event.raw.encode("utf-8", "surrogatepass"), index, lookup.selection, provenance)
        if isinstance(found, QuarantineEntry):
            quarantine.append(found)
        elif found is not None:
            rows.append(found)
    entry = LookupEntry(
        lookup_uri=answer.uri,
        account_id=account_id,
        region=region,
        lookup_attribute=None if lookup.attribute is None else str(lookup.attribute),
        window_from=part.span.start,
        window_to=part.span.end,
        events=len(part.events),
        loaded=0,
        duplicate=0,
        filtered=len(part.events) - len(rows) - len(quarantine),
        quarantined=len(quarantine),
        status=part.status,
        selection=lookup.selection.to_text(),
        loaded_at=now,
        loaded_by=loaded_by,
    )
    return LookupRows(entry, rows, quarantine)
