"""The sensor's modes on a queue that is told of log files, with a real SQS, SNS and S3 API."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_cloudtrail.sensors.cloudtrail import CloudTrailLogFileSensor
from airflow_provider_cloudtrail.triggers import questions
from airflow_provider_cloudtrail.triggers.waiting import WaitingTrigger
from tests.support.delivery import REGION, Delivery
from tests.support.log_files import key_of

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:
    from airflow.exceptions import TaskDeferred

KEYS = [key_of(f"20260203T10{minute:02}Z") for minute in range(2)]
VIRGINIA = key_of("20260203T1000Z", region="us-east-1")


class Instance:
    """A task instance, as far as the sensor asks it; knows what the queue held when the XCom was stored."""

    dag_id, task_id, run_id, map_index = "audit", "wait", "run", -1

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.stored: list[tuple[str, Any, int]] = []

    def xcom_push(self, key: str, value: Any) -> None:
        self.stored.append((key, value, self.delivery.left()))


def sensor(delivery, **arguments):
    return CloudTrailLogFileSensor(task_id="wait", queue_url=delivery.queue, timeout=60, **arguments)


def test_sensor_deletes_what_is_stored(delivery):
    instance = Instance(delivery)
    assert not sensor(delivery).poke({"ti": instance})
    delivery.send("CloudTrail validation message.")
    delivery.send("poison")
    told = delivery.deliver(*KEYS[:2])
    found = sensor(delivery).poke({"ti": instance})
    assert found
    assert sorted(found.xcom_value) == sorted(told)
    # At the time of storing, the two messages and the poison were there; then only the poison.
    assert [(key, sorted(value), left) for key, value, left in instance.stored] == [("return_value", sorted(told), 3)]
    assert delivery.left() == 1


def test_deferred_sensor(delivery):
    task = sensor(delivery, deferrable=True, poke_interval=0.01)
    with pytest.raises(TaskDeferred) as raised:
        task.execute({})
    deferral = raised.value
    told = delivery.deliver(KEYS[0])

    async def fired():
        return [event.payload async for event in deferral.trigger.run()]

    (event,) = asyncio.run(fired())
    assert delivery.left() == 1
    context = {"ti": Instance(delivery)}
    assert task.resume_execution(deferral.method_name, {**deferral.kwargs, "event": event}, context) == told
    assert delivery.left() == 0


@pytest.fixture
def backlog(delivery, monkeypatch):
    """Have a queue tell of a wanted file behind more messages about others than a look receives."""
    monkeypatch.setattr(questions, "_MOST_RECEPTIONS", 1)
    body = json.dumps({"s3Bucket": delivery.bucket, "s3ObjectKey": [VIRGINIA]})
    for _ in range(3):
        entries = [{"Id": str(number), "MessageBody": body} for number in range(10)]
        delivery.sqs.send_message_batch(QueueUrl=delivery.queue, Entries=entries)
    return delivery.deliver(KEYS[0])


def test_a_poke_gets_through_a_backlog(delivery, backlog):
    assert sensor(delivery, regions=REGION, poke_interval=600).poke({"ti": Instance(delivery)}).xcom_value == backlog


def test_a_poke_in_a_backlog_ends(delivery, backlog):
    assert not sensor(delivery, regions=REGION, poke_interval=0).poke({"ti": Instance(delivery)})
    assert delivery.left() == 21


def test_a_deferred_sensor_gets_through_a_backlog_without_a_pause(delivery, backlog, monkeypatch):
    task = sensor(delivery, regions=REGION, deferrable=True, poke_interval=600)
    monkeypatch.setattr(WaitingTrigger, "_pause", lambda *_: pytest.fail("it waits for the next look"))
    trigger = task.trigger(datetime.now(timezone.utc) + timedelta(minutes=5))

    async def fired():
        return [event.payload async for event in trigger.run()]

    (event,) = asyncio.run(fired())
    assert (event["status"], event["files"]) == ("done", backlog)


def test_a_queue_that_is_not_there(delivery):
    task = CloudTrailLogFileSensor(task_id="wait", queue_url=f"{delivery.queue}-gone")
    with pytest.raises(Exception, match=r"-gone: .*QueueDoesNotExist|-gone: .*NonExistentQueue"):
        task.poke({"ti": SimpleNamespace()})


def test_what_is_no_region_is_refused_before_a_message_is_received(delivery):
    delivery.deliver(KEYS[0])
    with pytest.raises(ValueError, match="'eu-west1' is no Region"):
        sensor(delivery, regions="eu-west1").poke({"ti": Instance(delivery)})
    assert delivery.left() == 1
