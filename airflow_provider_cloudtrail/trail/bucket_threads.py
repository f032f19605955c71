"""
Threads that ask a bucket: few while it answers at once, many if it takes its time.

S3 takes tens of milliseconds to answer, whatever else is going on: then it pays to ask for many things at once.
Threads that do not wait for a bucket only pass Python's lock to and fro.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from itertools import islice
from types import TracebackType
from typing import TypeVar

from airflow_provider_cloudtrail.stopping_pool import StoppingPool

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

MOST_AT_ONCE = 64
"""
Requests that are made at the same time, at most, by default.

Where each takes 50 ms, that is some 1,000 a second: S3 allows 5,500 for a prefix, and KMS, which S3 asks for each
object under a key of the customer, several thousand for an account and Region.
"""
AT_FIRST = 4
"""Requests that are made at the same time while a bucket answers at once; more take more time together, not less."""
SLOW_SECONDS = 0.01
"""What even the quickest of some answers takes of a bucket that takes its time."""
_ANSWERS_LOOKED_AT = 16


class BucketThreads:
    """
    Threads for what asks a bucket; a context manager that ends them, and drops what they have not begun.

    :param most: requests that are made at the same time, at most.
    """

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self._most = most
        self.at_once = min(AT_FIRST, most)
        """How many threads there are now."""
        self._pool = self._new_pool()
        self._stopped = False
        self._submitting = threading.Lock()
        self._counting = threading.Lock()
        self._looked_at = 0
        self._quickest = math.inf
        self.slow = False
        """Whether the bucket was found to take its time."""

    def __enter__(self) -> BucketThreads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self, until: float | None = None) -> float:
        """Drop what no thread has begun, and wait for what one has, but not for long: see :meth:`StoppingPool.stop`."""
        self._stopped = True
        return self._pool.stop(until)

    def submit(self, work: Callable[[_Item], _Result], item: _Item) -> Future[_Result]:
        """Have a thread do some work on an item; may be called by several threads, but not by the work itself."""
        with self._submitting:
            if self.slow and self.at_once < self._most:
                # A pool does not grow: the small one ends what it was given, which is little.
                self._pool.shutdown()
                # Work that is left behind may still come here, and nobody would stop the threads of a new one.
                if not self._stopped:
                    self.at_once = self._most
                    self._pool = self._new_pool()
            return self._pool.submit(work, item)

    def map(self, work: Callable[[_Item], _Result], items: Iterable[_Item], *, ahead: int) -> Iterator[_Result]:
        """
        Yield what some work gives for each item, in their order.

        :param ahead: items that are worked on ahead of who takes the results; more, if more threads are there. As many
            as keep the threads busy are begun at once, before any result is asked for.
        """
        items = iter(items)
        first = deque(self.submit(work, item) for item in islice(items, min(ahead, 2 * self.at_once)))
        return self._results(work, items, first, ahead)

    def _results(
        self, work: Callable[[_Item], _Result], items: Iterator[_Item], pending: deque[Future[_Result]], ahead: int
    ) -> Iterator[_Result]:
        try:
            for item in items:
                pending.append(self.submit(work, item))
                if len(pending) > max(ahead, 2 * self.at_once):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Note how long the bucket takes to answer within, unless an error is raised; entered by the work."""
        started = time.monotonic()
        yield
        self.took(time.monotonic() - started)

    def took(self, seconds: float) -> None:
        """
        Note how long the bucket took to answer; called by the work, in any thread.

        From the next item on there are many threads if even the quickest of some answers was slow: the others may
        have waited for Python's lock as well, and the quickest has waited least.
        """
        with self._counting:
            self._looked_at += 1
            self._quickest = min(self._quickest, seconds)
            if self._looked_at == _ANSWERS_LOOKED_AT:
                self.slow = self.slow or self._quickest >= SLOW_SECONDS
                self._looked_at, self._quickest = 0, math.inf

    def _new_pool(self) -> StoppingPool:
        return StoppingPool(self.at_once, thread_name_prefix="cloudtrail")
