"""Threads that ask somebody who may not answer."""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

# Seconds. Airflow kills a task five seconds after it was told to end, and pools are stopped one after the other.
_PATIENCE_IF_TASK_ENDS = 1.0
_PATIENCE = 20.0


class StoppingPool(ThreadPoolExecutor):
    """
    Threads that are left to themselves where they do not end in time: a request may go unanswered for minutes.

    The process of a task ends without them. One that ends as Python itself does, such as a script's, waits for them.
    """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self, until: float | None = None) -> float:
        """
        Drop what no thread has begun, and wait for what one has, but not for long, less so if the task ends.

        Not at all while a generator is closed.

        :param until: reading of the monotonic clock until which to wait, such as that of another pool, if need be.
        :return: until when it would have been waited.
        """
        self.shutdown(wait=False, cancel_futures=True)
        if until is None:
            until = time.monotonic() + _patience()
        for thread in self._threads:
            if (left := until - time.monotonic()) <= 0:
                break
            thread.join(left)
        return until


def _patience() -> float:
    """
    Return how long to wait, in seconds.

    Not at all while a generator is closed: Python's garbage collector may do so in any thread and line. That can be in
    one of these threads, or have a lock that one of them waits for, or that joining a thread asks for: who starts one
    has it. And what ends the task meanwhile would be lost.
    """
    error = sys.exception()
    if isinstance(error, GeneratorExit):
        return 0.0
    # What is no error ends the task.
    return _PATIENCE if error is None or isinstance(error, Exception) else _PATIENCE_IF_TASK_ENDS
