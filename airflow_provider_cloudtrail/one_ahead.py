"""What is taken one after the other, made one step ahead of who takes it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TypeVar

from airflow_provider_cloudtrail.stopping_pool import StoppingPool

_Item = TypeVar("_Item")


def one_ahead(items: Iterator[_Item]) -> Generator[_Item, None, None]:
    """
    Yield items, none of which is None, while a thread of its own makes the next one.

    :param items: is not asked by two threads at the same time.
    """
    # A thread of its own: among others that work it would wait for its turn.
    with StoppingPool(1, thread_name_prefix="cloudtrail-ahead") as pool:
        future = pool.submit(next, items, None)
        while (item := future.result()) is not None:
            future = pool.submit(next, items, None)
            yield item
