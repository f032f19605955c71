"""
What is new in a bucket that is looked at again and again.

Keys do not become visible in the order of their stamps, so that no last key can be remembered: each look
lists some time back, and what was seen there is remembered. Asks for nothing itself: who looks tells it what is listed.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_cloudtrail.trail.log_file import LogFile

MOST_SEEN = 500_000
"""Log files that are remembered, about 60 MB; of more, the look-back is shortened."""

MOST_STORED = 5_000
"""Log files whose memory is stored, 40 kB; of more, only the floor is, and what lies behind it is seen anew."""


class Watch:
    """
    Remembers which log files were seen since a floor; the floor follows the newest of them.

    A file is lost only if it becomes visible more than ``lookback`` after a file with a later stamp. A file
    is repeated only after a restart, when its memory was not stored.

    :param lookback: how far the floor stays behind the newest stamp.
    :param now: time at which the watch begins, UTC.
    :param state: what :meth:`state` returned before; None or what it cannot be: begin at ``now``.
    """

    def __init__(self, lookback: timedelta, now: datetime, state: Any = None) -> None:
        self.lookback = lookback
        self.floor = now - lookback
        self.forgot_at: datetime | None = None
        self._seen: dict[int, datetime] = {}
        self._newest = self.floor
        if isinstance(state, dict):
            self._restore(state)

    def new(self, listed: Iterable[LogFile]) -> list[LogFile]:
        """Return the files that are seen for the first time, and remember them."""
        found = []
        for file in listed:
            number = _number(file)
            if file.delivered_at >= self.floor and number not in self._seen:
                self._seen[number] = file.delivered_at
                self._newest = max(self._newest, file.delivered_at)
                found.append(file)
        return found

    def advance(self, now: datetime) -> None:
        """
        Move the floor, after a look that listed everything since the old one.

        :param now: the time, UTC; a stamp that lies in the future does not move the floor there.
        """
        floor = max(self.floor, min(self._newest, now) - self.lookback)
        if len(self._seen) > MOST_SEEN:
            newest = sorted(self._seen.values())[-(MOST_SEEN // 2)]
            floor = max(floor, min(newest, now))
            self.forgot_at = floor
        if floor > self.floor:
            self.floor = floor
            self._seen = {number: stamp for number, stamp in self._seen.items() if stamp >= floor}

    def state(self) -> dict[str, Any]:
        """Return what a restart needs, in types of JSON."""
        state: dict[str, Any] = {"floor": self.floor.isoformat(), "newest": self._newest.isoformat()}
        if len(self._seen) <= MOST_STORED:
            packed = b"".join(
                struct.pack(">QI", number, int(stamp.timestamp()) // 60) for number, stamp in self._seen.items()
            )
            state["seen"] = base64.b85encode(packed).decode()
        return state

    def _restore(self, state: dict[str, Any]) -> None:
        try:
            floor, newest = (datetime.fromisoformat(state[name]) for name in ("floor", "newest"))
            packed = base64.b85decode(state.get("seen", ""))
            seen = {
                number: datetime.fromtimestamp(minutes * 60, timezone.utc)
                for number, minutes in struct.iter_unpack(">QI", packed)
            }
            if floor.tzinfo is None or newest.tzinfo is None:
                return
        except (KeyError, TypeError, ValueError, OverflowError, struct.error):
            # Another version's, or damaged: begin anew, which repeats some files and loses none.
            return
        self.floor, self._newest, self._seen = floor, newest, seen


def _number(file: LogFile) -> int:
    return int.from_bytes(hashlib.blake2b(file.uri.encode(), digest_size=8).digest())
