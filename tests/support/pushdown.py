"""
What stands in for Athena where the pushdown is tested: its statements, transpiled, run on DuckDB.

The trail's table holds what Athena's JSON SerDe would make of the log files, as far as that is documented: text
columns hold text, those of free-form objects their JSON, structs their named members and nothing else. It is as
strict as Trino's reader: a record of another shape is refused, and with it the file (Athena fails the query and names
the file). Like Hadoop's codec, it reads every member of a gzip file.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import duckdb
import pyarrow
import sqlglot

from airflow_provider_cloudtrail.audit_event import AuditEvent, ColumnKind, LedgerEntry, QuarantineEntry, columns_of
from airflow_provider_cloudtrail.export.log_files import export_log_files
from airflow_provider_cloudtrail.export.summary import ExportSummary
from airflow_provider_cloudtrail.pushdown.fill import PushdownSummary, fill_audit_table
from airflow_provider_cloudtrail.pushdown.record_fields import RECORD_FIELDS, RecordField, Shape
from airflow_provider_cloudtrail.pushdown.records import Records, spans
from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
from airflow_provider_cloudtrail.trail.log_file import LogFile, parse_key
from airflow_provider_cloudtrail.trail.selection import Selection
from airflow_provider_cloudtrail.trail.store import StoredObject
from airflow_provider_cloudtrail.warehouse.duckdb import DuckDBWarehouse
from tests.support.log_files import key_of, listed, log_bytes
from tests.support.rows import MWAA
from tests.support.trino_patterns import patterns_of, read_alike

_TYPES = {
    ColumnKind.INTEGER: "BIGINT",
    ColumnKind.BOOLEAN: "BOOLEAN",
    ColumnKind.TIMESTAMP: "TIMESTAMP",
}


class RefusedError(Exception):
    """Raised for a record that the SerDe has no place for."""


def rows_of(content: bytes) -> list[dict[str, Any]]:
    """Return the rows of a log file; RefusedError or another error where Athena's query would fail."""
    document = json.loads(gzip.decompress(content).decode("utf-8", "replace"), parse_float=_as_written)
    if not isinstance(document, dict) or not isinstance(document.get("Records"), list):
        raise RefusedError("no list of records")
    return [_members(RECORD_FIELDS, record) for record in document["Records"]]


def _members(fields: Iterable[RecordField], value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RefusedError("no object")
    # The SerDe does not tell upper from lower case.
    found = {name.lower(): content for name, content in value.items()}
    return {field.column: _value(field, found.get(field.column)) for field in fields}


def _value(field: RecordField, value: Any) -> Any:
    if value is None:
        return None
    match field.shape:
        case Shape.OBJECT:
            return _members(field.members, value)
        case Shape.LIST:
            if not isinstance(value, list):
                raise RefusedError(f"{field.name} is no list")
            return [None if item is None else _members(field.members, item) for item in value]
        case Shape.MAP:
            if not isinstance(value, dict):
                raise RefusedError(f"{field.name} is no object")
            return [(name, _value(RecordField("value"), content)) for name, content in value.items()]
    if isinstance(value, dict | list):
        if field.shape is not Shape.JSON:
            raise RefusedError(f"{field.name} is no text")
        return _java(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return _java(value) if isinstance(value, str) else json.dumps(value)


_WRITTEN = "\ue000"


def _as_written(number: str) -> str:
    # A float would lose digits, or all of it.
    return f"{_WRITTEN}{number}{_WRITTEN}"


def _java(text: str) -> str:
    text = text.replace(f'"{_WRITTEN}', "").replace(f'{_WRITTEN}"', "").replace(_WRITTEN, "")
    # What Java writes for half of a surrogate pair.
    return text.encode("utf-8", "replace").decode()


def _arrow(field: RecordField) -> Any:
    if field.shape is Shape.MAP:
        return pyarrow.map_(pyarrow.string(), pyarrow.string())
    if not field.members:
        return pyarrow.string()
    struct = pyarrow.struct([(member.column, _arrow(member)) for member in field.members])
    return pyarrow.list_(struct) if field.shape is Shape.LIST else struct


_HIDDEN = [
    ("$path", pyarrow.string()),
    ("account", pyarrow.string()),
    ("region", pyarrow.string()),
    ("day", pyarrow.string()),
]
_SCHEMA = pyarrow.schema([*((field.column, _arrow(field)) for field in RECORD_FIELDS), *_HIDDEN])


def trail_rows(files: Iterable[tuple[LogFile, bytes]]) -> Any:
    """Return the rows of the trail's table that log files give, as an Arrow table; errors as of :func:`rows_of`."""
    rows = []
    for log_file, content in files:
        parsed = parse_key(log_file.key)
        place = {
            "$path": log_file.uri,
            "account": log_file.key.split("/")[-7] if parsed is None else parsed.account_id,
            "region": log_file.key.split("/")[-5] if parsed is None else parsed.region,
            "day": "/".join(log_file.key.split("/")[-4:-1]),
        }
        rows += [row | place for row in rows_of(content)]
    return pyarrow.Table.from_pylist(rows, _SCHEMA)


class _SameDatabase:
    conn_type, placeholder = "duckdb", "?"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def get_conn(self) -> Any:
        """Return a connection of its own to the database, which can be closed."""
        return self._connection.cursor()


class MemoryStore:
    """The log files of a trail, for the worker path."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.gets: list[str] = []

    def get(self, key: str, most_bytes: int | None = None) -> StoredObject:
        self.gets.append(key)
        return StoredObject(self.objects[key], "etag")


class AthenaOnDuckDB:
    """The trail's table, the audit table and its ledger; :class:`~..pushdown.fill.Engine` for the pushdown."""

    trail, events, files = '"logs"."trail"', '"audit"."events"', '"audit"."events_files"'

    def __init__(self) -> None:
        self.connection = duckdb.connect()
        # Which for statements as long as these takes longer than all else, and saves nothing on a few rows.
        self.connection.execute("PRAGMA disable_optimizer")
        self.statements: list[str] = []
        self.refused: dict[str, str] = {}
        self.fail_at: int | None = None
        self.writes = 0
        self.connection.execute("CREATE SCHEMA logs; CREATE SCHEMA audit")
        self.connection.register("empty_trail", trail_rows([]))
        self.connection.execute(f"CREATE TABLE {self.trail} AS SELECT * FROM empty_trail")
        tables = {"events": AuditEvent, "events_files": LedgerEntry, "events_quarantine": QuarantineEntry}
        for table, row_type in tables.items():
            columns = ", ".join(
                f'"{column.name}" {_TYPES.get(column.kind, "VARCHAR")}' for column in columns_of(row_type)
            )
            self.connection.execute(f"CREATE TABLE audit.{table} ({columns})")

    def deliver(self, log_file: LogFile, content: bytes) -> bool:
        """Add a log file to the trail; return whether its records have the shapes that the SerDe reads."""
        try:
            rows = trail_rows([(log_file, content)])
        except (RefusedError, ValueError, OSError, EOFError, zlib.error, RecursionError) as error:
            self.refused[log_file.uri] = str(error) if isinstance(error, RefusedError) else type(error).__name__
            return False
        self.connection.register("delivered", rows)
        self.connection.execute(f"INSERT INTO {self.trail} SELECT * FROM delivered")
        self.connection.unregister("delivered")
        return True

    def read(self, doing: str, statement: str) -> list[tuple[Any, ...]]:
        del doing
        return self._run(statement)

    def write(self, doing: str, statements: Sequence[str]) -> None:
        del doing
        for statement in statements:
            if self.fail_at is not None and self.writes >= self.fail_at:
                raise ConnectionError("the connection is gone")
            self.writes += 1
            self._run(statement)

    def _run(self, statement: str) -> list[tuple[Any, ...]]:
        self.statements.append(statement)
        (parsed,) = sqlglot.parse(statement, read="athena")
        assert parsed is not None
        assert not isinstance(parsed, sqlglot.exp.Command)
        assert [pattern for pattern in patterns_of(parsed) if not read_alike(pattern)] == []
        return self.connection.execute(parsed.sql("duckdb")).fetchall()

    def warehouse(self) -> DuckDBWarehouse:
        """Return what the worker path writes the same tables with."""
        return DuckDBWarehouse(_SameDatabase(self.connection), "events", "audit")

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return the rows of a table."""
        cursor = self.connection.execute(f"SELECT * FROM {table} ORDER BY 1")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


class BothPaths:
    """A trail that both the pushdown and the worker path can read, each into tables of its own or into the same."""

    def __init__(self) -> None:
        self.athena = AthenaOnDuckDB()
        self.store = MemoryStore()
        self.log_files: list[LogFile] = []

    def deliver(self, log_file: LogFile, content: bytes) -> None:
        """Add a log file; one that Athena refuses is not read by the worker path either."""
        if self.athena.deliver(log_file, content):
            self.store.objects[log_file.key] = content
            self.log_files.append(log_file)

    def push_down(
        self,
        window: DeliveryWindow,
        selection: Selection = MWAA,
        *,
        days: int = 7,
        athena: AthenaOnDuckDB | None = None,
        **chosen: Any,
    ) -> PushdownSummary:
        """Have the pushdown load a window."""
        athena = athena or self.athena
        records = [Records(athena.trail, athena.files, span, selection, **chosen) for span in spans(window, days)]
        return fill_audit_table(records, events=athena.events, engine=athena, loaded_by="pushdown")

    def export(
        self, into: AthenaOnDuckDB, log_files: Iterable[LogFile] | None = None, selection: Selection = MWAA
    ) -> ExportSummary:
        """Have the worker path load log files, in the order of their delivery."""
        summary = export_log_files(
            sorted(self.log_files if log_files is None else log_files, key=lambda file: (file.delivered_at, file.uri)),
            store_of=lambda _: self.store,  # type: ignore[arg-type, return-value]
            warehouse=into.warehouse(),
            selection=selection,
            loaded_by="worker",
        )
        # The worker path binds DuckDB's memory, here that of both.
        into.connection.execute("SET memory_limit = '1GB'")
        return summary


def deliver(both: BothPaths, stamp: str, *records: Any, **place: Any) -> LogFile:
    """Put a log file with these records where both paths find it."""
    file = listed(key_of(stamp, **place))
    both.deliver(file, log_bytes(*records))
    return file


def ledger(athena: AthenaOnDuckDB) -> dict[str, dict[str, Any]]:
    """Return the rows of the ledger by the URI of their log file."""
    return {row["log_file_uri"]: row for row in athena.rows(athena.files)}


def assert_sound(athena: AthenaOnDuckDB) -> None:
    """One row for each event, and a balance for each file that was parsed."""
    rows = athena.rows(athena.events)
    assert len({row["event_id"] for row in rows}) == len(rows)
    for uri, entry in ledger(athena).items():
        if entry["status"] == "loaded":
            parts = [entry[name] for name in ("loaded", "duplicate", "filtered", "quarantined")]
            assert entry["records"] == sum(parts), uri
            assert entry["loaded"] == sum(row["log_file_uri"] == uri for row in rows), uri
