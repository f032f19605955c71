from __future__ import annotations

import gc
import threading
import time
import weakref
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


def test_who_closes_it_does_not_wait_for_an_item_that_never_comes(monkeypatch):
    monkeypatch.setattr(stopping_pool, "_PATIENCE_IF_TASK_ENDS", 100.0)
    monkeypatch.setattr(stopping_pool, "_PATIENCE", 100.0)
    asked, answer, ended = threading.Event(), threading.Event(), threading.Event()

    def items():
        yield "first"
        asked.set()
        answer.wait(50)
        ended.set()

    ahead = one_ahead(items())
    assert next(ahead) == "first"
    assert asked.wait(60)
    ahead.close()
    assert not ended.is_set()
    answer.set()
    assert ended.wait(60)


def test_who_waits_for_a_thread_may_collect_what_it_has_left_behind(monkeypatch):
    """Python's garbage collector does not know what its thread holds, such as the lock of a log."""
    monkeypatch.setattr(stopping_pool, "_PATIENCE", 100.0)
    held, asked, ended = threading.Lock(), threading.Event(), threading.Event()

    def items():
        yield "first"
        asked.set()
        with held:
            ended.set()

    left: list[object] = [ahead := one_ahead(items())]
    left.append(left)
    collected = weakref.ref(ahead)
    with held:
        assert next(ahead) == "first"
        assert asked.wait(60)
        del left, ahead
        before = time.monotonic()
        gc.collect()
        assert time.monotonic() - before < 50
    assert collected() is None
    assert ended.wait(60)
