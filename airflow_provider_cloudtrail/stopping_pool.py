"""Threads that ask somebody who may not answer."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

# Airflow gives a task five seconds to end, of which some pools may take these: more than an answer of S3 takes.
_PATIENCE_AT_THE_END = 1.0
_PATIENCE = 20.0


class StoppingPool(ThreadPoolExecutor):
    """Threads that are left to themselves where they do not end in time: a request may go unanswered for minutes."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Drop what no thread has begun, and wait for what one has, but not for long, least of all if the task ends."""
        self.shutdown(wait=False, cancel_futures=True)
        until = time.monotonic() + (_PATIENCE_AT_THE_END if _task_ends() else _PATIENCE)
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0))


def _task_ends() -> bool:
    """Tell whether what is being handled ends the task: it is no error, nor that a generator is closed for its own."""
    error = sys.exception()
    while isinstance(error, GeneratorExit):
        error = error.__context__
    return error is not None and not isinstance(error, Exception)
