"""Processes that are killed -9 while they are at work, on a machine that may be faster or slower than a moment ago."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import time

FURTHER_LINES = 2
"""A process that has said so many more lines is killed at once: it is faster than was thought."""
_LONGEST_SECONDS = 600


class SayLine(logging.Handler):
    """
    Says a line on standard output for some messages of a log, and lets the process go only so far.

    :param line: what it says.
    :param of: what stands in the messages, before their values.
    :param lines: after so many lines the process waits to be killed by :func:`kill_after`, which may be late: whoever
        runs it may have been kept waiting for longer than the rest takes. None: it goes on to its end.
    """

    def __init__(self, line: str, of: str, lines: int | None) -> None:
        super().__init__()
        self._line = line
        self._of = of
        self._most = None if lines is None else lines + FURTHER_LINES
        self._said = 0

    def emit(self, record: logging.LogRecord) -> None:
        if self._of not in record.msg:
            return
        print(self._line, flush=True)
        self._said += 1
        if self._said == self._most:
            time.sleep(_LONGEST_SECONDS)
            # Nobody is there any more.
            os._exit(1)


def kill_after(process: subprocess.Popen[bytes], lines: int, seconds: float) -> bool:
    """
    Kill a process some time after it has said a number of lines; return whether it was still at work.

    :param process: writes lines, unbuffered, the last of which is its result in JSON.
    :param lines: how many lines come first.
    :param seconds: how long behind them.
    """
    assert process.stdout is not None
    said = b"".join(process.stdout.readline() for _ in range(lines))
    deadline = time.monotonic() + seconds
    for _ in range(FURTHER_LINES):
        ready, _, _ = select.select([process.stdout], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            break
        said += process.stdout.readline()
    process.kill()
    rest, _ = process.communicate(timeout=60)
    at_work = b"{" not in said + rest
    # One that had failed by itself is not what the test is about.
    assert not at_work or process.returncode == -signal.SIGKILL
    return at_work
