"""
Listings that threads begin ahead of who goes through them, in the order of what is listed.

A trail is as many folders as it has accounts and Regions, and S3 takes tens of milliseconds for a page of each. The
pages that are asked for are the same as one after the other.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from itertools import chain, islice
from typing import Any, Generic, TypeVar

from airflow_provider_cloudtrail.trail.bucket_threads import BucketThreads

_Item = TypeVar("_Item")
_Name = TypeVar("_Name")
_Begun = tuple[list[_Name], Iterator[_Name]]

MOST_LISTINGS = 16
"""Listings that are begun ahead, at most."""
# What S3 gives with one request.
_PAGE = 1_000
_PAGES_OF_EACH = 4
# So many names are held before no further listing is begun; each takes some 400 bytes.
_NAMES = 16 * _PAGE


def listings_ahead(
    listing_of: Callable[[_Item], Iterator[_Name]], items: Iterable[_Item], pool: BucketThreads | None
) -> Generator[tuple[_Item, Iterator[_Name]], None, None]:
    """
    Yield items, in their order, each with its listing.

    The first listing is made by who goes through it, so that a single one needs no thread. Of the next ones threads
    make the beginning meanwhile, which is some pages; the rest follows when it is asked for.

    :param listing_of: begins a listing; called by several threads.
    :param items: what is to be listed, none of it None; what it raises is raised behind the items before.
    :param pool: the threads; None: nothing is listed ahead.
    """
    if pool is None:
        for item in items:
            yield item, listing_of(item)
        return
    ahead = _Ahead(listing_of, items, pool)
    try:
        yield from ahead.listings()
    finally:
        ahead.stop()


class _Ahead(Generic[_Item, _Name]):
    def __init__(
        self, listing_of: Callable[[_Item], Iterator[_Name]], items: Iterable[_Item], pool: BucketThreads
    ) -> None:
        self._listing_of = listing_of
        self._failures: list[Exception] = []
        self._items = self._until_failure(items)
        self._pool = pool
        self._pending: deque[tuple[_Item, Future[_Begun[_Name]]]] = deque()
        self._stopped = threading.Event()

    def listings(self) -> Iterator[tuple[_Item, Iterator[_Name]]]:
        for item in islice(self._items, 1):
            self._begin_more()
            yield item, self._listing_of(item)
            self._begin_more()
        while self._pending:
            item, begun = self._pending.popleft()
            yield item, chain(*begun.result())
            del begun
            self._begin_more()
        if self._failures:
            raise self._failures[0]

    def stop(self) -> None:
        """Drop what no thread has begun, and let those that have begun end with their page."""
        self._stopped.set()
        for _, begun in self._pending:
            begun.cancel()

    def _begin_more(self) -> None:
        while len(self._pending) < min(self._pool.at_once, MOST_LISTINGS) and self._held() < _NAMES:
            if (item := next(self._items, None)) is None:
                break
            self._pending.append((item, self._pool.submit(self._begin, item)))

    def _held(self) -> int:
        """Return how many names listings have brought; of those that are under way a page is expected."""
        return sum(len(begun.result()[0]) if begun.done() else _PAGE for _, begun in self._pending)

    def _begin(self, item: _Item) -> _Begun[_Name]:
        begun: list[_Name] = []
        try:
            with self._pool.answering():
                names = self._listing_of(item)
                begun += islice(names, 1)
            for most in range(_PAGE, (_PAGES_OF_EACH + 1) * _PAGE, _PAGE):
                begun += islice(names, most - len(begun))
                if len(begun) < most or self._stopped.is_set():
                    break
        except Exception as error:
            # It is raised where the listing breaks off.
            return begun, _raising(error)
        return begun, names

    def _until_failure(self, items: Iterable[_Item]) -> Iterator[_Item]:
        try:
            yield from items
        except Exception as error:
            self._failures.append(error)


def _raising(error: Exception) -> Iterator[Any]:
    raise error
    yield
