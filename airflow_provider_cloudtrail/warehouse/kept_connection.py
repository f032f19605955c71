"""
A connection that stays open between the transactions of a session.

To open one takes several round trips, a question to where Airflow keeps its connections and, in the server, a process
of its own: an export that stores many batches would spend a tenth of its time on that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, ClassVar

from airflow_provider_cloudtrail.warehouse.driver_errors import is_of_lost_connection
from airflow_provider_cloudtrail.warehouse.relational import RelationalWarehouse

LONGEST_IDLE = 30.0
"""Seconds: firewalls forget idle connections without a word after minutes, and servers may end them earlier."""


class KeptConnection(threading.local):
    """
    Connections for one transaction after the other: of a session, the same one again.

    Each thread has a session of its own, or none, and then a connection for each transaction.

    :param connect: opens a connection.
    :param most: transactions of one connection; None: as many as there are.
    """

    def __init__(self, connect: Callable[[], Any], most: int | None = None) -> None:
        self._connect = connect
        self._most = most
        self._in_session = False
        self._kept: Any = None
        self._kept_since = 0.0
        self._used = 0
        self._reused = False

    @property
    def reused(self) -> bool:
        """Whether the connection was used before, so that it may have been lost while it was idle."""
        return self._reused

    @contextmanager
    def session(self) -> Iterator[None]:
        """Within it, a connection stays open between the transactions of this thread."""
        self._in_session = True
        try:
            yield
        finally:
            self._in_session = self._reused = False
            kept, self._kept = self._kept, None
            _close(kept)

    def take(self) -> Any:
        """Return a connection for a transaction."""
        if not self._in_session:
            return self._connect()
        kept, self._kept = self._kept, None
        if time.monotonic() - self._kept_since > LONGEST_IDLE or self._used == self._most:
            _close(kept)
            kept = None
        self._reused = kept is not None
        self._used = self._used + 1 if self._reused else 1
        return self._connect() if kept is None else kept

    def committing(self) -> None:
        """Note that the transaction has done its work: what fails from now on may have been stored all the same."""
        self._reused = False

    def give_back(self, connection: Any, *, failed: bool) -> None:
        """
        Keep a connection, or close it, behind its transaction.

        :param failed: whether the transaction was rolled back: the connection may be what is broken.
        """
        if failed or not self._in_session:
            connection.close()
        else:
            self._kept, self._kept_since = connection, time.monotonic()


def _close(connection: Any) -> None:
    if connection is not None:
        # The other side may have closed it before.
        with suppress(Exception):
            connection.close()


class KeepsConnection(RelationalWarehouse):
    """A warehouse whose transactions share a connection within a session."""

    most_transactions: ClassVar[int | None] = None
    """How many share one at most."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connections = KeptConnection(self._new_connection, self.most_transactions)

    def session(self, *, together: bool = False) -> AbstractContextManager[None]:  # noqa: ARG002 - each batch commits
        """Return what to do several batches within: they share a connection."""
        return self._connections.session()

    def _new_connection(self) -> Any:
        return super()._connect()

    def _connect(self) -> Any:
        return self._connections.take()

    def _commit(self, connection: Any) -> None:
        self._connections.committing()
        super()._commit(connection)

    def _release(self, connection: Any, *, failed: bool) -> None:
        self._connections.give_back(connection, failed=failed)

    def _is_conflict(self, error: Exception) -> bool:
        # A connection that was lost while nobody used it is no reason to fail: nothing was sent, another is opened.
        return super()._is_conflict(error) or (self._connections.reused and is_of_lost_connection(error))
