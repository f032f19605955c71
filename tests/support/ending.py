"""What Airflow does to a task that is told to end, or has taken too long."""

from __future__ import annotations

import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from airflow_provider_cloudtrail.warehouse import in_thread


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


def functions_of(thread: int) -> set[str]:
    """Return the names of the functions that a thread is in, by its identity; nothing if it has ended."""
    frame = sys._current_frames().get(thread)
    return {found.f_code.co_name for found, _ in traceback.walk_stack(frame)} if frame is not None else set()


def statements_have_ended() -> bool:
    """Tell whether no thread of this process is at a statement of a warehouse, or will not be in a moment."""
    until = time.monotonic() + 10
    while any(
        frame.f_code.co_filename == in_thread.__file__
        for thread in sys._current_frames().values()
        for frame, _ in traceback.walk_stack(thread)
    ):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True
