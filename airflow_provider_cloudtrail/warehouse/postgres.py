"""
PostgreSQL: which ids are there is asked first, then what is new goes into the table by COPY.

A temporary table in between, or ON CONFLICT, would have the server write every row twice.

Works with psycopg 3 and psycopg2, whichever the installed Postgres provider uses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from airflow_provider_cloudtrail.audit_event import AuditEvent, Column, ColumnKind, columns_of
from airflow_provider_cloudtrail.warehouse.base import WarehouseError
from airflow_provider_cloudtrail.warehouse.dialect import Dialect
from airflow_provider_cloudtrail.warehouse.driver_errors import describe, sqlstate
from airflow_provider_cloudtrail.warehouse.kept_connection import KeepsConnection
from airflow_provider_cloudtrail.warehouse.postgres_connection import lacks_characters, set_up
from airflow_provider_cloudtrail.warehouse.postgres_indexes import add_missing_indexes
from airflow_provider_cloudtrail.warehouse.postgres_statements import InterruptibleCursor, commit
from airflow_provider_cloudtrail.warehouse.sql_conditions import SqlCondition

_NO_SUCH_SCHEMA = "3F000"
_NO_SCHEMA_IN_PATH = (
    "The search_path of the user, the database or the connection names no schema that is there and that the user may "
    "use: name one by the parameter schema, or let search_path name one"
)
_ROWS_IN_ONE_BUFFER = 500
_IDS_IN_ONE_QUESTION = 5_000
_FEW_UPDATES = 100
_STAGE = "cloudtrail_stage"
_NULL = r"\N"
_ESCAPES = (("\\", r"\\"), ("\t", r"\t"), ("\n", r"\n"), ("\r", r"\r"))


class PostgresWarehouse(KeepsConnection):
    """A warehouse in PostgreSQL, through Airflow's ``PostgresHook``."""

    engine = "postgres"
    # Transactions are cheap: the server stores one batch while threads read the next.
    limits: ClassVar[Mapping[str, int]] = {"batch_bytes": 8 * 1024 * 1024}
    dialect = Dialect(
        {
            ColumnKind.KEY: "TEXT",
            ColumnKind.TEXT: "TEXT",
            ColumnKind.INTEGER: "BIGINT",
            ColumnKind.BOOLEAN: "BOOLEAN",
            ColumnKind.TIMESTAMP: "TIMESTAMPTZ",
            ColumnKind.JSON: "JSONB",
            # JSONB would re-order members and drop repeated ones: the record is kept as it is.
            ColumnKind.RAW_JSON: "JSON",
        },
        # As COPY is given them. Of a time with a zone a column without one would take the time of the session's zone.
        convert={ColumnKind.TIMESTAMP: str},
    )

    def ensure_tables(self, expected: Mapping[str, Sequence[Column]], *, without_key: Collection[str] = ()) -> None:
        """Create the tables that are missing, add the columns that they lack, and the indexes."""
        super().ensure_tables(expected, without_key=without_key)
        if times := {table: column for table, column in self._times_in_keys().items() if table in expected}:
            add_missing_indexes(self, times)

    def _set_up(self, connection: Any) -> None:
        set_up(connection)

    def _cursor(self, connection: Any) -> Any:
        return InterruptibleCursor(super()._cursor(connection))

    def _commit(self, connection: Any) -> None:
        self._connections.committing()
        commit(connection)

    def _roll_back(self, connection: Any, error: BaseException) -> None:
        # Who ends the task does not wait for a server that may not answer: closing comes next, and asks nothing.
        if isinstance(error, Exception):
            super()._roll_back(connection, error)

    def _create(self, table: str, columns: Sequence[Column], *, has_key: bool) -> frozenset[str]:
        if table == self.events:
            # Now, and not in the night in which somebody calls a role what its encoding has no letters for.
            self._refuse_to_lack_characters()
        return super()._create(table, columns, has_key=has_key)

    def _refuse_to_lack_characters(self) -> None:
        with self._transaction() as cursor:
            encoding = lacks_characters(cursor.connection)
        if encoding is not None:
            raise WarehouseError(
                f"{self.engine}, creating {self.events}: the database has the encoding {encoding}, which cannot store "
                "every character that an event may have: use one with UTF8 (CREATE DATABASE ... ENCODING 'UTF8' "
                "TEMPLATE template0)"
            )

    def _table_options(self, table: str) -> str:
        # It has no key, and in a database of which all tables are published nothing could be deleted from it.
        return f"; ALTER TABLE {table} REPLICA IDENTITY FULL" if table == self.quarantine else ""

    def _lock(self, cursor: Any) -> None:
        # Readers go on; writers queue up, so that "which ids are new" stays true until the commit. All at once: who
        # waits for an answer waits for Python's lock as well. A limit of time that users have for statements is one
        # for what they do, not for how long they wait behind others.
        cursor.execute(
            f"{self._lock_limit()}; SET LOCAL statement_timeout = 0; LOCK TABLE {self.files} IN EXCLUSIVE MODE; "
            "SET LOCAL statement_timeout TO DEFAULT"
        )

    def _limit_waits(self, cursor: Any) -> None:
        cursor.execute(self._lock_limit())

    def _lock_limit(self) -> str:
        # Of the transaction: the next one of its session may be somebody else's, through what pools connections.
        return f"SET LOCAL lock_timeout = {int(self._lock_timeout.total_seconds() * 1000)}"

    def _advice(self) -> str:
        return f"{super()._advice()} Or somebody runs ALTER TABLE, VACUUM FULL or the like: pg_locks tells who"

    def _describe(self, error: Exception) -> str:
        is_without_schema = self.schema is None and sqlstate(error) == _NO_SUCH_SCHEMA
        return describe(error, advice=_NO_SCHEMA_IN_PATH if is_without_schema else "")

    def _insert_new_events(self, cursor: Any, events: Sequence[AuditEvent]) -> set[str]:
        event_id = self.quoted("event_id")
        ids = [event.event_id for event in events]
        present: set[str] = set()
        for start in range(0, len(ids), _IDS_IN_ONE_QUESTION):
            # As one text: to write an array takes drivers as long as the server takes to look. No id has a line end.
            wanted = "\n".join(ids[start : start + _IDS_IN_ONE_QUESTION])
            mark = self.hook.placeholder
            cursor.execute(
                f"SELECT {event_id} FROM {self.events} WHERE {event_id} = ANY(STRING_TO_ARRAY({mark}, {mark}))",
                [wanted, "\n"],
            )
            present.update(row[0] for row in cursor.fetchall())
        # Nobody else of us inserts meanwhile; whoever does all the same makes this fail, and it is tried again.
        new = [event for event in events if event.event_id not in present]
        if new:
            self._insert(cursor, self.events, columns_of(AuditEvent), new)
        return {event.event_id for event in new}

    def _insert(self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        cursor.copy_from(f"COPY {table} ({self._names(columns)}) FROM STDIN", _copy_text(columns, rows))

    def _update_each(
        self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]], where: SqlCondition
    ) -> None:
        if len(rows) <= _FEW_UPDATES or not self._may_stage(cursor):
            super()._update_each(cursor, table, columns, rows, where)
            return
        # COPY into a table of the same types, and from there: a fourth of the time of as many statements.
        fresh = self._fresh(columns)
        selected = ", ".join(
            f"{self.quoted(column.name)} AS {self.quoted(new.name)}" for column, new in zip(columns, fresh, strict=True)
        )
        cursor.execute(f"CREATE TEMPORARY TABLE {_STAGE} AS SELECT {selected} FROM {table} WITH NO DATA")
        self._insert(cursor, _STAGE, fresh, rows)
        self._update_from(cursor, table, _STAGE, columns, where)
        cursor.execute(f"DROP TABLE {_STAGE}")

    @staticmethod
    def _may_stage(cursor: Any) -> bool:
        """Tell whether the user may create temporary tables, which a database may be made not to allow."""
        cursor.execute("SELECT HAS_DATABASE_PRIVILEGE(CURRENT_DATABASE(), 'TEMPORARY')")
        return bool(cursor.fetchone()[0])


def _copy_text(columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """Yield rows in the text format of COPY, some hundred at a time."""
    for start in range(0, len(rows), _ROWS_IN_ONE_BUFFER):
        # Column by column: that costs a fraction of a look at each value of each row.
        values = zip(*rows[start : start + _ROWS_IN_ONE_BUFFER], strict=True)
        yield "\n".join(map("\t".join, zip(*map(_texts, columns, values), strict=True))) + "\n"


def _texts(column: Column, values: Sequence[Any]) -> Sequence[str]:
    if column.kind in (ColumnKind.INTEGER, ColumnKind.BOOLEAN, ColumnKind.TIMESTAMP):
        # Times as PostgreSQL reads them: with their offset from UTC. Many are the same.
        known = {value: _NULL if value is None else str(value) for value in set(values)}
        return [known[value] for value in values]
    given = values if all(values) else list(filter(None, values))
    # One search through all of them takes less than looking at each.
    whole = "".join(given)
    found = [(plain, escape) for plain, escape in _ESCAPES if plain in whole]
    if given is values and not found:
        return values
    for plain, escape in found:
        values = [value and value.replace(plain, escape) for value in values]
    return [_NULL if value is None else value for value in values]
