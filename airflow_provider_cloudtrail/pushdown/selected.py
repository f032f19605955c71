"""Which records a run wants, as conditions in SQL: what ``trail.selection`` asks of a decoded record."""

from __future__ import annotations

from airflow_provider_cloudtrail.pushdown.sql import among
from airflow_provider_cloudtrail.trail.actor import WEB_IDENTITY
from airflow_provider_cloudtrail.trail.environment import ENVIRONMENT_SESSION, MWAA_CALLERS
from airflow_provider_cloudtrail.trail.selection import Clause, Selection

SESSION_NAME = (
    # Of a caller with an ARN its session name is in the ARN; of one without, behind the colon of the principal id.
    "CASE WHEN useridentity.arn <> ''"
    " THEN NULLIF(regexp_extract(useridentity.arn, '(?s)^[^/]*:(?:assumed-role/[^/]*|federated-user)/(.*)\\z', 1), '')"
    f" WHEN useridentity.type = '{WEB_IDENTITY}' THEN NULL"
    " WHEN strpos(useridentity.principalid, ':') > 0"
    " THEN NULLIF(substr(useridentity.principalid, strpos(useridentity.principalid, ':') + 1), '') END"
)
"""Role session name of the caller, or null."""

_BY_ENVIRONMENT = " OR ".join((
    f"{SESSION_NAME} = '{ENVIRONMENT_SESSION}'",
    *(among(column, MWAA_CALLERS) for column in ("useridentity.invokedby", "sourceipaddress", "useragent")),
))


def candidates(selection: Selection) -> str:
    """
    Return a condition that every wanted record fulfils, asked of the columns of the trail's table.

    It is the whole condition unless the selection names environments; see :func:`wanted`.
    """
    return _any(_candidates(clause) for clause in selection.clauses)


def wanted(selection: Selection) -> str:
    """
    Return the condition that a record is wanted, asked of a candidate.

    :param selection: which records are wanted; what is asked for must have ``environment_name``.
    """
    if all(clause.environment_names is None for clause in selection.clauses):
        return "candidate"
    return "candidate AND " + _any(_wanted(clause) for clause in selection.clauses)


def _candidates(clause: Clause) -> str:
    conditions = [] if clause.event_names is None else [among("eventname", clause.event_names)]
    if clause.event_sources is not None:
        sources = among("eventsource", clause.event_sources)
        conditions.append(f"({sources} OR {_BY_ENVIRONMENT})" if clause.include_environment_activity else sources)
    return " AND ".join(conditions) or "true"


def _wanted(clause: Clause) -> str:
    if clause.environment_names is None:
        return _candidates(clause)
    conditions = [among("environment_name", clause.environment_names)]
    if clause.event_sources is not None:
        conditions.append(among("eventsource", clause.event_sources))
    chosen = " AND ".join(conditions)
    if clause.include_environment_activity:
        chosen = f"({chosen} OR {_BY_ENVIRONMENT})"
    return chosen if clause.event_names is None else f"{among('eventname', clause.event_names)} AND {chosen}"


def _any(conditions: object) -> str:
    # Null where a member is missing: then the record is not wanted.
    return f"COALESCE({' OR '.join(f'({condition})' for condition in conditions)}, false)"  # type: ignore[attr-defined]
