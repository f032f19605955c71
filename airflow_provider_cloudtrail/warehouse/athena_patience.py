"""
Patience with an Athena that is asked too often.

Account and Region share a quota of calls, so that dashboards of others can have the questions of a task refused for
minutes. A query whose id is known runs all the same, or has been done: to ask again costs nothing, to start it again
is billed again.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from airflow_provider_cloudtrail.warehouse.athena_endings import THROTTLED

log = logging.getLogger(__name__)

LONGEST_PAUSE = 10.0
"""Seconds between two questions."""

_QUESTIONS = ("GetQueryExecution", "GetQueryResults")


@contextmanager
def patience(client: Any, longest: timedelta) -> Iterator[None]:
    """
    Within it, what Athena is asked about a query is asked again while it says that it is asked too often.

    :param client: boto3 client of Athena.
    :param longest: how long in a row; behind that it is as without.
    """
    since: float | None = None

    def pause(response: Any, attempts: int, operation: Any, **_: Any) -> float | None:
        nonlocal since
        if response is None or response[1].get("Error", {}).get("Code") not in THROTTLED:
            since = None
            return None
        now = time.monotonic()
        if since is None:
            since = now
            log.info(
                "Athena is asked too often (%s): asking again for up to %.0f seconds",
                operation.name,
                longest.total_seconds(),
            )
        left = since + longest.total_seconds() - now
        # Of many tasks that are refused at once not all ask again at once.
        seconds = min(left, LONGEST_PAUSE, 2.0 ** min(attempts - 1, 10))
        return seconds * random.uniform(0.5, 1.0) if left > 0 else None  # noqa: S311

    # First: what botocore itself makes of it, which would give up sooner, counts only where this has no answer.
    events = [f"needs-retry.athena.{question}" for question in _QUESTIONS]
    for event in events:
        client.meta.events.register_first(event, pause)
    try:
        yield
    finally:
        for event in events:
            client.meta.events.unregister(event, pause)
