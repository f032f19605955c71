"""
Where Arrow takes its memory from while tables are read and written.

Its own allocators keep what each of its many threads has freed: while 33 MiB are in use at most, a task that loads
300,000 events comes to hold 100 more. The system's gives back what is free, and what Python has freed besides.
"""

from __future__ import annotations

import os
import sys

_CHOICE = "ARROW_DEFAULT_MEMORY_POOL"


def import_arrow() -> None:
    """
    Import Arrow such that it takes its memory from the system.

    It asks once in a process, when it is imported: it stays as it is if something else has imported it, or the
    user has chosen by its variable.
    """
    if "pyarrow" in sys.modules or _CHOICE in os.environ:
        return
    os.environ[_CHOICE] = "system"
    try:
        import pyarrow

        pyarrow.default_memory_pool()
    finally:
        del os.environ[_CHOICE]


def give_back_memory() -> None:
    """Give back to the system what Arrow does not need now: most of a task's time is spent elsewhere."""
    import pyarrow

    pyarrow.default_memory_pool().release_unused()
