from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from airflow_provider_cloudtrail.warehouse.in_thread import in_thread
from tests.support.ending import TaskEndedError


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
