"""
Which records of a file can be wanted, told by a search of its bytes: none has to be parsed for it.

The needles of a selection are byte strings of which a wanted record contains at least one, such as the name of its
event source.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, count
from operator import add, itemgetter

from airflow_provider_cloudtrail.trail.codec import RawRecord
from airflow_provider_cloudtrail.trail.search import Searched

_BRACE = b"{"
_HEAD = b'{"Records":['
_TAIL = b"]}"
# No encoder writes letters, digits, '-' or '.' as an escape, but JSON allows it, and it would hide a name
# from a search of the bytes.
_ESCAPE = b"\\u00"
_HIDDEN = re.compile(rb"\\u00(?:2[dDeE]|3[0-9]|[4-7])")


def needle_places(needles: tuple[bytes, ...], data: bytes) -> Iterator[int]:
    """Yield where a needle begins, or what could hide one, in no order."""
    searched = Searched(data)
    for needle in needles:
        yield from searched.places(needle)
    # A search for one byte is faster than one for several, and in short files often all that is needed.
    if b"\\" in data and next(searched.places(_ESCAPE), None) is not None:
        # Large files are full of escapes: session tokens are written with "\\u003d" for "=". Only those are looked for
        # that a needle's characters could have, because what goes from one escape to the next holds Python's lock.
        for escape in _escapes(needles):
            for place in searched.places(escape):
                if _HIDDEN.match(data, place) is not None:
                    yield place


@lru_cache
def _escapes(needles: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return what those escapes begin with that stand for a character of a needle."""
    return tuple(sorted({b"%b%x" % (_ESCAPE, character >> 4) for needle in needles for character in needle}))


def record_offsets(document: bytes, raws: Sequence[RawRecord]) -> list[int] | None:
    """Return where each record begins, or None for a document that is not written as CloudTrail does: without space."""
    lengths = list(map(len, raws))
    # Each of the gaps has at least a comma, so that nothing else is in them if the sum is right.
    whole = len(_HEAD) + sum(lengths) + max(0, len(raws) - 1) + len(_TAIL)
    if len(document) != whole or not (document.startswith(_HEAD) and document.endswith(_TAIL)):
        return None
    # One byte more for each comma before it.
    return list(map(add, accumulate(lengths[:-1], initial=len(_HEAD)), count())) if lengths else []


def records_to_decode(
    needles: tuple[bytes, ...],
    places: Sequence[int],
    document: bytes,
    raws: Sequence[RawRecord],
    offsets: Sequence[int] | None,
) -> Sequence[int]:
    """Return the positions of the records that must be decoded: with a needle, or no objects at all."""
    if offsets is None:
        return [
            index
            for index, raw in enumerate(map(bytes, raws))
            if raw[:1] != _BRACE or next(needle_places(needles, raw), None) is not None
        ]
    # The places in the document say which records it is: none has to be searched again.
    wanted = holders(offsets, places)
    # The first once more: of a single place itemgetter gives no tuple.
    firsts = itemgetter(*offsets, offsets[0])(document)
    if firsts.count(_BRACE[0]) < len(firsts):
        wanted.update(index for index, first in enumerate(firsts[:-1]) if first != _BRACE[0])
    return sorted(wanted)


def holders(offsets: Sequence[int], places: Iterable[int]) -> set[int]:
    """Return the positions of the records in which places of the document lie."""
    return {bisect_right(offsets, place) - 1 for place in places}
