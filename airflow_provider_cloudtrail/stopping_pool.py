"""Threads that ask somebody who may not answer."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any

# Seconds. Airflow kills a task five seconds after it was told to end, and pools are stopped one after the other.
_PATIENCE_IF_TASK_ENDS = 1.0
_PATIENCE = 20.0


class StoppingPool(ThreadPoolExecutor):
    """
    Threads that are left to themselves where they do not end in time: a request may go unanswered for minutes.

    The process of a task ends without them. One that ends as Python itself does, such as a script's, waits for them.
    """

    def __init__(self, threads: int, thread_name_prefix: str) -> None:
        super().__init__(threads, thread_name_prefix)
        self._not_done: set[Future[Any]] = set()

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Have a thread do some work."""
        future = super().submit(work, *arguments, **named)
        self._not_done.add(future)
        future.add_done_callback(self._not_done.discard)
        return future

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self, until: float | None = None) -> float:
        """
        Drop what no thread has begun, and wait for what one has, but not for long, least of all if the task ends.

        :param until: reading of the monotonic clock until which to wait, such as that of another pool, if need be.
        :return: until when it would have been waited.
        """
        self.shutdown(wait=False, cancel_futures=True)
        if until is None:
            until = time.monotonic() + (_PATIENCE_IF_TASK_ENDS if _task_ends() else _PATIENCE)
        # For the work, not for the threads: a generator that uses a pool may be closed by Python's garbage collector,
        # and that in the middle of the start of a thread, which has the lock that joining any thread asks for.
        wait(set(self._not_done), max(until - time.monotonic(), 0))
        return until


def _task_ends() -> bool:
    """Tell whether what ends the task is being handled, which is no error; also by a generator that is closed then."""
    error = sys.exception()
    while isinstance(error, GeneratorExit):
        error = error.__context__
    return error is not None and not isinstance(error, Exception)
