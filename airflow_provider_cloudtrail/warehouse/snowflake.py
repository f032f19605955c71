"""
Snowflake: files in a temporary stage or in S3, a COPY into a temporary table, and from there a MERGE of what is new.

Keys are not enforced there, and inserts of two transactions do not wait for each other. Writers therefore
queue up at the one row of the table ``<table>_lock``, which each of them updates first: an UPDATE of a row
waits for the transaction that has updated it. What is read after that is what the one before has committed.
"""

from __future__ import annotations

import json
import logging
import tempfile
import threading
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from airflow_provider_cloudtrail.audit_event import MAX_KEY_LENGTH, AuditEvent, Column, ColumnKind, columns_of
from airflow_provider_cloudtrail.warehouse.base import WarehouseError
from airflow_provider_cloudtrail.warehouse.compressed_lines import put_shortened_lines
from airflow_provider_cloudtrail.warehouse.dialect import Dialect
from airflow_provider_cloudtrail.warehouse.kept_connection import KeepsConnection
from airflow_provider_cloudtrail.warehouse.shorten import shortened
from airflow_provider_cloudtrail.warehouse.snowflake_errors import (
    describe_error,
    is_of_another_writer,
    is_refused_null,
)
from airflow_provider_cloudtrail.warehouse.sql_conditions import SqlCondition
from airflow_provider_cloudtrail.warehouse.staging import StagedFiles, StagingFolder

log = logging.getLogger(__name__)

LOCK_TIMEOUT = timedelta(minutes=10)
"""
How long a writer waits for another one before it gives up.

The transaction of a task that was killed holds its locks until it has kept another one waiting for five minutes, and
its last statement has ended: https://docs.snowflake.com/en/sql-reference/transactions#aborting-transactions
"""

_MIB = 1024 * 1024
MAX_STRING = 15 * _MIB
"""Bytes of the longest text that is kept: a row is staged as one VARIANT, which has 16 MB."""
_SHORTER_STRINGS = (MAX_STRING, 2 * _MIB, 250_000)
_MAX_ROW = 16_000_000
_FILE_BYTES = 64 * _MIB
_SESSION = "ROWS_PER_RESULTSET = 0, TIMESTAMP_INPUT_FORMAT = 'AUTO'"
"""
Parameters that an account, a user or a connection may have set otherwise: answers lack rows then, times are refused.

https://docs.snowflake.com/en/sql-reference/parameters
"""
_PROTOCOLS = {"cn-": "s3china", "us-gov-": "s3gov"}
"""What begins the address of a bucket in Regions that begin so, where it is not s3."""


class AbortedTransactionError(Exception):
    """Raised when a batch would be committed by another transaction than the one that has locked the tables."""


class SnowflakeWarehouse(KeepsConnection):
    """
    A warehouse in Snowflake, through Airflow's ``SnowflakeHook``.

    Besides the tables that all engines have there is ``<table>_lock``, with one row and no data.

    :param staging: S3 folder that rows go through, with the storage integration that may read it; None: files are
        PUT into a temporary stage of Snowflake's own.
    :raises ValueError: if no storage integration is named.
    """

    engine = "snowflake"
    dialect = Dialect(
        {
            ColumnKind.KEY: f"VARCHAR({MAX_KEY_LENGTH})",
            ColumnKind.TEXT: "VARCHAR",
            ColumnKind.INTEGER: "NUMBER(19)",
            ColumnKind.BOOLEAN: "BOOLEAN",
            ColumnKind.TIMESTAMP: "TIMESTAMP_TZ",
            ColumnKind.JSON: "VARIANT",
            # VARIANT would re-order members, refuse repeated ones and round numbers: the record is kept as it is.
            ColumnKind.RAW_JSON: "VARCHAR",
        },
        # Unquoted: quoted lower-case names would have to be quoted in every query of the user.
        quote="{}",
    )

    def __init__(
        self,
        *args: Any,
        staging: StagingFolder | None = None,
        lock_timeout: timedelta = LOCK_TIMEOUT,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, lock_timeout=lock_timeout, **kwargs)
        self._staging = staging
        self._integration = staging.integration if staging is not None else None
        self._writers = self.qualified(f"{self.table}_lock")
        # A warehouse may be used by several threads, each with a session of its own.
        self._session = threading.local()

    def prepare(self) -> None:
        """Create or extend the tables."""
        super().prepare()
        if self._writers not in self._columns_of_all([self._writers]):
            # With its row in one statement: another task must not see the one without the other.
            statement = f"CREATE TABLE IF NOT EXISTS {self._writers} AS SELECT 0::NUMBER(19) AS turn"
            self.transact(f"creating {self._writers}", lambda cursor: cursor.execute(statement))

    def _table_options(self, table: str) -> str:  # noqa: ARG002
        # What an account, a database or a schema has set may compare keys without case, or without punctuation:
        # https://docs.snowflake.com/en/sql-reference/collation
        return " DEFAULT_DDL_COLLATION = ''"

    def _cursor(self, connection: Any) -> Any:
        cursor = super()._cursor(connection)
        self._session.locked_by = None
        if getattr(self._session, "connection", None) is not connection:
            self._session.connection, self._session.stage = connection, None
            # That of the hook. A DAG may have set another one for the whole process: snowflake.connector.paramstyle.
            connection._paramstyle = "qmark" if self.hook.placeholder == "?" else "pyformat"
            seconds = max(1, int(self._lock_timeout.total_seconds()))
            cursor.execute(f"ALTER SESSION SET LOCK_TIMEOUT = {seconds}, {_SESSION}")
        return cursor

    def _lock(self, cursor: Any) -> None:
        # Here and not later, because a statement that creates something ends the transaction. They last as long as the
        # connection: each transaction leaves the table empty, or ends the connection.
        if getattr(self._session, "stage", None) is None:
            # The name hides no other.
            self._session.stage = self.qualified(f"cloudtrail_{uuid.uuid4().hex}")
            self._session.loads = 0
            cursor.execute(f"CREATE TEMPORARY TABLE {self._stage} (staged VARIANT)")
            if self._staging is None:
                cursor.execute(f"CREATE TEMPORARY STAGE {self._stage}_files")
        cursor.execute(f"UPDATE {self._writers} SET turn = turn + 1")
        if cursor.rowcount == 0:
            raise WarehouseError(
                f"snowflake: {self._writers} has no row at which writers could wait for each other: "
                f"INSERT INTO {self._writers} SELECT 0"
            )
        self._session.locked_by = _transaction_of(cursor)

    def _commit(self, connection: Any) -> None:
        # Snowflake aborts a transaction that keeps another one waiting and is idle for five minutes, as one is whose
        # rows S3 does not take: the next statement could begin a new one, and the ledger be committed without rows.
        if self._session.locked_by is not None and _transaction_of(connection.cursor()) != self._session.locked_by:
            raise AbortedTransactionError
        super()._commit(connection)

    @property
    def _stage(self) -> str:
        return str(self._session.stage)

    def _is_conflict(self, error: Exception) -> bool:
        if isinstance(error, AbortedTransactionError):
            return True
        return not is_refused_null(error) and (super()._is_conflict(error) or is_of_another_writer(error))

    def _describe(self, error: Exception) -> str:
        return describe_error(error)

    def _insert_new_events(self, cursor: Any, events: Sequence[AuditEvent]) -> set[str]:
        columns = columns_of(AuditEvent)
        self._copy_into_stage(cursor, columns, events)
        event_id = self.quoted("event_id")
        # Asked first, because MERGE says how many are new and not which: nobody else inserts while the lock is held.
        cursor.execute(
            f"SELECT fresh.{event_id} FROM (SELECT {self._from_stage(columns[:1])} FROM {self._stage}) AS fresh "
            f"LEFT JOIN {self.events} AS present ON present.{event_id} = fresh.{event_id} "
            f"WHERE present.{event_id} IS NULL"
        )
        new = {row[0] for row in cursor.fetchall()}
        if new:
            values = ", ".join(f"fresh.{self.quoted(column.name)}" for column in columns)
            cursor.execute(
                f"MERGE INTO {self.events} AS present "
                f"USING (SELECT {self._from_stage(columns)} FROM {self._stage}) AS fresh "
                f"ON present.{event_id} = fresh.{event_id} "
                f"WHEN NOT MATCHED THEN INSERT ({self._names(columns)}) VALUES ({values})"
            )
        cursor.execute(f"DELETE FROM {self._stage}")
        return new

    def _insert(self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        self._copy_into_stage(cursor, columns, rows)
        cursor.execute(
            f"INSERT INTO {table} ({self._names(columns)}) SELECT {self._from_stage(columns)} FROM {self._stage}"
        )
        cursor.execute(f"DELETE FROM {self._stage}")

    def _update_each(
        self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]], where: SqlCondition
    ) -> None:
        fresh = self._fresh(columns)
        self._copy_into_stage(cursor, fresh, rows)
        source = f"(SELECT {self._from_stage(fresh)} FROM {self._stage}) AS fresh"
        self._update_from(cursor, table, source, columns, where)
        cursor.execute(f"DELETE FROM {self._stage}")

    def _from_stage(self, columns: Sequence[Column]) -> str:
        """Return the columns as they are selected from the stage."""
        selected = []
        for column in columns:
            name = self.quoted(column.name)
            value = f"staged:{column.name}"
            if column.kind is ColumnKind.JSON:
                # What is no JSON for Snowflake is kept as the text that it is.
                text = f"{value}::VARCHAR"
                selected.append(f"COALESCE(TRY_PARSE_JSON({text}), TO_VARIANT({text})) AS {name}")
            else:
                selected.append(f"{value}::{self.dialect.types[column.kind]} AS {name}")
        return ", ".join(selected)

    def _copy_into_stage(self, cursor: Any, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        if self._staging is None:
            self._session.loads += 1
            folder = f"@{self._stage}_files/{self._session.loads}"
            with tempfile.TemporaryDirectory(prefix="cloudtrail-") as local:
                cut = _write_files(
                    columns, rows, lambda name, content: _put(cursor, content, Path(local, name), folder)
                )
            self._copy(cursor, folder)
        else:
            with self._staging.load() as files:
                cut = _write_files(columns, rows, files.put)
                self._copy(cursor, f"'{_address_of(files)}' STORAGE_INTEGRATION = {self._integration}")
        cursor.execute(f"SELECT COUNT(*) FROM {self._stage}")
        ((staged,),) = cursor.fetchall()
        if staged != len(rows):
            raise WarehouseError(f"snowflake, writing {self.events}: {staged} of {len(rows)} rows were staged")
        if cut:
            log.warning("%s: %s values were too long for Snowflake and are shortened, with a remark", self.events, cut)

    def _copy(self, cursor: Any, source: str) -> None:
        cursor.execute(
            f"COPY INTO {self._stage} FROM {source} FILE_FORMAT = (TYPE = JSON COMPRESSION = GZIP) "
            "ON_ERROR = ABORT_STATEMENT"
        )


def _transaction_of(cursor: Any) -> Any:
    cursor.execute("SELECT CURRENT_TRANSACTION()")
    ((transaction,),) = cursor.fetchall()
    return transaction


def _write_files(columns: Sequence[Column], rows: Sequence[Sequence[Any]], store: Callable[[str, bytes], None]) -> int:
    """
    Write rows as files of JSON lines, and return how many texts were shortened.

    :param store: takes the name and the content of a file.
    """
    return put_shortened_lines((_json_line(columns, row) for row in rows), store, _FILE_BYTES)


def _address_of(files: StagedFiles) -> str:
    """Return where files were stored as Snowflake writes it."""
    protocol = next((name for begin, name in _PROTOCOLS.items() if files.region.startswith(begin)), "s3")
    return f"{protocol}{files.uri.removeprefix('s3')}"


def _put(cursor: Any, content: bytes, path: Path, folder: str) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise WarehouseError(
            f"snowflake: cannot write {path}, from where rows go to the stage: {error.strerror}. Make room there, set "
            "TMPDIR to another folder of the worker, or set staging_uri"
        ) from None
    cursor.execute(f"PUT 'file://{path.as_posix()}' {folder} AUTO_COMPRESS = FALSE SOURCE_COMPRESSION = GZIP")
    # The disk of a worker is small.
    path.unlink()


def _json_line(columns: Sequence[Column], row: Sequence[Any]) -> tuple[bytes, int]:
    """Return a row as a JSON object, and how many of its texts are shortened."""
    for most in _SHORTER_STRINGS:
        members: dict[str, Any] = {}
        cut = 0
        for column, value in zip(columns, row, strict=True):
            if isinstance(value, str):
                members[column.name] = shortened(value, most)
                cut += members[column.name] is not value
            elif isinstance(value, datetime):
                members[column.name] = value.astimezone(timezone.utc).isoformat(" ", "microseconds")
            elif value is not None:
                # Numbers that were read from the table may come as Decimal.
                members[column.name] = int(value) if column.kind is ColumnKind.INTEGER else value
        line = json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode()
        if len(line) <= _MAX_ROW:
            break
    return line, cut
