"""
How statements of Athena come to their end: those of a task that fails, and those that a killed one has left behind.

Of the latter the lock tells: the ids of its queries or, while Athena has not answered yet, the request that it sent.
Athena starts a request once, however often it is sent with the same token, and answers with the same id
(https://docs.aws.amazon.com/athena/latest/APIReference/API_StartQueryExecution.html): so it is sent again, and what
it has started is stopped. A request that had never arrived is started by that, and stopped as well. Whether a
statement was stopped or had been done, every run can go on from there.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any, NamedTuple

from airflow_provider_cloudtrail.warehouse.base import WarehouseError

log = logging.getLogger(__name__)

THROTTLED = frozenset({"TooManyRequestsException", "ThrottlingException"})
LONGEST_STATEMENT = timedelta(days=1)
"""
What was sent so long ago has ended.

DML runs for four hours at most, if that quota was raised, and DDL for ten
(https://docs.aws.amazon.com/athena/latest/ug/service-limits.html). How long Athena knows a token is not documented.
"""

_ENDED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})
_UNKNOWN = "UNKNOWN"
_SECONDS_TO_STOP = 60.0


class LeftBehind(NamedTuple):
    """
    What stands in a lock that has expired.

    :param lock: its URI.
    :param queries: ids of the last statements of its writer.
    :param request: what it was sending when it last renewed the lock; None: nothing, or it was written by a version
        that did not say so.
    :param region: Region that this was sent to.
    :param seconds: how long ago it was renewed.
    """

    lock: str
    queries: list[str]
    request: dict[str, Any] | None
    region: str | None
    seconds: float


def stop(client: Any, query: str) -> str | None:
    """
    Stop a query, wait for its end, and return the state that it ended in; None if it has not.

    :param client: boto3 client of Athena.
    :param query: its id; one that the service does not know any more has ended.
    """
    from botocore.exceptions import ClientError

    deadline = time.monotonic() + _SECONDS_TO_STOP
    try:
        with suppress(ClientError):
            # Who is not allowed to waits for its end.
            client.stop_query_execution(QueryExecutionId=query)
        while time.monotonic() < deadline:
            answer = client.get_query_execution(QueryExecutionId=query)
            state: str = answer["QueryExecution"]["Status"]["State"]
            if state in _ENDED:
                return state
            time.sleep(0.2)
    except ClientError as error:
        return _UNKNOWN if _code(error) == "InvalidRequestException" else None
    return None


def end(client: Any, left: LeftBehind) -> bool:
    """
    Stop what a writer has left behind, and tell whether all of it has ended.

    :param client: boto3 client of Athena.
    :raises WarehouseError: if that cannot be found out.
    """
    queries = list(left.queries)
    # In another Region it writes other tables.
    if (
        left.request is not None
        and left.region == client.meta.region_name
        and left.seconds < LONGEST_STATEMENT.total_seconds()
    ):
        query = _learn(client, left, left.request)
        if query is None:
            return False
        queries.append(query)
    for query in queries:
        state = stop(client, query)
        if state is None:
            log.warning("Query %s of the writer that left %s still runs, though it was stopped", query, left.lock)
            return False
        log.info("Query %s of the writer that left %s has ended: %s", query, left.lock, state)
    return True


def _learn(client: Any, left: LeftBehind, request: dict[str, Any]) -> str | None:
    """Return the id of a query whose request was sent and whose answer was not heard; None: Athena is busy."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        query: str = client.start_query_execution(**request)["QueryExecutionId"]
    except ClientError as error:
        if _code(error) in THROTTLED:
            return None
        raise _unknown(left, request, _code(error)) from None
    except BotoCoreError as error:
        raise _unknown(left, request, type(error).__name__) from None
    log.warning("The writer that left %s had sent a statement and not heard of it: it is query %s", left.lock, query)
    return query


def _unknown(left: LeftBehind, request: dict[str, Any], reason: str) -> WarehouseError:
    group = request.get("WorkGroup", "primary")
    return WarehouseError(
        f"athena: cannot take over {left.lock}: its writer was killed while it sent a statement, which may still run, "
        f"and athena:StartQueryExecution does not tell its id ({reason}). What is written meanwhile could be in the "
        "tables twice, so nothing is. Run this again. If it comes again, look at the recent queries of work group "
        f"{group} in Region {left.region}; when none of them writes these tables any more, delete that object. It is "
        f"taken over without asking {LONGEST_STATEMENT.total_seconds() / 3600:.0f} hours after it was written"
    )


def _code(error: Any) -> str:
    return str(error.response["Error"]["Code"])
