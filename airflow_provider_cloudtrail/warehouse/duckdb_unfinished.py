"""
A database file whose creation was broken off: a task was killed, or the disk was full, when it was the first to write.

DuckDB writes three headers, one after the other. Without the last one it never opens the file again, nor an empty one,
whatever is tried: nothing was ever stored in such a file, and it has to go.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

_HEADERS = 3 * 4096
_MARK, _MARKED = b"DUCK", slice(8, 12)
# Seconds. Who has just made a file may not have it locked yet, and would go on to write into one that is gone.
_LONGEST_CREATION = 60.0


def is_being_made(database: str) -> bool:
    """Tell whether the file has no headers yet, and may still get them."""
    try:
        return _is_unfinished(Path(database).expanduser(), of_age=False)
    except OSError:
        return False


def discard_unfinished(database: str) -> bool:
    """
    Remove the file if its creation was broken off, so that the next one to open it makes it anew.

    :param database: what DuckDB is told to open.
    :return: whether it was removed; False also if somebody has it open.
    """
    with suppress(OSError):
        # Not a link that leads to it: the file is to be made where this one is.
        path = Path(database).expanduser().resolve()
        if _is_unfinished(path, of_age=True):
            with path.open("r+b") as file:
                # As DuckDB does. Looked at once more behind it: another may have been here first.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(file.fileno()), path.stat()) and _is_unfinished(path, of_age=True):
                    path.unlink()
                    return True
    return False


def _is_unfinished(path: Path, *, of_age: bool) -> bool:
    found = path.stat()
    if found.st_size >= _HEADERS or (time.time() - found.st_mtime >= _LONGEST_CREATION) is not of_age:
        return False
    with path.open("rb") as file:
        begin = file.read(_MARKED.stop)
    # What is no database of DuckDB, such as a file of the user's that the connection names by mistake, stays.
    return not begin or begin[_MARKED] == _MARK
