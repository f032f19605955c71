"""
Which records a run wants: by event source, event name and environment.

A selection is a union of clauses, because the ledger must be able to say what was read from a file
over several runs: a file that was read for one selection and is wanted for another is read for both
together, so that its counts stay a balance.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from airflow_provider_cloudtrail.trail.environment import (
    ENVIRONMENT_SESSION,
    MWAA,
    MWAA_CALLERS,
    MWAA_SERVERLESS,
    environment_of,
    is_environment_activity,
)

MWAA_EVENT_SOURCES = (MWAA, MWAA_SERVERLESS)


@dataclass(frozen=True)
class Clause:
    """
    Records that fulfil all of these; None: any.

    :param event_sources: services, such as ``airflow.amazonaws.com``.
    :param event_names: API actions, such as ``CreateCliToken``.
    :param environment_names: environments (or workflows of MWAA Serverless).
    :param include_environment_activity: also what environments did in AWS themselves, whatever the
        event source; which environment it was is not recorded, so ``environment_names`` does not apply.
    """

    event_sources: frozenset[str] | None = frozenset(MWAA_EVENT_SOURCES)
    event_names: frozenset[str] | None = None
    environment_names: frozenset[str] | None = None
    include_environment_activity: bool = False

    def wants(self, record: Mapping[str, Any]) -> bool:
        """Tell whether a decoded record is wanted."""
        if self.event_names is not None and not _among(record.get("eventName"), self.event_names):
            return False
        if (self.event_sources is None or _among(record.get("eventSource"), self.event_sources)) and (
            self.environment_names is None or environment_of(record).name in self.environment_names
        ):
            return True
        return self.include_environment_activity and is_environment_activity(record)

    def covers(self, other: Clause) -> bool:
        """Tell whether every record that the other clause wants is wanted by this one."""
        return (
            _covers(self.event_sources, other.event_sources)
            and _covers(self.event_names, other.event_names)
            and _covers(self.environment_names, other.environment_names)
            and (
                self.include_environment_activity >= other.include_environment_activity
                or self.event_sources is self.environment_names is None
            )
        )

    @property
    def needles(self) -> frozenset[bytes] | None:
        """Byte strings of which a wanted record contains at least one; None: records cannot be told by bytes."""
        if self.event_sources is None:
            return None
        wanted = set(self.event_sources)
        if self.include_environment_activity:
            wanted.update((ENVIRONMENT_SESSION, *MWAA_CALLERS))
        return frozenset(name.encode() for name in wanted)


@dataclass(frozen=True)
class Selection:
    """
    The records that at least one clause wants.

    :param clauses: at least one.
    """

    clauses: frozenset[Clause]

    @classmethod
    def of(
        cls,
        event_sources: Iterable[str] | None = MWAA_EVENT_SOURCES,
        event_names: Iterable[str] | None = None,
        environment_names: Iterable[str] | None = None,
        include_environment_activity: bool = False,
    ) -> Selection:
        """Return the selection of one clause; see :class:`Clause` for the parameters."""
        return cls(
            frozenset((
                Clause(
                    _frozen(event_sources),
                    _frozen(event_names),
                    _frozen(environment_names),
                    include_environment_activity,
                ),
            ))
        )

    def wants(self, record: Mapping[str, Any]) -> bool:
        """Tell whether a decoded record is wanted."""
        for clause in self.clauses:  # noqa: SIM110 - asked of every record, and a generator costs more than a loop
            if clause.wants(record):
                return True
        return False

    def covers(self, other: Selection) -> bool:
        """Tell whether every record that the other selection wants is wanted by this one."""
        return all(any(mine.covers(theirs) for mine in self.clauses) for theirs in other.clauses)

    def __or__(self, other: Selection) -> Selection:
        """Return the selection that wants what either wants, without clauses that others cover."""
        clauses: list[Clause] = []
        for clause in sorted(self.clauses | other.clauses, key=_clause_text):
            if not any(kept.covers(clause) for kept in clauses):
                clauses = [kept for kept in clauses if not clause.covers(kept)]
                clauses.append(clause)
        return Selection(frozenset(clauses))

    # The selection of a run is asked for both of these for each file.
    @cached_property
    def needles(self) -> tuple[bytes, ...] | None:
        """Byte strings of which a wanted record contains at least one; None: records cannot be told by bytes."""
        wanted: set[bytes] = set()
        for clause in self.clauses:
            needles = clause.needles
            if needles is None:
                return None
            wanted |= needles
        return tuple(sorted(wanted))

    @cached_property
    def needs_names_only(self) -> bool:
        """Whether ``eventSource`` and ``eventName`` alone say if a record is wanted."""
        return all(
            clause.environment_names is None and not clause.include_environment_activity for clause in self.clauses
        )

    def to_text(self) -> str:
        """Return the selection as the ledger keeps it: JSON, the same for equal selections."""
        return self._text

    @cached_property
    def _text(self) -> str:
        return "[" + ",".join(sorted(_clause_text(clause) for clause in self.clauses)) + "]"

    @classmethod
    def from_text(cls, text: str) -> Selection:
        """
        Read a selection from the ledger.

        :raises ValueError: if it is none, for instance written by a later version.
        """
        try:
            return cls(
                frozenset(
                    Clause(
                        _frozen(clause["event_sources"]),
                        _frozen(clause["event_names"]),
                        _frozen(clause["environment_names"]),
                        bool(clause["include_environment_activity"]),
                    )
                    for clause in json.loads(text)
                )
            )
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a selection of this version: {type(error).__name__}") from None


def _frozen(names: Iterable[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def _among(value: Any, names: frozenset[str]) -> bool:
    # A member may be a list or an object, which cannot be looked up.
    return isinstance(value, str) and value in names


def _covers(mine: frozenset[str] | None, theirs: frozenset[str] | None) -> bool:
    return mine is None or (theirs is not None and mine >= theirs)


def _clause_text(clause: Clause) -> str:
    return json.dumps(
        {
            "event_sources": _listed(clause.event_sources),
            "event_names": _listed(clause.event_names),
            "environment_names": _listed(clause.environment_names),
            "include_environment_activity": clause.include_environment_activity,
        },
        separators=(",", ":"),
    )


def _listed(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)
