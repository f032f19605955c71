"""
Where a byte string occurs in others, found without keeping other threads waiting.

``bytes.find`` holds Python's lock while it goes through a whole log file, and all other threads stand still.
The C library's ``memmem`` does the same search in a third of the time, and ``ctypes`` lets go of the lock
meanwhile. Where a C library has no such function, ``bytes.find`` stands in.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator

_Finder = Callable[[bytes, bytes, int], int]

# Through fewer bytes Python is done before the lock has changed hands.
SHORTEST_FOR_MEMMEM = 32 * 1024


def places(wanted: bytes, data: bytes) -> Iterator[int]:
    """
    Yield where a byte string begins in others, in order and without overlap.

    :param wanted: at least one byte.
    :param data: what is searched.
    """
    first, next_one = (bytes.find, bytes.find) if len(data) < SHORTEST_FOR_MEMMEM else (_find_unlocked, _find)
    place = first(data, wanted, 0)
    while place >= 0:
        yield place
        place = next_one(data, wanted, place + len(wanted))


def _with_memmem(library: type[ctypes.CDLL]) -> _Finder:
    """Return ``bytes.find`` as the C library does it, or as Python does where that cannot."""
    try:
        memmem = library(None).memmem
    except (AttributeError, OSError, TypeError):
        return bytes.find
    memmem.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t)
    memmem.restype = ctypes.c_void_p

    def find(data: bytes, wanted: bytes, start: int) -> int:
        # The caller's reference keeps the bytes where they are, and nobody can change them.
        begin: int = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
        found: int | None = memmem(begin + start, len(data) - start, wanted, len(wanted))
        return -1 if found is None else found - begin

    return find


# Most files hold nothing that is wanted: the first search goes through all of them. In the others places lie close
# together, and to wait for the lock behind each takes longer than to look for the next one.
_find_unlocked = _with_memmem(ctypes.CDLL)
_find = _with_memmem(ctypes.PyDLL)
