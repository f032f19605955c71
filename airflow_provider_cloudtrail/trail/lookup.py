"""
What a lookup in Event history asks for, and which spans of time an earlier one has answered already.

Source: AWS CloudTrail API reference, "LookupEvents". A lookup has one attribute at most, so a selection of
events becomes one lookup for each event source, or for each event name, or one for everything. Event times
and the bounds of a lookup are whole seconds, and both bounds belong to it.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from airflow_provider_cloudtrail.audit_event import LOOKUP_SCHEME
from airflow_provider_cloudtrail.trail.selection import Clause, Selection

SECOND = timedelta(seconds=1)
DATA_EVENTS = frozenset({"CreateWebLoginToken", "CreateCliToken", "InvokeRestApi"})
"""What MWAA records as data events only (MWAA user guide, "Viewing audit logs in AWS CloudTrail")."""

_STAMP = "%Y%m%dT%H%M%SZ"
_URI = re.compile(LOOKUP_SCHEME + r"[^/]+/[^/]+/(?P<start>\d{8}T\d{6}Z)-(?P<end>\d{8}T\d{6}Z)/\w+", re.ASCII)


class Attribute(NamedTuple):
    """A lookup attribute: the key is ``EventSource`` or ``EventName``, the value is matched exactly."""

    key: str
    value: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class Lookup(NamedTuple):
    """
    A kind of lookup.

    :param attribute: what the service looks for; None: all management events.
    :param selection: which of the events that it finds are wanted.
    """

    attribute: Attribute | None
    selection: Selection


@dataclass(frozen=True, order=True)
class Span:
    """
    A span of event time, half open, in whole seconds.

    :param start: first moment (included), UTC; with a fraction it is widened to its second.
    :param end: end (not included), UTC; with a fraction it is widened to the next second.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", self.start.astimezone(timezone.utc).replace(microsecond=0))
        end = self.end.astimezone(timezone.utc)
        rounded = end.replace(microsecond=0)
        object.__setattr__(self, "end", rounded + SECOND if end > rounded else rounded)

    def __bool__(self) -> bool:
        return self.start < self.end

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%dT%H:%M:%SZ} to {self.end:%Y-%m-%dT%H:%M:%SZ}"

    @property
    def last(self) -> datetime:
        """The last second that belongs to it."""
        return self.end - SECOND


def missing(wanted: Span, known: Iterable[Span]) -> list[Span]:
    """
    Return what of a span no other one covers, oldest first.

    :param wanted: the span that is asked about.
    :param known: spans in any order; they may overlap.
    """
    gaps, position = [], wanted.start
    for span in sorted(span for span in known if span):
        gaps.append(Span(position, min(span.start, wanted.end)))
        position = max(position, span.end)
    gaps.append(Span(position, wanted.end))
    return [gap for gap in gaps if gap]


def lookups_of(selection: Selection) -> list[Lookup]:
    """
    Return the lookups that find all that a selection wants, as few and as narrow as the service allows.

    By event name or by event source, whichever has fewer values. What environments did in AWS themselves can
    be looked up by neither: then all management events are read, and what is not wanted is filtered.
    """
    found: list[Lookup] = []
    for clause in selection.clauses:
        sources = None if clause.include_environment_activity else clause.event_sources
        names = clause.event_names
        if names is not None and (sources is None or len(names) <= len(sources)):
            found += [Lookup(Attribute("EventName", name), _only(clause, event_name=name)) for name in sorted(names)]
        elif sources is not None:
            found += [
                Lookup(Attribute("EventSource", name), _only(clause, event_source=name)) for name in sorted(sources)
            ]
        else:
            found.append(Lookup(None, Selection(frozenset((clause,)))))
    return found


def _only(clause: Clause, *, event_name: str | None = None, event_source: str | None = None) -> Selection:
    return Selection.of(
        clause.event_sources if event_source is None else (event_source,),
        clause.event_names if event_name is None else (event_name,),
        clause.environment_names,
        clause.include_environment_activity,
    )


def names_only_data_events(selection: Selection) -> bool:
    """Tell whether a selection names nothing but data events of MWAA, of which Event history has none."""
    return all(clause.event_names is not None and clause.event_names <= DATA_EVENTS for clause in selection.clauses)


def lookup_uri(account_id: str, region: str, span: Span) -> str:
    """
    Return a new URI for a lookup that was answered: ``event-history://ACCOUNT/REGION/FROM-TO/UNIQUE``.

    It stands where rows from log files have the URI of their file. No such resource exists: the service
    does not keep answers.
    """
    window = f"{span.start.strftime(_STAMP)}-{span.end.strftime(_STAMP)}"
    return f"{LOOKUP_SCHEME}{account_id}/{region}/{window}/{uuid.uuid4().hex[:12]}"


def span_of_uri(uri: str) -> Span:
    """
    Return the span that the URI of a lookup names.

    :raises ValueError: if it is not such a URI.
    """
    found = _URI.fullmatch(uri)
    if found is None:
        raise ValueError(f"{uri!r} is no URI of a lookup in Event history")
    start, end = (datetime.strptime(found[name], _STAMP).replace(tzinfo=timezone.utc) for name in ("start", "end"))
    return Span(start, end)
