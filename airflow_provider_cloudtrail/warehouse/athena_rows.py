"""
Rows on their way into Athena: a few as ``VALUES`` in the statement, more as JSON lines that an external table reads.

The table is read by the Hive JSON SerDe, because of the OpenX one it is documented that it may give more or fewer
rows than there are (https://docs.aws.amazon.com/athena/latest/ug/openx-json-serde.html).
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from airflow_provider_cloudtrail.audit_event import Column, ColumnKind
from airflow_provider_cloudtrail.warehouse.athena_session import AthenaSession, literal, utc_text
from airflow_provider_cloudtrail.warehouse.compressed_lines import put_shortened_lines
from airflow_provider_cloudtrail.warehouse.shorten import shortened
from airflow_provider_cloudtrail.warehouse.staging import StagedFiles, StagingFolder

log = logging.getLogger(__name__)

_encode = json.JSONEncoder(ensure_ascii=False).encode
_MIB = 1024 * 1024
_FILE_BYTES = 8 * _MIB
# Neither a row nor a column may have more than 32 MB, which cannot be raised
# (https://docs.aws.amazon.com/athena/latest/ug/other-notable-limitations.html). The first that makes it fit.
_LONGEST_STRINGS = (14 * _MIB, 2 * _MIB, 250_000)
_MAX_ROW = 30_000_000
# What statements hold besides has room in the rest of the 262,144 bytes.
VALUES_BYTES = 200_000
_MAX_VALUES = 6_000

# Types have other names in DDL, which Hive reads, than in DML.
DDL_TYPES = {
    ColumnKind.KEY: "string",
    ColumnKind.TEXT: "string",
    ColumnKind.INTEGER: "bigint",
    ColumnKind.BOOLEAN: "boolean",
    ColumnKind.TIMESTAMP: "timestamp",
    ColumnKind.JSON: "string",
    ColumnKind.RAW_JSON: "string",
}
# A timestamp without its digits would have three.
_DML_TYPES = {"string": "varchar", "bigint": "bigint", "boolean": "boolean", "timestamp": "timestamp(6)"}


@contextmanager
def source_of(
    session: AthenaSession,
    staging: StagingFolder,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Any]],
    qualified: Callable[[str], str],
) -> Iterator[str]:
    """
    Yield a query that gives rows, for as long as it is needed.

    :param columns: columns of the rows.
    :param rows: at least one.
    :param qualified: returns the name of a table in the schema, as DML quotes it.
    """
    values = _values(columns, rows)
    if values is not None:
        yield values
        return
    # A name that says what it is, should a killed task leave it behind.
    name = qualified(f"cloudtrail_stage_{uuid.uuid4().hex}")
    in_ddl = name.replace('"', "`")
    with staging.load() as files:
        _put(files, columns, rows)
        try:
            session.execute(_external_table(in_ddl, columns, files.uri))
            yield f"SELECT {', '.join(map(_read, columns))} FROM {name}"
        finally:
            _drop(session, in_ddl)


def _values(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> str | None:
    """Return rows as a query without a table; None if they are too many for a statement."""
    if len(rows) * len(columns) > _MAX_VALUES:
        return None
    size = 0
    lines = []
    for row in rows:
        line = f"({', '.join(map(literal, row))})"
        size += len(line.encode())
        if size > VALUES_BYTES:
            return None
        lines.append(line)
    names = [f'"{column.name}"' for column in columns]
    # Rows of nothing but NULL have no type otherwise, and texts one of their length.
    typed = ", ".join(
        f"CAST({name} AS {_DML_TYPES[DDL_TYPES[column.kind]]}) AS {name}"
        for name, column in zip(names, columns, strict=True)
    )
    return f"SELECT {typed} FROM (VALUES {', '.join(lines)}) AS given ({', '.join(names)})"


def _external_table(name: str, columns: Sequence[Column], uri: str) -> str:
    # Moments as text: which forms of them a SerDe reads, and to how many digits, is its own affair.
    definitions = ", ".join(
        f"`{column.name}` {'string' if column.kind is ColumnKind.TIMESTAMP else DDL_TYPES[column.kind]}"
        for column in columns
    )
    return (
        f"CREATE EXTERNAL TABLE {name} ({definitions}) "
        f"ROW FORMAT SERDE 'org.apache.hive.hcatalog.data.JsonSerDe' STORED AS TEXTFILE LOCATION '{uri}'"
    )


def _read(column: Column) -> str:
    name = f'"{column.name}"'
    return f"CAST({name} AS timestamp(6)) AS {name}" if column.kind is ColumnKind.TIMESTAMP else name


def _drop(session: AthenaSession, name: str) -> None:
    try:
        session.execute(f"DROP TABLE IF EXISTS {name}")
    except Exception as error:
        # The rows do not depend on it, nor on what has failed before.
        log.warning("Could not drop the table %s (drop it by hand): %s", name, type(error).__name__)


def _put(files: StagedFiles, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
    cut = put_shortened_lines((_json_line(columns, row) for row in rows), files.put, _FILE_BYTES)
    if cut:
        log.warning("%s values were too long for Athena and are shortened, with a remark", cut)


def _json_line(columns: Sequence[Column], row: Sequence[Any]) -> tuple[bytes, int]:
    """Return a row as a JSON object on one line, and how many of its texts are shortened."""
    for most in _LONGEST_STRINGS:
        members = []
        cut = 0
        for column, value in zip(columns, row, strict=True):
            staged = value
            if value is None:
                continue
            if isinstance(value, str):
                staged = shortened(value, most)
                cut += staged is not value
            elif isinstance(value, datetime):
                staged = utc_text(value)
            members.append(f'"{column.name}":{_encode(staged)}')
        line = f"{{{','.join(members)}}}".encode()
        if len(line) <= _MAX_ROW:
            break
    return line, cut
