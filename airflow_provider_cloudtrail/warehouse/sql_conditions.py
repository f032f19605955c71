"""Conditions on columns in the words of SQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from airflow_provider_cloudtrail.warehouse.conditions import (
    AllOf,
    AnyOf,
    BeginsWith,
    Compare,
    Condition,
    Not,
    OneOf,
    Value,
)


class SqlCondition(NamedTuple):
    """
    A condition in the words of SQL.

    :param text: as it follows WHERE and AND; nothing: it holds for all rows.
    :param values: for its placeholders.
    """

    text: str
    values: list[Any]

    @property
    def besides(self) -> str:
        """Return it as it follows another condition."""
        return f" AND {self.text}" if self.text else ""


def as_sql(
    condition: Condition,
    *,
    quoted: Callable[[str], str],
    mark: str,
    value: Callable[[Value], Any],
    max_in_list: int = 1_000,
) -> SqlCondition:
    """
    Return a condition in the words of SQL.

    :param quoted: quotes the name of a column.
    :param mark: a placeholder.
    :param value: returns a value as the driver takes it.
    :param max_in_list: most placeholders in one list behind IN.
    """
    if isinstance(condition, AllOf | AnyOf | Not):
        parts = [condition.condition] if isinstance(condition, Not) else condition.conditions
        rendered = [as_sql(part, quoted=quoted, mark=mark, value=value, max_in_list=max_in_list) for part in parts]
        texts = [text for text, _ in rendered]
        values = [one for _, of_part in rendered for one in of_part]
        if isinstance(condition, AllOf):
            return SqlCondition(" AND ".join(texts), values)
        # What AllOf gives needs no brackets of its own in here: AND binds stronger than OR.
        return SqlCondition(f"NOT ({texts[0]})" if isinstance(condition, Not) else f"({' OR '.join(texts)})", values)
    name = quoted(condition.column)
    if isinstance(condition, Compare):
        return SqlCondition(f"{name} {condition.operator} {mark}", [value(condition.value)])
    if isinstance(condition, OneOf):
        marks = [mark] * len(condition.values)
        starts = range(0, len(marks) or 1, max_in_list)
        lists = [f"{name} IN ({', '.join(marks[start : start + max_in_list])})" for start in starts]
        return SqlCondition(lists[0] if len(lists) == 1 else f"({' OR '.join(lists)})", [*condition.values])
    if isinstance(condition, BeginsWith):
        # Not LIKE, in which names of buckets could be patterns.
        return SqlCondition(f"SUBSTR({name}, 1, {len(condition.text)}) = {mark}", [condition.text])
    return SqlCondition(f"{name} IS NULL", [])
