"""Which rows are meant: conditions on columns, which each kind of engine puts into its own words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

Value: TypeAlias = str | int | bool | datetime
"""What a column can be compared with."""
Operator = Literal["=", "<>", "<", "<=", ">", ">="]


@dataclass(frozen=True)
class Compare:
    """Rows whose value stands in a relation to another; a null stands in none."""

    column: str
    operator: Operator
    value: Value


@dataclass(frozen=True)
class OneOf:
    """Rows whose value is one of some; a null is none of them."""

    column: str
    values: Sequence[str]


@dataclass(frozen=True)
class IsNull:
    """Rows without a value."""

    column: str


@dataclass(frozen=True)
class BeginsWith:
    """Rows whose text begins with another; case counts."""

    column: str
    text: str


@dataclass(frozen=True)
class AllOf:
    """Rows that fulfil all of some conditions."""

    conditions: Sequence[Condition]


@dataclass(frozen=True)
class AnyOf:
    """Rows that fulfil one of some conditions, or several."""

    conditions: Sequence[Condition]


@dataclass(frozen=True)
class Not:
    """
    Rows that do not fulfil a condition.

    Of columns that it compares, none may be null there: engines differ in what the contrary of unknown is.
    """

    condition: Condition


Condition: TypeAlias = Compare | OneOf | IsNull | BeginsWith | AllOf | AnyOf | Not


def between(column: str, first: datetime, last: datetime) -> list[Condition]:
    """Return the conditions for rows of a time, both ends included."""
    return [Compare(column, ">=", first), Compare(column, "<=", last)]


def of_these(account_ids: Collection[str] | None, regions: Collection[str] | None) -> list[Condition]:
    """Return the conditions that select rows of accounts and Regions; None: of any."""
    return [
        OneOf(column, list(names))
        for column, names in (("account_id", account_ids), ("region", regions))
        if names is not None
    ]
