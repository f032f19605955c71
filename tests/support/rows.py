"""What the reader gives of a file, made for a test of the warehouses."""

from __future__ import annotations

from typing import Any

from airflow_provider_cloudtrail.audit_event import FileRows, KnownFile, LedgerEntry
from airflow_provider_cloudtrail.trail.reader import read_log_file
from airflow_provider_cloudtrail.trail.selection import Selection
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from tests.support.log_files import key_of, listed, log_bytes

MWAA, ALL = Selection.of(), Selection.of(event_sources=None)


def file_rows(
    stamp: str, *records: Any, selection: Selection = ALL, body: bytes | None = None, bucket: str = "example-trail"
) -> FileRows:
    """Return what a log file with these records, or of these bytes, gives."""
    file = listed(key_of(stamp), bucket)
    return read_log_file(file, log_bytes(*records) if body is None else body, f"etag-{stamp}", selection)


def known(entry: LedgerEntry) -> KnownFile:
    """Return what the ledger says of a file after an entry was written."""
    return KnownFile(*(getattr(entry, name) for name in KnownFile._fields))


def reread(warehouse: Warehouse, *files: FileRows) -> list[FileRows]:
    """Return rows as those of a run that asked the ledger before it read the files."""
    said = warehouse.known_files([file.entry.log_file_uri for file in files])
    for file in files:
        file.previous = said.get(file.entry.log_file_uri)
    return list(files)
