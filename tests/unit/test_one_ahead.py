from __future__ import annotations

import threading
from contextlib import closing

import pytest

from airflow_provider_cloudtrail.one_ahead import one_ahead


def test_items_come_in_their_order_with_the_error_behind_them():
    def items():
        yield from ("first", "second")
        raise LookupError("third")

    found = []
    with pytest.raises(LookupError, match="third"):
        found.extend(one_ahead(items()))
    assert found == ["first", "second"]


def test_the_next_item_is_made_while_this_one_is_used():
    made, threads = threading.Semaphore(0), set()

    def items():
        for number in range(10):
            threads.add(threading.current_thread())
            made.release()
            yield number

    with closing(one_ahead(items())) as ahead:
        assert next(ahead) == 0
        for _ in range(2):
            assert made.acquire(timeout=60)
        assert next(ahead) == 1
    # Those two that were taken, and the one that was made ahead.
    assert made.acquire(timeout=60)
    assert not made.acquire(blocking=False)
    assert threading.current_thread() not in threads
    assert len(threads) == 1
    assert not any(thread.is_alive() for thread in threads)
