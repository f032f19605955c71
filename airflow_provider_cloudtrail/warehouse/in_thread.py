"""
Statements that another thread carries out, so that who ends the task is heard meanwhile.

Airflow ends a task by an exception from a signal handler, which no driver lets run that waits outside of Python.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from threading import Thread
from typing import Any

# Seconds. An interruption may be a connection to a server that takes its time.
_BETWEEN_INTERRUPTIONS, _AT_MOST = 0.1, 1.0


def in_thread(interrupt: Callable[[], None] | None, work: Callable[..., Any], *arguments: Any) -> Any:
    """
    Have a thread do some work, and return what it gives when it is done.

    :param interrupt: ends the work; called when this thread is interrupted, as often as it takes. None: the
        work is waited for.
    :param work: is given the arguments.
    :raises BaseException: what the work raises; what this thread is interrupted by, behind the end of the work.
    """
    future: Future[Any] = Future()

    def carry_out() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(work(*arguments))
        except BaseException as error:
            future.set_exception(error)

    # Not a pool: what interrupts the start of its thread leaves a statement that nobody knows of, and waits for it.
    thread = Thread(target=carry_out, name="cloudtrail-statement")
    try:
        thread.start()
        return future.result()
    except BaseException:
        pause = _BETWEEN_INTERRUPTIONS
        # Again and again: one that has not begun yet is not ended by it.
        while not future.cancel() and not future.done():
            # Where it fails, too, or is interrupted itself, what is told is why this thread was interrupted at first.
            with suppress(BaseException):
                try:
                    if interrupt is not None:
                        interrupt()
                finally:
                    wait([future], pause)
                    pause = min(pause * 2, _AT_MOST)
        raise
    finally:
        if thread.is_alive():
            thread.join()
