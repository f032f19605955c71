"""
A database file whose creation was broken off: a task was killed, or the disk was full, when it was the first to write.

DuckDB writes three headers, one after the other. Without the last one it never opens the file again, nor an empty one,
whatever is tried: nothing was ever stored in such a file, and it has to go.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

_HEADERS = 3 * 4096
_MARK, _MARKED = b"DUCK", slice(8, 12)
# Seconds. Who has just made a file may not have it locked yet, and would go on to write into one that is gone.
_LONGEST_CREATION = 60.0


def is_being_made(database: str) -> bool:
    """Tell whether the file has no headers yet, and may still get them."""
    # Not opened for that: when it is closed, this process loses its locks on the file, those of DuckDB, too.
    with suppress(OSError, RuntimeError):
        found = Path(database).expanduser().stat()
        return found.st_size < _HEADERS and not _is_of_age(found)
    return False


def discard_unfinished(database: str) -> bool:
    """
    Remove the file if its creation was broken off, so that the next one to open it makes it anew.

    :param database: what DuckDB is told to open. Nothing in this process has it open, or is about to.
    :return: whether it was removed; False also if another process has it open.
    """
    # RuntimeError: there is no home directory, or links lead in a circle.
    with suppress(OSError, RuntimeError):
        # Not a link that leads to it: the file is to be made where this one is.
        path = Path(database).expanduser().resolve()
        found = path.stat()
        if found.st_size < _HEADERS and _is_of_age(found):
            with path.open("r+b") as file:
                # As DuckDB does. Looked at once more behind it: another may have been here first.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                locked = os.fstat(file.fileno())
                if (
                    os.path.samestat(locked, path.stat())
                    and locked.st_size < _HEADERS
                    and _may_be_of_duckdb(file.read(_MARKED.stop))
                    and not _has_log(path)
                ):
                    log.warning("%s has no headers, its creation was broken off: it is made anew", path)
                    path.unlink()
                    return True
    return False


def _is_of_age(found: os.stat_result) -> bool:
    return time.time() - found.st_mtime >= _LONGEST_CREATION


def _may_be_of_duckdb(begin: bytes) -> bool:
    """Tell it from what is no database, such as a file of the user's that the connection names by mistake."""
    return not begin or begin[_MARKED] == _MARK


def _has_log(path: Path) -> bool:
    """Tell whether DuckDB's log beside it holds anything: then it is what a copy or a repair has left of a database."""
    log_of_database = path.with_name(f"{path.name}.wal")
    return log_of_database.exists() and log_of_database.stat().st_size > 0
