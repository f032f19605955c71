from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from airflow_provider_cloudtrail.warehouse.in_thread import in_thread
from tests.support.ending import TaskEndedError
from tests.support.engines import REPOSITORY


def test_work_that_fails() -> None:
    with pytest.raises(ZeroDivisionError):
        in_thread(None, lambda: 1 // 0)


def test_interruption_that_fails_does_not_hide_why_and_is_tried_again(end_task: Callable[[], None]) -> None:
    interrupted = threading.Event()
    attempts: list[str] = []

    def interrupt() -> None:
        attempts.append(threading.current_thread().name)
        if len(attempts) == 3:
            interrupted.set()
        raise OSError("the server takes no connection")

    def work() -> None:
        end_task()
        assert interrupted.wait(60)

    with pytest.raises(TaskEndedError):
        in_thread(interrupt, work)
    assert len(attempts) >= 3
    assert set(attempts) == {threading.main_thread().name}


def test_who_is_interrupted_once_more_goes_on_to_end_the_work(end_task: Callable[[], None]) -> None:
    interrupted = threading.Event()
    attempts: list[int] = []

    def interrupt() -> None:
        attempts.append(len(attempts))
        if len(attempts) < 3:
            end_task()
        interrupted.set()

    def work() -> bool:
        end_task()
        return interrupted.wait(60)

    with pytest.raises(TaskEndedError):
        in_thread(interrupt, work)
    assert interrupted.is_set()


PROGRAM = """if True:
    import random, signal, threading, traceback
    from airflow_provider_cloudtrail.warehouse.in_thread import in_thread
    from tests.support.ending import TaskEndedError
    def end(_, at):
        if any(frame.f_code is in_thread.__code__ for frame, _ in traceback.walk_stack(at)):
            raise TaskEndedError
    signal.signal(signal.SIGALRM, end)
    at_random = random.Random(1)
    ended = 0
    for _ in range(6000):
        lock = threading.Lock()
        lock.acquire()
        signal.setitimer(signal.ITIMER_REAL, at_random.uniform(0.00003, 0.0009), at_random.uniform(0.0003, 0.003))
        try:
            in_thread(lock.release, lock.acquire, True, 0.0005)
        except TaskEndedError:
            ended += 1
    print("ended" if ended else "nothing was interrupted")
"""


def test_who_is_interrupted_at_any_moment_comes_to_an_end() -> None:
    """In a process of its own, which would hang. What ends a task may be raised in the middle of any function."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, check=False, cwd=REPOSITORY
    )
    assert (ended.stdout, ended.stderr) == ("ended\n", "")
