"""Conditions on columns as pyiceberg's expressions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from functools import reduce
from typing import TYPE_CHECKING, Any

from airflow_provider_cloudtrail.warehouse.conditions import (
    AllOf,
    AnyOf,
    BeginsWith,
    Compare,
    Condition,
    Not,
    OneOf,
    Operator,
    Value,
)

if TYPE_CHECKING:
    from pyiceberg.expressions import BooleanExpression


_COMPARISONS: dict[Operator, str] = {
    "=": "EqualTo",
    "<>": "NotEqualTo",
    "<": "LessThan",
    "<=": "LessThanOrEqual",
    ">": "GreaterThan",
    ">=": "GreaterThanOrEqual",
}


def as_expression(condition: Condition) -> BooleanExpression:
    """Return a condition as an expression that filters scans and deletes."""
    from pyiceberg import expressions

    # Their constructors are generated, and say nothing of types.
    words: Any = expressions
    if isinstance(condition, AllOf | AnyOf):
        join = words.And if isinstance(condition, AllOf) else words.Or
        nothing = words.AlwaysTrue() if isinstance(condition, AllOf) else words.AlwaysFalse()
        joined: BooleanExpression = reduce(join, map(as_expression, condition.conditions), nothing)
        return joined
    expression: BooleanExpression
    if isinstance(condition, Not):
        expression = words.Not(as_expression(condition.condition))
    elif isinstance(condition, Compare):
        comparison = getattr(words, _COMPARISONS[condition.operator])
        expression = comparison(condition.column, _literal(condition.value))
    elif isinstance(condition, OneOf):
        expression = words.In(condition.column, list(condition.values))
    elif isinstance(condition, BeginsWith):
        expression = words.StartsWith(condition.column, condition.text)
    else:
        expression = words.IsNull(condition.column)
    return expression


def keys_within(column: str, keys: Sequence[str]) -> Condition:
    """Return the condition for rows with some keys; the bounds let files be passed over by what is known of them."""
    return AllOf([Compare(column, ">=", min(keys)), Compare(column, "<=", max(keys)), OneOf(column, keys)])


def _literal(value: Value) -> Any:
    # Text is what each version of pyiceberg makes a time with a zone of.
    return value.astimezone(timezone.utc).isoformat() if isinstance(value, datetime) else value
