"""A way to a server on which a single call fails: before it has arrived, or behind its effect, with its answer lost."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support.http_server import Handler, http_server

_OF_ONE_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})


@dataclass(frozen=True)
class Refusal:
    """
    What a call is answered with.

    :param status: of HTTP.
    :param code: of the error, as AWS writes it.
    """

    status: int
    code: str


CUT_OFF = "cut off"
"""Answer of the server, half of whose body comes before the connection breaks."""


@dataclass
class Fault:
    """
    One call that fails, of those through one proxy or several.

    :param number: which of the calls since the fault was set, the first being 0. A call that a client of AWS sends
        again is still the same one.
    :param ran: whether the server has done what it was asked for, the first time.
    :param answers: what it is answered with, the last one for ever; None: the connection breaks; or ``CUT_OFF``.
    :param attempts: how often the call fails that is sent again.
    :param counts: whether a call is counted, by its name (as in ``calls``).
    :param meanwhile: what others do between the effect and the answer.
    """

    number: int
    ran: bool
    answers: Sequence[Refusal | str | None] = (None,)
    attempts: int = 1_000
    counts: Callable[[str], bool] = lambda _: True
    meanwhile: Callable[[], None] = lambda: None
    calls: list[str] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)
    _struck: int = 0
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @property
    def happened(self) -> bool:
        return self._struck > 0

    def strike(self, name: str, identity: str | None) -> int | None:
        """Count a request, and tell how often its call has failed before; None if it is not to fail."""
        with self._guard:
            if not self.counts(name):
                return None
            number = self._numbers.get(identity) if identity is not None else None
            if number is None:
                number = len(self.calls)
                self.calls.append(name)
                if identity is not None:
                    self._numbers[identity] = number
            if number != self.number or self._struck >= self.attempts:
                return None
            self._struck += 1
            return self._struck - 1


@contextmanager
def failing(fault: Fault, *proxies: FaultyProxy) -> Iterator[Fault]:
    """Have a call fail among those that are made meanwhile."""
    for proxy in proxies:
        proxy.fault = fault
    try:
        yield fault
    finally:
        for proxy in proxies:
            proxy.fault = None


class FaultyProxy:
    """
    A proxy, not running yet.

    :param server: address of the server behind it.
    """

    def __init__(self, server: str) -> None:
        self._server = server.removeprefix("http://")
        self.fault: Fault | None = None
        self.endpoint = ""

    @contextmanager
    def running(self) -> Iterator[FaultyProxy]:
        proxy = self

        class Passing(Handler):
            def _pass_on(self) -> None:
                proxy.pass_on(self, _body_of(self))

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on

        with http_server(Passing) as self.endpoint:
            yield self

    def pass_on(self, request: Handler, body: bytes) -> None:
        target = request.headers.get("X-Amz-Target")
        name = f"{request.command} {request.path}" if target is None else target
        fault = self.fault
        before = None if fault is None else fault.strike(name, request.headers.get("amz-sdk-invocation-id"))
        if fault is None or before is None:
            _answer(request, *self._ask(request, body))
            return
        if fault.ran and not before:
            self._ask(request, body)
        if not before:
            fault.meanwhile()
        answer = fault.answers[min(before, len(fault.answers) - 1)]
        if isinstance(answer, str):
            _answer(request, *self._ask(request, body), cut_off=True)
            return
        if answer is None:
            request.break_off()
            return
        _answer(request, answer.status, *_refused(answer, of_s3=target is None))

    def _ask(self, request: Handler, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self._server, timeout=60)
        try:
            connection.putrequest(request.command, request.path, skip_host=True, skip_accept_encoding=True)
            for header, value in request.headers.items():
                if header.lower() not in ("connection", "expect", "transfer-encoding", "content-length"):
                    connection.putheader(header, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
            headers = [(header, value) for header, value in answer.getheaders() if header.lower() not in _OF_ONE_HOP]
            if request.command == "HEAD" and (size := answer.getheader("Content-Length")) is not None:
                headers.append(("Content-Length", size))
            return answer.status, headers, content
        finally:
            connection.close()


def _body_of(request: Handler) -> bytes:
    if request.headers.get("Transfer-Encoding") != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    body = b""
    while size := int(request.rfile.readline().partition(b";")[0], 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    while request.rfile.readline().strip():
        pass
    return body


def _answer(
    request: Handler,
    status: int,
    headers: list[tuple[str, str]],
    content: bytes,
    *,
    cut_off: bool = False,
) -> None:
    request.send_response(status)
    for header, value in headers:
        request.send_header(header, value)
    if not any(header == "Content-Length" for header, _ in headers):
        request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(content[: len(content) // 2] if cut_off else content)
    request.close_connection |= cut_off


def _refused(refusal: Refusal, *, of_s3: bool) -> tuple[list[tuple[str, str]], bytes]:
    if of_s3:
        body = f"<?xml version='1.0'?><Error><Code>{refusal.code}</Code><Message>made up</Message></Error>"
        return [("Content-Type", "application/xml")], body.encode()
    answer = {"__type": refusal.code, "message": "made up"}
    return [("Content-Type", "application/x-amz-json-1.1")], json.dumps(answer).encode()
