"""What is there in the place of the tables and cannot hold their rows: a view, a column of another type."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from airflow_provider_cloudtrail.audit_event import Column, ColumnKind

# By words in the names of types, whatever the engine. In MySQL booleans are tinyint.
_FAMILIES = {
    "text": re.compile(r"char|text|string|json|super|variant", re.IGNORECASE),
    "number": re.compile(r"int(?!erval)|long|number|numeric|decimal", re.IGNORECASE),
    "boolean": re.compile(r"bool|tinyint", re.IGNORECASE),
    "time": re.compile(r"time|date", re.IGNORECASE),
    "other": re.compile(r"float|double|real|byte|binary|blob|uuid", re.IGNORECASE),
}
_OF_KIND = {ColumnKind.INTEGER: "number", ColumnKind.BOOLEAN: "boolean", ColumnKind.TIMESTAMP: "time"}
VIEW = "view"


def unfit(
    expected: Mapping[str, Sequence[Column]],
    found: Iterable[tuple[str, str, Mapping[str, str]]],
    wanted: Mapping[str, str],
) -> str:
    """
    Return what is wrong with tables and what to do about it, or nothing.

    :param expected: columns by the plain name of a table.
    :param found: of each table its plain name, what it is, and the types of its columns by their names.
    :param wanted: names of the engine's own types by the value of a kind of column.
    """
    faults = []
    for table, is_a, types in found:
        if VIEW in is_a.lower():
            faults.append(f"{table} is a view, where a table is needed")
            continue
        for column in expected.get(table, ()):
            name = types.get(column.name, "")
            families = [family for family, words in _FAMILIES.items() if words.search(name)]
            if families and _OF_KIND.get(column.kind, "text") not in families:
                faults.append(f"column {column.name} of {table} is {name}, where {wanted[column.kind.value]} is needed")
    if not faults:
        return ""
    return (
        f"{'; '.join(faults)}. Rename what is in the way, then it is created anew; or name other tables by the "
        "parameter table"
    )
