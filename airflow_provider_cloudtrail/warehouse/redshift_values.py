"""
What Redshift can hold of a value, and what is stored of one that it cannot.

A string has at most 65,535 bytes, in a column and inside of a SUPER value; a SUPER value has no repeated
member names, at most 1,000 levels and numbers of at most 38 digits
(https://docs.aws.amazon.com/redshift/latest/dg/limitations-super.html). A long string is shortened and
says so; a record that SUPER cannot hold as it is becomes an array of the pieces of its text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from airflow_provider_cloudtrail.warehouse.shorten import shortened

MAX_STRING = 65_535
"""Bytes of the longest VARCHAR."""
_MAX_DIGITS = 38
_MAX_EXPONENT = 300
_MAX_LEVELS = 1_000
_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')


class _CannotHoldError(ValueError):
    """Raised inside of this module for what SUPER refuses."""


def super_json(text: str, most: int) -> str:
    """
    Return JSON text that SUPER can hold: the same value where possible, long strings shortened.

    :param text: one JSON value.
    :param most: bytes that the result may have; a larger one becomes a string, shortened.
    """
    if len(text.encode()) <= most and _can_hold(text):
        return text
    try:
        value = json.loads(text, parse_int=_integer, parse_float=_fraction)
        for longest in (MAX_STRING, 8_192, 1_024):
            reduced = _json(_reduced(value, longest))
            if len(reduced.encode()) <= most and _can_hold(reduced):
                return reduced
    except (ValueError, RecursionError):
        pass
    # Escaped once more a text can be twice as long, and six times with control characters.
    limit = min(most, MAX_STRING)
    while len((whole := _json(shortened(text, limit))).encode()) > most and limit > 64:
        limit //= 2
    return whole


class StoredRecord(NamedTuple):
    """
    How a record is stored.

    :param json: JSON text that SUPER can hold.
    :param pieces: the strings of which ``json`` is the array; None: ``json`` is the record.
    :param cut: whether only its beginning is there.
    """

    json: str
    pieces: list[str] | None
    cut: bool


def super_record(text: str, most: int, most_parsed: int) -> StoredRecord:
    """
    Return how a record is stored, which is to stay complete.

    :param text: one JSON value.
    :param most: bytes of the longest record; of a longer one the beginning is kept, and a remark.
    :param most_parsed: bytes of the longest record that can become a SUPER value other than its pieces.
    """
    size = len(text.encode())
    if size <= most_parsed and _can_hold(text):
        return StoredRecord(text, None, cut=False)
    pieces = list(_pieces(shortened(text, most)))
    return StoredRecord(_json(pieces), pieces, cut=size > most)


def _can_hold(text: str) -> bool:
    encoded = text.encode()
    if len(encoded) > MAX_STRING or text.count("[") + text.count("{") > _MAX_LEVELS:
        levels = 0
        for token in _TOKENS.finditer(encoded):
            match token[0][:1]:
                case b'"':
                    # With its quotes; escapes make it look longer than it is, which does no harm.
                    if token.end() - token.start() - 2 > MAX_STRING:
                        return False
                case b"[" | b"{":
                    levels += 1
                    if levels > _MAX_LEVELS:
                        return False
                case _:
                    levels -= 1
    try:
        _STRICT.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def _members(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) > 1 and len(dict(pairs)) < len(pairs):
        raise _CannotHoldError


def _check_number(text: str) -> None:
    digits, _, exponent = text.lower().partition("e")
    # Counted with sign and point: what comes close to the limit is not worth a closer look.
    if len(digits) > _MAX_DIGITS or not text[-1].isdigit() or abs(int(exponent or 0)) > _MAX_EXPONENT:
        raise _CannotHoldError


_STRICT = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=_check_number, parse_float=_check_number, parse_constant=_check_number
)


def _integer(text: str) -> int | str:
    return int(text) if len(text) <= _MAX_DIGITS else text


def _fraction(text: str) -> float | str:
    try:
        _check_number(text)
    except _CannotHoldError:
        return text
    return float(text)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _reduced(value: Any, longest: int) -> Any:
    """Return a value whose strings have at most so many bytes."""
    if isinstance(value, str):
        return shortened(value, longest)
    if isinstance(value, list):
        return [_reduced(item, longest) for item in value]
    if isinstance(value, dict):
        return {shortened(name, longest): _reduced(member, longest) for name, member in value.items()}
    return value


def _pieces(text: str) -> Iterator[str]:
    encoded = text.encode()
    start = 0
    while start < len(encoded):
        end = start + MAX_STRING
        # Back to the begin of a character.
        while end < len(encoded) and encoded[end] & 0xC0 == 0x80:
            end -= 1
        yield encoded[start:end].decode()
        start = end
