"""What a validation found wrong: each finding is counted, named in summary and log, and a row of evidence."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from airflow_provider_cloudtrail.audit_event import GAP, MISSING, NOT_LOADED, FindingEntry
from airflow_provider_cloudtrail.trail.log_file import TrailLocation
from airflow_provider_cloudtrail.trail.object_uris import object_uri
from airflow_provider_cloudtrail.validation.summary import ValidationSummary


class About(NamedTuple):
    """
    What a finding is about.

    :param start: begin of the time of delivery, UTC.
    :param end: its end.
    :param account_id: None: not known, or all.
    :param region: None: not known, or all.
    :param trail_name: None: not known.
    :param object_uri: digest or log file; None: it is about what is not there.
    """

    start: datetime
    end: datetime
    account_id: str | None = None
    region: str | None = None
    trail_name: str | None = None
    object_uri: str | None = None


class Findings:
    """
    Takes the findings of a run.

    :param summary: names the first of each kind.
    :param location: where the trail delivers to.
    :param fail_on: kinds that make the run fail.
    :param seen_at: when the run sees them, UTC.
    :param seen_by: DAG, task and run.
    :param log: receives the first of each kind.
    """

    def __init__(
        self,
        summary: ValidationSummary,
        location: TrailLocation,
        fail_on: Collection[str],
        seen_at: datetime,
        seen_by: str | None,
        log: logging.Logger,
    ) -> None:
        self._summary = summary
        self._fail_on = fail_on
        self._seen_at = seen_at
        self._seen_by = seen_by
        self._log = log
        self._rows: list[FindingEntry] = []
        self.location = location_uri(location)

    def add(self, kind: str, about: About, message: str, *, objects: int = 1, always_fails: bool = False) -> None:
        """
        Take a finding.

        :param message: what was found; the object is named beside it.
        :param objects: how many digests or log files it stands for.
        :param always_fails: whether the run fails whatever ``fail_on`` says.
        """
        if kind != NOT_LOADED:
            self._name(kind, message if about.object_uri is None else f"{about.object_uri}: {message}")
        self._rows.append(
            FindingEntry(
                finding_id=finding_id(kind, self.location, about),
                kind=kind,
                fails=always_fails or (GAP if kind == MISSING else kind) in self._fail_on,
                location=self.location,
                account_id=about.account_id,
                region=about.region,
                trail_name=about.trail_name,
                object_uri=about.object_uri,
                covered_from=about.start,
                covered_to=about.end,
                objects=objects,
                message=message,
                first_seen_at=self._seen_at,
                last_seen_at=self._seen_at,
                last_seen_by=self._seen_by,
                resolved_at=None,
                resolved_by=None,
            )
        )

    def take(self) -> list[FindingEntry]:
        """Return the rows of what was added since the last call."""
        rows, self._rows = self._rows, []
        return rows

    def _name(self, kind: str, text: str) -> None:
        if self._summary.name(kind, text):
            self._log.warning("%s: %s", kind, text)


def location_uri(location: TrailLocation) -> str:
    """Return the URI of what a run looks at, ending in a slash."""
    organization = f"{location.organization_id}/" if location.organization_id is not None else ""
    return f"{object_uri(location.bucket, location.root)}{organization}"


def finding_id(kind: str, location: str, about: About) -> str:
    """Return the same text for the same finding, whenever and by whom it is found."""
    if about.object_uri is not None:
        what: tuple[str | None, ...] = (about.object_uri,)
    elif about.trail_name is not None:
        what = (about.account_id, about.region, about.trail_name, about.start.isoformat())
    else:
        what = (location, about.account_id, about.region, about.start.isoformat())
    return hashlib.sha256("\n".join((kind, *(part or "" for part in what))).encode()).hexdigest()[:40]
