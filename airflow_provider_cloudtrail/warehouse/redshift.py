"""
Amazon Redshift: gzip JSON lines in S3, a COPY into a temporary table, and from there what is new.

Keys are not enforced there. One row per event is kept by the lock of the ledger table, which every
writer takes before its transaction sees anything of the tables.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

from airflow_provider_cloudtrail.audit_event import AuditEvent, Column, ColumnKind, columns_of
from airflow_provider_cloudtrail.warehouse.base import WarehouseError
from airflow_provider_cloudtrail.warehouse.compressed_lines import put_lines
from airflow_provider_cloudtrail.warehouse.conditions import AllOf
from airflow_provider_cloudtrail.warehouse.driver_errors import describe, sqlstate
from airflow_provider_cloudtrail.warehouse.kept_connection import KeepsConnection
from airflow_provider_cloudtrail.warehouse.redshift_rows import ROOM_OF_INSERTS, Report, json_line, staged_values
from airflow_provider_cloudtrail.warehouse.redshift_values import MAX_STRING
from airflow_provider_cloudtrail.warehouse.shorten import shortened
from airflow_provider_cloudtrail.warehouse.sql import SqlWarehouse
from airflow_provider_cloudtrail.warehouse.sql_conditions import SqlCondition
from airflow_provider_cloudtrail.warehouse.staging import DEFAULT_ROLE, StagingFolder

log = logging.getLogger(__name__)

_STAGE = "cloudtrail_stage"
_PIECES = "raw_event_pieces"
_MANY_ROWS = 10_000
_MIB = 1024 * 1024
_FILE_BYTES = 16 * _MIB
_STATEMENT_BYTES = 4 * _MIB

_QUERY_CANCELLED = "57014"
# What these say is about S3, IAM, system tables and limits, never about values.
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
    "Disk Full",
    "Query (",
)


class _LockTimeoutError(Exception):
    """Raised when another writer keeps the lock."""


class RedshiftWarehouse(KeepsConnection, SqlWarehouse):
    """
    A warehouse in Amazon Redshift, provisioned or serverless, through Airflow's ``RedshiftSQLHook``.

    :param staging: S3 folder that it bulk-loads through; None: inserts of many rows.
    :raises ValueError: if the folder is to be read with something that is no IAM role.
    """

    # The driver keeps the text of every statement for as long as the connection: inserts have hundreds of kilobytes.
    most_transactions: ClassVar[int | None] = 20

    def __init__(self, *args: Any, staging: StagingFolder | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._staging = staging
        self._role = staging.iam_role if staging is not None else DEFAULT_ROLE
        self._inserted_rows = 0
        self._stages = itertools.count(1)

    def _table_options(self, table: str) -> str:
        column = {self.events: "event_time", **self._times_in_keys()}.get(table)
        return f" SORTKEY ({self.quoted(column)})" if column else ""

    def _create(self, table: str, columns: Sequence[Column], *, has_key: bool) -> frozenset[str]:
        if self._ignores_case():
            raise WarehouseError(
                f"redshift, creating {table}: the database ignores case (DB_COLLATION() is case_insensitive), so that "
                "keys that differ in case would be one, and may have no SUPER columns. Name another one in the "
                "connection: CREATE DATABASE ... COLLATE CASE_SENSITIVE"
            )
        return super()._create(table, columns, has_key=has_key)

    def _ignores_case(self) -> bool:
        def ask(cursor: Any) -> bool:
            cursor.execute("SELECT DB_COLLATION()")
            return bool(cursor.fetchall()[0][0] == "case_insensitive")

        # Where the question is not understood there is no such database; what else is wrong is told when it matters.
        with suppress(WarehouseError):
            return self.transact("asking for the collation", ask)
        return False

    def _cursor(self, connection: Any) -> Any:
        cursor = super()._cursor(connection)
        # That of the hook. A DAG may have set another one for the whole process: redshift_connector.paramstyle.
        cursor.paramstyle = "format"
        return cursor

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

    def _roll_back(self, connection: Any, error: BaseException) -> None:
        # Where the task is ended its statement may still run, a COPY or one that waits for another writer, and the
        # driver would wait for its answer. A connection that is closed is rolled back, too.
        if isinstance(error, Exception):
            super()._roll_back(connection, error)

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
        return describe(error, *([text.splitlines()[0][:500].rstrip(".")] if text.startswith(_SAFE_TO_QUOTE) else []))

    def _converted(self, columns: Sequence[Column], row: Sequence[Any]) -> list[Any]:
        return [
            shortened(value, MAX_STRING) if isinstance(value, str) else value
            for value in super()._converted(columns, row)
        ]

    # -- rows that are there -----------------------------------------------------------------------

    def _find(self, cursor: Any, table: str, columns: Sequence[str], keys: Sequence[str]) -> list[tuple[Any, ...]]:
        if len(keys) <= self.dialect.max_in_list:
            return super()._find(cursor, table, columns, keys)
        names = ", ".join(map(self.quoted, columns))
        bound = self._where(AllOf(self._time_bound(table, keys)))
        with self._listed(cursor, keys) as listed:
            where = f"{self.quoted(columns[0])} IN ({listed}){bound.besides}"
            cursor.execute(f"SELECT {names} FROM {table} WHERE {where}", bound.values)
            return list(cursor.fetchall())

    def _delete(self, cursor: Any, table: str, uris: Sequence[str]) -> None:
        if len(uris) <= self.dialect.max_in_list:
            super()._delete(cursor, table, uris)
            return
        with self._listed(cursor, uris) as listed:
            cursor.execute(f"DELETE FROM {table} WHERE {self.quoted('log_file_uri')} IN ({listed})")

    def _update(
        self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]], where: SqlCondition
    ) -> None:
        if len(rows) <= self.dialect.max_in_list:
            super()._update(cursor, table, columns, rows, where)
        else:
            self._update_each(cursor, table, columns, rows, where)

    def _update_each(
        self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]], where: SqlCondition
    ) -> None:
        with self._staged(cursor, self._fresh(columns), rows) as stage:
            self._update_from(cursor, table, stage, columns, where)

    @contextmanager
    def _listed(self, cursor: Any, keys: Sequence[str]) -> Iterator[str]:
        """Yield the query that gives keys, as it stands behind IN."""
        wanted = Column("wanted", ColumnKind.KEY, required=True, meaning="key that is looked for")
        with self._staged(cursor, [wanted], [(key,) for key in keys]) as stage:
            yield f"SELECT {self.quoted(wanted.name)} FROM {stage}"

    def _new_stage(self) -> str:
        # Of another name each time: the driver keeps statements prepared by their text, and what Redshift has prepared
        # for a table that was dropped may not find one of the same name.
        return self.quoted(f"{_STAGE}_{next(self._stages)}")

    @contextmanager
    def _staged(self, cursor: Any, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
        """Yield the table in which rows are until the end."""
        stage = self._new_stage()
        definitions = ", ".join(f"{self.quoted(column.name)} {self.dialect.types[column.kind]}" for column in columns)
        cursor.execute(f"CREATE TEMPORARY TABLE {stage} ({definitions})")
        self._insert(cursor, stage, columns, rows)
        yield stage
        cursor.execute(f"DROP TABLE {stage}")

    # -- events ------------------------------------------------------------------------------------

    def _insert_new_events(self, cursor: Any, events: Sequence[AuditEvent]) -> set[str]:
        columns = columns_of(AuditEvent)
        stage, event_id = self._new_stage(), self.quoted("event_id")
        if self._staging is not None:
            self._copy_into_stage(cursor, stage, columns, events, self._staging)
        else:
            self._insert_into_stage(cursor, stage, columns, events)
        cursor.execute(f"SELECT COUNT(*) FROM {stage}")
        ((staged,),) = cursor.fetchall()
        if staged != len(events):
            raise WarehouseError(f"redshift, writing {self.events}: {staged} of {len(events)} rows were staged")
        # By its own name: DELETE knows no alias (https://docs.aws.amazon.com/redshift/latest/dg/r_DELETE.html).
        # Lengths are compared because trailing spaces do not count when strings are.
        present = self.quoted(self.table)
        cursor.execute(
            f"DELETE FROM {stage} USING {self.events} WHERE {stage}.{event_id} = {present}.{event_id} "
            f"AND OCTET_LENGTH({stage}.{event_id}) = OCTET_LENGTH({present}.{event_id})"
        )
        cursor.execute(f"SELECT {event_id} FROM {stage}")
        new = {row[0] for row in cursor.fetchall()}
        if new:
            values = ", ".join(self._from_stage(column) for column in columns)
            cursor.execute(f"INSERT INTO {self.events} ({self._names(columns)}) SELECT {values} FROM {stage}")
        cursor.execute(f"DROP TABLE {stage}")
        return new

    def _create_stage(self, cursor: Any, stage: str, columns: Sequence[Column]) -> None:
        # Times as text: what COPY recognizes as a time is less than what a cast does. Files carry SUPER
        # values; where the rows are inserted, JSON is text until it is parsed.
        types = dict(self.dialect.types) | {ColumnKind.TIMESTAMP: "VARCHAR(64)"}
        extra = ""
        if self._staging is None:
            types |= {ColumnKind.JSON: "VARCHAR(65535)", ColumnKind.RAW_JSON: "VARCHAR(65535)"}
            extra = f", {self.quoted(_PIECES)} SUPER"
        definitions = ", ".join(f"{self.quoted(column.name)} {types[column.kind]}" for column in columns)
        cursor.execute(f"CREATE TEMPORARY TABLE {stage} ({definitions}{extra})")

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
        self, cursor: Any, stage: str, columns: Sequence[Column], events: Sequence[AuditEvent], staging: StagingFolder
    ) -> None:
        self._create_stage(cursor, stage, columns)
        report = Report()
        with staging.load() as files:
            put_lines((json_line(columns, event, report) for event in events), files.put, _FILE_BYTES)
            role = "DEFAULT" if self._role == DEFAULT_ROLE else f"'{self._role}'"
            cursor.execute(
                f"COPY {stage} ({self._names(columns)}) FROM '{files.uri}' IAM_ROLE {role} "
                f"REGION '{files.region}' FORMAT JSON 'auto' GZIP ACCEPTINVCHARS COMPUPDATE OFF STATUPDATE OFF"
            )
        report.log(self.events)

    def _insert_into_stage(
        self, cursor: Any, stage: str, columns: Sequence[Column], events: Sequence[AuditEvent]
    ) -> None:
        before, self._inserted_rows = self._inserted_rows, self._inserted_rows + len(events)
        if before <= _MANY_ROWS < self._inserted_rows:
            log.warning(
                "More than %s rows are inserted into Redshift one statement after the other, which is slow: set "
                "staging_uri to an S3 folder that the cluster may read",
                _MANY_ROWS,
            )
        self._create_stage(cursor, stage, columns)
        report = Report()
        rows: list[list[Any]] = []
        pieces: dict[str, list[str]] = {}
        size = 0
        for event in events:
            values, of_record = staged_values(columns, event, ROOM_OF_INSERTS, report)
            if of_record is not None:
                pieces[event.event_id] = of_record
                values["raw_event"] = None
            size += sum(len(value) for value in values.values() if isinstance(value, str))
            rows.append(list(values.values()))
            if size >= _STATEMENT_BYTES:
                self._insert(cursor, stage, columns, rows)
                rows, size = [], 0
        self._insert(cursor, stage, columns, rows)
        for event_id, of_record in pieces.items():
            # The driver does not say that a string is one, and nothing else does within ARRAY.
            marks = ", ".join([f"CAST({self.hook.placeholder} AS VARCHAR({MAX_STRING}))"] * len(of_record))
            cursor.execute(
                f"UPDATE {stage} SET {self.quoted(_PIECES)} = ARRAY({marks}) "
                f"WHERE {self.quoted('event_id')} = {self.hook.placeholder}",
                [*of_record, event_id],
            )
        report.log(self.events)


def _said(error: Exception) -> str:
    """Return what the server said, which the driver hands over in a dictionary."""
    first = error.args[0] if error.args else None
    return f"{first.get('M', '')} {first.get('D', '')}".strip() if isinstance(first, dict) else ""
