"""The statements of the pushdown: what is in a span, rows, ledger. Each can be run again at any moment."""

from __future__ import annotations

from datetime import datetime

from airflow_provider_cloudtrail.audit_event import LOADED, QUARANTINED, AuditEvent, LedgerEntry, columns_of
from airflow_provider_cloudtrail.pushdown.audit_events import COLUMNS
from airflow_provider_cloudtrail.pushdown.records import Records
from airflow_provider_cloudtrail.pushdown.sql import checked, text_literal, time_literal

MOST_DAYS = 100
"""Most partitions that Athena writes in one statement; the audit table has one for each day of events."""

_EVENT_DAY = "substr(eventtime, 1, 10)"


def known_selections(records: Records) -> str:
    """
    Return the question what the ledger knows of a span.

    One row for each selection, with the number of its files, how many of them hold quarantined records, and
    one for each file that is in quarantine as a whole, with its URI. Of the latter also those that are not of the span,
    and do not count, but that Athena would open for it.
    """
    in_quarantine = f"status = '{QUARANTINED}'"
    return checked(
        f"SELECT selection, CASE WHEN {in_quarantine} THEN log_file_uri END AS log_file_uri,"
        f" count(CASE WHEN {records.in_span} THEN 1 END) AS files,"
        f" count_if(COALESCE(quarantined, 0) > 0) AS with_quarantine FROM {records.files}"
        f" WHERE ({records.asked_for}) OR ({in_quarantine} AND {records.opened}) GROUP BY 1, 2"
    )


def survey(records: Records) -> str:
    """
    Return the question what of a span is wanted.

    One row for each file that SQL cannot read (with the reason), and one for each day of the events of the others.
    """
    return checked(
        f"{records.query(every=False)} "
        "SELECT CASE WHEN reason IS NOT NULL THEN log_file_uri END AS log_file_uri, reason,"
        f" CASE WHEN reason IS NULL THEN {_EVENT_DAY} END AS event_day"
        " FROM fit WHERE wanted GROUP BY 1, 2, 3"
    )


def select_events(records: Records, first_day: str, last_day: str, loaded_at: datetime, loaded_by: str | None) -> str:
    """
    Return the rows of the audit table that the files of a span bring, one for each event.

    Of several files that bring an event the first by delivery keeps it. Files with a record that SQL cannot read
    bring nothing.

    :param first_day: first day of events, ``YYYY-MM-DD``.
    :param last_day: last day of events.
    :param loaded_at: for the column of that name.
    :param loaded_by: for the column of that name.
    """
    by = "CAST(NULL AS varchar)" if loaded_by is None else text_literal(loaded_by)
    columns = ", ".join(f'{expression} AS "{name}"' for name, expression in COLUMNS.items())
    return (
        f"{records.query(every=False)}, "
        "complete AS (SELECT fit.*, count_if(reason IS NOT NULL) OVER (PARTITION BY log_file_uri) AS unfit"
        " FROM fit WHERE wanted), "
        f"ranked AS (SELECT complete.*, {time_literal(loaded_at)} AS loaded_at, {by} AS loaded_by, row_number() OVER"
        " (PARTITION BY eventid ORDER BY delivered_at, log_file_uri, record_text) AS occurrence FROM complete"
        f" WHERE unfit = 0 AND {_EVENT_DAY} BETWEEN {text_literal(first_day)} AND {text_literal(last_day)}) "
        f"SELECT {columns} FROM ranked WHERE occurrence = 1"
    )


def _of_days(table: str, first_day: str, last_day: str) -> str:
    """
    Return a condition on the audit table: events of these days, which are its partitions.

    An event has the same time in whichever file it stands: others need not be read, nor paid for.
    """
    first, last = (
        f"CAST({text_literal(moment)} AS timestamp(6))" for moment in (first_day, f"{last_day} 23:59:59.999999")
    )
    return f"{table}.event_time BETWEEN {first} AND {last}"


def merge_events(
    records: Records, events: str, first_day: str, last_day: str, loaded_at: datetime, loaded_by: str | None
) -> str:
    """
    Return the statement that adds the events which the table does not have; see :func:`select_events`.

    :param events: quoted name of the audit table.
    """
    names = [f'"{column.name}"' for column in columns_of(AuditEvent)]
    source = select_events(records, first_day, last_day, loaded_at, loaded_by)
    return checked(
        f'MERGE INTO {events} AS target USING ({source}) AS source ON target."event_id" = source."event_id"'
        f" AND {_of_days('target', first_day, last_day)}"
        f" WHEN NOT MATCHED THEN INSERT ({', '.join(names)}) VALUES ({', '.join(f'source.{name}' for name in names)})"
    )


def select_files(
    records: Records, events: str, first_day: str, last_day: str, loaded_at: datetime, loaded_by: str | None
) -> str:
    """
    Return the ledger entries of the files of a span whose wanted events are all in the table.

    A file that came after the rows were written, or whose rows were not, is not among them: it is left to the next
    run. So are files with a record that SQL cannot read.

    :param events: quoted name of the audit table.
    :param first_day: first day of events, ``YYYY-MM-DD``.
    :param last_day: last day of events.
    :param loaded_at: for the column of that name.
    :param loaded_by: for the column of that name.
    """
    values = {
        "etag": "CAST(NULL AS varchar)",
        # Of the hidden columns Athena documents "$path" alone.
        "size_bytes": "CAST(NULL AS bigint)",
        "sha256": "CAST(NULL AS varchar)",
        "account_id": "max(account_id)",
        "region": "max(file_region)",
        "delivered_at": "max(fit.delivered_at)",
        "records": "count(*)",
        "loaded": _LOADED,
        "duplicate": f"CAST(count_if(wanted) - {_LOADED} AS bigint)",
        "filtered": "CAST(count_if(NOT wanted) AS bigint)",
        "quarantined": "CAST(0 AS bigint)",
        "status": f"'{LOADED}'",
        "reason": "CAST(NULL AS varchar)",
        "selection": text_literal(records.selection.to_text()),
        "loaded_at": time_literal(loaded_at),
        "loaded_by": "CAST(NULL AS varchar)" if loaded_by is None else text_literal(loaded_by),
        "digest_uri": "CAST(NULL AS varchar)",
        "digest_status": "CAST(NULL AS varchar)",
        "verified_at": "CAST(NULL AS timestamp(6))",
    }
    columns = ", ".join(f'{value} AS "{name}"' for name, value in values.items())
    return (
        f'{records.query(every=True)} SELECT fit.log_file_uri AS "log_file_uri", {columns} FROM fit'
        f" LEFT JOIN {events} AS stored ON stored.event_id = CASE WHEN wanted THEN eventid END"
        f" AND {_of_days('stored', first_day, last_day)}"
        " GROUP BY fit.log_file_uri"
        " HAVING count_if(fit.reason IS NOT NULL) = 0 AND count_if(wanted AND stored.event_id IS NULL) = 0"
    )


_LOADED = "count(DISTINCT CASE WHEN stored.log_file_uri = fit.log_file_uri THEN stored.event_id END)"
_COUNTED_ANEW = (
    *("records", "loaded", "duplicate", "filtered", "quarantined", "status", "reason"),
    *("selection", "loaded_at", "loaded_by"),
)


def merge_files(
    records: Records, events: str, first_day: str, last_day: str, loaded_at: datetime, loaded_by: str | None
) -> str:
    """
    Return the statement that writes the ledger, the last of a span; see :func:`select_files`.

    An entry that somebody else has written in the meantime stays.
    """
    source = select_files(records, events, first_day, last_day, loaded_at, loaded_by)
    if records.before is None:
        names = [f'"{column.name}"' for column in columns_of(LedgerEntry)]
        values = ", ".join(f"source.{name}" for name in names)
        action = f"WHEN NOT MATCHED THEN INSERT ({', '.join(names)}) VALUES ({values})"
    else:
        settings = ", ".join(f'"{name}" = source."{name}"' for name in _COUNTED_ANEW)
        unchanged = f'target."selection" = {text_literal(records.before)}'
        action = f"WHEN MATCHED AND {unchanged} THEN UPDATE SET {settings}"
    return checked(
        f"MERGE INTO {records.files} AS target USING ({source}) AS source"
        f' ON target."log_file_uri" = source."log_file_uri" {action}'
    )


def written(records: Records, loaded_at: datetime) -> str:
    """
    Return the question what the ledger entries of a run add up to: files and counts; and what else the ledger has.

    The latter is the number of files of the span or, where files are read for the second time, of those that it still
    has for the earlier selection.
    """
    own = f"loaded_at = {time_literal(loaded_at)}"
    counts = ", ".join(
        f"COALESCE(sum(CASE WHEN {own} THEN {name} END), 0)" for name in ("records", "loaded", "duplicate", "filtered")
    )
    there = "count(*)" if records.before is None else f"count(CASE WHEN {records.was_read_before} THEN 1 END)"
    return f"SELECT count(CASE WHEN {own} THEN 1 END), {counts}, {there} FROM {records.files} WHERE {records.asked_for}"
