"""Processes that are killed -9 while they are at work, on a machine that may be faster or slower than a moment ago."""

from __future__ import annotations

import select
import signal
import subprocess
import time

FURTHER_LINES = 2
"""A process that has said so many more lines is killed at once: it is faster than was thought."""


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
    rest, _ = process.communicate(timeout=30)
    at_work = b"{" not in said + rest
    # One that had failed by itself is not what the test is about.
    assert not at_work or process.returncode == -signal.SIGKILL
    return at_work
