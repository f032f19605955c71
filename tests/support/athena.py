"""
What stands in for Amazon Athena: its JSON API on a loopback port, in front of DuckDB.

The real driver and boto3 talk to it; what they send and what they get is checked against botocore's model of the
service. Every statement is parsed in sqlglot's Athena dialect, checked for what Athena refuses (length, quotes of the
other language, types, keys, partitions, MERGE that matches twice, too many queries at once ...), translated and run in
a transaction of its own. External tables are read from S3 when they are asked. A change of rows loses against another
that committed meanwhile; statements that only add rows do not, which is the least that Iceberg promises.
"""

from __future__ import annotations

import gzip
import json
import logging
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MAX_STATEMENT = 262_144
MAX_PARTITIONS = 100
MAX_ROW = 32 * 1024 * 1024
WORK_GROUP = "audit"
_STRING = re.compile(r"'(?:[^']|'')*'")
_DDL_TYPES = {"STRING": "VARCHAR", "BIGINT": "BIGINT", "INT": "INTEGER", "BOOLEAN": "BOOLEAN", "TIMESTAMP": "TIMESTAMP"}
_ATHENA_TYPES = {
    "VARCHAR": "varchar",
    "BIGINT": "bigint",
    "HUGEINT": "bigint",
    "INTEGER": "integer",
    "BOOLEAN": "boolean",
}
_JSON_SERDE = "org.apache.hive.hcatalog.data.JsonSerDe"


class RefusedError(Exception):
    """Raised for what Athena answers with an error before a query runs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class QueryError(Exception):
    """Raised for what a query fails with; the text is its StateChangeReason."""


@dataclass
class Table:
    """
    A table of the catalog.

    :param columns: DDL type by name.
    :param external: whether it is read from S3; otherwise it is an Iceberg table.
    :param changes: counts commits.
    """

    columns: dict[str, str]
    location: str
    external: bool
    day: str | None = None
    changes: int = 0


@dataclass
class Query:
    text: str
    database: str
    work_group: str
    output: str
    state: str = "QUEUED"
    reason: str | None = None
    columns: list[tuple[str, str]] = field(default_factory=list)
    rows: list[list[str | None]] = field(default_factory=list)
    kind: str = "DML"
    changed: int | None = None
    cancelled: bool = False
    started: float = field(default_factory=time.time)


class AthenaStandIn:
    """
    A stand-in, not running yet.

    :param s3: endpoint of the S3 API that external tables are read from.
    :param tables: ``LocationUri`` of the Glue database ``audit``; None: it has none.
    """

    def __init__(self, s3: str, tables: str | None) -> None:
        import duckdb

        logging.getLogger("sqlglot").setLevel(logging.ERROR)
        self.s3 = s3
        self.tables = tables
        self.endpoint = ""
        self.catalog: dict[str, Table] = {}
        self.queries: dict[str, Query] = {}
        self.throttle_every = 0
        self.most_active = 20
        self.delay = 0.0
        self.validates_appends = False
        self.commit_errors = 0
        self.hold: threading.Event | None = None
        self._dies_after: tuple[int, bool] | None = None
        self._dead = False
        self._requests = 0
        self._lock = threading.RLock()
        self._database = duckdb.connect(":memory:")
        self._database.execute("SET TimeZone = 'UTC'; CREATE SCHEMA audit")

    # -- what tests use ----------------------------------------------------------------------------

    @property
    def statements(self) -> list[str]:
        return [query.text for query in self.queries.values()]

    def die_after(self, statements: int, *, ran: bool) -> None:
        """Close the connection instead of an answer to that statement, run or not, and to all that come."""
        self._dies_after, self._dead = (statements, ran), False

    def revive(self) -> None:
        self._dies_after, self._dead = None, False

    @contextmanager
    def running(self) -> Iterator[AthenaStandIn]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Status and content are two writes.
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = stand_in.answer(self.headers["X-Amz-Target"], json.loads(body))
                if answer is None:
                    self.close_connection = True
                    return
                status, content = answer
                payload = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *_: Any) -> None:
                pass

            def handle(self) -> None:
                with suppress(OSError, ValueError):
                    super().handle()

            def finish(self) -> None:
                with suppress(OSError, ValueError):
                    super().finish()

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        server = Server(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        self.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join(10)

    # -- API ---------------------------------------------------------------------------------------

    def answer(self, target: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """Return status and content of an answer; None: the connection breaks."""
        from botocore import xform_name

        service, _, operation = target.partition(".")
        if self._dead:
            return None
        if service == "AWSGlue":
            assert (operation, request["Name"]) == ("GetDatabase", "audit")
            return 200, {"Database": {"Name": "audit"} | ({"LocationUri": self.tables} if self.tables else {})}
        assert service == "AmazonAthena"
        model = _model().operation_model(operation)
        _validate(request, model.input_shape)
        try:
            content = getattr(self, f"_{xform_name(operation)}")(request)
        except RefusedError as error:
            return 400, {"__type": error.code, "message": str(error)}
        if content is None:
            return None
        _validate(content, model.output_shape)
        return 200, content

    def _start_query_execution(self, request: dict[str, Any]) -> dict[str, Any] | None:
        text = request["QueryString"]
        if len(text.encode()) > MAX_STATEMENT:
            raise RefusedError(
                "InvalidRequestException",
                "1 validation error detected: Value at 'queryString' failed to satisfy constraint: Member must have "
                f"length less than or equal to {MAX_STATEMENT}",
            )
        group = request.get("WorkGroup", "primary")
        if group != WORK_GROUP:
            raise RefusedError("InvalidRequestException", f"WorkGroup {group} is not found.")
        output = request.get("ResultConfiguration", {}).get("OutputLocation")
        if not output:
            raise RefusedError("InvalidRequestException", "No output location provided.")
        reuse = request.get("ResultReuseConfiguration", {}).get("ResultReuseByAgeConfiguration", {})
        assert not reuse.get("Enabled"), "an old answer would be given"
        assert "ExecutionParameters" not in request
        with self._lock:
            self._requests += 1
            active = sum(query.state in ("QUEUED", "RUNNING") for query in self.queries.values())
            if active >= self.most_active or (self.throttle_every and self._requests % self.throttle_every == 0):
                raise RefusedError(
                    "TooManyRequestsException", "You have exceeded the limit for the number of queries you can run"
                )
            if self._dies_after is not None:
                left, ran = self._dies_after
                self._dies_after = (left - 1, ran)
                self._dead = left <= 1
                if self._dead and not ran:
                    return None
            query = Query(text, request.get("QueryExecutionContext", {}).get("Database", "default"), group, output)
            identity = str(uuid.uuid4())
            self.queries[identity] = query
        thread = threading.Thread(target=self._run, args=(query,), daemon=True)
        thread.start()
        # So that the driver need not ask twice.
        thread.join(None if self._dead else 0.5)
        return None if self._dead else {"QueryExecutionId": identity}

    def _get_query_execution(self, request: dict[str, Any]) -> dict[str, Any]:
        query = self._query(request)
        status: dict[str, Any] = {"State": query.state, "SubmissionDateTime": query.started}
        if query.reason is not None:
            status["StateChangeReason"] = query.reason
        if query.state in ("SUCCEEDED", "FAILED", "CANCELLED"):
            status["CompletionDateTime"] = time.time()
        return {
            "QueryExecution": {
                "QueryExecutionId": request["QueryExecutionId"],
                "Query": query.text,
                "StatementType": query.kind,
                "SubstatementType": query.text.split()[0],
                "ResultConfiguration": {"OutputLocation": f"{query.output}{request['QueryExecutionId']}.csv"},
                "QueryExecutionContext": {"Database": query.database},
                "Status": status,
                "Statistics": {"DataScannedInBytes": 0, "EngineExecutionTimeInMillis": 1},
                "WorkGroup": query.work_group,
                "EngineVersion": {"EffectiveEngineVersion": "Athena engine version 3"},
            }
        }

    def _get_query_results(self, request: dict[str, Any]) -> dict[str, Any]:
        query = self._query(request)
        if query.state != "SUCCEEDED":
            raise RefusedError("InvalidRequestException", f"Query has not yet finished. Current state: {query.state}")
        rows = query.rows
        if query.kind == "DML" and query.changed is None:
            rows = [[name for name, _ in query.columns], *rows]
        start = int(request.get("NextToken", 0))
        end = start + min(request.get("MaxResults", 1000), 1000)
        info = [
            {"Name": name, "Type": kind, "Precision": 0, "Scale": 0, "Nullable": "UNKNOWN", "CaseSensitive": True}
            for name, kind in query.columns
        ]
        answer: dict[str, Any] = {
            "ResultSet": {
                "Rows": [{"Data": [_datum(value) for value in row]} for row in rows[start:end]],
                "ResultSetMetadata": {"ColumnInfo": info},
            },
            "UpdateCount": query.changed or 0,
        }
        return answer | ({"NextToken": str(end)} if end < len(rows) else {})

    def _stop_query_execution(self, request: dict[str, Any]) -> dict[str, Any]:
        self._query(request).cancelled = True
        return {}

    def _get_work_group(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["WorkGroup"] != WORK_GROUP:
            raise RefusedError("InvalidRequestException", f"WorkGroup {request['WorkGroup']} is not found.")
        return {"WorkGroup": {"Name": WORK_GROUP, "State": "ENABLED"}}

    def _get_table_metadata(self, request: dict[str, Any]) -> dict[str, Any]:
        table = self.catalog.get(f"{request['DatabaseName']}.{request['TableName']}".lower())
        if table is None:
            raise RefusedError(
                "MetadataException", "EntityNotFoundException from Glue: Entity Not Found (Service: AWSGlue)"
            )
        columns = [{"Name": name, "Type": kind.lower()} for name, kind in table.columns.items()]
        return {"TableMetadata": {"Name": request["TableName"], "Columns": columns}}

    def _query(self, request: dict[str, Any]) -> Query:
        try:
            return self.queries[request["QueryExecutionId"]]
        except KeyError:
            raise RefusedError("InvalidRequestException", "QueryExecution was not found") from None

    # -- statements --------------------------------------------------------------------------------

    def _run(self, query: Query) -> None:
        import duckdb

        query.state = "RUNNING"
        cursor = self._database.cursor()
        try:
            _Statement(self, query, cursor).run()
            query.state = "SUCCEEDED"
        except QueryError as error:
            query.state, query.reason = ("CANCELLED" if query.cancelled else "FAILED"), str(error)
        except duckdb.TransactionException:
            query.state, query.reason = "FAILED", "ICEBERG_COMMIT_ERROR: Failed to commit Iceberg update to table"
        except duckdb.Error as error:
            # With the value in it, as the engine's own errors have.
            query.state, query.reason = "FAILED", f"{type(error).__name__.upper()}: {error}"
        except Exception as error:
            logging.getLogger(__name__).exception("the stand-in itself has failed")
            query.state, query.reason = "FAILED", f"INTERNAL_ERROR_OF_THE_STAND_IN: {error!r}"
        finally:
            cursor.close()

    def commit(self, cursor: Any, query: Query, table: Table | None, seen: int, *, changes_rows: bool) -> None:
        """Commit what a query did, unless the table has been changed since it began and that matters."""
        if self.hold is not None:
            self.hold.wait(30)
        if self.delay:
            time.sleep(self.delay)
        with self._lock:
            lost = table is not None and table.changes != seen and (changes_rows or self.validates_appends)
            if table is not None and self.commit_errors > 0:
                self.commit_errors -= 1
                lost = True
            if query.cancelled or lost:
                cursor.execute("ROLLBACK")
                raise QueryError(
                    "Query cancelled by user"
                    if query.cancelled
                    else "ICEBERG_COMMIT_ERROR: Failed to commit Iceberg update to table: audit. If a data manifest "
                    "file was generated at 's3://...', you may need to manually clean the data"
                )
            cursor.execute("COMMIT")
            if table is not None:
                table.changes += 1


class _Statement:
    """One statement on its way through DuckDB."""

    def __init__(self, stand_in: AthenaStandIn, query: Query, cursor: Any) -> None:
        self._stand_in = stand_in
        self._query = query
        self._cursor = cursor

    def run(self) -> None:
        import sqlglot
        from sqlglot import exp

        text = self._query.text
        outside = _STRING.sub("''", text)
        first = outside.split()[0].upper()
        is_ddl = first in ("CREATE", "DROP", "ALTER")
        if first not in ("CREATE", "DROP", "ALTER", "SELECT", "WITH", "MERGE", "INSERT", "UPDATE", "DELETE"):
            raise QueryError("Queries of this type are not supported")
        if ('"' if is_ddl else "`") in outside or "\0" in text or "%" in outside or "?" in outside:
            raise QueryError("SYNTAX_ERROR: line 1:8: mismatched input. Expecting: <identifier>")
        try:
            tree = sqlglot.parse_one(text, dialect="athena")
        except sqlglot.ParseError:
            raise QueryError("SYNTAX_ERROR: line 1:1: mismatched input") from None
        if tree.find(exp.Command, exp.OnConflict, exp.Returning, exp.Placeholder, exp.Parameter):
            raise QueryError("SYNTAX_ERROR: line 1:1: not supported by the stand-in, as by Athena")
        if is_ddl:
            self._query.kind = "DDL"
            self._ddl(tree)
        else:
            self._dml(tree)

    # -- DDL ---------------------------------------------------------------------------------------

    def _ddl(self, tree: Any) -> None:
        from sqlglot import exp

        with self._stand_in._lock:
            if isinstance(tree, exp.Create):
                self._create(tree)
                return
            (found,) = tree.args["tables"] if isinstance(tree, exp.Drop) else [tree.this]
            name = self._name(found)
            table = self._stand_in.catalog.get(name)
            if isinstance(tree, exp.Drop):
                if table is None and not tree.args.get("exists"):
                    raise QueryError(f"FAILED: SemanticException [Error 10001]: Table not found {name}")
                if table is not None:
                    del self._stand_in.catalog[name]
                    if not table.external:
                        self._cursor.execute(f"DROP TABLE {_quoted(name)}")
                return
            if table is None:
                raise QueryError(f"FAILED: SemanticException [Error 10001]: Table not found {name}")
            self._alter(tree, name, table)

    def _create(self, tree: Any) -> None:
        from sqlglot import exp

        if tree.kind != "TABLE" or tree.expression is not None:
            raise QueryError("Queries of this type are not supported by the stand-in")
        name = self._name(tree.this.this)
        columns = self._columns(tree.this.expressions)
        location = tree.find(exp.LocationProperty).this.name
        external = tree.find(exp.ExternalProperty) is not None
        if not re.fullmatch(r"s3://[a-z0-9.-]+/(?:[^'/]+/)*", location):
            raise QueryError("FAILED: location must be a folder of S3 that ends with a slash")
        properties = {
            one.this.name: one.args["value"].name for one in tree.find_all(exp.Property) if type(one) is exp.Property
        }
        if name in self._stand_in.catalog:
            raise QueryError(f"FAILED: SemanticException AlreadyExistsException: Table {name} already exists.")
        day = None
        if external:
            serde = tree.find(exp.RowFormatSerdeProperty)
            if properties or serde is None or serde.this.name != _JSON_SERDE or tree.find(exp.PartitionedByProperty):
                raise QueryError("NOT_SUPPORTED: the stand-in reads JSON by the SerDe of Hive")
        else:
            day = self._create_iceberg(tree, name, columns, location, properties)
        self._stand_in.catalog[name] = Table(columns, location, external, day)

    def _create_iceberg(
        self, tree: Any, name: str, columns: dict[str, str], location: str, properties: dict[str, str]
    ) -> str | None:
        """Create a table and return the column by whose day it is partitioned."""
        from sqlglot import exp

        if properties != {"table_type": "ICEBERG", "format": "parquet", "write_compression": "zstd"}:
            raise QueryError(f"FAILED: table properties {properties}")
        if any(other.location.startswith(location) for other in self._stand_in.catalog.values()):
            raise QueryError("ICEBERG_FILESYSTEM_ERROR: Cannot create a table on a non-empty location")
        day = None
        if (partitions := tree.find(exp.PartitionedByProperty)) is not None:
            (transform,) = partitions.this.expressions
            assert isinstance(transform, exp.Day), transform
            day = str(transform.find(exp.Identifier).name)
            if columns.get(day) != "TIMESTAMP":
                raise QueryError("FAILED: Cannot partition by day of a column that is no timestamp")
        definitions = ", ".join(f'"{column}" {_DDL_TYPES[kind]}' for column, kind in columns.items())
        self._cursor.execute(f"CREATE TABLE {_quoted(name)} ({definitions})")
        return day

    def _alter(self, tree: Any, name: str, table: Table) -> None:
        from sqlglot import exp

        (action,) = tree.args["actions"]
        if isinstance(action, exp.Drop):
            column = action.this.name if action.this is not None else action.find(exp.Identifier).name
            self._cursor.execute(f'ALTER TABLE {_quoted(name)} DROP COLUMN "{column}"')
            del table.columns[column]
            return
        if not isinstance(action, exp.Schema):
            raise QueryError("FAILED: ParseException line 1:1 mismatched input 'COLUMN' expecting COLUMNS")
        for column, kind in self._columns(action.expressions).items():
            if column in table.columns:
                raise QueryError(f"FAILED: Cannot add column, name already exists: {column}")
            self._cursor.execute(f'ALTER TABLE {_quoted(name)} ADD COLUMN "{column}" {_DDL_TYPES[kind]}')
            table.columns[column] = kind

    def _columns(self, definitions: list[Any]) -> dict[str, str]:
        from sqlglot import exp

        columns: dict[str, str] = {}
        for column in definitions:
            if not isinstance(column, exp.ColumnDef) or column.args.get("constraints"):
                raise QueryError("FAILED: ParseException line 1:1 constraints are not supported")
            kind = column.args["kind"].sql("hive").upper()
            if kind not in _DDL_TYPES:
                raise QueryError(f"FAILED: SemanticException type {kind} is not supported for a table like this")
            columns[column.name.lower()] = kind
        return columns

    # -- DML ---------------------------------------------------------------------------------------

    def _dml(self, tree: Any) -> None:
        from sqlglot import exp

        for kind in tree.find_all(exp.DataType):
            if kind.this == exp.DataType.Type.TEXT:
                raise QueryError("TYPE_MISMATCH: line 1:1: Unknown type: string")
            if kind.this == exp.DataType.Type.TIMESTAMP and not kind.expressions:
                # Three digits are what it has.
                kind.set("this", exp.DataType.Type.TIMESTAMP_MS)
        # Moments before tables, of which one is to be read as of the same moment as its number of changes.
        target, table, seen = None, None, 0
        with self._stand_in._lock:
            self._cursor.execute("BEGIN")
            self._cursor.execute("SELECT COUNT(*) FROM duckdb_tables()").fetchall()
            if isinstance(tree, (exp.Merge, exp.Insert, exp.Update, exp.Delete)):
                found = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
                target = self._name(found)
                table = self._stand_in.catalog.get(target)
                if table is None:
                    raise QueryError(f"TABLE_NOT_FOUND: line 1:1: Table 'awsdatacatalog.{target}' does not exist")
                if table.external:
                    raise QueryError("NOT_SUPPORTED: Modifying Hive table rows is only supported for transactional")
                seen = table.changes
        try:
            self._resolve(tree)
            if target is None or table is None:
                self._cursor.execute(tree.sql("duckdb"))
                self._answer()
                self._cursor.execute("ROLLBACK")
                return
            self._check_types(tree, table)
            self._check_matches(tree)
            before = self._per_day(target, table)
            self._cursor.execute(tree.sql("duckdb"))
            ((changed,),) = self._cursor.fetchall()
            after = self._per_day(target, table)
            written = {day for day in after if after[day] != before.get(day)}
            if len(written) > MAX_PARTITIONS:
                raise QueryError(
                    f"ICEBERG_TOO_MANY_OPEN_PARTITIONS: Exceeded limit of {MAX_PARTITIONS} open writers for partitions"
                )
        except BaseException:
            with suppress(Exception):
                self._cursor.execute("ROLLBACK")
            raise
        changes_rows = not isinstance(tree, exp.Insert) and not self._only_inserts(tree)
        self._stand_in.commit(self._cursor, self._query, table, seen, changes_rows=changes_rows)
        self._query.columns, self._query.rows, self._query.changed = [("rows", "bigint")], [[str(changed)]], changed

    @staticmethod
    def _only_inserts(tree: Any) -> bool:
        from sqlglot import exp

        return isinstance(tree, exp.Merge) and not any(when.args["matched"] for when in tree.args["whens"].expressions)

    def _resolve(self, tree: Any) -> None:
        """Put DuckDB's names in the place of the catalog's; external tables are read for that."""
        from sqlglot import exp

        of_the_query = {table.alias for table in tree.find_all(exp.CTE)}
        for node in list(tree.find_all(exp.Table)):
            if not node.db and node.name in of_the_query:
                continue
            name = self._name(node)
            table = self._stand_in.catalog.get(name)
            if table is None:
                raise QueryError(f"TABLE_NOT_FOUND: line 1:15: Table 'awsdatacatalog.{name}' does not exist")
            if table.external:
                view = f"external_{uuid.uuid4().hex}"
                self._cursor.register(view, self._external_rows(table))
                node.set("this", exp.to_identifier(view, quoted=True))
                node.set("db", None)
            else:
                database, _, plain = name.partition(".")
                node.set("this", exp.to_identifier(plain, quoted=True))
                node.set("db", exp.to_identifier(database, quoted=True))

    def _external_rows(self, table: Table) -> Any:
        import pyarrow

        from tests.support.s3 import client_of

        bucket, _, prefix = table.location.removeprefix("s3://").partition("/")
        client = client_of(self._stand_in.s3)
        rows: list[dict[str, Any]] = []
        for entry in client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
            content = client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            if entry["Key"].endswith(".gz"):
                content = gzip.decompress(content)
            rows += [_row(line, table) for line in content.split(b"\n") if line]
        kinds = {"STRING": pyarrow.string(), "BIGINT": pyarrow.int64(), "BOOLEAN": pyarrow.bool_()}
        schema = pyarrow.schema([(name, kinds[kind]) for name, kind in table.columns.items()])
        return pyarrow.Table.from_pylist(rows, schema=schema)

    def _check_types(self, tree: Any, table: Table) -> None:
        """Refuse what Trino would: there is no cast that is not written, but from integer to bigint."""
        from sqlglot import exp

        given, origin = self._assigned(tree)
        for name, _ in given:
            if name not in table.columns:
                raise QueryError(f"COLUMN_NOT_FOUND: line 1:1: Insert column name does not exist in target: {name}")
        given = [(name, value) for name, value in given if not isinstance(value, exp.Null)]
        if not given:
            return
        selected = ", ".join(f"{value.sql('duckdb')} AS v{number}" for number, (_, value) in enumerate(given))
        self._cursor.execute(f"DESCRIBE SELECT {selected} {origin}")
        for (name, _), (_, kind, *_) in zip(given, self._cursor.fetchall(), strict=True):
            wanted = _DDL_TYPES[table.columns[name]]
            if kind != wanted and (kind, wanted) not in (("INTEGER", "BIGINT"), ("TIMESTAMP_MS", "TIMESTAMP")):
                raise QueryError(f"TYPE_MISMATCH: line 1:1: query has mismatched column types: {name} {kind}")

    @staticmethod
    def _assigned(tree: Any) -> tuple[list[tuple[str, Any]], str]:
        """Return which columns are set to what, and what the values come from."""
        from sqlglot import exp

        if isinstance(tree, exp.Update):
            return [(one.this.name, one.expression) for one in tree.expressions], ""
        if not isinstance(tree, exp.Merge):
            return [], ""
        given: list[tuple[str, Any]] = []
        for when in tree.args["whens"].expressions:
            then = when.args["then"]
            if isinstance(then, exp.Insert):
                given += zip((one.name for one in then.this.expressions), then.expression.expressions, strict=True)
            elif isinstance(then, exp.Update):
                given += [(one.this.name, one.expression) for one in then.expressions]
        using = tree.args["using"]
        assert all(value.table == using.alias for _, value in given), "the stand-in expects values of the source"
        return given, f"FROM {using.sql('duckdb')}"

    def _check_matches(self, tree: Any) -> None:
        from sqlglot import exp

        if not isinstance(tree, exp.Merge) or self._only_inserts(tree):
            return
        target, using, on = (tree.args[name].sql("duckdb") for name in ("this", "using", "on"))
        alias = tree.this.alias
        self._cursor.execute(
            f"SELECT 1 FROM {target} JOIN {using} ON {on} GROUP BY {alias}.rowid HAVING COUNT(*) > 1 LIMIT 1"
        )
        if self._cursor.fetchall():
            raise QueryError(
                "MERGE_TARGET_ROW_MULTIPLE_MATCHES: One MERGE target table row matched more than one source row"
            )

    def _per_day(self, name: str, table: Table) -> dict[Any, int]:
        if table.day is None:
            return {}
        self._cursor.execute(f"SELECT date_trunc('day', \"{table.day}\"), COUNT(*) FROM {_quoted(name)} GROUP BY 1")
        return dict(self._cursor.fetchall())

    def _answer(self) -> None:
        kinds = [str(column[1]) for column in self._cursor.description]
        self._query.columns = [
            (column[0], _ATHENA_TYPES.get(kind, "timestamp" if kind.startswith("TIMESTAMP") else "varchar"))
            for column, kind in zip(self._cursor.description, kinds, strict=True)
        ]
        self._query.rows = [[_text(value) for value in row] for row in self._cursor.fetchall()]

    def _name(self, node: Any) -> str:
        return f"{node.db or self._query.database}.{node.name}".lower()


def _row(line: bytes, table: Table) -> dict[str, Any]:
    if len(line) > MAX_ROW or b"\r" in line:
        raise QueryError("HIVE_CURSOR_ERROR: Row is too long, or has a line end in it")
    try:
        row = json.loads(line, object_pairs_hook=_members)
    except ValueError:
        raise QueryError("HIVE_CURSOR_ERROR: Row is not a valid JSON Object") from None
    for name, value in row.items():
        kind = {"STRING": str, "BIGINT": int, "BOOLEAN": bool}[table.columns[name]]
        if type(value) is not kind or (kind is int and not -(2**63) <= value < 2**63):
            raise QueryError(f"HIVE_BAD_DATA: Error parsing field value '{value}' for field {name}")
    return row


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("repeated name")
    return dict(pairs)


def _quoted(name: str) -> str:
    return ".".join(f'"{part}"' for part in name.split("."))


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat(" ", "microseconds") if isinstance(value, datetime) else str(value)


def _datum(value: str | None) -> dict[str, str]:
    return {} if value is None else {"VarCharValue": value}


@cache
def _model() -> Any:
    from botocore.session import get_session

    return get_session().get_service_model("athena")


def _validate(content: dict[str, Any], shape: Any) -> None:
    from botocore.validate import ParamValidator

    report = ParamValidator().validate(content, shape)
    assert not report.has_errors(), report.generate_report()
    unknown = set(content) - set(shape.members)
    assert not unknown, unknown
