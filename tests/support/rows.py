"""What the readers give of a file and of a lookup, made for a test of the warehouses."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_cloudtrail.audit_event import COMPLETE, FileRows, KnownFile, LedgerEntry, LookupRows
from airflow_provider_cloudtrail.trail.event_history import HistoryEvent
from airflow_provider_cloudtrail.trail.lookup import Lookup, Span
from airflow_provider_cloudtrail.trail.lookup_reader import Part, read_part
from airflow_provider_cloudtrail.trail.reader import read_log_file
from airflow_provider_cloudtrail.trail.selection import Selection
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from tests.support.log_files import ACCOUNT, REGION, key_of, listed, log_bytes

AT = datetime(2026, 2, 3, 10, 0, 0, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
MWAA, ALL = Selection.of(), Selection.of(event_sources=None)


def file_rows(
    stamp: str, *records: Any, selection: Selection = ALL, body: bytes | None = None, bucket: str = "example-trail"
) -> FileRows:
    """Return what a log file with these records, or of these bytes, gives: read a millisecond behind the one before."""
    # Entries by the same task and of the same millisecond are one for Athena, and here all are by none.
    time.sleep(0.001)
    file = listed(key_of(stamp), bucket)
    return read_log_file(file, log_bytes(*records) if body is None else body, f"etag-{stamp}", selection)


def lookup_rows(
    *records: Any,
    start: datetime = AT,
    end: datetime = AT + HOUR,
    status: str = COMPLETE,
    region: str = REGION,
) -> LookupRows:
    """Return what a lookup that finds these records gives; those given as text are put in as they are."""
    events = [
        HistoryEvent(AT, record if isinstance(record, str) else json.dumps(record), str(index))
        for index, record in enumerate(records)
    ]
    part = Part(Span(start, end), events, status, end)
    return read_part(part, Lookup(None, Selection.of()), ACCOUNT, region, loaded_by="dag.task run", now=end)


def known(entry: LedgerEntry) -> KnownFile:
    """Return what the ledger says of a file after an entry was written."""
    return KnownFile(*(getattr(entry, name) for name in KnownFile._fields))


def reread(warehouse: Warehouse, *files: FileRows) -> list[FileRows]:
    """Return rows as those of a run that asked the ledger before it read the files."""
    said = warehouse.known_files([file.entry.log_file_uri for file in files])
    for file in files:
        file.previous = said.get(file.entry.log_file_uri)
    return list(files)
