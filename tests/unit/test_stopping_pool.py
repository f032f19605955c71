from __future__ import annotations

import subprocess
import sys

PROGRAM = """if True:
    import contextlib, gc, threading
    from airflow_provider_cloudtrail.one_ahead import one_ahead
    gc.disable()
    left = [one_ahead(iter(range(9)))]
    next(left[0])
    left.append(left)
    del left
    # Who starts a thread has it for a moment, in which garbage may be collected; Python 3.13 has no such lock.
    with getattr(threading, "_shutdown_locks_lock", contextlib.nullcontext()):
        assert gc.collect()
    print("collected")
"""


def test_what_is_left_behind_may_be_collected_while_a_thread_is_started() -> None:
    """In a process of its own, which would hang."""
    command = [sys.executable, "-c", PROGRAM]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout, ended.stderr) == ("collected\n", "")
