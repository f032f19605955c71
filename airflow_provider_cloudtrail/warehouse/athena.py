"""
Amazon Athena: Iceberg tables in the Glue catalog, filled by ``MERGE`` from staged rows.

Every statement commits on its own, so the order makes a batch safe: rows first, each only if its id is new, then
the quarantine, the ledger last. A task that is killed in between leaves rows whose file the ledger does not know;
when the file is read again, those that carry its URI count as loaded from it. Writers are kept apart by a lock
beside the staged rows (see :mod:`~airflow_provider_cloudtrail.warehouse.athena_lock`).

A statement costs a second or more and is billed as 10 MB at least, so they are few. A batch needs four: what the
ledger knows, MERGE of the events, whom they belong to, MERGE of the ledger. One more with a quarantine; two more for
each of them (the staged table is created and dropped) whose rows do not fit into a statement, which has 262,144
bytes; and one more for each further 100 days of event time, because a statement writes to 100 partitions at most
(https://docs.aws.amazon.com/athena/latest/ug/ctas-insert-into.html).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar

from airflow_provider_cloudtrail.audit_event import (
    LOADED,
    LOOKUP_SCHEME,
    AuditEvent,
    ColumnKind,
    FileRows,
    KnownFile,
    LedgerEntry,
    QuarantineEntry,
    columns_of,
)
from airflow_provider_cloudtrail.warehouse.athena_engine import AthenaEngine
from airflow_provider_cloudtrail.warehouse.athena_rows import source_of
from airflow_provider_cloudtrail.warehouse.athena_session import AthenaSession, literal
from airflow_provider_cloudtrail.warehouse.base import WarehouseError, first_of_each

MAX_DAYS = 100
"""Partitions that one statement may write to."""
_DAY = timedelta(days=1)
_NULLS = {
    column.name: "bigint" if column.kind is ColumnKind.INTEGER else "timestamp(6)"
    for column in columns_of(LedgerEntry)
    if column.kind in (ColumnKind.INTEGER, ColumnKind.TIMESTAMP)
}


class AthenaWarehouse(AthenaEngine):
    """
    A warehouse in Amazon Athena, engine version 3, through Airflow's ``AthenaSQLHook``.

    The tables lie below ``table_location`` of the connection's extra (``s3://bucket/folder``), else below the
    location of the Glue database; each in a folder of its name. Not below the staging folder: what is there may
    be removed after a time.

    :param staging: S3 folder that rows go through, and that holds the lock: all who write the same tables must use
        the same.
    :raises ValueError: if there is none, or a name is no plain identifier.
    """

    # Statements are what costs. Bytes are left alone, which are what bounds the memory.
    limits: ClassVar[Mapping[str, int]] = {
        "batch_events": 100_000,
        "batch_files": 10_000,
        "files_asked": 10_000,
    }

    # -- events ------------------------------------------------------------------------------------

    def _insert_new_events(self, cursor: AthenaSession, events: Sequence[AuditEvent]) -> set[str]:
        """Insert the events whose id is new, and return those that the table has from the same file."""
        event_id, uri = self.quoted("event_id"), self.quoted("log_file_uri")
        self._delete_unaccounted(cursor, events)
        found = self._merge_events(cursor, events, f"s.{event_id}, t.{uri} = s.{uri}", "")
        self._check_stored(len(events), len(found))
        return {name for name, of_same_file in found if of_same_file}

    def _delete_unaccounted(self, session: AthenaSession, events: Sequence[AuditEvent]) -> None:
        """
        Delete rows of these events that a lookup brought which was killed before its ledger entry.

        It is made again under another name, so they would never be accounted for. Rows of log files need not be
        deleted: the file has the same name when it is read again.
        """
        uri, lookups = self.quoted("log_file_uri"), self.qualified(f"{self.table}_lookups")
        within = self._of_days(self.quoted("event_time"), [_day(event) for event in events])
        for portion, marks in self._portions([event.event_id for event in events]):
            session.execute(
                f"DELETE FROM {self.events} WHERE {self.quoted('event_id')} IN ({marks}) "
                f"AND SUBSTR({uri}, 1, {len(LOOKUP_SCHEME)}) = {self.hook.placeholder} "
                f"AND {uri} NOT IN (SELECT {self.quoted('lookup_uri')} FROM {lookups}){within}",
                [*portion, LOOKUP_SCHEME],
            )

    def _rows_by_file(self, session: AthenaSession, events: Sequence[AuditEvent]) -> dict[str, int]:
        """Insert the events whose id is new, and return how many of them the table has from which file."""
        uri = f"t.{self.quoted('log_file_uri')}"
        counts = dict(self._merge_events(session, events, f"{uri}, COUNT(*)", f" GROUP BY {uri}"))
        self._check_stored(len(events), sum(counts.values()))
        return counts

    def _merge_events(
        self, session: AthenaSession, events: Sequence[AuditEvent], selected: str, grouped: str
    ) -> list[tuple[Any, ...]]:
        columns = columns_of(AuditEvent)
        event_id, event_time = self.quoted("event_id"), self.quoted("event_time")
        days = sorted({_day(event) for event in events})
        within = self._of_days(f"t.{event_time}", days)
        with source_of(session, self._staging, columns, events, self.qualified) as source:
            for start in range(0, len(days), MAX_DAYS):
                first, last = days[start], days[start : start + MAX_DAYS][-1]
                part = source
                if len(days) > MAX_DAYS:
                    part = (
                        f"SELECT * FROM ({source}) AS r WHERE {event_time} >= {literal(first)} "
                        f"AND {event_time} < {literal(last + _DAY)}"
                    )
                self._merge(session, self.events, part, columns, ["event_id"], within=within)
            session.execute(
                f"SELECT {selected} FROM ({source}) AS s JOIN {self.events} AS t "
                f"ON t.{event_id} = s.{event_id}{within}{grouped}"
            )
            return session.fetchall()

    @staticmethod
    def _of_days(column: str, days: Collection[datetime]) -> str:
        # An event has the same time in whichever file it stands: other days need not be read. A day to spare
        # costs little.
        return f" AND {column} >= {literal(min(days) - _DAY)} AND {column} < {literal(max(days) + 2 * _DAY)}"

    def _check_stored(self, expected: int, found: int) -> None:
        # Staged objects that were not read, or two writers at once after all: the ledger must not say otherwise.
        if found != expected:
            raise WarehouseError(
                f"athena, writing {self.events}: {expected} events were merged and {found} rows of them found; "
                "nothing was written to the ledger. If this comes again, look for ids that stand in more than one row"
            )

    # -- a batch -----------------------------------------------------------------------------------

    def _write(self, cursor: AthenaSession, files: Sequence[FileRows]) -> list[LedgerEntry]:
        known, loaded, in_quarantine = self._known_and_quarantined(cursor, [file.entry.log_file_uri for file in files])
        # An attempt before this one can have come to the ledger, and not have heard of it.
        stored = [
            _as_known(file, known[uri])
            for file in files
            if known.get(uri := file.entry.log_file_uri) != file.previous
            and loaded.get(uri) == _loaded(file.entry.loaded_at, file.entry.loaded_by)
        ]
        files = [file for file in files if known.get(file.entry.log_file_uri) == file.previous]
        first = first_of_each(event for file in files for event in file.events)
        rows = self._rows_by_file(cursor, list(first.values())) if first else {}
        entries = [_settled(file, rows) for file in files]
        self._replace_quarantine(cursor, files, in_quarantine)
        self.replace(cursor, self.files, columns_of(LedgerEntry), entries)
        return [*stored, *entries]

    def _known_and_quarantined(
        self, session: AthenaSession, uris: Sequence[str]
    ) -> tuple[dict[str, KnownFile], dict[str, tuple[str, str | None]], Collection[str]]:
        """
        Return what the ledger knows, when and by whom it was loaded, and which files have rows in quarantine.

        The latter maybe of a run that was killed.
        """
        names = [*KnownFile._fields, "loaded_at", "loaded_by"]
        known = ", ".join(map(self.quoted, names))
        uri = self.quoted("log_file_uri")
        nothing = ", ".join(f"CAST(NULL AS {_NULLS.get(name, 'varchar')})" for name in names[1:])
        bound = self._and_time_bound(self.files, uris)
        of_ledger = f"SELECT {known} FROM {self.files} AS t WHERE 1 = 1{bound}"
        both = f"{of_ledger} UNION ALL SELECT DISTINCT {uri}, {nothing} FROM {self.quarantine}"
        rows = self._find(session, f"({both})", names, uris)
        # Every row of the ledger has a status.
        entries = [row for row in rows if row[2] is not None]
        found = {row[0]: KnownFile(*row[:-2]) for row in entries}
        return found, {row[0]: _loaded(*row[-2:]) for row in entries}, {row[0] for row in rows if row[2] is None}

    def _replace_quarantine(
        self, session: AthenaSession, files: Sequence[FileRows], in_quarantine: Collection[str]
    ) -> None:
        uri = self.quoted("log_file_uri")
        again = [file.entry.log_file_uri for file in files if file.entry.log_file_uri in in_quarantine]
        for portion, marks in self._portions(again):
            session.execute(f"DELETE FROM {self.quarantine} WHERE {uri} IN ({marks})", portion)
        self.insert(
            session, self.quarantine, columns_of(QuarantineEntry), [q for file in files for q in file.quarantine]
        )


def _loaded(at: datetime | None, by: str | None) -> tuple[str, str | None]:
    """Return when, to the millisecond that the engine may round to, and by whom a file was loaded."""
    if at is None:
        return "", by
    in_utc = at if at.tzinfo is None else at.astimezone(timezone.utc)
    return f"{in_utc:%Y-%m-%d %H:%M:%S.%f}"[:-3], by


def _as_known(file: FileRows, known: KnownFile) -> LedgerEntry:
    """Return the ledger entry of a file as it is in the ledger already."""
    if file.entry.status != LOADED:
        return file.entry
    loaded = int(known.loaded or 0)
    return file.entry._replace(loaded=loaded, duplicate=len(file.events) - loaded)


def _settled(file: FileRows, rows: Mapping[str, int]) -> LedgerEntry:
    """Return the ledger entry of a file with the counts that only the warehouse knows."""
    if file.entry.status != LOADED:
        return file.entry
    # Rows of earlier reads are among them: who reads a file again selects no less.
    loaded = rows.get(file.entry.log_file_uri, 0)
    return file.entry._replace(loaded=loaded, duplicate=len(file.events) - loaded)


def _day(event: AuditEvent) -> datetime:
    return event.event_time.astimezone(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
