"""
The bytes of one log file to rows: unpacked within a bound, hashed, searched, parsed only if wanted.

One code path reads and hashes, so that the SHA-256 in the ledger is the one of exactly the bytes that
the rows were made from. Nothing here raises because of what a file contains: what cannot be read is
returned as quarantine, with a reason that names the object and holds no value of a record.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timezone
from typing import Any

from airflow_provider_cloudtrail.audit_event import (
    LOADED,
    NO_MATCH,
    QUARANTINED,
    AuditEvent,
    FileRows,
    LedgerEntry,
    QuarantineEntry,
)
from airflow_provider_cloudtrail.trail.codec import CODEC, MalformedError, StandardCodec
from airflow_provider_cloudtrail.trail.log_file import LogFile
from airflow_provider_cloudtrail.trail.needles import holders, needle_places, record_offsets, records_to_decode
from airflow_provider_cloudtrail.trail.record import Provenance, audit_event, documented_event
from airflow_provider_cloudtrail.trail.scrub import may_need_scrubbing, scrub, suspicious_places
from airflow_provider_cloudtrail.trail.selection import Selection

MAX_FILE_BYTES = 256 * 1024 * 1024
"""Default of the most bytes that a log file may have when unpacked; CloudTrail's own limit is 50 MB."""

_UNGUARDED: AbstractContextManager[None] = nullcontext()


def read_records(
    content: bytes, *, max_file_bytes: int = MAX_FILE_BYTES, codec: StandardCodec = CODEC
) -> Iterator[Any]:
    """
    Yield the decoded records of a log file, for callers that want records and no table.

    :param content: the object as stored, gzip.
    :param max_file_bytes: most bytes that it may have when unpacked.
    :raises MalformedError: at the first thing that cannot be read.
    """
    for raw in codec.split_records(codec.gunzip(content, max_file_bytes)):
        yield codec.decode(bytes(raw))


def read_log_file(
    log_file: LogFile,
    content: bytes,
    etag: str | None,
    selection: Selection,
    *,
    loaded_by: str | None = None,
    max_file_bytes: int = MAX_FILE_BYTES,
    codec: StandardCodec = CODEC,
    parsing: AbstractContextManager[Any] = _UNGUARDED,
) -> FileRows:
    """
    Read one log file.

    :param log_file: the file, as its key describes it.
    :param content: the object as stored, gzip.
    :param etag: its ETag.
    :param selection: which records are wanted.
    :param loaded_by: who loads it, for the rows.
    :param max_file_bytes: most bytes that it may have when unpacked.
    :param codec: unpacks and decodes.
    :param parsing: entered while it is parsed, for instance a lock: Python lets one thread parse at a time, and
        several that want to spend much of their time on handing its own lock over.
    :return: its rows; of a file that was parsed,
        ``records = len(events) + filtered + quarantined`` holds.
    """
    now, started = datetime.now(timezone.utc), time.perf_counter()
    try:
        document = codec.gunzip(content, max_file_bytes)
    except MalformedError as fault:
        entry = _entry(log_file, content, etag, selection, loaded_by, now)
        return quarantined_file(entry, fault.code, f"{log_file.uri}: {fault}")
    sha256 = hashlib.sha256(document).hexdigest()
    needles = selection.needles
    found = None if needles is None else list(needle_places(needles, document))
    status = LOADED if needles is None or found else NO_MATCH
    entry = _entry(log_file, content, etag, selection, loaded_by, now, sha256, status)
    unpacking = time.perf_counter() - started
    if status is NO_MATCH:
        return FileRows(entry, [], [], len(document), unpacking=unpacking)
    with parsing:
        parsed_from = time.perf_counter()
        rows = _parsed(document, found, entry, selection, Provenance(log_file, now, loaded_by), codec)
        rows.unpacking, rows.parsing = unpacking, time.perf_counter() - parsed_from
    return rows


def _parsed(
    document: bytes,
    found: Sequence[int] | None,
    entry: LedgerEntry,
    selection: Selection,
    provenance: Provenance,
    codec: StandardCodec,
) -> FileRows:
    """Return the rows of a document in which ``found`` are the places of what is wanted; None: all is."""
    unpacked = len(document)
    try:
        raws = codec.split_records(document)
    except MalformedError as fault:
        return quarantined_file(entry, fault.code, f"{entry.log_file_uri}: {fault}", unpacked)
    offsets = record_offsets(document, raws)
    suspects: set[int] | None = None
    if found is None:
        wanted: Sequence[int] = range(len(raws))
        if offsets is not None:
            suspects = holders(offsets, suspicious_places(document))
    else:
        wanted = records_to_decode(selection.needles or (), found, document, raws, offsets)

    events: list[AuditEvent] = []
    quarantine: list[QuarantineEntry] = []
    filtered = len(raws) - len(wanted)
    for index in wanted:
        raw = bytes(raws[index])
        try:
            suspect = may_need_scrubbing(raw) if suspects is None else index in suspects
            event = _event(raw, index, selection, provenance, codec, suspect)
        except MalformedError as fault:
            quarantine.append(_quarantined(raw, index, fault, provenance, codec))
            continue
        if event is None:
            filtered += 1
        else:
            events.append(event)
    entry = entry._replace(records=len(raws), filtered=filtered, quarantined=len(quarantine))
    return FileRows(entry, events, quarantine, unpacked)


def read_record(
    raw: bytes, index: int, selection: Selection, provenance: Provenance, codec: StandardCodec = CODEC
) -> AuditEvent | QuarantineEntry | None:
    """
    Read one record that comes without a log file, in the way of those that come in one.

    Records like these are few: each is decoded, whether or not the name of a wanted event source occurs in it.

    :param raw: the record as JSON text.
    :param index: its position among those that came with it, from 0.
    :param selection: which records are wanted.
    :param provenance: where it was found.
    :return: its row, its quarantine, or None if it is not wanted.
    """
    try:
        return _event(raw, index, selection, provenance, codec, may_need_scrubbing(raw))
    except MalformedError as fault:
        return _quarantined(raw, index, fault, provenance, codec)


def unreadable_file(
    log_file: LogFile, code: str, message: str, selection: Selection, *, loaded_by: str | None = None
) -> FileRows:
    """
    Return the quarantine of a log file that could not be fetched.

    :param code: kind of fault, such as ``access_denied``.
    :param message: names bucket, key and cause.
    """
    entry = _entry(log_file, None, log_file.etag, selection, loaded_by, datetime.now(timezone.utc))
    return quarantined_file(entry, code, message)


def quarantined_file(entry: LedgerEntry, code: str, message: str, unpacked_bytes: int = 0) -> FileRows:
    """Return the quarantine of a whole log file."""
    reason = f"{code}: {message}"
    return FileRows(
        entry._replace(status=QUARANTINED, reason=reason),
        [],
        [QuarantineEntry(entry.log_file_uri, None, reason, None, entry.loaded_at)],
        unpacked_bytes,
    )


def _entry(
    log_file: LogFile,
    content: bytes | None,
    etag: str | None,
    selection: Selection,
    loaded_by: str | None,
    now: datetime,
    sha256: str | None = None,
    status: str = LOADED,
) -> LedgerEntry:
    return LedgerEntry(
        log_file_uri=log_file.uri,
        etag=etag,
        size_bytes=log_file.size_bytes if content is None else len(content),
        sha256=sha256,
        account_id=log_file.account_id,
        region=log_file.region,
        delivered_at=log_file.delivered_at,
        records=None,
        loaded=None,
        duplicate=None,
        filtered=None,
        quarantined=None,
        status=status,
        reason=None,
        selection=selection.to_text(),
        loaded_at=now,
        loaded_by=loaded_by,
        digest_uri=None,
        digest_status=None,
        verified_at=None,
    )


def _event(
    raw: bytes,
    index: int,
    selection: Selection,
    provenance: Provenance,
    codec: StandardCodec,
    suspect: bool,
) -> AuditEvent | None:
    """Return the row of a record, or None if it is not wanted."""
    try:
        if selection.needs_names_only and not suspect:
            documented = codec.documented(raw)
            if documented is not None:
                if not selection.wants({"eventSource": documented.event_source, "eventName": documented.event_name}):
                    return None
                row = documented_event(documented, raw, index, provenance, codec)
                if row is not None:
                    return row
        if raw[:1] != b"{":
            raise MalformedError("not_an_object", "the record is no JSON object")
        record = codec.decode(raw)
        return audit_event(record, raw, index, provenance, codec) if selection.wants(record) else None
    except RecursionError:
        # What was decoded is not always shallow enough for what is asked of it: its environment, its texts.
        raise MalformedError("nested_too_deeply", "the JSON is nested too deeply") from None


def _quarantined(
    raw: bytes, index: int, fault: MalformedError, provenance: Provenance, codec: StandardCodec
) -> QuarantineEntry:
    uri = provenance.source.uri
    reason = f"{fault.code}: {uri} record {index}: {fault}"
    return QuarantineEntry(uri, index, reason, _raw_text(raw, codec), provenance.loaded_at)


def _raw_text(raw: bytes, codec: StandardCodec) -> str | None:
    """Return a record for the quarantine, scrubbed; None if it may hold secrets and cannot be taken apart."""
    try:
        cleaned, _ = scrub(codec.decode_leniently(raw))
        return codec.encode(cleaned)
    except (ValueError, RecursionError):
        if may_need_scrubbing(raw):
            return None
    text: str = scrub(raw.decode("utf-8", "backslashreplace"))[0]
    return text
