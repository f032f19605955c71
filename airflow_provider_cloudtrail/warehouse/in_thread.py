"""
Statements that another thread carries out, so that who ends the task is heard meanwhile.

Airflow ends a task by an exception from a signal handler, which no driver lets run that waits outside of Python.
"""

from __future__ import annotations

import _thread
from collections.abc import Callable
from contextlib import suppress
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
    # Lists and a plain lock, and no Thread or Future: what those wait by is written in Python, and an exception that a
    # signal handler raises in the middle of it leaves a lock behind that nobody ever gives back.
    outcome: list[tuple[Any, BaseException | None]] = []
    is_called_off: list[bool] = []  # The first one counts.
    ended = _thread.allocate_lock()
    ended.acquire()

    def carry_out() -> None:
        is_called_off.append(False)
        if is_called_off[0]:
            return
        try:
            outcome.append((work(*arguments), None))
        except BaseException as error:
            outcome.append((None, error))
        ended.release()

    try:
        _thread.start_new_thread(carry_out, ())
        # Python does not hear before the lock is there of a signal that comes in the moment before it waits for it.
        while not ended.acquire(timeout=_AT_MOST):
            pass
    except BaseException:
        pause = _BETWEEN_INTERRUPTIONS
        # Again and again: a statement that has not begun yet is not ended by it.
        while True:
            # Where it fails, too, or is interrupted itself, what is told is why this thread was interrupted at first.
            with suppress(BaseException):
                is_called_off.append(True)
                if is_called_off[0] or outcome:
                    break
                try:
                    if interrupt is not None:
                        interrupt()
                finally:
                    ended.acquire(timeout=pause)
                    pause = min(pause * 2, _AT_MOST)
        raise
    result, error = outcome.pop()
    if error is None:
        return result
    try:
        raise error
    finally:
        # It would hold this frame, which holds it.
        del error
