"""
What users write about time, after templating: moments, durations and the windows between them.

Each function names the parameter in its error and says what to write instead.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow_provider_cloudtrail.parameters import LONGEST_DURATION, NOTHING
from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow

if TYPE_CHECKING:
    from airflow_provider_cloudtrail.trail.lookup import Span

# Of a validation it is hours before and behind the window.
_LOOKED_AT_AROUND = timedelta(days=366)


def moment(parameter: str, value: Any, *, instead: str | None = None) -> datetime:
    """
    Return a time, given as a ``datetime`` or in ISO 8601; without a zone it is UTC.

    :param instead: another parameter that can be given in its place.
    :raises ValueError: if it is none.
    """
    if value in NOTHING:
        raise ValueError(
            f"{parameter} is not set; a run without a logical date, as the command line, the API or an asset starts "
            "it, has no data interval. Load days that have passed with a backfill, trigger the DAG in the UI with a "
            f"logical date, or give {parameter} a time such as 2026-02-03T00:00:00Z"
            f"{f', or give {instead}' if instead else ''}"
        )
    if isinstance(value, datetime):
        found = value
    else:
        try:
            found = datetime.fromisoformat(str(value).strip())
        except ValueError:
            raise ValueError(
                f"{parameter}={value!r} is no time; write ISO 8601, such as 2026-02-03T00:00:00Z"
            ) from None
    try:
        return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except OverflowError:
        raise ValueError(f"{parameter}={value!r} is outside of the years 1 to 9999, in UTC; write another") from None


def duration(parameter: str, value: Any) -> timedelta:
    """
    Return a duration, given as a ``timedelta``: a number would not say of what.

    :raises ValueError: for anything else, and if it is negative or longer than 100 years.
    """
    if not isinstance(value, timedelta):
        raise ValueError(f"{parameter}={value!r} is no duration; write a timedelta, such as timedelta(hours=1)")
    if value < timedelta(0):
        raise ValueError(f"{parameter}={value!r} is negative; write a duration of zero or more")
    if value > LONGEST_DURATION:
        raise ValueError(f"{parameter}={value!r} is longer than 100 years; write a shorter duration")
    return value


def window(
    delivered_from: Any, delivered_to: Any, lookback: Any, settle: Any, *, instead: str | None = None
) -> DeliveryWindow:
    """
    Return the window of delivery.

    :param instead: another parameter that can be given in its place.
    :raises ValueError: if it is empty or reversed; says so if the reason is a timetable without intervals. If
        ``lookback`` or ``settle`` is no duration.
    """
    start = moment("delivered_from", delivered_from, instead=instead)
    end = moment("delivered_to", delivered_to, instead=instead)
    if start == end:
        raise ValueError(
            f"delivered_from and delivered_to are both {start.isoformat()}, so the window is empty. With Airflow 3's "
            "default timetable a data interval has no length: give the DAG "
            "schedule=CronDataIntervalTimetable('0 0 * * *', timezone='UTC'), or set delivered_from and delivered_to"
        )
    if end < start:
        raise ValueError(
            f"delivered_from={start.isoformat()} is later than delivered_to={end.isoformat()}; exchange them"
        )
    found = DeliveryWindow(start, end, duration("lookback", lookback), duration("settle", settle))
    try:
        _ = found.floor - _LOOKED_AT_AROUND, found.ceiling + _LOOKED_AT_AROUND
    except OverflowError:
        raise ValueError(
            f"delivered_from={start.isoformat()} with lookback={lookback!r}, or delivered_to={end.isoformat()} with "
            f"settle={settle!r}, leaves the years 2 to 9998; write a time nearer to now, or a shorter duration"
        ) from None
    return found


def proven_until(until: Any, seen_within: Any) -> datetime:
    """
    Return the moment up to which delivery shall be proven.

    :raises ValueError: if it is none, or ``seen_within`` no duration, or what lies around cannot be looked at.
    """
    found, before = moment("until", until), duration("seen_within", seen_within)
    try:
        _ = found - before - _LOOKED_AT_AROUND, found + _LOOKED_AT_AROUND
    except OverflowError:
        raise ValueError(
            f"until={found.isoformat()} with seen_within={before!r} leaves the years 2 to 9998; write a time nearer to "
            "now, or a shorter duration"
        ) from None
    return found


def history_window(events_from: Any, events_to: Any, earliest: datetime, now: datetime) -> tuple[Span, Span | None]:
    """
    Return the window of event times that Event history can answer, and what was asked for and is too old for it.

    :param events_from: begin; missing: as far back as Event history reaches.
    :param events_to: end; missing or in the future: now.
    :param earliest: how far it reaches, UTC.
    :param now: UTC.
    :raises ValueError: if the window is empty or reversed, or all of it is too old.
    """
    from airflow_provider_cloudtrail.trail.lookup import Span

    start = earliest if events_from in NOTHING else moment("events_from", events_from)
    end = now if events_to in NOTHING else min(moment("events_to", events_to), now)
    if end <= start:
        raise ValueError(
            f"events_from={start.isoformat()} is not before events_to={end.isoformat()} (at most now), so the window "
            "is empty. Leave both out to read all that Event history has and the table's ledger has not"
        )
    if end <= earliest:
        raise ValueError(
            f"events_to={end.isoformat()} is more than 90 days ago: Event history has nothing of that time. Only the "
            "log files of a trail go back further: CloudTrailToSqlOperator loads them"
        )
    too_old = Span(start, earliest) if start < earliest else None
    return Span(max(start, earliest), end), too_old
