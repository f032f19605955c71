"""
Lenient access to the members of a record.

CloudTrail records carry text where a boolean is documented, null where an object is, and the like. A
value that has another type than expected never loses its event: it is read as well as it can be, and
the whole record is kept beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

_EMPTY: Mapping[str, Any] = {}
_SHORTEST_TIME = len("20131102T010628")


def member(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object member, or an empty mapping if it is absent, null or no object."""
    value = parent.get(name)
    return value if isinstance(value, dict) else _EMPTY


def text(value: Any) -> str | None:
    """Return a value as text: None for null and the empty string, JSON for what is no string."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def texts(parent: Mapping[str, Any], names: Iterable[str]) -> list[str | None]:
    """Return several members as text, see :func:`text`; nearly all are strings, which cost no call each."""
    return [
        (value or None) if value.__class__ is str else None if value is None else text(value)
        for value in map(parent.get, names)
    ]


def boolean(value: Any) -> bool | None:
    """Return a boolean that may be written as text, or None if it is neither."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return None


def http_status(value: Any) -> int | None:
    """Return an HTTP status (100 to 999) that may be written as text, or None."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        value = int(value)
    return value if isinstance(value, int) and 100 <= value <= 999 else None


def moment(value: Any) -> datetime | None:
    """
    Return a time as CloudTrail writes it, in UTC, or None if it is none.

    ISO 8601, or RFC 3339, which knows small letters; without a zone it is UTC; digits behind microseconds are cut off.
    """
    return _moment(value) if isinstance(value, str) and len(value) >= _SHORTEST_TIME else None


# Many calls fall into the same second.
@lru_cache(maxsize=1024)
def _moment(value: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(value.strip().upper())
        return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None
