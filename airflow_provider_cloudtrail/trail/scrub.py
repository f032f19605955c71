"""
Take out of a record what must not reach a warehouse.

Until 2022 MWAA wrote login and CLI tokens into its records, and the API model marks the bodies of REST
calls as sensitive. Warehouses, for their part, refuse NUL and halves of surrogate pairs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from airflow_provider_cloudtrail.trail.search import Searched

MASK = "***"
"""What AWS itself writes in place of a secret."""

SECRET_MEMBERS = frozenset({"clitoken", "webtoken", "restapiresponse"})
"""Members whose values are secret, in lower case."""
SECRET_OF_REST_CALLS = frozenset({"body"})
"""Members whose values are secret in calls of the REST API as well."""
TOLD_BY_AWS = frozenset({
    *("userIdentity", "eventTime", "eventSource", "eventName", "eventID", "eventType", "eventVersion", "eventCategory"),
    *("awsRegion", "sourceIPAddress", "recipientAccountId", "requestID", "sharedEventID", "resources", "errorCode"),
})
"""Members that say who did what, where, and whether it was denied: no text is taken out of them."""
DOCUMENTS_OF_API = ("requestParameters", "responseElements")
"""
Where a secret stands that is looked for elsewhere, too: members of these, as of the record, have their names from AWS.

Whoever calls chooses the names of tags, and could take any text out of a record by calling it a secret.
"""
_REST_CALL = b"InvokeRestApi"
_TOKEN, _REST_RESPONSE, _BODY = b'token"', b'restapiresponse"', b'body"'
# As AWS itself writes what it has masked: in the answer of each REST call.
_MASKED = b':"%b"' % MASK.encode()
_ESCAPE = b"\\u"
# Punctuation and digits of ASCII: of the tokens that AssumeRole answers, each "=" is written so, of URLs each "&".
_HARMLESS_ESCAPES = (b"\\u002", b"\\u003")
# Shorter values would take ordinary words out of other texts.
SHORTEST_SECRET = 16
# Real records have one, or two. Of more, as somebody can write them who forges a file, each is not looked for alone.
_MOST_SECRETS = 4
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

    Values of secret members become ``***``. So does the text of those that stand directly in the record or in
    ``DOCUMENTS_OF_API`` elsewhere, but for ``TOLD_BY_AWS``; or, if there are many, each text that holds the beginning
    of one. NUL is left out, a lone surrogate becomes U+FFFD, which also stands, with a number, behind a name that would
    be there twice.

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
    masked, count = _mask(list(values), names)
    documents = [record.get(name) for name in DOCUMENTS_OF_API] if isinstance(record, dict) else []
    texts = (text for members in (*values, *documents) for text in _secrets_in(members, names))
    without_secrets = _without(text for text in texts if len(text) >= SHORTEST_SECRET)
    return [_clean(value, without_secrets, TOLD_BY_AWS) for value in masked], count


def readable(value: Any) -> Any:
    """Return a decoded JSON value without NUL and lone surrogates, in which secrets are left."""
    return _clean(value, str)


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


def _is_secret(name: str, content: Any, names: frozenset[str]) -> bool:
    # Of letters beyond ASCII some become one of a name, and are looked for nowhere else.
    return name.isascii() and name.lower() in names and content is not None and content not in (MASK, "")


def _mask(value: Any, names: frozenset[str]) -> tuple[Any, int]:
    if isinstance(value, dict):
        count = 0
        masked: dict[str, Any] = {}
        for name, content in value.items():
            masked[name], found = (MASK, 1) if _is_secret(name, content, names) else _mask(content, names)
            count += found
        return masked, count
    if isinstance(value, list):
        pairs = [_mask(content, names) for content in value]
        return [content for content, _ in pairs], sum(found for _, found in pairs)
    return value, 0


def _secrets_in(members: Any, names: frozenset[str]) -> Iterator[str]:
    """Yield the texts of secret members that stand directly in an object."""
    if isinstance(members, dict):
        for name, content in members.items():
            if isinstance(content, str) and _is_secret(name, content, names):
                yield content


def _without(secrets: Iterable[str]) -> Callable[[str], str]:
    """Return what takes secrets out of a text, in time that does not grow with their number if there are many."""
    # Each before what is a part of it.
    each = sorted(dict.fromkeys(secrets), key=len, reverse=True)
    if len(each) <= _MOST_SECRETS:

        def replaced(text: str) -> str:
            for secret in each:
                if secret in text:
                    text = text.replace(secret, MASK)
            return text

        return replaced
    beginnings = {secret[:SHORTEST_SECRET] for secret in each}

    def masked(text: str) -> str:
        places = range(len(text) - SHORTEST_SECRET + 1)
        return text if beginnings.isdisjoint(text[at : at + SHORTEST_SECRET] for at in places) else MASK

    return masked


def _clean(value: Any, without_secrets: Callable[[str], str], told: frozenset[str] = frozenset()) -> Any:
    if isinstance(value, str):
        return _clean_text(value, without_secrets)
    if isinstance(value, list):
        return [_clean(content, without_secrets) for content in value]
    if isinstance(value, dict):
        cleaned: dict[str, Any] = {}
        # How many names became this one: to look for a free one from the first on would take hours in a large record.
        times: dict[str, int] = {}
        for name, content in value.items():
            wanted = key = _clean_text(name, without_secrets)
            while key in cleaned:
                times[wanted] = times.get(wanted, 1) + 1
                key = f"{wanted}{_REPLACEMENT}{times[wanted]}"
            cleaned[key] = _clean(content, str if name in told else without_secrets)
        return cleaned
    return value


def _clean_text(text: str, without_secrets: Callable[[str], str]) -> str:
    text = without_secrets(text)
    if _UNWANTED.search(text):
        text = _SURROGATE.sub(_REPLACEMENT, text.replace("\x00", ""))
    return text
