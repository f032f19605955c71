"""How drivers of PostgreSQL carry out statements so that who ends the task is heard, whatever the server does."""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Iterable
from typing import Any

from airflow_provider_cloudtrail.warehouse.in_thread import in_thread

# Seconds: what a server is given to answer at all, and to end a statement.
_TO_ANSWER, _TO_CANCEL = 2.0, 5.0
# Which every server answers with one byte before it asks who is there, and so does what pools connections to it.
_ASKS_FOR_TLS = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")


class InterruptibleCursor:
    """
    A cursor whose statements another thread carries out.

    psycopg2 lets no signal handler run while the server is at one. psycopg does, and then waits, without any limit, for
    the answers to many rows or the end of a COPY. What this thread is interrupted by has the server cancel the
    statement, and is raised behind its end.

    :param cursor: of psycopg or psycopg2.
    """

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def execute(self, *statement: Any) -> None:
        """Carry out a statement."""
        in_thread(Cancellation(self._cursor.connection), self._cursor.execute, *statement)

    def executemany(self, *statement: Any) -> None:
        """Carry out a statement with one row of values after the other."""
        in_thread(Cancellation(self._cursor.connection), self._cursor.executemany, *statement)

    def copy_from(self, statement: str, texts: Iterable[str]) -> None:
        """
        Carry out a COPY from here.

        :param texts: whole rows each.
        """
        in_thread(Cancellation(self._cursor.connection), self._copy_from, statement, texts)

    def _copy_from(self, statement: str, texts: Iterable[str]) -> None:
        if hasattr(self._cursor, "copy_expert"):  # psycopg2
            for text in texts:
                self._cursor.copy_expert(statement, io.StringIO(text))
        else:
            with self._cursor.copy(statement) as copy:
                for text in texts:
                    copy.write(text)

    def __getattr__(self, name: str) -> Any:
        """Return what else the cursor has."""
        return getattr(self._cursor, name)


def commit(connection: Any) -> None:
    """Commit: a server that waits for its standby, or does not answer any more, may take for ever."""
    in_thread(Cancellation(connection), connection.commit)


class Cancellation:
    """
    Has the server cancel what a connection is at, as often as it is called, and gives the connection up in the end.

    :param connection: of psycopg or psycopg2.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._until: float | None = None

    def __call__(self) -> None:
        """Try it once; what is at work ends soon, or fails."""
        if self._until is None:
            self._until = time.monotonic() + _TO_CANCEL
        with socket.socket(fileno=os.dup(self._connection.fileno())) as server:
            # Drivers wait for the answer, most of them for ever, and let no other thread of Python run meanwhile.
            if time.monotonic() < self._until and _answers(server):
                cancel = getattr(self._connection, "cancel_safe", None)  # psycopg 3.2
                self._connection.cancel() if cancel is None else cancel(timeout=_TO_CANCEL)
            else:
                # Whoever waits for the server is told that it is gone.
                server.shutdown(socket.SHUT_RDWR)


def _answers(server: socket.socket) -> bool:
    """Tell whether the server at the other end of a connection answers a new one."""
    with socket.socket(server.family, socket.SOCK_STREAM) as other:
        other.settimeout(_TO_ANSWER)
        try:
            other.connect(server.getpeername())
            other.sendall(_ASKS_FOR_TLS)
            return bool(other.recv(1))
        except OSError:
            return False
