"""HTTP servers that answer as a test has them, on a port of 127.0.0.1 that the system gives."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer
from typing import Any


class Handler(BaseHTTPRequestHandler):
    """What answers the requests of one connection; a test brings ``do_GET`` and so on."""

    protocol_version = "HTTP/1.1"
    # Status and content are two writes.
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Say nothing of each request."""

    def break_off(self) -> None:
        """Have the peer sent a reset instead of an answer."""
        self.close_connection = True
        # No lingering.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.close()


@contextmanager
def http_server(handler: type[Handler], context: ssl.SSLContext | None = None) -> Iterator[str]:
    """
    Run a server, and yield its address; at the end, connections that a client keeps open are closed.

    :param context: with the certificate of the server; None: it does without TLS.
    """
    server = _Server(("127.0.0.1", 0), handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    try:
        with serving(server) as address:
            yield address if context is None else address.replace("http:", "https:")
    finally:
        server.close_connections()


@contextmanager
def serving(server: BaseServer) -> Iterator[str]:
    """Have a server that listens answer in a thread of its own, and yield its address."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that breaks off is no failure of the server.
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def close_connections(self) -> None:
        """Have the threads end that wait for another request of their client."""
        for connection in self._connections.copy():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
