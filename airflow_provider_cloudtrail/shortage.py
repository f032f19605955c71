"""What a machine lacks when an error says so: memory, room, files, threads. Nothing is wrong with data or code then."""

from __future__ import annotations

import errno

_MEMORY = "The worker is out of memory: give it more, or let fewer tasks run on it at once"
_THREADS = "The worker may start no more threads: allow more, or let fewer tasks run on it at once"
_FILES = "The worker has too many files open: allow more (ulimit -n), or let fewer tasks run on it at once"
_ROOM = "The disk of the worker is full: make room there"
_AGAIN = ". Then run this again, it goes on from what is stored"
_OF_SYSTEM = {
    errno.ENOMEM: _MEMORY,
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
}


def shortage(error: BaseException) -> str | None:
    """Return what the machine lacks on which an error was raised, and what to do; None if that is not why."""
    if isinstance(error, MemoryError):
        found: str | None = _MEMORY
    elif isinstance(error, OSError):
        found = _OF_SYSTEM.get(error.errno or 0)
    elif isinstance(error, RuntimeError) and "start new thread" in str(error):
        found = _THREADS
    else:
        found = None
    return found and found + _AGAIN
