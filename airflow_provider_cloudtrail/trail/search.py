"""
Where byte strings occur in others, found without keeping other threads waiting.

``bytes.find`` holds Python's lock while it goes through a whole log file, and all other threads stand still.
The C library's ``strstr`` does the same search in a fraction of the time, and ``ctypes`` lets go of the lock
meanwhile. It ends at the first NUL, which no JSON document holds: what does is searched with ``memmem``. Where a
C library has no such functions, ``bytes.find`` stands in.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import NamedTuple

_Finder = Callable[[bytes, int], int]
"""Returns where a byte string begins, at a place or behind it; -1: nowhere."""

# For fewer bytes a call by ctypes takes longer than the search.
SHORTEST_FOR_C = 8 * 1024
# Through fewer bytes it is done before the lock has changed hands.
SHORTEST_UNLOCKED = 32 * 1024


class _Finders(NamedTuple):
    """
    What gives two finders for bytes, which find the same.

    :param first: goes through what may be a whole file, and lets other threads work.
    :param further: holds the lock: where something is wanted, more of it is close by, and to wait for the lock
        behind each place takes longer than to look for the next one.
    """

    first: Callable[[bytes], _Finder]
    further: Callable[[bytes], _Finder]


class Searched:
    """
    Bytes in which several strings are looked for.

    :param data: they are gone through once more, unless there are few of them.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) < SHORTEST_FOR_C:
            finders = _PYTHON
        elif len(data) < SHORTEST_UNLOCKED:
            finders = _PYTHON if _holds_nul(data) else _LOCKED
        else:
            finders = _MEMMEM if _holds_nul_unlocked(data) else _STRSTR
        # Of what they search, finders may know the address alone.
        self._data = data
        self._first, self._further = finders.first(data), finders.further(data)

    def places(self, wanted: bytes) -> Iterator[int]:
        """
        Yield where a byte string begins, in order and without overlap.

        :param wanted: at least one byte, none of which is NUL.
        """
        place = self._first(wanted, 0)
        while place >= 0:
            yield place
            place = self._further(wanted, place + len(wanted))


def _function(
    library: type[ctypes.CDLL], name: str, result: type, *arguments: type
) -> Callable[..., int | None] | None:
    """Return a function of the C library, or None if it has none of this name."""
    try:
        function = getattr(library(None), name)
    except (AttributeError, OSError, TypeError):
        return None
    function.argtypes, function.restype = arguments, result
    found: Callable[..., int | None] = function
    return found


def _address(data: bytes) -> int:
    # Whoever searches keeps a reference to the bytes, and nobody can change them. NUL follows them.
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def _in_python(data: bytes) -> _Finder:
    return data.find


def _with_memmem(library: type[ctypes.CDLL]) -> Callable[[bytes], _Finder]:
    """Return what searches as the C library does, or as Python does where that cannot."""
    size = ctypes.c_size_t
    memmem = _function(library, "memmem", ctypes.c_void_p, ctypes.c_void_p, size, ctypes.c_char_p, size)
    if memmem is None:
        return _in_python

    def finder(data: bytes) -> _Finder:
        # Once for all places: it takes longer than to find one.
        begin = _address(data)

        def find(wanted: bytes, start: int) -> int:
            found = memmem(begin + start, len(data) - start, wanted, len(wanted))
            return -1 if found is None else found - begin

        return find

    return finder


def _with_strstr(library: type[ctypes.CDLL]) -> Callable[[bytes], _Finder]:
    """Return the same for bytes without NUL."""
    strstr = _function(library, "strstr", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)
    if strstr is None:
        return _in_python

    def finder(data: bytes) -> _Finder:
        begin = _address(data)

        def find(wanted: bytes, start: int) -> int:
            found = strstr(begin + start, wanted)
            return -1 if found is None else found - begin

        return find

    return finder


def _with_strlen(library: type[ctypes.CDLL]) -> Callable[[bytes], bool]:
    """Return what tells whether bytes hold NUL."""
    strlen = _function(library, "strlen", ctypes.c_size_t, ctypes.c_char_p)
    if strlen is None:
        return lambda data: b"\0" in data
    return lambda data: strlen(data) != len(data)


_holds_nul, _holds_nul_unlocked = _with_strlen(ctypes.PyDLL), _with_strlen(ctypes.CDLL)
_PYTHON = _Finders(_in_python, _in_python)
_LOCKED = _Finders(_with_strstr(ctypes.PyDLL), _with_strstr(ctypes.PyDLL))
_STRSTR = _Finders(_with_strstr(ctypes.CDLL), _with_strstr(ctypes.PyDLL))
_MEMMEM = _Finders(_with_memmem(ctypes.CDLL), _with_memmem(ctypes.PyDLL))
