"""
What the event selectors of a trail record, decided exactly.

Basic selectors are written as advanced ones first. A selector matches an event if all its conditions do; a
trail records what any of its selectors matches. Whether that is everything is decided by cases: the values of a
field fall into classes that no condition can tell apart, and one value of each class stands for all of them.

Sources: API reference, AdvancedFieldSelector and EventSelector; user guide, "Filtering data events by using
advanced event selectors" (how several conditions on one field are evaluated).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

ENVIRONMENT_TYPE = "AWS::MWAA::Environment"

# Stands for any text that no condition mentions; it cannot occur in a value.
ANYTHING_ELSE = "\0"

_SELECT: dict[str, Callable[[str, str], bool]] = {
    "Equals": str.__eq__,
    "StartsWith": str.startswith,
    "EndsWith": str.endswith,
}
_DESELECT = {f"Not{operator}": test for operator, test in _SELECT.items()}
_TESTS = _SELECT | _DESELECT

# What GetEventSelectors leaves out for a trail without selectors: the documented default.
_DEFAULT = {"ReadWriteType": "All", "IncludeManagementEvents": True}
# Of the types that basic selectors know, the one whose values are prefixes; the others are whole ARNs.
_PREFIX_TYPE = "AWS::S3::Object"
_READ_ONLY = {"ReadOnly": "true", "WriteOnly": "false"}


class Reach(Enum):
    """How much of a set of events is recorded."""

    ALL = "all"
    SOME = "some"
    NONE = "none"


@dataclass(frozen=True)
class Condition:
    """
    A condition on one field of an event.

    :param field: such as ``eventName``.
    :param tests: pairs of operator and value.
    """

    field: str
    tests: tuple[tuple[str, str], ...]

    def accepts(self, value: str) -> bool:
        """Tell whether a value fulfils it: one of the selecting tests, and none of the deselecting ones."""
        if any(operator not in _TESTS for operator, _ in self.tests):
            # An operator that did not exist when this was written: better too little than too much.
            return False
        selecting = [test for test in self.tests if test[0] in _SELECT]
        if selecting and not any(_SELECT[operator](value, wanted) for operator, wanted in selecting):
            return False
        return not any(_DESELECT[operator](value, other) for operator, other in self.tests if operator in _DESELECT)

    def __str__(self) -> str:
        operators = dict.fromkeys(operator for operator, _ in self.tests)
        return " and ".join(
            f"{self.field} {operator} {', '.join(value for found, value in self.tests if found == operator)}"
            for operator in operators
        )


Selector = tuple[Condition, ...]


def as_advanced(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """
    Return the selectors of a trail in the form of advanced ones.

    :param answer: of ``GetEventSelectors``.
    """
    if advanced := answer.get("AdvancedEventSelectors"):
        return [dict(selector) for selector in advanced]
    return [found for basic in answer.get("EventSelectors") or (_DEFAULT,) for found in _of_basic(basic)]


def _of_basic(basic: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    shared = []
    if (kind := basic.get("ReadWriteType", "All")) in _READ_ONLY:
        shared = [{"Field": "readOnly", "Equals": [_READ_ONLY[kind]]}]
    if basic.get("IncludeManagementEvents", True):
        excluded = basic.get("ExcludeManagementEventSources")
        sources = [{"Field": "eventSource", "NotEquals": list(excluded)}] if excluded else []
        category = {"Field": "eventCategory", "Equals": ["Management"]}
        yield {"Name": "Management events", "FieldSelectors": [category, *shared, *sources]}
    for resource in basic.get("DataResources") or ():
        values = list(resource.get("Values") or ())
        if not values:
            continue
        # "arn:aws:s3" and its like: every resource of the service.
        everything = any(value.count(":") == 2 for value in values)
        operator = "StartsWith" if resource["Type"] == _PREFIX_TYPE else "Equals"
        yield {
            "Name": f"Data events of {resource['Type']}",
            "FieldSelectors": [
                {"Field": "eventCategory", "Equals": ["Data"]},
                {"Field": "resources.type", "Equals": [resource["Type"]]},
                *shared,
                *([] if everything else [{"Field": "resources.ARN", operator: values}]),
            ],
        }


def parse(advanced: Mapping[str, Any]) -> Selector:
    """Return the conditions of an advanced event selector."""
    return tuple(
        Condition(
            found["Field"],
            tuple((operator, value) for operator, values in found.items() if operator != "Field" for value in values),
        )
        for found in advanced.get("FieldSelectors", ())
    )


def reach(selectors: Sequence[Selector], events: Mapping[str, Collection[str]]) -> Reach:
    """
    Tell how much of a set of events is recorded by any of the selectors.

    :param selectors: of the trail.
    :param events: the set: for a field the values that it can have; fields that are not named can have any.
    """
    fields = sorted({condition.field for selector in selectors for condition in selector})
    values = {field: events.get(field) or representatives(selectors, field) for field in fields}

    @cache
    def visit(alive: frozenset[Selector], depth: int) -> Reach:
        left = fields[depth:]
        if not alive:
            return Reach.NONE
        if any(all(condition.field not in left for condition in selector) for selector in alive):
            return Reach.ALL
        cases = {
            frozenset(selector for selector in alive if _accepts(selector, left[0], value)) for value in values[left[0]]
        }
        found = {visit(case, depth + 1) for case in cases}
        return found.pop() if len(found) == 1 else Reach.SOME

    # One without conditions, which the API does not accept, is not taken for one that matches everything.
    return visit(frozenset(selector for selector in selectors if selector), 0)


def _accepts(selector: Selector, field: str, value: str) -> bool:
    return all(condition.accepts(value) for condition in selector if condition.field == field)


def representatives(selectors: Iterable[Selector], field: str) -> list[str]:
    """
    Return a value for each class of values of a field that the selectors can tell apart.

    A value that equals none of those compared with is told from others only by the longest of the mentioned
    beginnings and endings that it has; so beginning, anything else, ending is as good.
    """
    exact, starts, ends = _mentioned(selectors, field)
    return [*exact, *(f"{start}{ANYTHING_ELSE}{end}" for start in starts for end in ends)]


def _mentioned(selectors: Iterable[Selector], field: str) -> tuple[list[str], list[str], list[str]]:
    found: dict[str, dict[str, None]] = {"Equals": {}, "StartsWith": {"": None}, "EndsWith": {"": None}}
    for selector in selectors:
        for condition in selector:
            for operator, value in condition.tests if condition.field == field else ():
                found.setdefault(operator.removeprefix("Not"), {})[value] = None
    return list(found["Equals"]), list(found["StartsWith"]), list(found["EndsWith"])


def environment_arns(
    selectors: Iterable[Selector], partition: str, region: str | None, account_id: str | None
) -> list[str]:
    """
    Return ARNs that stand for all MWAA environments which a trail can see.

    :param selectors: of the trail.
    :param partition: such as ``aws``.
    :param region: Region of the trail; None: all.
    :param account_id: account of the trail; None: all of an organization.
    """
    base = f"arn:{partition}:airflow:"
    if region is not None:
        base += f"{region}:" + (f"{account_id}:environment/" if account_id is not None else "")

    def begins(text: str) -> bool:
        if base.startswith(text):
            return True
        parts = text.split(":", 5)
        if len(parts) < 6:
            return text.startswith(base)
        resource = "environment/"
        fits = parts[5].startswith(resource) or resource.startswith(parts[5])
        return text.startswith(base) and fits and account_id in (None, parts[4])

    def ends(text: str) -> bool:
        head, slash, name = text.rpartition("/")
        return ":" not in name and (not slash or ":environment".endswith(head) or head.endswith(":environment"))

    exact, starts, endings = _mentioned(selectors, "resources.ARN")
    # A shorter beginning than the one that all have tells nothing apart.
    heads = {max(start, base, key=len) for start in starts if begins(start)}
    return [
        *(arn for arn in exact if begins(arn) and ends(arn) and ":environment/" in arn),
        *(f"{head}{ANYTHING_ELSE}{end}" for head in sorted(heads) for end in endings if ends(end)),
    ]
