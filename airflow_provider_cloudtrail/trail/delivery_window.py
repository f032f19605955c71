"""Which span of delivery time a run reads: the window that was asked for, and the margins around it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property


@dataclass(frozen=True)
class DeliveryWindow:
    """
    A span of delivery time, half open, and the margins around it that are read as well.

    :param start: first moment of the window (included), UTC.
    :param end: end of the window (not included), UTC.
    :param lookback: how far before ``start`` files are read too: keys become visible late.
    :param settle: how far behind ``end`` files are read too.
    :raises ValueError: if the window is empty or reversed, has no time zone, or a margin is negative or no duration.
    """

    start: datetime
    end: datetime
    lookback: timedelta = timedelta(0)
    settle: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        if not (isinstance(self.start, datetime) and isinstance(self.end, datetime)):
            raise ValueError(
                f"the window needs two datetimes, not {self.start!r} and {self.end!r}; write for instance "
                "datetime(2026, 2, 3, tzinfo=timezone.utc)"
            )
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("the window needs times with a time zone, such as 2026-02-03T00:00:00+00:00")
        if self.end <= self.start:
            raise ValueError(
                f"the window is empty: it starts at {self.start.isoformat()} and ends at {self.end.isoformat()}; "
                "the end must be later than the start"
            )
        for name, margin in (("lookback", self.lookback), ("settle", self.settle)):
            if not isinstance(margin, timedelta) or margin < timedelta(0):
                raise ValueError(
                    f"{name}={margin!r} is no duration of zero or more; write for instance timedelta(days=1)"
                )

    # Asked for with each key of a listing.
    @cached_property
    def floor(self) -> datetime:
        """Earliest stamp that is read, on the minute because stamps have no seconds."""
        return (self.start - self.lookback).astimezone(timezone.utc).replace(second=0, microsecond=0)

    @cached_property
    def ceiling(self) -> datetime:
        """End of the stamps that are read (not included)."""
        return (self.end + self.settle).astimezone(timezone.utc)

    def reads(self, delivered_at: datetime) -> bool:
        """Tell whether a file with this stamp is read, margins included."""
        return self.floor <= delivered_at < self.ceiling

    def covers(self, delivered_at: datetime) -> bool:
        """Tell whether a file with this stamp belongs to the window itself, without its margins."""
        return self.start <= delivered_at < self.end
