"""
PostgreSQL: which ids are there is asked first, then what is new goes into the table by COPY.

A temporary table in between, or ON CONFLICT, would have the server write every row twice.

Works with psycopg 3 and psycopg2, whichever the installed Postgres provider uses.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from airflow_provider_cloudtrail.audit_event import AuditEvent, Column, ColumnKind, columns_of
from airflow_provider_cloudtrail.warehouse.relational import Dialect, RelationalWarehouse

_ROWS_IN_ONE_BUFFER = 500
_IDS_IN_ONE_QUESTION = 5_000


class PostgresWarehouse(RelationalWarehouse):
    """A warehouse in PostgreSQL, through Airflow's ``PostgresHook``."""

    engine = "postgres"
    # Transactions are cheap: the server stores one batch while threads read the next.
    limits: ClassVar[Mapping[str, int]] = {"batch_bytes": 8 * 1024 * 1024}
    dialect = Dialect({
        ColumnKind.KEY: "TEXT",
        ColumnKind.TEXT: "TEXT",
        ColumnKind.INTEGER: "BIGINT",
        ColumnKind.BOOLEAN: "BOOLEAN",
        ColumnKind.TIMESTAMP: "TIMESTAMPTZ",
        ColumnKind.JSON: "JSONB",
        # JSONB would re-order members and drop repeated ones: the record is kept as it is.
        ColumnKind.RAW_JSON: "JSON",
    })

    def _lock(self, cursor: Any) -> None:
        # Readers go on; writers queue up, so that "which ids are new" stays true until the commit.
        cursor.execute(f"SET LOCAL lock_timeout = {int(self._lock_timeout.total_seconds() * 1000)}")
        cursor.execute(f"LOCK TABLE {self.files} IN EXCLUSIVE MODE")

    def _insert_new_events(self, cursor: Any, events: Sequence[AuditEvent]) -> set[str]:
        event_id = self.quoted("event_id")
        ids = [event.event_id for event in events]
        present: set[str] = set()
        for start in range(0, len(ids), _IDS_IN_ONE_QUESTION):
            cursor.execute(
                f"SELECT {event_id} FROM {self.events} WHERE {event_id} = ANY({self.hook.placeholder}::TEXT[])",
                [ids[start : start + _IDS_IN_ONE_QUESTION]],
            )
            present.update(row[0] for row in cursor.fetchall())
        # Nobody else of us inserts meanwhile; whoever does all the same makes this fail, and it is tried again.
        new = [event for event in events if event.event_id not in present]
        if new:
            self._insert(cursor, self.events, columns_of(AuditEvent), new)
        return {event.event_id for event in new}

    def _insert(self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        statement = f"COPY {table} ({self._names(columns)}) FROM STDIN"
        if hasattr(cursor, "copy_expert"):  # psycopg2
            for buffer in _copy_text(rows):
                cursor.copy_expert(statement, io.StringIO(buffer))
        else:
            with cursor.copy(statement) as copy:
                for buffer in _copy_text(rows):
                    copy.write(buffer)


def _copy_text(rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """Yield rows in the text format of COPY, some thousand at a time."""
    for start in range(0, len(rows), _ROWS_IN_ONE_BUFFER):
        yield "".join(map(_copy_line, rows[start : start + _ROWS_IN_ONE_BUFFER]))


def _copy_line(row: Sequence[Any]) -> str:
    line = "\t".join([value if value.__class__ is str else r"\N" if value is None else str(value) for value in row])
    # One look at the line instead of one at each value: nearly none holds what has to be escaped.
    if (
        line.count("\\") == row.count(None)
        and line.count("\t") == len(row) - 1
        and "\n" not in line
        and "\r" not in line
    ):
        return line + "\n"
    return "\t".join(map(_copy_value, row)) + "\n"


def _copy_value(value: Any) -> str:
    if value is None:
        return r"\N"
    # Times as PostgreSQL reads them: with their offset from UTC.
    text = str(value)
    return text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
