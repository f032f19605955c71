"""
The way of the data: log files to records to audit events to the warehouse, batch by batch.

Several files are fetched, unpacked, hashed and searched at once by threads, within a bound of files and
bytes; their results are taken in the order of the listing, so that a run that was killed and run again
gives the same tables as one that was not. Needs no Airflow: a plain function can call it.
"""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any

from airflow_provider_cloudtrail.audit_event import NO_MATCH, QUARANTINED, FileRows, KnownFile, LedgerEntry
from airflow_provider_cloudtrail.trail.log_file import LogFile
from airflow_provider_cloudtrail.trail.reader import MAX_FILE_BYTES, read_log_file, unreadable_file
from airflow_provider_cloudtrail.trail.selection import Selection
from airflow_provider_cloudtrail.trail.store import ObjectError, Store, StoreError
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError

log = logging.getLogger(__name__)

_MIB = 1024 * 1024
# Log files unpack to about this many times their size.
_EXPANSION = 12
_SIZE_IF_UNKNOWN = 64 * 1024
# Of quiet Regions files are so small that handing them over to a thread one by one costs as much as unpacking them.
_FILES_HANDED_OVER = 8
_BYTES_HANDED_OVER = 256 * 1024
# Whether these can be read may have changed since; what is inside of an object does not.
_WORTH_ANOTHER_TRY = ("not_found:", "access_denied:")
_LIMIT_IN_REASON = re.compile(r"max_file_bytes=(\d+)")
_ROUNDS = 5
# Asked of every event: these take a third of the time of a loop.
_RAW_EVENT, _REDACTED, _EVENT_TIME = map(attrgetter, ("raw_event", "redacted", "event_time"))
_NAMED_FILES = 10


@dataclass(frozen=True)
class Limits:
    """
    How much is done at once.

    :param threads: files that are fetched and unpacked at the same time.
    :param bytes_ahead: most bytes, unpacked and by estimate, that are read ahead of the warehouse; a
        single larger file is read alone.
    :param files_asked: files that the ledger is asked about in one question.
    :param batch_events: events that are enough for a transaction.
    :param batch_bytes: size of their records that is.
    :param batch_files: log files that are, also without events.
    """

    threads: int = 8
    bytes_ahead: int = 96 * _MIB
    files_asked: int = 5_000
    batch_events: int = 50_000
    batch_bytes: int = 32 * _MIB
    batch_files: int = 5_000


@dataclass
class ExportSummary:
    """
    What a run did. Counts of records are those of the files that this run read.

    :param files: log files given, each once.
    :param files_known: of these, not read because the ledger has them.
    :param files_read: read by this run; each cost one GET.
    :param files_without_match: of these, not parsed because no wanted event source occurs in their bytes.
    :param files_quarantined: of these, put into quarantine as a whole.
    :param files_not_read_again: wanted for a wider selection, but not readable any more; what was
        loaded from them stays.
    :param files_changed: loaded before, and another object now lies under their key.
    :param bytes: size of the files that were read, in bytes, compressed.
    :param unpacked_bytes: the same, uncompressed.
    :param records: records in the files that were parsed;
        ``records = loaded + duplicate + filtered + quarantined``.
    :param loaded: rows that this run added.
    :param duplicate: selected events that were there already.
    :param filtered: records that were not selected.
    :param quarantined: records that could not be read.
    :param redacted: secret values that were replaced.
    :param first_event_time: earliest selected event, UTC.
    :param last_event_time: latest selected event, UTC.
    :param seconds: how long it took.
    :param seconds_listing: of these, waiting for the next log files of the listing.
    :param seconds_getting: fetching log files; this and the next two are added up over the threads.
    :param seconds_unpacking: unpacking, hashing and searching.
    :param seconds_parsing: making rows.
    :param seconds_asking: asking the ledger which files it knows.
    :param seconds_writing: storing batches, waiting for other writers included.
    :param requests: LIST and GET requests to S3; filled in by who knows the stores, as the operator does.
    :param quarantine: reasons of the first files and records that this run put into quarantine.
    :param known_quarantined: files given that an earlier run put into quarantine, the first of them.
    """

    files: int = 0
    files_known: int = 0
    files_read: int = 0
    files_without_match: int = 0
    files_quarantined: int = 0
    files_not_read_again: int = 0
    files_changed: int = 0
    bytes: int = 0
    unpacked_bytes: int = 0
    records: int = 0
    loaded: int = 0
    duplicate: int = 0
    filtered: int = 0
    quarantined: int = 0
    redacted: int = 0
    first_event_time: datetime | None = None
    last_event_time: datetime | None = None
    seconds: float = 0.0
    seconds_listing: float = 0.0
    seconds_getting: float = 0.0
    seconds_unpacking: float = 0.0
    seconds_parsing: float = 0.0
    seconds_asking: float = 0.0
    seconds_writing: float = 0.0
    requests: dict[str, int] = field(default_factory=dict)
    quarantine: list[str] = field(default_factory=list)
    known_quarantined: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as JSON types, times in ISO 8601."""
        values = asdict(self)
        for name in ("first_event_time", "last_event_time"):
            values[name] = values[name].isoformat() if values[name] else None
        values |= {name: round(value, 3) for name, value in values.items() if name.startswith("seconds")}
        return values


@dataclass(frozen=True)
class _Task:
    """A file to read, what to select, and what the ledger said."""

    log_file: LogFile
    selection: Selection
    previous: KnownFile | None

    @property
    def weight(self) -> int:
        """Bytes that the file unpacks to, by estimate."""
        return (self.log_file.size_bytes or _SIZE_IF_UNKNOWN) * _EXPANSION


@dataclass
class _Group:
    """
    Files that one thread reads, one after the other.

    :param weight: bytes that they unpack to, by estimate.
    :param failure: why the run cannot go on behind those that were read.
    """

    tasks: list[_Task] = field(default_factory=list)
    weight: int = 0
    failure: StoreError | None = None


def _groups(tasks: Iterator[_Task], limits: Limits) -> Iterator[_Group]:
    """Yield small files together, larger ones and the first ones alone: every thread has one at once."""
    most = min(_BYTES_HANDED_OVER, limits.bytes_ahead // (2 * limits.threads))
    group = _Group()
    yielded = 0
    try:
        for task in tasks:
            if group.tasks and (
                yielded < limits.threads or len(group.tasks) >= _FILES_HANDED_OVER or group.weight + task.weight > most
            ):
                yield group
                yielded += 1
                group = _Group()
            group.tasks.append(task)
            group.weight += task.weight
    except StoreError as error:
        # The listing goes no further: what it gave before is still read and stored.
        group.failure = error
    if group.tasks or group.failure is not None:
        yield group


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
        self._selection = selection
        self._loaded_by = loaded_by
        self._max_file_bytes = max_file_bytes
        self._in_window = in_window
        self._limits = limits
        self._log = log
        self._summary = ExportSummary()
        self._started = time.monotonic()
        self._batches = 0
        self._overtaken: list[LogFile] = []
        self._unwritten: set[str] = set()
        self._stopped = False

    def run(self, log_files: Iterable[LogFile]) -> ExportSummary:
        with self._warehouse.session():
            self._load_all(log_files)
        self._summary.seconds = time.monotonic() - self._started
        return self._summary

    def _load_all(self, log_files: Iterable[LogFile]) -> None:
        self._load(iter(log_files))
        for _ in range(_ROUNDS):
            if not self._overtaken:
                break
            # Another run has read these files in the meantime: the ledger is asked anew.
            files, self._overtaken = self._overtaken, []
            self._load(iter(files))
        if self._overtaken:
            raise WarehouseError(
                f"{len(self._overtaken)} log files were not stored, because the ledger said something else each time "
                f"it was asked, for instance of {self._overtaken[0].uri}; run this again when no other task writes "
                "the same table"
            )

    def _load(self, log_files: Iterator[LogFile]) -> None:
        batch: dict[str, tuple[LogFile, FileRows]] = {}
        events = size = 0
        with ThreadPoolExecutor(self._limits.threads, thread_name_prefix="cloudtrail") as pool:
            try:
                for log_file, rows in self._read_ahead(pool, self._tasks(log_files)):
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
                self._stop(pool)
                self._write(batch)
                raise
            except BaseException:
                self._stop(pool)
                raise
            self._write(batch)

    def _stop(self, pool: ThreadPoolExecutor) -> None:
        self._stopped = True
        pool.shutdown(wait=False, cancel_futures=True)

    # -- what to read ------------------------------------------------------------------------------

    def _tasks(self, log_files: Iterator[LogFile]) -> Iterator[_Task]:
        """Yield the files that the ledger does not know, or not for this selection."""
        for portion in self._portions(log_files):
            # Files that are being read are not in the ledger yet: given again, they count once.
            new = {uri: log_file for uri, log_file in portion.items() if uri not in self._unwritten}
            self._summary.files += len(new)
            started = time.monotonic()
            known = self._warehouse.known_files(list(new))
            self._summary.seconds_asking += time.monotonic() - started
            for uri, log_file in new.items():
                task = self._task(log_file, known.get(uri))
                if task is None:
                    self._summary.files_known += 1
                else:
                    self._unwritten.add(uri)
                    yield task

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

    def _task(self, log_file: LogFile, known: KnownFile | None) -> _Task | None:
        if known is None:
            return _Task(log_file, self._selection, None)
        try:
            before = Selection.from_text(known.selection)
        except ValueError:
            before = None
        wanted = self._selection if before is None else before | self._selection
        changed = log_file.etag is not None and known.etag is not None and log_file.etag != known.etag
        if known.status == QUARANTINED:
            if changed or self._may_be_readable_now(known.reason or ""):
                return _Task(log_file, wanted, known)
            if self._in_window(log_file) and len(self._summary.known_quarantined) < _NAMED_FILES:
                self._summary.known_quarantined.append(known.reason or log_file.uri)
            return None
        if changed:
            # Log files are written once. Reading the new object would cover up what was loaded.
            self._summary.files_changed += 1
            self._log.warning("%s was loaded with ETag %s and now has %s", log_file.uri, known.etag, log_file.etag)
            return None
        if before is not None and before.covers(self._selection):
            return None
        return _Task(log_file, wanted, known)

    def _may_be_readable_now(self, reason: str) -> bool:
        limit = _LIMIT_IN_REASON.search(reason) if reason.startswith("too_large:") else None
        return reason.startswith(_WORTH_ANOTHER_TRY) or (limit is not None and int(limit[1]) < self._max_file_bytes)

    # -- reading -----------------------------------------------------------------------------------

    def _read_ahead(self, pool: ThreadPoolExecutor, tasks: Iterator[_Task]) -> Iterator[tuple[LogFile, FileRows]]:
        """Yield the files and what they give, in the order of the tasks, while threads read the next ones."""
        pending: deque[tuple[_Group, Future[list[FileRows]]]] = deque()
        ahead = 0
        for group in _groups(tasks, self._limits):
            while pending and (
                len(pending) >= 2 * self._limits.threads or ahead + group.weight > self._limits.bytes_ahead
            ):
                done, future = pending.popleft()
                ahead -= done.weight
                yield from self._results(done, future)
            pending.append((group, pool.submit(self._read_group, group)))
            ahead += group.weight
        while pending:
            yield from self._results(*pending.popleft())

    def _read_group(self, group: _Group) -> list[FileRows]:
        """Read files one after the other; those before one of which the bucket does not answer are not lost."""
        read: list[FileRows] = []
        try:
            for task in group.tasks:
                if self._stopped:
                    break
                read.append(self._read(task))
        except StoreError as error:
            group.failure = error
        return read

    def _read(self, task: _Task) -> FileRows:
        log_file, started = task.log_file, time.monotonic()
        getting = 0.0
        try:
            stored = self._store_of(log_file.bucket).get(log_file.key)
        except ObjectError as error:
            rows = unreadable_file(log_file, error.code, str(error), task.selection, loaded_by=self._loaded_by)
        else:
            getting = time.monotonic() - started
            rows = read_log_file(
                log_file,
                stored.body,
                stored.etag,
                task.selection,
                loaded_by=self._loaded_by,
                max_file_bytes=self._max_file_bytes,
            )
        rows.previous = task.previous
        rows.getting = getting
        return rows

    def _results(self, group: _Group, future: Future[list[FileRows]]) -> Iterator[tuple[LogFile, FileRows]]:
        for task, rows in zip(group.tasks, future.result(), strict=False):
            if rows.entry.status == QUARANTINED and task.previous is not None and task.previous.status != QUARANTINED:
                # Its rows are in the table and its counts a balance: the ledger keeps what it said.
                self._summary.files_not_read_again += 1
                self._unwritten.discard(task.log_file.uri)
                self._name(f"wanted for a wider selection, but not readable any more: {rows.entry.reason}")
            else:
                yield task.log_file, rows
        if group.failure is not None:
            raise group.failure

    # -- writing -----------------------------------------------------------------------------------

    def _write(self, batch: dict[str, tuple[LogFile, FileRows]]) -> None:
        if not batch:
            return
        started = time.monotonic()
        written = self._warehouse.write([rows for _, rows in batch.values()])
        self._summary.seconds_writing += time.monotonic() - started
        entries = {entry.log_file_uri: entry for entry in written}
        before = asdict(self._summary)
        for uri, (log_file, rows) in batch.items():
            if uri in entries:
                self._add(rows, entries[uri])
            else:
                self._overtaken.append(log_file)
                self._summary.files -= 1
        self._unwritten.difference_update(batch)
        self._batches += 1
        total = self._summary
        self._log.info(
            "Batch %s: %s files (%s without match, %s quarantined), %s records = %s loaded + %s duplicate "
            "+ %s filtered + %s quarantined; %.1f MiB; written in %.1f s. So far %s of %s listed files in %.0f s.",
            self._batches,
            total.files_read - before["files_read"],
            total.files_without_match - before["files_without_match"],
            total.files_quarantined - before["files_quarantined"],
            *(total_of - before[name] for name, total_of in _balance(total).items()),
            (total.bytes - before["bytes"]) / _MIB,
            time.monotonic() - started,
            total.files_read + total.files_known,
            total.files,
            time.monotonic() - self._started,
        )

    def _add(self, rows: FileRows, entry: LedgerEntry) -> None:
        total = self._summary
        total.files_read += 1
        total.files_without_match += entry.status == NO_MATCH
        total.bytes += entry.size_bytes or 0
        total.unpacked_bytes += rows.unpacked_bytes
        total.seconds_getting += rows.getting
        total.seconds_unpacking += rows.unpacking
        total.seconds_parsing += rows.parsing
        if entry.status == QUARANTINED:
            total.files_quarantined += 1
        elif entry.records is not None:
            # Rows that an earlier read of the file loaded are no news of this run.
            earlier = rows.previous.loaded or 0 if rows.previous is not None else 0
            total.records += entry.records
            total.loaded += (entry.loaded or 0) - earlier
            total.duplicate += (entry.duplicate or 0) + earlier
            total.filtered += entry.filtered or 0
            total.quarantined += entry.quarantined or 0
        for quarantined in rows.quarantine:
            self._name(quarantined.reason)
        if rows.events:
            total.redacted += sum(map(_REDACTED, rows.events))
            times = list(map(_EVENT_TIME, rows.events))
            total.first_event_time = min(filter(None, (total.first_event_time, min(times))))
            total.last_event_time = max(filter(None, (total.last_event_time, max(times))))

    def _name(self, reason: str) -> None:
        if len(self._summary.quarantine) < _NAMED_FILES:
            self._log.warning("Quarantine: %s", reason)
            self._summary.quarantine.append(reason)


def _balance(summary: ExportSummary) -> dict[str, int]:
    names = ("records", "loaded", "duplicate", "filtered", "quarantined")
    return {name: getattr(summary, name) for name in names}
