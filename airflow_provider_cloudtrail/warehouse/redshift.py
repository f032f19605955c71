"""
Amazon Redshift: gzip JSON lines in S3, a COPY into a temporary table, and from there what is new.

Keys are not enforced there. One row per event is kept by the lock of the ledger table, which every
writer takes before its transaction sees anything of the tables.
"""

from __future__ import annotations

import gzip
import json
import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from airflow_provider_cloudtrail.audit_event import AuditEvent, Column, ColumnKind, columns_of
from airflow_provider_cloudtrail.warehouse.base import WarehouseError
from airflow_provider_cloudtrail.warehouse.driver_errors import describe, sqlstate
from airflow_provider_cloudtrail.warehouse.redshift_values import MAX_STRING, super_json, super_record
from airflow_provider_cloudtrail.warehouse.shorten import shortened
from airflow_provider_cloudtrail.warehouse.sql import REDSHIFT_KEY_BYTES, SqlWarehouse
from airflow_provider_cloudtrail.warehouse.staging import DEFAULT_ROLE, StagingFolder

log = logging.getLogger(__name__)

_encode = json.JSONEncoder(ensure_ascii=False).encode
_STAGE = "cloudtrail_stage"
_PIECES = "raw_event_pieces"
_MANY_ROWS = 10_000
_MIB = 1024 * 1024
_FILE_BYTES = 16 * _MIB
_STATEMENT_BYTES = 4 * _MIB
_MAX_ROW = 4_000_000
"""Bytes of the longest JSON object that COPY reads, with a little to spare."""

_QUERY_CANCELLED = "57014"
# What these say is about S3, IAM and system tables, never about values.
_SAFE_TO_QUOTE = (
    "S3ServiceException",
    "Load into table",
    "Cannot find default",
    "User arn:",
    "Not authorized to get credentials",
    "The S3 bucket addressed",
    "Problem reading",
    "Mandatory url",
    "The specified S3 prefix",
    "permission denied",
)


class _Room(NamedTuple):
    """How many bytes of a row its strings, its JSON columns, the record, and a record that is parsed may take."""

    text: int
    json: int
    record: int
    parsed_record: int


# The first that makes a row that COPY reads. SUPER values above 1 MB are taken from files only.
_ROOMS = (
    _Room(65_535, 1_000_000, 3_900_000, 3_900_000),
    _Room(65_535, 65_535, 3_900_000, 3_900_000),
    _Room(65_535, 65_535, 2_000_000, 2_000_000),
    _Room(16_384, 16_384, 1_000_000, 1_000_000),
    _Room(2_048, 2_048, 200_000, 200_000),
)
_ROOM_OF_INSERTS = _Room(65_535, 65_535, 1_000_000, 65_535)


class _LockTimeoutError(Exception):
    """Raised when another writer keeps the lock."""


class RedshiftWarehouse(SqlWarehouse):
    """
    A warehouse in Amazon Redshift, provisioned or serverless, through Airflow's ``RedshiftSQLHook``.

    :param staging: S3 folder that it bulk-loads through; None: inserts of many rows.
    :raises ValueError: if the folder is to be read with something that is no IAM role.
    """

    def __init__(self, *args: Any, staging: StagingFolder | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._staging = staging
        self._role = staging.iam_role if staging is not None else DEFAULT_ROLE
        self._inserted_rows = 0

    def _table_options(self, table: str) -> str:
        return f" SORTKEY ({self.quoted('event_time')})" if table == self.events else ""

    def _lock(self, cursor: Any) -> None:
        # Before anything else: the transaction's snapshot is taken by the first statement that reads or writes.
        cursor.execute(f"SET statement_timeout TO {max(1, int(self._lock_timeout.total_seconds() * 1000))}")
        try:
            cursor.execute(f"LOCK {self.files}")
        except Exception as error:
            if sqlstate(error) == _QUERY_CANCELLED:
                raise _LockTimeoutError from None
            raise
        cursor.execute("RESET statement_timeout")

    def _is_conflict(self, error: Exception) -> bool:
        if isinstance(error, _LockTimeoutError):
            return True
        text = _said(error)
        return super()._is_conflict(error) or (
            text.startswith("1023") or "concurrent transaction" in text or "Serializable isolation violation" in text
        )

    def _describe(self, error: Exception) -> str:
        if isinstance(error, _LockTimeoutError):
            return f"the lock of {self.files} was not to be had"
        text = _said(error)
        return describe(error) + (f": {text.splitlines()[0][:500]}" if text.startswith(_SAFE_TO_QUOTE) else "")

    def _converted(self, columns: Sequence[Column], row: Sequence[Any]) -> list[Any]:
        return [
            shortened(value, MAX_STRING) if isinstance(value, str) else value
            for value in super()._converted(columns, row)
        ]

    # -- events ------------------------------------------------------------------------------------

    def _insert_new_events(self, cursor: Any, events: Sequence[AuditEvent]) -> set[str]:
        columns = columns_of(AuditEvent)
        stage, event_id = self.quoted(_STAGE), self.quoted("event_id")
        if self._staging is not None:
            self._copy_into_stage(cursor, columns, events, self._staging)
        else:
            self._insert_into_stage(cursor, columns, events)
        cursor.execute(f"SELECT COUNT(*) FROM {stage}")
        ((staged,),) = cursor.fetchall()
        if staged != len(events):
            raise WarehouseError(f"redshift, writing {self.events}: {staged} of {len(events)} rows were staged")
        # Lengths are compared because trailing spaces do not count when strings are.
        cursor.execute(
            f"DELETE FROM {stage} USING {self.events} AS present WHERE {stage}.{event_id} = present.{event_id} "
            f"AND OCTET_LENGTH({stage}.{event_id}) = OCTET_LENGTH(present.{event_id})"
        )
        cursor.execute(f"SELECT {event_id} FROM {stage}")
        new = {row[0] for row in cursor.fetchall()}
        if new:
            values = ", ".join(self._from_stage(column) for column in columns)
            cursor.execute(f"INSERT INTO {self.events} ({self._names(columns)}) SELECT {values} FROM {stage}")
        cursor.execute(f"DROP TABLE {stage}")
        return new

    def _create_stage(self, cursor: Any, columns: Sequence[Column]) -> None:
        # Times as text: what COPY recognizes as a time is less than what a cast does. Files carry SUPER
        # values; where the rows are inserted, JSON is text until it is parsed.
        types = dict(self.dialect.types) | {ColumnKind.TIMESTAMP: "VARCHAR(64)"}
        extra = ""
        if self._staging is None:
            types |= {ColumnKind.JSON: "VARCHAR(65535)", ColumnKind.RAW_JSON: "VARCHAR(65535)"}
            extra = f", {self.quoted(_PIECES)} SUPER"
        definitions = ", ".join(f"{self.quoted(column.name)} {types[column.kind]}" for column in columns)
        cursor.execute(f"CREATE TEMPORARY TABLE {self.quoted(_STAGE)} ({definitions}{extra})")

    def _from_stage(self, column: Column) -> str:
        """Return what the table's column is set to."""
        name = self.quoted(column.name)
        if column.kind is ColumnKind.TIMESTAMP:
            return f"CAST({name} AS TIMESTAMPTZ)"
        if self._staging is None and column.kind is ColumnKind.JSON:
            return f"JSON_PARSE({name})"
        if self._staging is None and column.kind is ColumnKind.RAW_JSON:
            return f"CASE WHEN {name} IS NULL THEN {self.quoted(_PIECES)} ELSE JSON_PARSE({name}) END"
        return name

    def _copy_into_stage(
        self, cursor: Any, columns: Sequence[Column], events: Sequence[AuditEvent], staging: StagingFolder
    ) -> None:
        self._create_stage(cursor, columns)
        report = _Report()
        with staging.load() as files:
            lines: list[bytes] = []
            size = number = 0
            for event in events:
                line = _json_line(columns, event, report)
                lines.append(line)
                size += len(line)
                if size >= _FILE_BYTES:
                    files.put(f"{number:05}.json.gz", gzip.compress(b"\n".join(lines), 1))
                    lines, size, number = [], 0, number + 1
            if lines:
                files.put(f"{number:05}.json.gz", gzip.compress(b"\n".join(lines), 1))
            role = "DEFAULT" if self._role == DEFAULT_ROLE else f"'{self._role}'"
            cursor.execute(
                f"COPY {self.quoted(_STAGE)} ({self._names(columns)}) FROM '{files.uri}' IAM_ROLE {role} "
                f"REGION '{files.region}' FORMAT JSON 'auto' GZIP ACCEPTINVCHARS COMPUPDATE OFF STATUPDATE OFF"
            )
        report.log(self.events)

    def _insert_into_stage(self, cursor: Any, columns: Sequence[Column], events: Sequence[AuditEvent]) -> None:
        before, self._inserted_rows = self._inserted_rows, self._inserted_rows + len(events)
        if before <= _MANY_ROWS < self._inserted_rows:
            log.warning(
                "More than %s rows are inserted into Redshift one statement after the other, which is slow: set "
                "staging_uri to an S3 folder that the cluster may read",
                _MANY_ROWS,
            )
        self._create_stage(cursor, columns)
        report = _Report()
        rows: list[list[Any]] = []
        pieces: dict[str, list[str]] = {}
        size = 0
        for event in events:
            values, of_record = _values(columns, event, _ROOM_OF_INSERTS, report)
            if of_record is not None:
                pieces[event.event_id] = of_record
                values["raw_event"] = None
            size += sum(len(value) for value in values.values() if isinstance(value, str))
            rows.append(list(values.values()))
            if size >= _STATEMENT_BYTES:
                self._insert(cursor, self.quoted(_STAGE), columns, rows)
                rows, size = [], 0
        self._insert(cursor, self.quoted(_STAGE), columns, rows)
        for event_id, of_record in pieces.items():
            marks = ", ".join([self.hook.placeholder] * len(of_record))
            cursor.execute(
                f"UPDATE {self.quoted(_STAGE)} SET {self.quoted(_PIECES)} = ARRAY({marks}) "
                f"WHERE {self.quoted('event_id')} = {self.hook.placeholder}",
                [*of_record, event_id],
            )
        report.log(self.events)


class _Report:
    """How many values of a batch did not fit."""

    def __init__(self) -> None:
        self.shortened = self.in_pieces = self.cut = 0

    def log(self, table: str) -> None:
        if self.shortened:
            log.warning(
                "%s: %s values were longer than Redshift allows, or no JSON that it can hold, and are shortened in "
                "their columns, with a remark; raw_event has them complete",
                table,
                self.shortened,
            )
        if self.in_pieces:
            log.warning(
                "%s: %s records cannot be held by SUPER as they are (strings above 65,535 bytes, repeated names, "
                "more than 1,000 levels or 38 digits): their raw_event is an array of the pieces of their text",
                table,
                self.in_pieces,
            )
        if self.cut:
            log.warning(
                "%s: %s records are too large for a row of Redshift: of their text only the beginning is in "
                "raw_event, with a remark; log_file_uri and log_file_index say where they are complete",
                table,
                self.cut,
            )

    def add(self, other: _Report) -> None:
        self.shortened += other.shortened
        self.in_pieces += other.in_pieces
        self.cut += other.cut


def _json_line(columns: Sequence[Column], event: AuditEvent, report: _Report) -> bytes:
    """Return a row as the JSON object that COPY reads."""
    for room in _ROOMS:
        of_row = _Report()
        values, _ = _values(columns, event, room, of_row)
        members = []
        for column, value in zip(columns, values.values(), strict=True):
            if value is not None:
                is_json = column.kind in (ColumnKind.JSON, ColumnKind.RAW_JSON)
                # JSON stands there as it is, on one line: outside of strings a line end is but a space.
                text = value.replace("\n", " ").replace("\r", " ") if is_json else _encode(value)
                members.append(f'"{column.name}":{text}')
        line = f"{{{','.join(members)}}}".encode()
        if len(line) <= _MAX_ROW:
            break
    report.add(of_row)
    return line


def _values(
    columns: Sequence[Column], event: AuditEvent, room: _Room, report: _Report
) -> tuple[dict[str, Any], list[str] | None]:
    """Return the values of a row as they are staged; and the pieces of the record if that is how it is kept."""
    values: dict[str, Any] = {}
    pieces = None
    given: Iterable[Any] = event
    for column, value in zip(columns, given, strict=True):
        staged = value
        if value is None:
            pass
        elif column.kind is ColumnKind.RAW_JSON:
            staged, pieces, cut = super_record(value, room.record, room.parsed_record)
            report.in_pieces += pieces is not None
            report.cut += cut
        elif column.kind is ColumnKind.JSON:
            staged = super_json(value, room.json)
            report.shortened += staged is not value
        elif isinstance(value, str):
            staged = shortened(value, REDSHIFT_KEY_BYTES if column.kind is ColumnKind.KEY else room.text)
            report.shortened += staged is not value
        elif isinstance(value, datetime):
            staged = value.astimezone(timezone.utc).isoformat(" ", "microseconds").replace("+00:00", "+00")
        values[column.name] = staged
    return values, pieces


def _said(error: Exception) -> str:
    """Return what the server said, which the driver hands over in a dictionary."""
    first = error.args[0] if error.args else None
    return f"{first.get('M', '')} {first.get('D', '')}".strip() if isinstance(first, dict) else ""
