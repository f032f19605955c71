"""What Airflow does to a task that is told to end, or has taken too long."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class TaskEndedError(BaseException):
    """What Airflow raises in the main thread, wherever it is."""


@contextmanager
def ended_by_signal() -> Iterator[Callable[[], None]]:
    """Yield what has the main thread raise it."""

    def end(*_: Any) -> None:
        raise TaskEndedError

    before = signal.signal(signal.SIGALRM, end)
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    try:
        yield lambda: signal.pthread_kill(main_thread, signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, before)


def once(condition: Callable[[], Any], then: Callable[[], None]) -> threading.Thread:
    """Have a thread do something when a condition holds."""

    def wait() -> None:
        until = time.monotonic() + 60
        while not condition() and time.monotonic() < until:
            time.sleep(0.01)
        then()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread
