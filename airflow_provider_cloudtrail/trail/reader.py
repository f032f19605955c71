"""
The bytes of one log file to rows: unpacked within a bound, hashed, searched, parsed only if wanted.

One code path reads and hashes, so that the SHA-256 in the ledger is the one of exactly the bytes that
the rows were made from. Nothing here raises because of what a file contains: what cannot be read is
returned as quarantine, with a reason that names the object and holds no value of a record.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
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
from airflow_provider_cloudtrail.trail.record import Provenance, audit_event
from airflow_provider_cloudtrail.trail.scrub import scrub, scrub_text
from airflow_provider_cloudtrail.trail.selection import Selection

MAX_FILE_BYTES = 256 * 1024 * 1024
"""Default of the most bytes that a log file may have when unpacked; CloudTrail's own limit is 50 MB."""

_BRACE = ord("{")
# No encoder writes letters, digits, '-' or '.' as an escape, but JSON allows it, and it would hide a name
# from a search of the bytes.

_HIDDEN = re.compile(rb"\\u00(?:2[dDeE]|3[0-9]|[4-7])")


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
        yield codec.decode(raw)


def read_log_file(
    log_file: LogFile,
    content: bytes,
    etag: str | None,
    selection: Selection,
    *,
    loaded_by: str | None = None,
    max_file_bytes: int = MAX_FILE_BYTES,
    codec: StandardCodec = CODEC,
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
    :return: its rows; of a file that was parsed,
        ``records = len(events) + filtered + quarantined`` holds.
    """
    now, started = datetime.now(timezone.utc), time.perf_counter()
    entry = _entry(log_file, content, etag, selection, loaded_by, now)
    try:
        document = codec.gunzip(content, max_file_bytes)
    except MalformedError as fault:
        return quarantined_file(entry, fault.code, f"{log_file.uri}: {fault}")
    entry = entry._replace(sha256=hashlib.sha256(document).hexdigest())
    needles = selection.needles
    if needles is not None and not _occurs(needles, document):
        unpacking = time.perf_counter() - started
        return FileRows(entry._replace(status=NO_MATCH), [], [], len(document), unpacking=unpacking)
    unpacked_at = time.perf_counter()
    try:
        raws = codec.split_records(document)
    except MalformedError as fault:
        return quarantined_file(entry, fault.code, f"{log_file.uri}: {fault}", len(document))
    unpacked = len(document)
    needles = None if needles is None else _needles_within(needles, document)
    del document

    provenance = Provenance(log_file, now, loaded_by)
    events: list[AuditEvent] = []
    quarantine: list[QuarantineEntry] = []
    filtered = 0
    for index, raw in enumerate(raws):
        if needles is not None and raw[0] == _BRACE and not _occurs(needles, raw):
            filtered += 1
            continue
        try:
            event = _event(raw, index, selection, provenance, codec)
        except MalformedError as fault:
            quarantine.append(_quarantined(raw, index, fault, provenance, codec))
            continue
        if event is None:
            filtered += 1
        else:
            events.append(event)
    entry = entry._replace(records=len(raws), filtered=filtered, quarantined=len(quarantine))
    return FileRows(
        entry,
        events,
        quarantine,
        unpacked,
        unpacking=unpacked_at - started,
        parsing=time.perf_counter() - unpacked_at,
    )


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
        return _event(raw, index, selection, provenance, codec)
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
) -> LedgerEntry:
    return LedgerEntry(
        log_file_uri=log_file.uri,
        etag=etag,
        size_bytes=log_file.size_bytes if content is None else len(content),
        sha256=None,
        account_id=log_file.account_id,
        region=log_file.region,
        delivered_at=log_file.delivered_at,
        records=None,
        loaded=None,
        duplicate=None,
        filtered=None,
        quarantined=None,
        status=LOADED,
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
) -> AuditEvent | None:
    """Return the row of a record, or None if it is not wanted."""
    if raw[:1] != b"{":
        raise MalformedError("not_an_object", "the record is no JSON object")
    record = codec.decode(raw)
    if not selection.wants(record):
        return None
    try:
        return audit_event(record, raw, index, provenance, codec)
    except RecursionError:
        raise MalformedError("nested_too_deeply", "the JSON is nested too deeply") from None


def _quarantined(
    raw: bytes, index: int, fault: MalformedError, provenance: Provenance, codec: StandardCodec
) -> QuarantineEntry:
    uri = provenance.source.uri
    reason = f"{fault.code}: {uri} record {index}: {fault}"
    return QuarantineEntry(uri, index, reason, _raw_text(raw, codec), provenance.loaded_at)


def _occurs(needles: tuple[bytes, ...], data: bytes) -> bool:
    for needle in needles:
        if needle in data:
            return True
    # A search for one byte is many times faster than one for a pattern, and often all that is needed.
    return b"\\" in data and _HIDDEN.search(data) is not None


def _needles_within(needles: tuple[bytes, ...], document: bytes) -> tuple[bytes, ...]:
    """Return the needles that are worth searching each record for."""
    return tuple(needle for needle in needles if needle in document)


def _raw_text(raw: bytes, codec: StandardCodec) -> str:
    """Return a record for the quarantine: scrubbed, as well as that can be done to what cannot be read."""
    try:
        cleaned, _ = scrub(codec.decode(raw))
        return codec.encode(cleaned)
    except (ValueError, RecursionError):
        return scrub_text(raw.decode("utf-8", "backslashreplace"))
