"""
What stands in for Amazon Athena: its JSON API on a loopback port, in front of DuckDB.

The real driver and boto3 talk to it; what they send and what they get is checked against botocore's model of the
service, and refused where Athena does (length, too many queries at once ...). Statements run each in a transaction
of its own (``athena_statements``). A change of rows loses against another that committed meanwhile; statements that
only add rows do not, which is the least that Iceberg promises.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tests.support.athena_statements import Statement
from tests.support.athena_tables import QueryError, Table
from tests.support.http_server import Handler, http_server

MAX_STATEMENT = 262_144
WORK_GROUP = "audit"


class RefusedError(Exception):
    """Raised for what Athena answers with an error before a query runs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


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
    cancelled: threading.Event = field(default_factory=threading.Event)
    held: bool = False
    until: threading.Event | None = None
    started: float = field(default_factory=time.time)
    catalog: str | None = None


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
        self.meet: threading.Barrier | None = None
        """Where statements that have done their work meet before they commit."""
        self.validates_appends = False
        self.commit_errors = 0
        self.fails_behind: Callable[[str], bool] = lambda _: False
        self.hold: threading.Event | None = None
        """Statements do not commit until they are stopped; set when the state of one of them is asked for."""
        self.next_until: threading.Event | None = None
        """The next statement that is started does not commit before it is set, unless it is stopped."""
        self._dies_after: tuple[int, bool] | None = None
        self._dead = False
        self._requests = 0
        self._tokens: dict[str, tuple[str, dict[str, Any]]] = {}
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

        class Answering(Handler):
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

        with http_server(Answering) as self.endpoint:
            yield self

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
            token = request["ClientRequestToken"]
            if (known := self._tokens.get(token)) is not None:
                identity, given = known
                if request != given:
                    raise RefusedError("InvalidRequestException", "Idempotent parameters do not match")
                return {"QueryExecutionId": identity}
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
            context = request.get("QueryExecutionContext", {})
            query = Query(text, context.get("Database", "default"), group, output, catalog=context.get("Catalog"))
            query.until, self.next_until = self.next_until, None
            identity = str(uuid.uuid4())
            self.queries[identity] = query
            self._tokens[token] = identity, request
        thread = threading.Thread(target=self._run, args=(query,), daemon=True)
        thread.start()
        # So that the driver need not ask twice.
        thread.join(None if self._dead else 0.5)
        return None if self._dead else {"QueryExecutionId": identity}

    def _get_query_execution(self, request: dict[str, Any]) -> dict[str, Any]:
        query = self._query(request)
        # Once: the test may take it away meanwhile.
        if (hold := self.hold) is not None and query.held:
            hold.set()
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
        self._query(request).cancelled.set()
        return {}

    def _get_work_group(self, request: dict[str, Any]) -> dict[str, Any]:
        if request["WorkGroup"] != WORK_GROUP:
            raise RefusedError("InvalidRequestException", f"WorkGroup {request['WorkGroup']} is not found.")
        return {"WorkGroup": {"Name": WORK_GROUP, "State": "ENABLED"}}

    def _get_table_metadata(self, request: dict[str, Any]) -> dict[str, Any]:
        assert request["CatalogName"] == "AwsDataCatalog", "no policy is about another catalog"
        # Glue says that names are all lowercase, and nothing of others.
        table = self.catalog.get(f"{request['DatabaseName']}.{request['TableName']}")
        if table is None:
            raise RefusedError(
                "MetadataException", "EntityNotFoundException from Glue: Entity Not Found (Service: AWSGlue)"
            )
        columns = [{"Name": name, "Type": kind.lower()} for name, kind in table.columns.items()]
        kind = "VIRTUAL_VIEW" if table.is_view else "EXTERNAL_TABLE"
        return {"TableMetadata": {"Name": request["TableName"], "TableType": kind, "Columns": columns}}

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
        # Planning takes longer than all else, and its optimizers save nothing on a few rows.
        cursor.execute("PRAGMA disable_optimizer")
        try:
            Statement(self, query, cursor).run()
            query.state = "SUCCEEDED"
        # The reason first: whoever sees the state asks for no more.
        except QueryError as error:
            query.reason, query.state = str(error), ("CANCELLED" if query.cancelled.is_set() else "FAILED")
        except duckdb.TransactionException:
            query.reason, query.state = "ICEBERG_COMMIT_ERROR: Failed to commit Iceberg update to table", "FAILED"
        except duckdb.Error as error:
            # With the value in it, as the engine's own errors have.
            query.reason, query.state = f"{type(error).__name__.upper()}: {error}", "FAILED"
        except Exception as error:
            logging.getLogger(__name__).exception("the stand-in itself has failed")
            query.reason, query.state = f"INTERNAL_ERROR_OF_THE_STAND_IN: {error!r}", "FAILED"
        finally:
            cursor.close()

    def commit(self, cursor: Any, query: Query, table: Table | None, seen: int, *, changes_rows: bool) -> None:
        """Commit what a query did, unless the table has been changed since it began and that matters."""
        if (meet := self.meet) is not None:
            meet.wait(60)
        if self.hold is not None:
            query.held = True
            # For longer than anybody takes to stop it.
            query.cancelled.wait(3_600)
        while query.until is not None and not query.until.wait(0.02) and not query.cancelled.is_set():
            pass
        with self._lock:
            lost = table is not None and table.changes != seen and (changes_rows or self.validates_appends)
            if table is not None and self.commit_errors > 0:
                self.commit_errors -= 1
                lost = True
            if query.cancelled.is_set() or lost:
                cursor.execute("ROLLBACK")
                raise QueryError(
                    "Query cancelled by user"
                    if query.cancelled.is_set()
                    else "ICEBERG_COMMIT_ERROR: Failed to commit Iceberg update to table: audit. If a data manifest "
                    "file was generated at 's3://...', you may need to manually clean the data"
                )
            cursor.execute("COMMIT")
            if table is not None:
                table.changes += 1
            if self.fails_behind(query.text):
                raise QueryError("ICEBERG_COMMIT_ERROR: Failed to commit Iceberg update to table: audit")


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
