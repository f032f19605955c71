"""What is taken one after the other, made one step ahead of who takes it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TypeVar

from airflow_provider_cloudtrail.stopping_pool import StoppingPool

_Item = TypeVar("_Item")


def one_ahead(items: Iterator[_Item]) -> Generator[_Item, None, None]:
    """
    Yield items, none of which is None, while a thread of its own makes the next one; who closes it does not wait.

    :param items: is not asked by two threads at the same time.
    """
    # A thread of its own: among others that work it would wait for its turn.
    with StoppingPool(1, thread_name_prefix="cloudtrail-ahead") as pool:
        yield from ahead_in(pool, items)


def ahead_in(pool: StoppingPool, items: Iterator[_Item]) -> Iterator[_Item]:
    """
    Yield items, none of which is None, while a thread makes the next one.

    :param pool: the thread; who stops it waits for the item that is being made.
    :param items: is not asked by two threads at the same time.
    """
    future = pool.submit(next, items, None)
    while (item := future.result()) is not None:
        future = pool.submit(next, items, None)
        yield item
