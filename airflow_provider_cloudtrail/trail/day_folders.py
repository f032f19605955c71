"""
The folders of days within a Region's: which log files lie in them, and where a listing of a window begins and ends.

They are days of delivery in UTC, as the stamps in the names; only around midnight one may be ahead of the other.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache

_NEAR_MIDNIGHT = timedelta(hours=1)
_BEFORE_MIDNIGHT = _NEAR_MIDNIGHT - timedelta(microseconds=1)


@lru_cache(maxsize=16)
def day_folder(day: datetime) -> str:
    """Return the date folders of a moment, ``YYYY/MM/DD``."""
    return day.strftime("%Y/%m/%d")


def first_key(region_folder: str, account_id: str, region: str, floor: datetime) -> str:
    """
    Return the key after which a listing of a Region's folder can start without missing a stamp.

    :param region_folder: ``.../CloudTrail/REGION/``.
    :param floor: earliest stamp that is wanted, UTC.
    """
    # Behind midnight a file may lie in the folder of the day before.
    day = day_folder(_shifted(floor, -_NEAR_MIDNIGHT))
    return f"{region_folder}{day}/{account_id}_CloudTrail_{region}_{floor:%Y%m%dT%H%MZ}"


def is_behind(key: str, region_folder: str, ceiling: datetime) -> bool:
    """
    Tell whether this key, and so every later one of the listing, lies on a day behind the window.

    Only whole days end a listing: within one, a name of the old form sorts elsewhere.

    :param ceiling: end of the stamps that are wanted (not included), UTC.
    """
    # Before midnight a file may lie in the folder of the next day.
    return key[len(region_folder) : len(region_folder) + 10] > day_folder(_shifted(ceiling, _BEFORE_MIDNIGHT))


def lies_in(day: str, stamp: datetime) -> bool:
    """
    Tell whether a log file with this stamp lies in the folder of a day, ``YYYY/MM/DD``.

    Around midnight either may be ahead. In any other folder nobody who validates a window would come across it.
    """
    if day == day_folder(stamp):
        return True
    return day in (day_folder(_shifted(stamp, -_NEAR_MIDNIGHT)), day_folder(_shifted(stamp, _NEAR_MIDNIGHT)))


def _shifted(moment: datetime, by: timedelta) -> datetime:
    """Return another moment, or the same in the first or the last hour that there is."""
    try:
        return moment + by
    except OverflowError:
        return moment
