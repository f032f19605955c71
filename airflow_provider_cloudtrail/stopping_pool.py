"""Threads that ask somebody who may not answer."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

# Far more than an answer of S3 takes. Some pools may take these of the five seconds that Airflow gives who is to end.
_PATIENCE = 1.0


class StoppingPool(ThreadPoolExecutor):
    """Threads that are left to themselves where they do not end in time: a request may go unanswered for minutes."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Drop what no thread has begun, and wait for what one has, but not for long."""
        self.shutdown(wait=False, cancel_futures=True)
        until = time.monotonic() + _PATIENCE
        for thread in self._threads:
            thread.join(max(until - time.monotonic(), 0))
