"""Ports for servers that have to be told one."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reserved_port() -> Iterator[int]:
    """
    Yield a port of 127.0.0.1 that nobody else is given meanwhile, neither as any port nor for a connection.

    A server that sets ``SO_REUSEADDR``, as all do, can listen on it all the same; on Linux only, so that elsewhere it
    is let go before.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        if sys.platform != "linux":
            holder.close()
        yield port
