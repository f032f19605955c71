"""
The way of the data: log files to records to audit events to the warehouse, batch by batch.

Several files are fetched, unpacked, hashed and searched at once by threads, within a bound of files and
bytes; their results are taken in the order of the listing, so that a run that was killed and run again
gives the same tables as one that was not. Needs no Airflow: a plain function can call it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter

from airflow_provider_cloudtrail.audit_event import FileRows, KnownFile
from airflow_provider_cloudtrail.export.batches import BatchWriter
from airflow_provider_cloudtrail.export.known import KnownFiles
from airflow_provider_cloudtrail.export.read_ahead import Fetched, ReadAhead, Task
from airflow_provider_cloudtrail.export.summary import ExportSummary
from airflow_provider_cloudtrail.fewer_collections import fewer_collections
from airflow_provider_cloudtrail.trail.bucket_threads import MOST_AT_ONCE
from airflow_provider_cloudtrail.trail.codec import DAMAGED
from airflow_provider_cloudtrail.trail.log_file import LogFile
from airflow_provider_cloudtrail.trail.reader import MAX_FILE_BYTES, read_log_file, unreadable_file
from airflow_provider_cloudtrail.trail.selection import Selection
from airflow_provider_cloudtrail.trail.store import (
    ObjectError,
    Store,
    StoredObject,
    StoreError,
    is_as_listed,
    refuse_unless_listed,
)
from airflow_provider_cloudtrail.warehouse.base import BatchesLostError, Warehouse, WarehouseError

log = logging.getLogger(__name__)

_MIB = 1024 * 1024
_ROUNDS = 5
_RAW_EVENT = attrgetter("raw_event")


@dataclass(frozen=True)
class Limits:
    """
    How much is done at once.

    :param threads: files that are fetched and unpacked at the same time, if the bucket takes long to answer; few
        are otherwise.
    :param bytes_ahead: most bytes, unpacked and by estimate, that are read ahead of the warehouse; a
        single larger file is read alone.
    :param files_asked: files that the ledger is asked about in one question.
    :param batch_events: events that are enough for a transaction.
    :param batch_bytes: size of their records that is.
    :param batch_files: log files that are, also without events.
    """

    threads: int = MOST_AT_ONCE
    bytes_ahead: int = 24 * _MIB
    files_asked: int = 5_000
    batch_events: int = 50_000
    batch_bytes: int = 32 * _MIB
    batch_files: int = 5_000


def export_log_files(
    log_files: Iterable[LogFile],
    *,
    store_of: Callable[[str], Store],
    warehouse: Warehouse,
    selection: Selection,
    loaded_by: str | None = None,
    max_file_bytes: int = MAX_FILE_BYTES,
    in_window: Callable[[LogFile], bool] = lambda _: True,
    limits: Limits | None = None,
    log: logging.Logger = log,
) -> ExportSummary:
    """
    Load log files into a warehouse, each event once.

    :param log_files: the files, read lazily; given twice, a file is read once.
    :param store_of: returns the store of a bucket.
    :param warehouse: prepared, see :meth:`Warehouse.prepare`.
    :param selection: which records are wanted.
    :param loaded_by: who loads, for the columns of that name.
    :param max_file_bytes: most bytes that a file may have when unpacked.
    :param in_window: whether a file that is known to be in quarantine concerns this run; those of a
        look-back belong to an earlier one.
    :param limits: how much is done at once; None: what suits the warehouse.
    :param log: receives one line for each batch.
    :raises StoreError: if the bucket does not answer; what was read before is stored.
    :raises WarehouseError: if a batch cannot be stored; the batches before it are.
    """
    limits = limits or Limits(**warehouse.limits)
    return _Export(store_of, warehouse, selection, loaded_by, max_file_bytes, in_window, limits, log).run(log_files)


class _Export:
    def __init__(
        self,
        store_of: Callable[[str], Store],
        warehouse: Warehouse,
        selection: Selection,
        loaded_by: str | None,
        max_file_bytes: int,
        in_window: Callable[[LogFile], bool],
        limits: Limits,
        log: logging.Logger,
    ) -> None:
        self._store_of = store_of
        self._warehouse = warehouse
        self._loaded_by = loaded_by
        self._max_file_bytes = max_file_bytes
        self._limits = limits
        self._summary = ExportSummary()
        self._started = time.monotonic()
        self._known_files = KnownFiles(selection, max_file_bytes, in_window, self._summary, log)
        self._writer = BatchWriter(warehouse, self._summary, in_window, log)
        self._log = log
        self._unwritten: set[str] = set()
        self._parsing = threading.Lock()

    def run(self, log_files: Iterable[LogFile]) -> ExportSummary:
        with fewer_collections(), self._warehouse.session(together=True):
            try:
                self._load_all(log_files)
            finally:
                if isinstance(log_files, Generator):
                    # Or threads would list further until the error is forgotten.
                    log_files.close()
        self._summary.seconds = time.monotonic() - self._started
        return self._summary

    def _load_all(self, log_files: Iterable[LogFile]) -> None:
        self._load(iter(log_files))
        for _ in range(_ROUNDS):
            files = self._writer.not_stored()
            if not files:
                return
            self._load(iter(files))
        if files := self._writer.not_stored():
            raise WarehouseError(
                f"{len(files)} log files were not stored, because the ledger said something else each time it was "
                f"asked, for instance of {files[0].uri}; run this again when no other task writes the same table"
            )

    def _load(self, log_files: Iterator[LogFile]) -> None:
        batch: dict[str, tuple[LogFile, FileRows]] = {}
        events = size = 0
        ahead = ReadAhead(self._fetch, self._rows_of, self._limits.threads, self._limits.bytes_ahead)
        try:
            with ahead:
                for task, rows in ahead.results(self._tasks(log_files)):
                    if self._warehouse.overdue():
                        # It may take minutes until the next batch is full.
                        self._writer.store()
                    if self._known_files.keep(task, rows):
                        self._unwritten.discard(task.log_file.uri)
                        continue
                    log_file = task.log_file
                    if (
                        events >= self._limits.batch_events
                        or size >= self._limits.batch_bytes
                        or len(batch) >= self._limits.batch_files
                        or log_file.uri in batch
                    ):
                        # Emptied first: should the write fail, the same batch is not tried again below.
                        full, batch, events, size = batch, {}, 0, 0
                        self._write(full)
                        # Or its rows would stay until the next one is full.
                        del full
                    batch[log_file.uri] = (log_file, rows)
                    events += len(rows.events)
                    size += sum(map(len, map(_RAW_EVENT, rows.events)))
        except StoreError:
            self._write(batch)
            self._writer.store()
            raise
        self._write(batch)
        self._writer.store()

    # -- what to read ------------------------------------------------------------------------------

    def _tasks(self, log_files: Iterator[LogFile]) -> Iterator[Task]:
        """Yield the files that the ledger does not know, or not for this selection."""
        for portion in self._portions(log_files):
            # Files that are being read are not in the ledger yet: given again, they count once.
            new = {uri: log_file for uri, log_file in portion.items() if uri not in self._unwritten}
            self._summary.files += len(new)
            started = time.monotonic()
            known = self._ask_ledger(list(new))
            self._summary.seconds_asking += time.monotonic() - started
            for uri, log_file in new.items():
                task = self._known_files.task(log_file, known.get(uri))
                if task is None:
                    self._summary.files_known += 1
                else:
                    self._unwritten.add(uri)
                    yield task

    def _ask_ledger(self, uris: list[str]) -> dict[str, KnownFile]:
        try:
            return self._warehouse.known_files(uris)
        except BatchesLostError as error:
            self._writer.lose(error)
            return self._warehouse.known_files(uris)

    def _portions(self, log_files: Iterator[LogFile]) -> Iterator[dict[str, LogFile]]:
        """Yield as many files as the ledger is asked about at once; also those before a listing that breaks off."""
        portion: dict[str, LogFile] = {}
        try:
            for log_file in self._timed(log_files):
                portion[log_file.uri] = log_file
                if len(portion) >= self._limits.files_asked:
                    yield portion
                    portion = {}
        except StoreError:
            yield portion
            raise
        yield portion

    def _timed(self, log_files: Iterator[LogFile]) -> Iterator[LogFile]:
        started = time.monotonic()
        for log_file in log_files:
            self._summary.seconds_listing += time.monotonic() - started
            yield log_file
            started = time.monotonic()
        self._summary.seconds_listing += time.monotonic() - started

    # -- reading -----------------------------------------------------------------------------------

    def _fetch(self, task: Task) -> Fetched:
        log_file, started = task.log_file, time.monotonic()
        stored: StoredObject | ObjectError
        try:
            stored = self._store_of(log_file.bucket).get(log_file.key, self._max_file_bytes)
        except ObjectError as error:
            stored = error
        return Fetched(stored, time.monotonic() - started)

    def _rows_of(self, task: Task, fetched: Fetched) -> FileRows:
        log_file, stored = task.log_file, fetched.stored
        self._refuse_another(log_file, stored)
        if isinstance(stored, ObjectError):
            rows = unreadable_file(log_file, stored.code, str(stored), task.selection, loaded_by=self._loaded_by)
        else:
            rows = read_log_file(
                log_file,
                stored.body,
                stored.etag,
                task.selection,
                loaded_by=self._loaded_by,
                max_file_bytes=self._max_file_bytes,
                parsing=self._parsing,
            )
            rows.getting = fetched.seconds
            if log_file.size_bytes is None and (rows.entry.reason or "").startswith(DAMAGED):
                # Nobody has listed it, and unless the object is what is broken, it would not be read again.
                refuse_unless_listed(self._store_of(log_file.bucket), log_file.key, log_file.uri, stored)
        rows.previous = task.previous
        return rows

    def _refuse_another(self, log_file: LogFile, stored: StoredObject | ObjectError) -> None:
        """
        Refuse what is not the object that was listed: stored as if it was, the listed one would not be read any more.

        :raises StoreError: unless the bucket lists it by now; for one that is too large and was not, in any case.
        """
        if isinstance(stored, ObjectError):
            listed = log_file.size_bytes
            if stored.code == "too_large" and listed is not None and listed <= self._max_file_bytes:
                raise StoreError(f"{stored}; listed are {listed} bytes. Run this again")
        elif not is_as_listed(stored, log_file.etag, log_file.size_bytes):
            store = self._store_of(log_file.bucket)
            refuse_unless_listed(store, log_file.key, log_file.uri, stored, was_listed=True)
            self._log.warning(
                "%s was overwritten while this ran: %s bytes with ETag %s were listed, %s with ETag %s are read",
                log_file.uri,
                log_file.size_bytes,
                log_file.etag,
                len(stored.body),
                stored.etag,
            )

    # -- writing -----------------------------------------------------------------------------------

    def _write(self, batch: dict[str, tuple[LogFile, FileRows]]) -> None:
        self._writer.write(batch)
        self._unwritten.difference_update(batch)
