"""
How often Python looks for garbage that refers to itself, while many rows are made.

The collector looks each time that 700 more objects are there, and every so often at all of them: some 200,000 in a
worker of Airflow, which takes 150 ms, in which no thread works. Rows refer to nothing that refers to them: in a load of
300,000 events a twelfth of the CPU was spent to find that out.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

# With more, nothing is gained.
_MORE_OBJECTS = 10_000
_changing = Lock()
_usual: list[tuple[int, int, int]] = []
"""What held before, once for each that is within."""


@contextmanager
def fewer_collections() -> Iterator[None]:
    """
    Have the collector look less often, in all of the process; several threads may be within.

    One that is switched off, or looks less often still, is left so.
    """
    with _changing:
        before = gc.get_threshold()
        _usual.append(_usual[0] if _usual else before)
        if 0 < before[0] < _MORE_OBJECTS:
            gc.set_threshold(_MORE_OBJECTS, *before[1:])
    try:
        yield
    finally:
        with _changing:
            before = _usual.pop()
            if not _usual:
                gc.set_threshold(*before)
