"""
What SQL cannot read as the worker path reads it, and why: conditions on a wanted record.

A log file with such a record is left to the worker path as a whole: none of its rows is loaded and the ledger does
not know it. So nothing is lost, nothing is guessed, and no secret is loaded because a rule is hard to say in SQL.
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_cloudtrail.pushdown.audit_events import COLUMNS
from airflow_provider_cloudtrail.pushdown.record_fields import RECORD_FIELDS, Shape
from airflow_provider_cloudtrail.pushdown.sql import is_nested, text_literal
from airflow_provider_cloudtrail.trail.scrub import TOLD_BY_AWS

_GUID = "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}\\z"
_TIME = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:[Zz]|[+]00:00)?\\z"
# SQL has a year 0, which is no time for those who read the table with Python.
_NO_YEAR = "0000"
# Control characters, and what stands for a character that is none.
_CHARACTERS = "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f]"
# NUL, an ASCII letter (which could hide the name of a secret) or half a surrogate pair, written as an escape.
_ESCAPES = "\\\\u(?:0000|00[4-7]|[dD][89a-fA-F])"
_NUMBERS = "[:,\\[]-?(?:[0-9][0-9.]*[eE][+]?[0-9]{3}|[0-9]{400}|Infinity|NaN)"

DOCUMENTS = tuple(field.column for field in RECORD_FIELDS if field.shape is Shape.JSON)
_READ_AS_TEXT = (
    ("requestparameters", "Name"),
    ("requestparameters", "name"),
    ("requestparameters", "Method"),
    ("requestparameters", "Path"),
    ("responseelements", "message"),
)

# What becomes a part of a row as it is in the record.
_NOT_SCRUBBED = (
    "identity_text",
    COLUMNS["resources"],
    *(field.column for field in RECORD_FIELDS if field.name in TOLD_BY_AWS and field.shape is Shape.TEXT),
)

NO_OBJECT = " OR ".join(f"COALESCE(NOT starts_with({name}, '{{'), false)" for name in DOCUMENTS)
"""Condition: a column that should be an object is something else. To be asked before ``records`` leaves that out."""

REASONS: Mapping[str, str] = {
    "event_id": f"eventid IS NULL OR NOT regexp_like(eventid, '{_GUID}')",
    "event_time": (
        f"eventtime IS NULL OR NOT regexp_like(eventtime, '{_TIME}') OR starts_with(eventtime, '{_NO_YEAR}')"
        f" OR {COLUMNS['event_time']} IS NULL"
    ),
    "no_object": "no_object",
    "characters": (
        f"regexp_like(record_text, {text_literal(_CHARACTERS)}) OR regexp_like(record_text, {text_literal(_ESCAPES)})"
        " OR strpos(record_text, chr(65533)) > 0"
    ),
    "number": " OR ".join(f"COALESCE(regexp_like({name}, '{_NUMBERS}'), false)" for name in DOCUMENTS),
    "secret": (
        "secrets > 1 OR (secrets = 1 AND secret IS NULL)"
        + "".join(f" OR COALESCE(strpos({text}, secret) > 0, false)" for text in _NOT_SCRUBBED)
    ),
    "nested_text": " OR ".join(f"COALESCE({is_nested(*member)}, false)" for member in _READ_AS_TEXT),
}
"""Conditions by the word that names them; see :data:`MEANINGS`."""

MEANINGS: Mapping[str, str] = {
    "event_id": "no eventID in CloudTrail's form; one is derived from the text of the record, which SQL does not have",
    "event_time": "no eventTime, or one with a fraction of a second or another zone than UTC",
    "no_object": "requestParameters, responseElements or the like is text, a number or a list",
    "characters": "control characters, halves of surrogate pairs, or letters that are written as escapes",
    "number": "a number that may be beyond what JSON columns store",
    "secret": (
        "secrets that cannot be taken out by their text: objects, short ones, those like numbers, several, or also in "
        "what AWS tells of the call, such as userIdentity"
    ),
    "nested_text": "an object or a list where text is expected",
    "quarantined_records": "read for another selection, and a part of it is in quarantine",
    "selection": "read for a selection that a later version of this package has written",
}


def reason() -> str:
    """Return an expression: the first thing that is wrong with a wanted record, or null."""
    return "CASE " + " ".join(f"WHEN {condition} THEN '{name}'" for name, condition in REASONS.items()) + " END"
