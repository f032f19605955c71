"""
Statements that another thread carries out, so that who ends the task is heard meanwhile.

Airflow ends a task by an exception from a signal handler, which no driver lets run that waits outside of Python.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import Any

_BETWEEN_INTERRUPTIONS = 0.1
"""Seconds."""


def in_thread(interrupt: Callable[[], None] | None, work: Callable[..., Any], *arguments: Any) -> Any:
    """
    Have a thread do some work, and return what it gives when it is done.

    :param interrupt: ends the work; called when this thread is interrupted, which is raised behind the end of the work.
        None: the work is waited for.
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
        # Again and again: one that has not begun yet is not ended by it.
        while not future.cancel() and not future.done():
            if interrupt is not None:
                interrupt()
            wait([future], _BETWEEN_INTERRUPTIONS)
        raise
    finally:
        if thread.is_alive():
            thread.join()


class InterruptibleCursor:
    """
    A cursor of psycopg2 whose statements another thread carries out.

    :param cursor: the cursor.
    """

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def execute(self, *statement: Any) -> None:
        """Carry out a statement; what this thread is interrupted by has the server cancel it, and is raised then."""
        in_thread(self._cursor.connection.cancel, self._cursor.execute, *statement)

    def copy_expert(self, *statement: Any) -> None:
        """Carry out a COPY; interrupted as a statement is."""
        in_thread(self._cursor.connection.cancel, self._cursor.copy_expert, *statement)

    def __getattr__(self, name: str) -> Any:
        """Return what else the cursor has."""
        return getattr(self._cursor, name)
