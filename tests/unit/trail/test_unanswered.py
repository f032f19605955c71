"""A task that is told to end while S3 does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_cloudtrail.trail.s3_store import S3Store
from tests.support.ending import TaskEndedError, once
from tests.support.engines import installed
from tests.support.s3 import TRANSPORTS, s3_store, silent_server

pytestmark = pytest.mark.skipif(not installed("boto3"), reason="needs boto3")
QUESTIONS: dict[str, Callable[[S3Store], Any]] = {
    "get": lambda store: store.get("AWSLogs/key.json.gz"),
    "list": lambda store: list(store.objects("AWSLogs/")),
    "folders": lambda store: store.folders("AWSLogs/"),
}


@pytest.mark.parametrize("ask", [pytest.param(ask, id=name) for name, ask in QUESTIONS.items()])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_who_ends_the_task_is_heard_at_once(
    transport: str, ask: Callable[[S3Store], Any], end_task: Callable[[], None]
) -> None:
    with silent_server() as (endpoint, asked):
        store = s3_store(endpoint, "example-trail", transport)
        ended: list[float] = []
        once(lambda: asked, lambda: [ended.append(time.monotonic()), end_task()])
        with pytest.raises(TaskEndedError):
            ask(store)
        assert time.monotonic() - ended[0] < 30
