"""Pieces of SQL that Athena (engine version 3) understands, for statements that are put together from many."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

from airflow_provider_cloudtrail.pushdown.record_fields import RecordField, Shape

LONGEST_STATEMENT = 262_144
"""Most bytes that Athena takes as the text of a statement."""


class StatementTooLongError(ValueError):
    """Raised for a statement that Athena would refuse because of its length."""


def checked(statement: str) -> str:
    """
    Return a statement that Athena takes.

    :raises StatementTooLongError: if it is too long: lists of names are what makes it so.
    """
    size = len(statement.encode())
    if size > LONGEST_STATEMENT:
        raise StatementTooLongError(
            f"the statement has {size} bytes and Athena takes {LONGEST_STATEMENT}; give fewer account_ids, "
            "event_names or environment_names, in several tasks"
        )
    return statement


def text_literal(text: str) -> str:
    """Return a text as a literal. Backslashes mean nothing in it."""
    return "'" + text.replace("'", "''") + "'"


def time_literal(moment: datetime) -> str:
    """Return a time as a literal, in UTC."""
    return f"CAST('{moment.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S.%f}' AS timestamp(6))"


def among(expression: str, values: Iterable[str]) -> str:
    """Return a condition: the value is one of these."""
    return f"{expression} IN ({', '.join(map(text_literal, sorted(values)))})"


def first_match(expression: str, pattern: str, group: int = 0) -> str:
    r"""
    Return what a pattern finds first, or null.

    Patterns are such as all engines read alike, Trino in the syntax of Java
    (https://trino.io/docs/current/functions/regexp.html): no look-around, a bracket within brackets is escaped, and
    the end of a text is ``\z``, because ``$`` also holds before a last line end. What begins with ``.*`` begins with
    ``^.*``: not every engine sees by itself that it need not be tried at each place of a long text.
    """
    return f"NULLIF(regexp_extract({expression}, {text_literal(pattern)}, {group}), '')"


def boolean(expression: str) -> str:
    """Return a boolean that is written as text, or null if it is neither, as :func:`..trail.fields.boolean` does."""
    return f"CASE lower(trim({expression})) WHEN 'true' THEN true WHEN 'false' THEN false END"


def scalar(document: str, name: str) -> str:
    """Return a member of a JSON object as text; null for the empty text, objects and lists."""
    return f"NULLIF(json_extract_scalar({document}, '$.{name}'), '')"


def is_nested(document: str, name: str) -> str:
    """Return a condition: a member of a JSON object is an object or a list."""
    return f"substr(json_format(json_extract({document}, '$.{name}')), 1, 1) IN ('{{', '[')"


def json_text(expression: str) -> str:
    """
    Return a text as JSON.

    Control characters other than these three are not escaped: who calls this leaves records with them alone.
    """
    escaped = expression
    # The backslash first, or it would escape the escapes.
    for character, written in (("'\\'", "'\\\\'"), ("'\"'", "'\\\"'")):
        escaped = f"replace({escaped}, {character}, {written})"
    for code, written in ((10, "'\\n'"), (13, "'\\r'"), (9, "'\\t'")):
        escaped = f"replace({escaped}, chr({code}), {written})"
    return f"concat('\"', {escaped}, '\"')"


def json_value(field: RecordField, expression: str) -> str:
    """
    Return a column, or a field of a struct, as the JSON that it was in the record, or null.

    :param field: what it is.
    :param expression: where it is.
    """
    match field.shape:
        case Shape.TEXT:
            return json_text(expression)
        case Shape.BOOLEAN:
            return f"CASE WHEN {expression} IN ('true', 'false') THEN {expression} ELSE {json_text(expression)} END"
        case Shape.JSON:
            return expression
        case Shape.MAP:
            return f"json_format(CAST({expression} AS JSON))"
        case Shape.OBJECT:
            return f"CASE WHEN {expression} IS NOT NULL THEN {json_object(field.members, expression + '.')} END"
        case Shape.LIST:
            item = f"CASE WHEN item IS NULL THEN 'null' ELSE {json_object(field.members, 'item.')} END"
            items = f"COALESCE(array_join(transform({expression}, item -> {item}), ','), '')"
            return f"CASE WHEN {expression} IS NOT NULL THEN concat('[', {items}, ']') END"


def json_object(fields: Iterable[RecordField], path: str) -> str:
    """
    Return fields as a JSON object; those that are null are left out.

    :param path: what stands before their names.
    """
    # array_join passes over nulls, and what is put together with a null is null.
    members = ", ".join(f"concat('\"{field.name}\":', {json_value(field, path + field.column)})" for field in fields)
    # Of nulls alone Trino makes the empty text, other engines null.
    return f"concat('{{', COALESCE(array_join(ARRAY[{members}], ','), ''), '}}')"
