"""
One connection to Athena as a warehouse uses it: statements with their values, and what becomes of them.

The driver's own parameters are not used. Its ``pyformat`` escapes by the first word of the statement, and not
alike in all versions; Athena's execution parameters have at most 1,024 characters each
(https://docs.aws.amazon.com/athena/latest/APIReference/API_StartQueryExecution.html). In the engine's SQL a
quote is doubled and nothing else means anything, so values become literals here, in one place.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_cloudtrail.warehouse.athena_endings import LeftBehind, end, stop
from airflow_provider_cloudtrail.warehouse.athena_patience import patience
from airflow_provider_cloudtrail.warehouse.base import LOCK_TIMEOUT, WarehouseError

if TYPE_CHECKING:
    from airflow_provider_cloudtrail.warehouse.athena_lock import WriterLock

log = logging.getLogger(__name__)

MAX_STATEMENT = 262_144
"""Bytes of the longest statement (https://docs.aws.amazon.com/athena/latest/ug/service-limits.html)."""

CATALOG = "AwsDataCatalog"
"""The catalog of Glue by its own name, which is how policies of IAM know it, where case counts."""

_QUERY = "athena_query"
# What changes no table that others write.
_NEEDS_NO_LOCK = ("SELECT", "WITH", "CREATE EXTERNAL TABLE", "DROP TABLE IF EXISTS")
_BUILT = "before-parameter-build.athena.StartQueryExecution"
_ATTEMPTED = "needs-retry.athena.StartQueryExecution"
_STARTED = "after-call.athena.StartQueryExecution"
_SERVER_ERROR = 500


class LostLockError(Exception):
    """Raised when somebody else may be writing, because the lock could not be renewed in time."""


class AthenaSession:
    """
    A connection in use, which is its own cursor. Each statement commits on its own: there is nothing to roll back.

    :param connection: of PyAthena; it stays open.
    :param mark: placeholder of a value.
    :param longest_wait: how long Athena may be too busy to answer what it is asked about a query.
    """

    def __init__(self, connection: Any, mark: str, longest_wait: timedelta = LOCK_TIMEOUT) -> None:
        self.connection = connection
        self._mark = mark
        self._longest_wait = longest_wait
        self._cursor: Any = None
        self._lock: WriterLock | None = None
        self._writes = False
        self._running: str | None = None
        self._may_run = False
        self._token = ""
        self._unanswered = False
        # Not all versions of the driver tell the id of a query before it has ended.
        self._handlers = {_BUILT: self._name_request, _ATTEMPTED: self._attempted, _STARTED: self._started}
        for event, handler in self._handlers.items():
            # First: what decides whether to try again can raise.
            connection.client.meta.events.register_first(event, handler)

    @property
    def description(self) -> Any:
        """The columns of the last statement."""
        return self._cursor.description

    def cursor(self) -> Self:
        """Return what statements are executed on."""
        return self

    def hold(self, lock: WriterLock) -> None:
        """Release a lock when the session is closed, and write nothing without it."""
        self._lock = lock

    def execute(self, statement: str, values: Sequence[Any] = ()) -> None:
        """
        Run a statement and wait for its end.

        :param values: for the placeholders, in their order: texts, integers, booleans, moments or None. Without
            any the statement is run as it is.
        :raises WarehouseError: if it is too long.
        :raises LostLockError: if the lock that is held may be somebody else's by now; the statement is not run.
        """
        text = with_values(statement, values, self._mark) if values else statement
        if (size := len(text.encode())) > MAX_STATEMENT:
            raise WarehouseError(f"athena: a statement of {size} bytes is longer than the {MAX_STATEMENT} of Athena")
        self._writes = not text.startswith(_NEEDS_NO_LOCK)
        if self._lock is not None and self._writes and not self._lock.is_held():
            raise LostLockError
        self._running, self._unanswered = None, False
        self._token = uuid.uuid4().hex
        # The plain cursor, whatever the connection says; and never what an earlier query has answered.
        from pyathena.cursor import Cursor

        self._cursor = self.connection.cursor(Cursor)
        try:
            with patience(self.connection.client, self._longest_wait):
                self._cursor.execute(text, result_reuse_enable=False)
        except BaseException as error:
            error.__dict__[_QUERY] = self._running
            # Also when the task is being ended: what still ran would write after the lock was released. Whether a
            # query runs whose request was not answered is not known, nor of one that was being stopped when the task
            # was ended once more.
            may_run, self._may_run = self._may_run, self._may_run or self._writes
            if self._has_ended(error):
                self._may_run = may_run
            if isinstance(error.__cause__, WarehouseError):
                # Of the lock, and the driver has made its own of it.
                raise error.__cause__ from None
            raise

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows of the last statement."""
        with patience(self.connection.client, self._longest_wait):
            return [tuple(row) for row in self._cursor.fetchall()]

    def commit(self) -> None:
        """Do nothing: every statement has committed."""

    def rollback(self) -> None:
        """Do nothing: there is nothing that could be undone."""

    def close(self) -> None:
        """Release the lock; unless a statement may still be running, then it is left to expire."""
        if self._lock is not None:
            self._lock.release(keep=self._may_run)
            self._lock = None
        for event, handler in self._handlers.items():
            self.connection.client.meta.events.unregister(event, handler)

    def stop(self, query: str) -> bool:
        """Stop a query, and tell whether it has ended; one that the service does not know any more has."""
        return stop(self.connection.client, query) is not None

    def end(self, left: LeftBehind) -> bool:
        """
        Stop what the writer before has left behind, and tell whether all of it has ended.

        :raises WarehouseError: if that cannot be found out.
        """
        # Of a request that is sent again, it is what the service knows it by.
        self._token = "" if left.request is None else left.request["ClientRequestToken"]
        return end(self.connection.client, left)

    def _name_request(self, params: dict[str, Any], **_: Any) -> None:
        # By it the service knows a statement that it was sent before, by botocore or by the driver, and runs it once.
        params["ClientRequestToken"] = self._token
        if self._lock is not None and self._writes:
            # First: should the task be killed before it hears the id, who takes the lock over has to learn it.
            self._lock.announce(params, self.connection.client.meta.region_name)
            if not self._lock.is_held():
                raise LostLockError

    def _attempted(self, response: Any, caught_exception: BaseException | None, **_: Any) -> None:
        if caught_exception is not None or response is None or response[0].status_code >= _SERVER_ERROR:
            self._unanswered = True

    def _started(self, parsed: dict[str, Any], **_: Any) -> None:
        self._running = parsed.get("QueryExecutionId")
        if self._lock is not None and self._running is not None and self._writes:
            self._lock.note(self._running)
            if not self._lock.is_held():
                raise LostLockError

    def _has_ended(self, error: BaseException) -> bool:
        """Tell whether the statement that has failed does nothing any more; it is stopped if need be."""
        if self._running is None:
            # Refused, or not sent for want of the lock; but of an earlier attempt that was, a query may run.
            kept_back = isinstance(error.__cause__, (LostLockError, WarehouseError))
            return (kept_back or error_code(error) is not None) and not self._unanswered
        try:
            return self.stop(self._running)
        except Exception as failure:
            log.warning("Could not stop query %s: %s", self._running, type(failure).__name__)
            return False


def connect(hook: Any) -> Any:
    """
    Return a new connection that names its database and its catalog.

    :param hook: Airflow's hook.
    """
    connection = hook.get_conn()
    # Without any, names of tables would mean nothing.
    connection.schema_name = connection.schema_name or "default"
    # The driver's own default is in lower case.
    if (connection.catalog_name or CATALOG).lower() == CATALOG.lower():
        connection.catalog_name = CATALOG
    return connection


def with_values(statement: str, values: Sequence[Any], mark: str) -> str:
    """
    Return a statement with its values in the places of the placeholders.

    :param statement: in which a placeholder is nothing else.
    """
    parts = statement.split(mark)
    if len(parts) != len(values) + 1:
        raise ValueError(f"{len(values)} values for {len(parts) - 1} placeholders")
    return parts[0] + "".join(literal(value) + part for value, part in zip(values, parts[1:], strict=True))


def literal(value: Any) -> str:
    """
    Return a value as it is written in a statement.

    :raises TypeError: for a kind of value that no column has.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, datetime):
        return f"TIMESTAMP '{utc_text(value)}'"
    if isinstance(value, str):
        escaped = value.replace("'", "''")
        return f"'{escaped}'"
    raise TypeError(f"no literal for {type(value).__name__}")


def utc_text(moment: datetime) -> str:
    """Return a moment in UTC with its six digits, as the engine reads and writes it."""
    return moment.astimezone(timezone.utc).replace(tzinfo=None).isoformat(" ", "microseconds")


def error_code(error: BaseException) -> str | None:
    """Return the code with which the service refused a request; the driver hides it in the cause of its error."""
    return _refusal(error).get("Code")


def service_message(error: BaseException) -> str:
    """Return what the service said, which can quote values."""
    return str(_refusal(error).get("Message") or error)


def status_of(error: BaseException) -> int:
    """Return the status of HTTP with which the service refused a request, else 0."""
    return int(_response(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def query_of(error: BaseException) -> str | None:
    """Return the id of the query that has failed, with which who may see it finds it in the query history."""
    query: str | None = error.__dict__.get(_QUERY)
    return query


def _refusal(error: BaseException) -> dict[str, Any]:
    found: dict[str, Any] = _response(error).get("Error", {})
    return found


def _response(error: BaseException) -> dict[str, Any]:
    response = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    return response if isinstance(response, dict) else {}
