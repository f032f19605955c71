"""
Event history page by page: the LookupEvents API, within its quota and whatever happens between two pages.

Sources: AWS CloudTrail API reference, "LookupEvents" (50 events a page, newest first; a token is good only with
the parameters that it came with); AWS CloudTrail user guide, "Working with CloudTrail event history" (management
events of the last 90 days, one account, one Region) and "Quotas" (two requests a second for an account and
Region, which other callers and the console share). One client paces all Regions together, so the limit holds
whether it is counted by Region or by account.

Event history holds no data events: for Amazon MWAA no UI logins (CreateWebLoginToken), no CLI tokens
(CreateCliToken) and no calls of the Airflow REST API (InvokeRestApi). Only a trail records them.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

from airflow_provider_cloudtrail.trail.lookup import Attribute, Span
from airflow_provider_cloudtrail.trail.lookup_errors import (
    EventHistoryError,
    Fault,
    RegionRefusedError,
    fault_of,
    whole,
)

log = logging.getLogger(__name__)

KEPT = timedelta(days=90)
"""How long Event history keeps an event."""
EVENTS_A_PAGE = 50
REQUESTS_A_SECOND = 2

# One percent more than half a second: requests that travel at different speeds do not arrive too close together.
_INTERVAL = 1.01 / REQUESTS_A_SECOND
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_THROTTLED_FOR_TOO_LONG = 600.0
_ATTEMPTS = 4
_SETBACKS = 5
_TO_ARRIVE = timedelta(minutes=1)


class Clock:
    """The time of this machine; tests put a simulated one in its place."""

    def now(self) -> datetime:
        """Return the time of day, UTC."""
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


CLOCK = Clock()


class HistoryEvent(NamedTuple):
    """
    One event of an answer.

    :param time: event time, by which the service sorts, UTC.
    :param raw: the record as JSON text; None: the answer has none.
    :param identity: tells events of the same second apart.
    """

    time: datetime
    raw: str | None
    identity: str


@dataclass(frozen=True)
class Page:
    """
    One answer, without what an earlier one of the same lookup brought.

    :param events: newest first.
    :param oldest: event time down to which everything has been read; of that second itself more may follow.
    :param received_at: when it came, UTC.
    :param since: begin of the span that was asked for: later than wanted if that is older than 90 days.
    :param is_last: whether nothing follows.
    """

    events: list[HistoryEvent]
    oldest: datetime
    received_at: datetime
    since: datetime
    is_last: bool


class EventHistory:
    """
    Reads Event history. Use one for all Regions of an account: it keeps the pace for all of them.

    :param client_of: returns the boto3 client of a Region, which must not retry by itself.
    :param clock: time, and how to wait.
    :param chance: returns a number from 0 to 1, so that tasks that were throttled together do not meet again.
    :param log: receives a line when the service throttles, a token has expired, or order is not as promised.
    """

    def __init__(
        self,
        client_of: Callable[[str], Any],
        *,
        clock: Clock = CLOCK,
        chance: Callable[[], float] = random.random,  # noqa: S311 (spreads requests, keeps no secret)
        log: logging.Logger = log,
    ) -> None:
        self._client_of = client_of
        self._clients: dict[str, Any] = {}
        self.clock = clock
        self._chance = chance
        self._log = log
        self._next_request = clock.monotonic()
        self.requests = 0
        """Requests that were sent."""
        self.throttled = 0
        """Of these, refused because the quota was used up."""
        self.resumed = 0
        """How often reading went on without the token of the last page."""

    def earliest(self) -> datetime:
        """Return the first event time that can be asked for, UTC: it is a minute from being forgotten."""
        return (self.clock.now() - KEPT).replace(microsecond=0) + _TO_ARRIVE

    def pages(self, region: str, attribute: Attribute | None, span: Span) -> Iterator[Page]:
        """
        Yield the events of a span, newest first, each once.

        A token that the service does not take any more (tokens expire) costs one more request: the lookup
        starts anew where the last page ended. What becomes older than 90 days meanwhile is left out.

        :param region: Region to look in.
        :param attribute: what to look for; None: all management events.
        :param span: event times.
        :raises RegionRefusedError: if this Region cannot be read; others may.
        :raises EventHistoryError: if the run cannot go on.
        """
        place = _Place(span)
        setbacks = 0
        while True:
            if place.token is None:
                place.begin = max(place.begin, self.earliest())
                if place.begin > place.newest:
                    yield Page([], place.oldest, self.clock.now(), place.begin, True)
                    return
            try:
                answer = self._ask(region, place.request(attribute))
            except _OutdatedError as error:
                setbacks += 1
                if setbacks > _SETBACKS:
                    raise EventHistoryError(
                        f"{error}; {setbacks} times in a row, going on at {place.oldest.isoformat()}; run this again, "
                        "it goes on from there"
                    ) from None
                self.resumed += 1
                self._log.info("%s; going on at %s", error, place.oldest.isoformat())
                place.go_back()
                continue
            events = place.events_of(answer)
            if events:
                setbacks = 0
                if max(event.time for event in events) > place.oldest:
                    self._log.warning("%s: newer events came behind one of %s", region, place.oldest.isoformat())
                place.advance(events)
            place.token = answer.get("NextToken") or None
            yield Page(events, place.oldest, self.clock.now(), place.begin, place.token is None)
            if place.token is None:
                return

    def _ask(self, region: str, request: dict[str, Any]) -> dict[str, Any]:
        """Send one request as often as it takes, and not faster than the quota allows."""
        pause, attempts, throttled_since = _FIRST_PAUSE, 0, self.clock.monotonic()
        while True:
            try:
                # Made before the pace is kept: it takes so long that the next request would come too early.
                client = self._client(region)
                self._keep_pace()
                answer = whole(client.lookup_events(**request))
            except Exception as error:
                fault, text = fault_of(error, region)
                if fault is None:
                    raise
            else:
                return answer
            if fault is Fault.OUTDATED:
                raise _OutdatedError(text) from None
            if fault is Fault.THROTTLED:
                self.throttled += 1
                if self.clock.monotonic() - throttled_since > _THROTTLED_FOR_TOO_LONG:
                    raise EventHistoryError(
                        f"{region}: LookupEvents was throttled for {_THROTTLED_FOR_TOO_LONG:.0f} seconds: others use "
                        f"up the {REQUESTS_A_SECOND} requests a second of this account (the console's Event history "
                        "and other tools count too); run this again when they are done, it goes on from here"
                    ) from None
            elif fault is Fault.NO_ANSWER:
                attempts += 1
                if attempts >= _ATTEMPTS:
                    raise RegionRefusedError(text) from None
            else:
                raise (RegionRefusedError if fault is Fault.REGION else EventHistoryError)(text) from None
            self._log.info("%s; trying again", text)
            self.clock.sleep(pause * (1 + self._chance()) / 2)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _keep_pace(self) -> None:
        if (early := self._next_request - self.clock.monotonic()) > 0:
            self.clock.sleep(early)
        self._next_request = self.clock.monotonic() + _INTERVAL
        self.requests += 1

    def _client(self, region: str) -> Any:
        if region not in self._clients:
            self._clients[region] = self._client_of(region)
        return self._clients[region]


class _OutdatedError(Exception):
    """Raised when the service takes a request no more as it was put together."""


class _Place:
    """How far a lookup has come: bounds, token, and what was read of the second that the last page ended in."""

    def __init__(self, span: Span) -> None:
        self.begin = span.start
        self.newest = span.last
        self.token: str | None = None
        self.oldest = span.end
        self._read: set[str] = set()

    def request(self, attribute: Attribute | None) -> dict[str, Any]:
        # Bounds always: without them the window moves while it is read.
        request: dict[str, Any] = {"StartTime": self.begin, "EndTime": self.newest, "MaxResults": EVENTS_A_PAGE}
        if attribute is not None:
            request["LookupAttributes"] = [{"AttributeKey": attribute.key, "AttributeValue": attribute.value}]
        if self.token is not None:
            request["NextToken"] = self.token
        return request

    def events_of(self, answer: dict[str, Any]) -> list[HistoryEvent]:
        """Return the events of an answer that were not read before."""
        events = [_event(entry, self.newest) for entry in answer.get("Events", ())]
        return [event for event in events if event.time != self.oldest or event.identity not in self._read]

    def advance(self, events: list[HistoryEvent]) -> None:
        oldest = min(event.time for event in events)
        if oldest < self.oldest:
            self.oldest, self._read = oldest, set()
        self._read.update(event.identity for event in events if event.time == self.oldest)

    def go_back(self) -> None:
        # The whole second once more: pages end in the middle of one.
        self.newest, self.token = min(self.oldest, self.newest), None


def _event(entry: dict[str, Any], otherwise: datetime) -> HistoryEvent:
    moment = entry.get("EventTime")
    raw = entry.get("CloudTrailEvent")
    return HistoryEvent(
        moment.astimezone(timezone.utc).replace(microsecond=0) if isinstance(moment, datetime) else otherwise,
        raw if isinstance(raw, str) else None,
        str(entry.get("EventId") or raw),
    )
