"""An event as a row of Redshift: what of it does not fit is shortened, taken apart or cut, and that is reported."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from airflow_provider_cloudtrail.audit_event import AuditEvent, Column, ColumnKind
from airflow_provider_cloudtrail.warehouse.redshift_values import super_json, super_record
from airflow_provider_cloudtrail.warehouse.shorten import shortened
from airflow_provider_cloudtrail.warehouse.sql import REDSHIFT_KEY_BYTES

log = logging.getLogger(__name__)

_encode = json.JSONEncoder(ensure_ascii=False).encode
_MAX_ROW = 4_000_000
"""Bytes of the longest JSON object that COPY reads, with a little to spare."""


class Room(NamedTuple):
    """How many bytes of a row its strings, its JSON columns, the record, and a record that is parsed may take."""

    text: int
    json: int
    record: int
    parsed_record: int


# The first that makes a row that COPY reads. SUPER values above 1 MB are taken from files only.
_ROOMS = (
    Room(65_535, 1_000_000, 3_900_000, 3_900_000),
    Room(65_535, 65_535, 3_900_000, 3_900_000),
    Room(65_535, 65_535, 2_000_000, 2_000_000),
    Room(16_384, 16_384, 1_000_000, 1_000_000),
    Room(2_048, 2_048, 200_000, 200_000),
)
ROOM_OF_INSERTS = Room(65_535, 65_535, 1_000_000, 65_535)


class Report:
    """How many values of a batch did not fit."""

    def __init__(self) -> None:
        self.shortened = self.in_pieces = self.cut = 0

    def log(self, table: str) -> None:
        """Warn of what did not fit, if anything."""
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

    def add(self, other: Report) -> None:
        """Count in what another report has counted."""
        self.shortened += other.shortened
        self.in_pieces += other.in_pieces
        self.cut += other.cut


def json_line(columns: Sequence[Column], event: AuditEvent, report: Report) -> bytes:
    """Return a row as the JSON object that COPY reads."""
    for room in _ROOMS:
        of_row = Report()
        values, _ = staged_values(columns, event, room, of_row)
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


def staged_values(
    columns: Sequence[Column], event: AuditEvent, room: Room, report: Report
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
