"""Findings about the event selectors of a trail: whether it records the events that an MWAA audit needs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_provider_cloudtrail.trail.coverage_finding import Finding, TrailSettings
from airflow_provider_cloudtrail.trail.environment import MWAA, MWAA_SERVERLESS
from airflow_provider_cloudtrail.trail.event_selectors import (
    ANYTHING_ELSE,
    ENVIRONMENT_TYPE,
    Reach,
    Selector,
    as_advanced,
    environment_arns,
    parse,
    reach,
    representatives,
)

# The documented data actions of MWAA (user guide, "Viewing audit logs in AWS CloudTrail"), and what they show.
_ACTIONS = {
    "CreateWebLoginToken": "UI logins",
    "CreateCliToken": "CLI tokens",
    "InvokeRestApi": "REST API calls",
}
_MANAGEMENT = {"eventCategory": ["Management"], "readOnly": ["true", "false"]}
_DATA = {
    "eventCategory": ["Data"],
    "resources.type": [ENVIRONMENT_TYPE],
    "eventSource": [MWAA],
    "eventType": ["AwsApiCall"],
    "readOnly": ["true", "false"],
}
_WRITE = {"readOnly": ["false"]}

_ALL_MANAGEMENT = {
    "Name": "All management events",
    "FieldSelectors": [{"Field": "eventCategory", "Equals": ["Management"]}],
}
_ALL_DATA = {
    "Name": "All data events of MWAA environments",
    "FieldSelectors": [
        {"Field": "eventCategory", "Equals": ["Data"]},
        {"Field": "resources.type", "Equals": [ENVIRONMENT_TYPE]},
    ],
}


@dataclass(frozen=True)
class _Problem:
    code: str
    severity: str
    problem: str
    reason: str


def check_selectors(settings: TrailSettings, answer: Mapping[str, Any]) -> list[Finding]:
    """
    Return what is wrong with the event selectors of a trail.

    :param settings: of the trail.
    :param answer: of ``GetEventSelectors``.
    """
    advanced = as_advanced(answer)
    selectors = [parse(selector) for selector in advanced]
    management = list(_management(selectors))
    data = list(_data(selectors, settings, basic=not answer.get("AdvancedEventSelectors")))
    if not management and not data:
        return []
    # PutEventSelectors replaces all selectors: one command has to mend everything and to keep the rest.
    wanted = [
        selector
        for selector, parsed in zip(advanced, selectors, strict=True)
        if not (management and _is_about(parsed, _MANAGEMENT)) and not (data and _is_about(parsed, _DATA))
    ]
    wanted = [*([_ALL_MANAGEMENT] if management else []), *wanted, *([_ALL_DATA] if data else [])]
    fix = settings.cli("put-event-selectors", "--advanced-event-selectors", json.dumps(wanted))
    return [Finding(found.code, found.severity, found.problem, found.reason, fix) for found in (*management, *data)]


def _is_about(selector: Selector, events: Mapping[str, Sequence[str]]) -> bool:
    """Tell whether a selector is for nothing but a category of events, whichever of them it picks."""
    kind = {field: events[field] for field in ("eventCategory", "resources.type") if field in events}
    conditions = {condition.field: condition for condition in selector}
    return all(
        field in conditions and {value for _, value in conditions[field].tests} == set(values)
        for field, values in kind.items()
    )


# -- management events -----------------------------------------------------------------------------


def _management(selectors: Sequence[Selector]) -> Iterator[_Problem]:
    recorded = {kind: reach(selectors, {**_MANAGEMENT, "readOnly": [kind]}) for kind in ("true", "false")}
    kinds = [kind for kind, found in recorded.items() if found is not Reach.NONE]
    if not kinds:
        yield _Problem(
            "management_events_missing",
            "high",
            "no management events are recorded",
            "who created, changed or deleted an environment is recorded nowhere but in management events",
        )
        return
    if "false" not in kinds:
        yield _Problem(
            "management_events_only_read",
            "high",
            "of management events only reads are recorded, no writes",
            "creating, changing and deleting an environment are writes, so is stopping the trail",
        )
    if "true" not in kinds:
        yield _Problem(
            "management_events_only_write",
            "medium",
            "of management events only writes are recorded, no reads",
            "reads show who looked around before a change and who was denied; MWAA Serverless records its reads",
        )
    yield from _excluded(selectors, {**_MANAGEMENT, "readOnly": kinds})


def _excluded(selectors: Sequence[Selector], events: Mapping[str, Sequence[str]]) -> Iterator[_Problem]:
    if reach(selectors, events) is Reach.ALL:
        return
    about_mwaa = any(
        reach(selectors, {**events, "eventSource": [source]}) is not Reach.ALL for source in (MWAA, MWAA_SERVERLESS)
    )
    severity = "high" if about_mwaa else "medium"
    sources = [*representatives(selectors, "eventSource"), MWAA, MWAA_SERVERLESS]
    lost = [source for source in sources if reach(selectors, {**events, "eventSource": [source]}) is Reach.NONE]
    if lost:
        names = sorted({_readable(source) for source in lost})
        yield _Problem(
            "management_events_excluded",
            severity,
            f"management events of these event sources are not recorded: {', '.join(names)}",
            "an auditor cannot tell an excluded event from one that never happened; without kms.amazonaws.com nobody "
            "sees that the key of an environment or of the trail is disabled or about to be deleted",
        )
    else:
        yield _Problem(
            "management_events_narrowed",
            severity,
            f"management events are recorded only in part: {_conditions(selectors, _MANAGEMENT)}",
            "an auditor cannot tell an event that was not recorded from one that never happened",
        )


# -- data events of MWAA ---------------------------------------------------------------------------


def _data(selectors: Sequence[Selector], settings: TrailSettings, *, basic: bool) -> Iterator[_Problem]:
    arns = environment_arns(
        selectors,
        settings.partition,
        None if settings.is_multi_region else settings.region,
        None if settings.is_organization_trail else settings.account_id,
    )
    everything = {**_DATA, "resources.ARN": arns}
    documented = {**everything, "eventName": list(_ACTIONS)}
    conditions = _conditions(selectors, _DATA)
    if reach(selectors, documented) is Reach.NONE:
        why_basic = "; the trail has basic event selectors, which cannot record them" if basic else ""
        yield _Problem(
            "mwaa_data_events_missing",
            "high",
            f"no data events of {ENVIRONMENT_TYPE} are recorded{why_basic}",
            "without them nobody sees UI logins (CreateWebLoginToken), CLI tokens (CreateCliToken) and REST API calls "
            "(InvokeRestApi); they are not in Event history either",
        )
    elif reach(selectors, documented) is Reach.ALL:
        if reach(selectors, everything) is not Reach.ALL:
            yield _Problem(
                "mwaa_data_events_by_name",
                "low",
                f"data events of {ENVIRONMENT_TYPE} are recorded by name, and only those known today: {conditions}",
                "a data event that AWS adds later is not recorded, and nobody notices",
            )
    else:
        yield _narrowed(selectors, documented, arns, conditions)


def _narrowed(
    selectors: Sequence[Selector], documented: Mapping[str, Sequence[str]], arns: Sequence[str], conditions: str
) -> _Problem:
    lost = [
        f"{action} ({meaning})"
        for action, meaning in _ACTIONS.items()
        if reach(selectors, {**documented, **_WRITE, "eventName": [action]}) is Reach.NONE
    ]
    if lost:
        return _Problem(
            "mwaa_data_events_narrowed",
            "high",
            f"these data events of {ENVIRONMENT_TYPE} are not recorded: {', '.join(lost)}; narrowed by {conditions}",
            "MWAA writes its data events with readOnly false, a REST API call with GET too; what is not recorded "
            "cannot be told from what never happened",
        )
    if reach(selectors, {**documented, **_WRITE}) is Reach.ALL:
        return _Problem(
            "mwaa_data_events_only_write",
            "medium",
            f"data events of {ENVIRONMENT_TYPE} are recorded only where readOnly is false: {conditions}",
            "those known today are written so, but no document promises it",
        )
    covered = [reach(selectors, {**documented, **_WRITE, "resources.ARN": [arn]}) for arn in arns]
    if Reach.ALL in covered:
        return _Problem(
            "mwaa_environments_partly_covered",
            "medium",
            f"data events are recorded for some MWAA environments only: {conditions}",
            "of the other environments, and of those created later, nobody sees UI logins, CLI tokens and REST API "
            "calls",
        )
    return _Problem(
        "mwaa_data_events_narrowed",
        "high",
        f"data events of {ENVIRONMENT_TYPE} are recorded only in part: {conditions}",
        "UI logins, CLI tokens and REST API calls outside of these conditions cannot be told from ones that never "
        "happened",
    )


# -- text ------------------------------------------------------------------------------------------


def _conditions(selectors: Sequence[Selector], events: Mapping[str, Sequence[str]]) -> str:
    """Return what narrows the selectors for a category of events, in the words of the API."""
    found = []
    for selector in selectors:
        if reach([selector], events) is Reach.NONE:
            continue
        narrowing = [
            str(condition) for condition in selector if condition.field not in {"eventCategory", "resources.type"}
        ]
        found.append(" and ".join(narrowing))
    return "; or ".join(dict.fromkeys(text for text in found if text)) or "no condition"


def _readable(source: str) -> str:
    return "all others" if source == ANYTHING_ELSE else source.replace(ANYTHING_ELSE, "...")
