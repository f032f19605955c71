"""Log files that no digest lists: each is a finding once, and the ledger says so of those that it has."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from airflow_provider_cloudtrail.audit_event import UNLISTED
from airflow_provider_cloudtrail.validation.findings import About, Findings, finding_id
from airflow_provider_cloudtrail.validation.run import Validation
from airflow_provider_cloudtrail.warehouse.evidence import FileVerdicts

# Stamps are on the minute.
_MINUTE = timedelta(minutes=1)
# Unlisted log files that are recorded at once.
_PORTION = 10_000


class UnlistedLogFile(Protocol):
    """A log file, in the bucket or only in the ledger."""

    @property
    def uri(self) -> str:
        """Its URI."""

    @property
    def delivered_at(self) -> datetime:
        """Stamp in the name, UTC."""


def about_log_file(file: UnlistedLogFile, account_id: str, region: str) -> About:
    """Return what a finding is about that is about one log file."""
    return About(file.delivered_at, file.delivered_at + _MINUTE, account_id, region, object_uri=file.uri)


def report_unlisted(run: Validation, findings: Findings, unlisted: Sequence[About], message: str) -> int:
    """
    Record log files that no digest lists, and return how many of them the run of the window before has not reported.

    :param unlisted: see :func:`about_log_file`.
    :param message: what was found, for people.
    :raises WarehouseError: if the warehouse refuses.
    """
    new = _not_reported_before(run, findings.location, unlisted)
    for start in range(0, len(new), _PORTION):
        portion = new[start : start + _PORTION]
        for about in portion:
            findings.add(UNLISTED, about, message)
        verdict = FileVerdicts([str(about.object_uri) for about in portion], None, UNLISTED, run.now)
        with run.ring.turn:
            run.evidence.write([], [verdict], findings.take())
    return len(new)


def _not_reported_before(run: Validation, location: str, unlisted: Sequence[About]) -> list[About]:
    """Leave out what lies before the window and was reported by the run of the window before."""
    before = {finding_id(UNLISTED, location, about): about for about in unlisted if about.start < run.window.start}
    with run.ring.turn:
        known = run.evidence.findings.still_there(list(before), run.now, run.verified_by)
    reported = {before[one].object_uri for one in known}
    return [about for about in unlisted if about.object_uri not in reported]
