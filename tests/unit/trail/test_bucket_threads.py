from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from airflow_provider_cloudtrail import stopping_pool
from airflow_provider_cloudtrail.trail.bucket_threads import AT_FIRST, BucketThreads


def double(number: int) -> int:
    return 2 * number


def answered(threads: BucketThreads, *seconds: float) -> int:
    """Note answers and return how many threads there are for what is submitted next."""
    for one in seconds:
        threads.took(one)
    assert threads.submit(double, 1).result() == 2
    return threads.at_once


def test_one_quick_answer_shows_that_the_bucket_is_not_slow() -> None:
    with BucketThreads(8) as threads:
        assert answered(threads, 1.0, 0.0, *[1.0] * 14) == AT_FIRST
        # Each portion of answers is looked at anew.
        assert answered(threads, *[0.02] * 15) == AT_FIRST
        assert answered(threads, 0.02) == 8
        assert answered(threads, *[0.0] * 40) == 8


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_threads_than_allowed(most: int) -> None:
    with BucketThreads(most) as threads:
        assert answered(threads, *[1.0] * 32) == most


def test_what_was_begun_by_few_is_ended_before_many_begin() -> None:
    running: set[int] = set()
    most = 0
    lock, many = threading.Lock(), threading.Event()

    def work(number: int) -> int:
        nonlocal most
        with lock:
            running.add(number)
            most = max(most, len(running))
            if most > AT_FIRST:
                many.set()
        threads.took(1.0)
        if number >= 100:
            # Without more threads this would end by its timeout.
            many.wait(30)
        threading.Event().wait(0.002)
        with lock:
            running.remove(number)
        return number

    with BucketThreads(6) as threads:
        assert list(threads.map(work, range(200), ahead=16)) == list(range(200))
    assert AT_FIRST < most <= 6


def test_results_come_in_order_and_only_so_many_items_are_taken_ahead() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(100):
            taken += 1
            yield number

    with BucketThreads(8) as threads:
        for given, result in enumerate(threads.map(double, items(), ahead=10)):
            assert result == 2 * given
            assert taken <= given + 11


def test_a_failure_comes_in_its_place_and_what_is_behind_it_is_dropped() -> None:
    begun = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 3:
            raise OSError("no answer")
        return number

    with BucketThreads(1) as threads:
        results = threads.map(work, range(1_000), ahead=5)
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(OSError, match="no answer"):
            next(results)
    assert len(begun) < 20


@pytest.mark.parametrize(
    ("patience", "error"), [("_PATIENCE_IF_TASK_ENDS", KeyboardInterrupt()), ("_PATIENCE", LookupError())]
)
def test_what_is_not_answered_is_not_waited_for_for_long(
    monkeypatch: pytest.MonkeyPatch, patience: str, error: BaseException
) -> None:
    monkeypatch.setattr(stopping_pool, "_PATIENCE", 100.0)
    monkeypatch.setattr(stopping_pool, patience, 0.1)
    answer, begun = threading.Event(), threading.Semaphore(0)
    asked: list[Future[int]] = []

    def work(number: int) -> int:
        begun.release()
        assert answer.wait(120)
        return number

    def ask() -> None:
        with BucketThreads(2) as threads:
            asked.extend(threads.submit(work, number) for number in range(4))
            assert begun.acquire(timeout=60)
            assert begun.acquire(timeout=60)
            raise error

    before = time.monotonic()
    with pytest.raises(type(error)):
        ask()
    assert time.monotonic() - before < 60
    assert [future.cancelled() for future in asked] == [False, False, True, True]
    answer.set()
    assert [future.result(60) for future in asked[:2]] == [0, 1]


def test_what_is_being_answered_is_waited_for() -> None:
    begun = threading.Event()

    def work(seconds: float) -> float:
        begun.set()
        time.sleep(seconds)
        return seconds

    with BucketThreads(1) as threads:
        asked = threads.submit(work, 0.2)
        assert begun.wait(60)
    assert asked.done()


def test_pools_that_are_stopped_together_are_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping_pool, "_PATIENCE", 100.0)
    answer = threading.Event()
    threads = BucketThreads(1)
    asked = threads.submit(answer.wait, 120)
    before = time.monotonic()
    assert threads.stop(before) == before
    assert time.monotonic() - before < 60
    answer.set()
    assert asked.result(60)


def test_who_comes_behind_the_end_is_given_no_threads() -> None:
    threads = BucketThreads()
    threads.slow = True
    threads.stop()
    with pytest.raises(RuntimeError, match="shutdown"):
        threads.submit(str, 1)
    assert threads.at_once == AT_FIRST
