"""
What users write about the events that they want, after templating: their sources, names and environments.

Names are compared as they are written, so that a misspelt one would select nothing, and the run be green. Only what
is known of MWAA is refused: no rule holds for all services. Nearly all have small letters in ``eventSource`` and a
capital before ``eventName``, but AWS documents ``workmailMessageFlow.amazonaws.com`` (Amazon WorkMail administrator
guide, "Logging Amazon WorkMail API calls") and ``updateDomainContact`` (Amazon Route 53 developer guide, "Logging
Amazon Route 53 API calls").
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection
from typing import Any

from airflow_provider_cloudtrail import parameters
from airflow_provider_cloudtrail.trail.environment import MWAA, MWAA_EVENT_NAMES, environment_of
from airflow_provider_cloudtrail.trail.selection import MWAA_EVENT_SOURCES, Selection

log = logging.getLogger(__name__)

_EVENT_SOURCE = re.compile(r"[^\s./]+(?:\.[^\s./]+)+")
_USUAL_EVENT_SOURCE = re.compile(r"(?!mwaa)[a-z0-9-]+(?:\.[a-z0-9-]+)*\.amazonaws\.com(?:\.cn)?")
_USUAL_EVENT_NAME = re.compile(r"[A-Z].*[a-z].*", re.DOTALL)


def selection(sources: Any, event_names: Any, environment_names: Any, include_environment_activity: Any) -> Selection:
    """
    Return which records are wanted; what will hardly select anything is said in a warning.

    :param sources: ``event_sources`` of an operator; the others have the names of its parameters.
    :raises ValueError: for what is no list of such names, and for what is known to select nothing.
    """
    found_sources = event_sources("event_sources", sources)
    names = parameters.names("event_names", event_names)
    environments = _environment_names(environment_names)
    activity = parameters.switch("include_environment_activity", include_environment_activity)
    of_mwaa = found_sources is not None and set(found_sources) <= set(MWAA_EVENT_SOURCES) and not activity
    _check_event_names(names or (), of_mwaa=of_mwaa)
    if unusual := [name for name in found_sources or () if not _USUAL_EVENT_SOURCE.fullmatch(name)]:
        log.warning(
            "event_sources: hardly any service has a name such as this in eventSource: %s. Nearly all are in small "
            "letters and end in .amazonaws.com; that of MWAA is %s. It is compared as it is written; if no record has "
            "it, nothing is selected",
            ", ".join(map(repr, unusual)),
            MWAA,
        )
    return Selection.of(found_sources, names, environments, activity)


def event_sources(parameter: str, value: Any) -> list[str] | None:
    """
    Return a list of services whose events are wanted; None: not given.

    :raises ValueError: as for :func:`parameters.names`, and for what no event can come from: it would select nothing.
    """
    found = parameters.names(parameter, value)
    if wrong := [name for name in found or () if not _EVENT_SOURCE.fullmatch(name)]:
        raise ValueError(
            f"{parameter}: {', '.join(map(repr, wrong))} is no event source; write names such as "
            "'airflow.amazonaws.com', as they stand in eventSource"
        )
    if wrong := [name for name in found or () if name not in MWAA_EVENT_SOURCES and name.lower() in MWAA_EVENT_SOURCES]:
        raise ValueError(
            f"{parameter}: {', '.join(map(repr, wrong))} is in no record, where it is written in small letters; write "
            f"{', '.join(repr(name.lower()) for name in wrong)}"
        )
    return found


def _environment_names(value: Any) -> list[str] | None:
    found = parameters.names("environment_names", value)
    if wrong := [name for name in found or () if name.startswith("arn:")]:
        named = [environment_of({"resources": [{"ARN": arn}]}).name or arn.rpartition("/")[2] for arn in wrong]
        raise ValueError(
            f"environment_names: {', '.join(map(repr, wrong))} is an ARN, and names are compared; write "
            f"{', '.join(map(repr, named))}"
        )
    return found


def _check_event_names(names: Collection[str], *, of_mwaa: bool) -> None:
    """
    Refuse names that are an API action of MWAA but for their case, and warn of others that nobody may have.

    :param of_mwaa: whether only events of MWAA are wanted; other services have actions of similar names.
    """
    actions = {_folded(name): name for name in MWAA_EVENT_NAMES}
    misspelt = {name: actions[_folded(name)] for name in names if _folded(name) in actions} if of_mwaa else {}
    if wrong := [name for name, action in misspelt.items() if name != action]:
        raise ValueError(
            f"event_names: {', '.join(map(repr, wrong))} is in no record, because eventName is compared as it is "
            f"written; write {', '.join(repr(misspelt[name]) for name in wrong)}"
        )
    unusual = [
        name for name in names if name not in MWAA_EVENT_NAMES and (of_mwaa or not _USUAL_EVENT_NAME.fullmatch(name))
    ]
    if unusual:
        log.warning(
            "event_names: %s of this name: %s. It is compared as it is written; if no record has it in eventName, "
            "nothing is selected",
            "no API action of MWAA is known" if of_mwaa else "hardly any service has an API action",
            ", ".join(map(repr, unusual)),
        )


def _folded(name: str) -> str:
    return name.replace("_", "").replace("-", "").lower()
