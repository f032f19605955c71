"""
Batches of log files on their way into the warehouse: what is stored for good counts, what is not is read again.

An engine may commit several batches at once. Until then they are pending: what they bring is not counted,
and which files they are is remembered.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from airflow_provider_cloudtrail.audit_event import FileRows, LedgerEntry
from airflow_provider_cloudtrail.export.summary import NAMED_FILES, ExportSummary, was_in_quarantine
from airflow_provider_cloudtrail.trail.log_file import LogFile
from airflow_provider_cloudtrail.warehouse.base import BatchesLostError, Warehouse

_MIB = 1024 * 1024
_USUAL_INTERVAL = sys.getswitchinterval()
# A fifth of it gained a third less in a load into DuckDB.
_SHORT_INTERVAL = _USUAL_INTERVAL / 10

Batch = Mapping[str, tuple[LogFile, FileRows]]
"""Log files by URI, with what was read from them."""


class BatchWriter:
    """
    Writes batches, and counts them when they are stored.

    :param warehouse: in a session.
    :param summary: of the run.
    :param in_window: whether a file that is known to be in quarantine concerns this run.
    :param log: receives one line for each batch.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        summary: ExportSummary,
        in_window: Callable[[LogFile], bool],
        log: logging.Logger,
    ) -> None:
        self._warehouse = warehouse
        self._summary = summary
        self._in_window = in_window
        self._log = log
        self._started = time.monotonic()
        self._batches = self._batches_stored = 0
        self._pending = ExportSummary()
        self._pending_files: list[LogFile] = []
        self._not_stored: list[LogFile] = []

    def write(self, batch: Batch) -> None:
        """
        Write a batch.

        :raises WarehouseError: if it cannot be stored; the batches before it are.
        """
        if not batch:
            return
        started = time.monotonic()
        try:
            with _before_others():
                written = self._warehouse.write([rows for _, rows in batch.values()])
        except BatchesLostError as error:
            self._pending_files += (log_file for log_file, _ in batch.values())
            self.lose(error)
            return
        finally:
            self._summary.seconds_writing += time.monotonic() - started
        of_batch = self._count(batch, {entry.log_file_uri: entry for entry in written})
        self._batches += 1
        self._pending.add_all(of_batch)
        self._tell(of_batch, time.monotonic() - started)
        if not self._warehouse.pending():
            self._stored()

    def store(self) -> None:
        """Store for good what was written."""
        started = time.monotonic()
        try:
            self._warehouse.store()
        except BatchesLostError as error:
            self.lose(error)
        else:
            self._stored()
        finally:
            self._summary.seconds_writing += time.monotonic() - started

    def lose(self, error: BatchesLostError) -> None:
        """Note that what was pending is not in the tables."""
        self._log.warning("%s. These %s log files are read again.", error, len(self._pending_files))
        self._summary.files -= len(self._pending_files)
        self._not_stored += self._pending_files
        self._batches_stored = self._batches
        self._pending, self._pending_files = ExportSummary(), []

    def not_stored(self) -> list[LogFile]:
        """Return, once, the files about which the ledger has to be asked again; they are not counted as given."""
        files, self._not_stored = self._not_stored, []
        return files

    def _stored(self) -> None:
        if self._batches > self._batches_stored + 1:
            self._log.info("Committed: batches %s to %s", self._batches_stored + 1, self._batches)
        self._batches_stored = self._batches
        self._summary.add_all(self._pending)
        self._pending, self._pending_files = ExportSummary(), []

    def _count(self, batch: Batch, entries: Mapping[str, LedgerEntry]) -> ExportSummary:
        of_batch = ExportSummary()
        for uri, (log_file, rows) in batch.items():
            if uri not in entries:
                # Another run has read it in the meantime.
                self._not_stored.append(log_file)
                self._summary.files -= 1
                continue
            self._pending_files.append(log_file)
            of_batch.add(rows, entries[uri])
            if not was_in_quarantine(rows.previous, entries[uri]):
                for quarantined in rows.quarantine:
                    self._name(of_batch, quarantined.reason)
            elif self._in_window(log_file) and len(of_batch.known_quarantined) < NAMED_FILES:
                of_batch.known_quarantined.append(entries[uri].reason or uri)
        return of_batch

    def _name(self, of_batch: ExportSummary, reason: str) -> None:
        named = (self._summary, self._pending, of_batch)
        if sum(len(summary.quarantine) for summary in named) < NAMED_FILES:
            self._log.warning("Quarantine: %s", reason)
            of_batch.quarantine.append(reason)

    def _tell(self, of_batch: ExportSummary, seconds: float) -> None:
        self._log.info(
            "Batch %s: %s files (%s without match, %s quarantined), %s records = %s loaded + %s duplicate "
            "+ %s filtered + %s quarantined; %.1f MiB; written in %.1f s. So far %s of %s listed files in %.0f s.",
            self._batches,
            of_batch.files_read,
            of_batch.files_without_match,
            of_batch.files_quarantined,
            *of_batch.balance().values(),
            of_batch.bytes / _MIB,
            seconds,
            self._summary.files_read + self._pending.files_read + self._summary.files_known,
            self._summary.files,
            time.monotonic() - self._started,
        )


@contextmanager
def _before_others() -> Iterator[None]:
    """
    Have threads that read hand over Python's lock sooner: to who writes.

    Otherwise each answer of the warehouse is waited for five milliseconds longer, and it waits for what comes next.
    """
    sys.setswitchinterval(_SHORT_INTERVAL)
    try:
        yield
    finally:
        sys.setswitchinterval(_USUAL_INTERVAL)
