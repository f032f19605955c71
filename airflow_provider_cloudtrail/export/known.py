"""What an export does with log files that the ledger knows: read them again, or leave them alone and say why."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

from airflow_provider_cloudtrail.audit_event import NO_MATCH, QUARANTINED, FileRows, KnownFile
from airflow_provider_cloudtrail.export.read_ahead import Task
from airflow_provider_cloudtrail.export.summary import NAMED_FILES, ExportSummary
from airflow_provider_cloudtrail.trail.log_file import LogFile
from airflow_provider_cloudtrail.trail.selection import Selection

# Whether these can be read may have changed since; what is inside of an object does not.
_WORTH_ANOTHER_TRY = ("not_found:", "access_denied:", "archived:")
_LIMIT_IN_REASON = re.compile(r"max_file_bytes=(\d+)")


class KnownFiles:
    """
    What one run does with them.

    :param selection: which records it wants.
    :param max_file_bytes: most bytes that a file may have when unpacked.
    :param in_window: whether a file that is known to be in quarantine concerns this run.
    :param summary: of the run.
    :param log: receives what a user should see of a file.
    """

    def __init__(
        self,
        selection: Selection,
        max_file_bytes: int,
        in_window: Callable[[LogFile], bool],
        summary: ExportSummary,
        log: logging.Logger,
    ) -> None:
        self._selection = selection
        self._max_file_bytes = max_file_bytes
        self._in_window = in_window
        self._summary = summary
        self._log = log

    def task(self, log_file: LogFile, known: KnownFile | None) -> Task | None:
        """
        Return what to read, or None if the file is left as it is.

        :param known: what the ledger says of it; None: nothing.
        """
        if known is None:
            return Task(log_file, self._selection, None)
        try:
            before = Selection.from_text(known.selection)
        except ValueError:
            before = None
        wanted = self._selection if before is None else before | self._selection
        changed = _differ(log_file.etag, known.etag)
        if known.status == QUARANTINED:
            # Whoever names a file, instead of listing it, brings no ETag that would tell whether it was put right.
            if changed or log_file.etag is None or self._may_be_readable_now(known.reason or ""):
                return Task(log_file, wanted, known)
            self._name_known(log_file, known.reason or log_file.uri)
            return None
        if changed:
            self._leave_changed(log_file, known, log_file.etag)
            return None
        if before is None or not (before.covers(self._selection) or self._was_searched(known, before)):
            return Task(log_file, wanted, known)
        self._name_known_records(log_file, known)
        return None

    def keep(self, task: Task, rows: FileRows) -> bool:
        """
        Tell whether the ledger keeps what it said: what was read before is not there to be read any more.

        :param task: has been done.
        :param rows: what it gave.
        """
        if task.previous is None or task.previous.status == QUARANTINED:
            return False
        if _differ(rows.entry.etag, task.previous.etag):
            # Nobody has listed it, or it was replaced since.
            self._leave_changed(task.log_file, task.previous, rows.entry.etag)
            self._summary.files_known += 1
            return True
        if rows.entry.status != QUARANTINED:
            return False
        if task.previous.status == NO_MATCH and rows.entry.sha256 is not None:
            # Nobody had parsed it, and it turns out that nobody can.
            return False
        # Its rows are in the table and its counts a balance.
        self._summary.files_not_read_again += 1
        reason = f"wanted for a wider selection, but not readable any more: {rows.entry.reason}"
        if len(self._summary.quarantine) < NAMED_FILES:
            self._log.warning("Quarantine: %s", reason)
            self._summary.quarantine.append(reason)
        return True

    def _leave_changed(self, log_file: LogFile, known: KnownFile, etag: str | None) -> None:
        """Note that another object lies where one was loaded from."""
        # Log files are written once. Reading the new object would cover up what was loaded.
        self._summary.files_changed += 1
        self._log.warning("%s was loaded with ETag %s and now has %s", log_file.uri, known.etag, etag)
        self._name_known_records(log_file, known)

    def _was_searched(self, known: KnownFile, before: Selection) -> bool:
        """Tell whether a file without a match was searched for all that this selection looks for in its bytes."""
        if known.status != NO_MATCH or before.needles is None or self._selection.needles is None:
            return False
        return set(self._selection.needles) <= set(before.needles)

    def _may_be_readable_now(self, reason: str) -> bool:
        limit = _LIMIT_IN_REASON.search(reason) if reason.startswith("too_large:") else None
        return reason.startswith(_WORTH_ANOTHER_TRY) or (limit is not None and int(limit[1]) < self._max_file_bytes)

    def _name_known(self, log_file: LogFile, reason: str) -> None:
        """Name what an earlier run put into quarantine, if it concerns this one."""
        if self._in_window(log_file) and len(self._summary.known_quarantined) < NAMED_FILES:
            self._summary.known_quarantined.append(reason)

    def _name_known_records(self, log_file: LogFile, known: KnownFile) -> None:
        if known.quarantined:
            self._name_known(log_file, f"{log_file.uri}: {known.quarantined} of its records")


def _differ(etag: str | None, other: str | None) -> bool:
    """Tell whether ETags are those of different objects; None: it is not known."""
    return etag is not None and other is not None and etag != other
