"""
PostgreSQL: a COPY into a temporary table, and from there what is new.

Works with psycopg 3 and psycopg2, whichever the installed Postgres provider uses.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from airflow_provider_cloudtrail.audit_event import AuditEvent, Column, ColumnKind, columns_of
from airflow_provider_cloudtrail.warehouse.relational import Dialect, RelationalWarehouse

_ROWS_IN_ONE_BUFFER = 2_000


class PostgresWarehouse(RelationalWarehouse):
    """A warehouse in PostgreSQL, through Airflow's ``PostgresHook``."""

    engine = "postgres"
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
        columns = columns_of(AuditEvent)
        names = self._names(columns)
        stage = self.quoted("cloudtrail_stage")
        definitions = ", ".join(f"{self.quoted(c.name)} {self.dialect.types[c.kind]}" for c in columns)
        cursor.execute(f"CREATE TEMPORARY TABLE {stage} ({definitions}) ON COMMIT DROP")
        self._insert(cursor, stage, columns, events)
        cursor.execute(
            f"INSERT INTO {self.events} ({names}) SELECT {names} FROM {stage} "
            f"ON CONFLICT ({self.quoted('event_id')}) DO NOTHING RETURNING {self.quoted('event_id')}"
        )
        return {row[0] for row in cursor.fetchall()}

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
        yield "".join(
            "\t".join([_copy_value(value) for value in row]) + "\n" for row in rows[start : start + _ROWS_IN_ONE_BUFFER]
        )


def _copy_value(value: Any) -> str:
    if value is None:
        return r"\N"
    if isinstance(value, str):
        return value.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)
