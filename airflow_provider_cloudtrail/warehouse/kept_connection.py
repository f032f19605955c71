"""
A connection that stays open between the transactions of a session.

To open one takes several round trips, a question to where Airflow keeps its connections and, in the server, a process
of its own: an export that stores many batches would spend a tenth of its time on that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

LONGEST_IDLE = 30.0
"""Seconds: firewalls forget idle connections without a word after minutes, and servers may end them earlier."""


class KeptConnection:
    """
    Connections for one transaction after the other.

    Threads other than the one whose session it is get a connection for each transaction.

    :param connect: opens a connection.
    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._owner: int | None = None
        self._kept: Any = None
        self._kept_since = 0.0
        self._reused = False

    @property
    def reused(self) -> bool:
        """Whether this thread's connection was used before, so that it may have been lost while it was idle."""
        return self._reused and self._is_ours()

    @contextmanager
    def session(self) -> Iterator[None]:
        """Within it, a connection stays open between the transactions of this thread."""
        self._owner = threading.get_ident()
        try:
            yield
        finally:
            self._owner = None
            kept, self._kept = self._kept, None
            _close(kept)

    def take(self) -> Any:
        """Return a connection for a transaction."""
        if not self._is_ours():
            return self._connect()
        kept, self._kept = self._kept, None
        if time.monotonic() - self._kept_since > LONGEST_IDLE:
            _close(kept)
            kept = None
        self._reused = kept is not None
        return self._connect() if kept is None else kept

    def committing(self) -> None:
        """Note that the transaction has done its work: what fails from now on may have been stored all the same."""
        if self._is_ours():
            self._reused = False

    def give_back(self, connection: Any, *, failed: bool) -> None:
        """
        Keep a connection, or close it, behind its transaction.

        :param failed: whether the transaction was rolled back: the connection may be what is broken.
        """
        if failed or not self._is_ours():
            connection.close()
        else:
            self._kept, self._kept_since = connection, time.monotonic()

    def _is_ours(self) -> bool:
        return self._owner == threading.get_ident()


def _close(connection: Any) -> None:
    if connection is not None:
        # The other side may have closed it before.
        with suppress(Exception):
            connection.close()
