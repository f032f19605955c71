from __future__ import annotations

import threading
from contextlib import closing

import pytest

from airflow_provider_cloudtrail import stopping_pool
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
    # Those two that were taken, and perhaps the one that was to be made ahead.
    made.acquire(blocking=False)
    assert not made.acquire(blocking=False)
    assert threading.current_thread() not in threads
    assert len(threads) == 1
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_an_item_that_never_comes_is_not_waited_for_at_the_end_of_the_task(monkeypatch):
    monkeypatch.setattr(stopping_pool, "_PATIENCE_IF_TASK_ENDS", 0.1)
    monkeypatch.setattr(stopping_pool, "_PATIENCE", 100.0)
    asked, answer, ended = threading.Event(), threading.Event(), threading.Event()

    def items():
        yield "first"
        asked.set()
        answer.wait(120)
        ended.set()

    def use():
        with closing(one_ahead(items())) as ahead:
            assert next(ahead) == "first"
            assert asked.wait(60)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        use()
    assert not ended.is_set()
    answer.set()
    assert ended.wait(60)
