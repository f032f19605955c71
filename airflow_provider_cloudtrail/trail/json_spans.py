"""
Where the records stand in the text of a log file, found without decoding them.

For where ``msgspec`` is not installed or refuses a document: goes through it with the scanners of ``json``, and takes
what they take.
"""

from __future__ import annotations

import json
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import NoReturn

Span = tuple[int, int]


class NoRecordsError(ValueError):
    """Raised when a document is JSON, but no object with a list ``Records``."""


def refuse_constant(name: str) -> NoReturn:
    """Stand for NaN and the infinities, which :mod:`json` takes for JSON."""
    raise ValueError(f"{name} is not JSON")


def _ignore_number(digits: str) -> None:
    """Stand for a number whose place, not value, is wanted: int() refuses those of thousands of digits."""


_SKIPPER = json.JSONDecoder(parse_constant=refuse_constant, parse_int=_ignore_number, parse_float=_ignore_number)
_SPACE = " \t\n\r"


def _skip_space(text: str, position: int) -> int:
    while text[position] in _SPACE:
        position += 1
    return position


def _expect(text: str, position: int, characters: str) -> str:
    if text[position] not in characters:
        raise json.JSONDecodeError("unexpected character", text, position)
    return text[position]


def record_spans(text: str) -> list[Span]:
    """
    Return start and end of each element of the last ``Records`` of a document.

    :raises NoRecordsError: if there is no such list.
    :raises ValueError: if it is not JSON; IndexError: if it ends too early.
    """
    spans: list[Span] | None = None
    position = _skip_space(text, 0)
    if text[position] != "{":
        _SKIPPER.decode(text)
        raise NoRecordsError("the document is no JSON object with a list Records")
    position = _skip_space(text, position + 1)
    last = text[position] == "}"
    while not last:
        _expect(text, position, '"')
        name, position = scanstring(text, position + 1, True)
        position = _skip_space(text, position)
        _expect(text, position, ":")
        position = _skip_space(text, position + 1)
        if name == "Records" and text[position] == "[":
            spans, position = _element_spans(text, position)
        else:
            if name == "Records":
                spans = None
            _, position = _SKIPPER.raw_decode(text, position)
        position = _skip_space(text, position)
        last = _expect(text, position, ",}") == "}"
        if not last:
            position = _skip_space(text, position + 1)
    if text[position + 1 :].strip(_SPACE):
        raise json.JSONDecodeError("bytes behind the document", text, position + 1)
    if spans is None:
        raise NoRecordsError("Records is missing or not a list")
    return spans


def _element_spans(text: str, position: int) -> tuple[list[Span], int]:
    """Return start and end of each element of the list that starts here, and the position behind it."""
    spans: list[Span] = []
    position = _skip_space(text, position + 1)
    if text[position] == "]":
        return spans, position + 1
    while True:
        start = position
        _, position = _SKIPPER.raw_decode(text, position)
        spans.append((start, position))
        position = _skip_space(text, position)
        if _expect(text, position, ",]") == "]":
            return spans, position + 1
        position = _skip_space(text, position + 1)
