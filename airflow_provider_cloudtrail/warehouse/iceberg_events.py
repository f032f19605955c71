"""
Which events an Iceberg table has already, and where from.

An event that comes back has the time that it had, so the ids are compared among rows of those times; in a table
of up to 100,000 rows and 100 data files among all. Two records that share an id and lie apart in time, which CloudTrail
does not write, can thus become two rows of a larger table: nothing is lost. To compare with all ids of a table of years
would be to read them all for each batch, and to open each of its files: a batch an hour makes thousands of them a year.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime, timezone

from airflow_provider_cloudtrail.audit_event import LOADED, AuditEvent, FileRows, LedgerEntry, columns_of
from airflow_provider_cloudtrail.warehouse.conditions import AllOf, AnyOf, Condition, OneOf, between
from airflow_provider_cloudtrail.warehouse.iceberg_tables import PinnedTable

_ROWS_COMPARED_WITH_ALL = 100_000
_FILES_COMPARED_WITH_ALL = 100
_MOST_SPANS = 40


def insert_events(table: PinnedTable, events: Collection[AuditEvent]) -> None:
    """Insert events that the table does not hold."""
    if events:
        table.append_by_day(columns_of(AuditEvent), list(events), "event_time")


def origins_of(table: PinnedTable, first: Mapping[str, AuditEvent]) -> dict[str, str]:
    """Return the ``log_file_uri`` of the rows that the table has of events, by their ids."""
    origins: dict[str, str] = {}
    ids = list(first)
    # The ids alone first: of new files, none is there, and their URIs need not be read.
    present = [
        value
        for batch in (table.read(["event_id"], rows_of(table, first, ids), ids=ids) if ids else ())
        for value in batch.column("event_id").to_pylist()
    ]
    if present:
        for batch in table.read(["event_id", "log_file_uri"], rows_of(table, first, present), ids=present):
            origins.update(zip(*(column.to_pylist() for column in batch.columns), strict=True))
    return origins


def rows_of(table: PinnedTable, first: Mapping[str, AuditEvent], ids: list[str]) -> Condition:
    """Return the condition for the rows that a table has of some of the events, by their ids."""
    wanted = OneOf("event_id", ids)
    if table.rows <= _ROWS_COMPARED_WITH_ALL and table.data_files <= _FILES_COMPARED_WITH_ALL:
        return wanted
    return AllOf([_at_the_times(first[event_id] for event_id in ids), wanted])


def settled_entry(file: FileRows, origins: Mapping[str, str]) -> LedgerEntry:
    """Return the ledger entry of a file with the counts that only the table knows."""
    if file.entry.status != LOADED:
        return file.entry
    uri = file.entry.log_file_uri
    loaded = len({event.event_id for event in file.events if origins[event.event_id] == uri})
    return file.entry._replace(loaded=loaded, duplicate=len(file.events) - loaded)


def _at_the_times(events: Iterable[AuditEvent]) -> Condition:
    """Return the condition for rows that have the times of events: for each day from the first to the last of them."""
    spans: dict[date, tuple[datetime, datetime]] = {}
    for event in events:
        day = event.event_time.astimezone(timezone.utc).date()
        first, last = spans.get(day, (event.event_time, event.event_time))
        spans[day] = (min(first, event.event_time), max(last, event.event_time))
    if len(spans) > _MOST_SPANS:
        return AllOf(between("event_time", min(spans.values())[0], max(last for _, last in spans.values())))
    return AnyOf([AllOf(between("event_time", *span)) for span in spans.values()])
