"""
Take out of a record what must not reach a warehouse.

Until 2022 MWAA wrote login and CLI tokens into its records, and the API model marks the bodies of REST
calls as sensitive. Warehouses, for their part, refuse NUL and halves of surrogate pairs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from airflow_provider_cloudtrail.trail.search import Searched

MASK = "***"
"""What AWS itself writes in place of a secret."""

SECRET_MEMBERS = frozenset({"clitoken", "webtoken", "restapiresponse"})
"""Members whose values are secret, in lower case."""
SECRET_OF_REST_CALLS = frozenset({"body"})
"""Members whose values are secret in calls of the REST API as well."""
_REST_CALL = b"InvokeRestApi"
_TOKEN, _REST_RESPONSE, _BODY = b'token"', b'restapiresponse"', b'body"'
# As AWS itself writes what it has masked: in the answer of each REST call.
_MASKED = b':"%b"' % MASK.encode()
_ESCAPE = b"\\u"
# Punctuation and digits of ASCII: of the tokens that AssumeRole answers, each "=" is written so, of URLs each "&".
_HARMLESS_ESCAPES = (b"\\u002", b"\\u003")
# Shorter values would take ordinary words out of other texts.
SHORTEST_SECRET = 16
_UNWANTED = re.compile("[\x00\ud800-\udfff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def may_need_scrubbing(raw: bytes) -> bool:
    """Tell from the bytes of a record, without decoding it, whether :func:`scrub` could change it."""
    return next(suspicious_places(raw), None) is not None


def suspicious_places(data: bytes) -> Iterator[int]:
    """
    Yield where bytes of one or of many records hold what :func:`scrub` could change, in no order.

    A backslash-u escape may stand for NUL, for half a surrogate pair or for a letter of a secret's name; those that
    real trails are full of stand for none of these.
    """
    searched, lowered = Searched(data), data.lower()
    # A search for one byte is faster than one for two, and in one record often all that is needed.
    if b"\\" in data:
        for place in searched.places(_ESCAPE):
            if not data.startswith(_HARMLESS_ESCAPES, place):
                yield place
    # Bodies are secret in these calls only.
    names = (_REST_RESPONSE, _BODY) if next(searched.places(_REST_CALL), None) is not None else (_REST_RESPONSE,)
    searched = Searched(lowered)
    for name in names:
        for place in searched.places(name):
            if not lowered.startswith(_MASKED, place + len(name)):
                yield place
    for place in searched.places(_TOKEN):
        if lowered.startswith((b"cli", b"web"), max(0, place - 3)):
            yield place


def scrub(record: Any) -> tuple[Any, int]:
    """
    Return a decoded JSON value without secrets, NUL and lone surrogates, and the number of secrets.

    Values of secret members become ``***``; the same text elsewhere in the record too. NUL is left out,
    a lone surrogate becomes U+FFFD.

    :param record: any decoded JSON value; it is not changed.
    """
    (cleaned,), count = scrub_together([record])
    return cleaned, count


def scrub_together(values: Sequence[Any]) -> tuple[list[Any], int]:
    """
    Return several values as :func:`scrub` does one; a secret of one is taken out of all.

    :param values: a record and what belongs to it.
    """
    record = values[0]
    rest_call = isinstance(record, dict) and record.get("eventName") == _REST_CALL.decode()
    names = SECRET_MEMBERS | SECRET_OF_REST_CALLS if rest_call else SECRET_MEMBERS
    secrets: list[str] = []
    masked, count = _mask(list(values), names, secrets)
    cleaned: list[Any] = _clean(masked, [secret for secret in secrets if len(secret) >= SHORTEST_SECRET])
    return cleaned, count


def hidden_members(text: str) -> list[dict[str, Any]]:
    """
    Return the members of a record that decoders pass over, because another one of the same name is behind them.

    :param text: the record, valid JSON.
    """
    hidden: list[dict[str, Any]] = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, content in pairs:
            if name in found:
                hidden.append({name: found[name]})
            found[name] = content
        return found

    # Numbers are left as they are written: some are not for int().
    json.loads(text, object_pairs_hook=members, parse_int=str, parse_float=str, strict=False)
    return hidden


def _mask(value: Any, names: frozenset[str], secrets: list[str]) -> tuple[Any, int]:
    if isinstance(value, dict):
        count = 0
        masked: dict[str, Any] = {}
        for name, content in value.items():
            if name.lower() in names and content is not None and content not in (MASK, ""):
                if isinstance(content, str):
                    secrets.append(content)
                masked[name] = MASK
                count += 1
            else:
                masked[name], found = _mask(content, names, secrets)
                count += found
        return masked, count
    if isinstance(value, list):
        pairs = [_mask(content, names, secrets) for content in value]
        return [content for content, _ in pairs], sum(found for _, found in pairs)
    return value, 0


def _clean(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        return _clean_text(value, secrets)
    if isinstance(value, list):
        return [_clean(content, secrets) for content in value]
    if isinstance(value, dict):
        cleaned: dict[str, Any] = {}
        for name, content in value.items():
            key = _clean_text(name, secrets)
            while key in cleaned:
                key += _REPLACEMENT
            cleaned[key] = _clean(content, secrets)
        return cleaned
    return value


def _clean_text(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, MASK)
    if _UNWANTED.search(text):
        text = _SURROGATE.sub(_REPLACEMENT, text.replace("\x00", ""))
    return text
