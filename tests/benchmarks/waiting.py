"""What deferred sensors cost the triggerer: a thousand that wait at once, in one process and one event loop."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from tests.benchmarks.contestants import Task

KEY = "AWSLogs/111122223333/CloudTrail/eu-west-1/2099/01/01/*.json.gz"


def project(task: Task) -> Iterator[Any]:
    """Wait with the trigger of this project's sensor."""
    from airflow_provider_cloudtrail.triggers.cloudtrail import CloudTrailLogFilesDeliveredTrigger

    def make(number: int) -> Any:
        return CloudTrailLogFilesDeliveredTrigger(
            bucket="bench",
            account_ids=["111122223333"],
            regions=["eu-west-1"],
            delivered_from="2099-01-01T00:00:00Z",
            delivered_to="2099-01-02T00:00:00Z",
            deadline=(datetime.now(timezone.utc) + timedelta(hours=1)).isoformat(),
            poke_interval=task["poke_interval"],
        )

    yield from _wait(task, make)


def s3_key(task: Task) -> Iterator[Any]:
    """Wait with the trigger of the amazon provider's S3KeySensor."""
    from airflow.providers.amazon.aws.triggers.s3 import S3KeyTrigger

    def make(number: int) -> Any:
        return S3KeyTrigger(
            bucket_name="bench",
            bucket_key=KEY,
            wildcard_match=True,
            aws_conn_id="aws_default",
            poke_interval=task["poke_interval"],
        )

    yield from _wait(task, make)


def _wait(task: Task, make: Callable[[int], Any]) -> Iterator[Any]:
    extra = {"endpoint_url": task["endpoint"], "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "bench", "password": "bench", "extra": extra}
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = json.dumps(connection)
    yield
    asyncio.run(_run([make(number) for number in range(task["sensors"])], task["seconds"]))
    yield {"rows": task["sensors"]}


async def _run(triggers: list[Any], seconds: float) -> None:
    async def first_event(trigger: Any) -> Any:
        async for event in trigger.run():
            raise AssertionError(f"there is nothing to find, but: {event}")

    waiting = [asyncio.create_task(first_event(trigger)) for trigger in triggers]
    done, _ = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    for task in done:
        task.result()
