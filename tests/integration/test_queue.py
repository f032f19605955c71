"""A queue that is told of log files, with a real SQS, SNS and S3 API: the watcher's trigger, and the sensor's modes."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_cloudtrail import waiting
from airflow_provider_cloudtrail.sensors.cloudtrail import CloudTrailLogFileSensor
from airflow_provider_cloudtrail.triggers import notified
from airflow_provider_cloudtrail.triggers.cloudtrail import CloudTrailNotificationTrigger
from airflow_provider_cloudtrail.triggers.looking import AwsParameters
from airflow_provider_cloudtrail.triggers.waiting import WaitingTrigger
from tests.support.delivery import REGION, Delivery
from tests.support.log_files import key_of

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:
    from airflow.exceptions import TaskDeferred
try:
    from airflow.triggers.shared_stream import SharedStreamManager
except ImportError:
    SharedStreamManager = None

KEYS = [key_of(f"20260203T10{minute:02}Z") for minute in range(3)]
VIRGINIA = key_of("20260203T1000Z", region="us-east-1")


@pytest.fixture
def new_delivery(s3_server, monkeypatch):
    connection = {
        "conn_type": "aws",
        "login": "example",
        "password": "example",
        "extra": {"endpoint_url": s3_server.endpoint, "region_name": REGION},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))

    def make(**settings):
        made = Delivery(s3_server.endpoint, **settings)
        # Of the set-up itself: S3 tests whether it may publish.
        for message in made.sqs.receive_message(QueueUrl=made.queue, MaxNumberOfMessages=10).get("Messages", ()):
            made.sqs.delete_message(QueueUrl=made.queue, ReceiptHandle=message["ReceiptHandle"])
        return made

    return make


@pytest.fixture
def delivery(new_delivery):
    return new_delivery()


def trigger(delivery, **arguments):
    return CloudTrailNotificationTrigger(**{
        "queue_url": delivery.queue,
        "region_name": REGION,
        "wait_seconds": 1,
        **arguments,
    })


async def until(condition, limit=60.0):
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.05)


async def take(events, count, limit=60.0):
    async with asyncio.timeout(limit):
        return [(await anext(events)).payload["files"] for _ in range(count)]


def test_a_message_is_deleted_some_time_after_its_event(delivery, monkeypatch):
    seconds, receptions = [100.0], []
    receive = notified.Queue.receive
    monkeypatch.setattr(notified, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    monkeypatch.setattr(notified.Queue, "receive", lambda queue: receptions.append(1) or receive(queue))

    async def watch():
        events = trigger(delivery).run()
        told = delivery.deliver(*KEYS)
        found = await take(events, 3)
        assert sorted(uri for files in found for uri in files) == sorted(told)
        waiting = asyncio.ensure_future(anext(events))
        await until(lambda: len(receptions) >= 2)
        seconds[0] += 9.9
        await until(lambda: len(receptions) >= 4)
        assert delivery.left() == 3
        seconds[0] += 0.2
        await until(lambda: delivery.left() == 0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(watch())


@pytest.mark.skipif(SharedStreamManager is None, reason="needs Airflow 3.3")
def test_a_message_is_deleted_when_its_event_is_persisted(delivery):
    """Airflow's own manager of shared streams; that the events are stored is said by the test."""

    async def watch():
        manager = SharedStreamManager()
        watcher = trigger(delivery)
        key = watcher.shared_stream_key()
        stream = watcher.filter_shared_stream(manager.subscribe(trigger_id=1, trigger=watcher, key=key))
        told = delivery.deliver(*KEYS)
        files, numbers = [], []
        for _ in KEYS:
            files += (await take(stream, 1))[0]
            numbers.append(manager.bind_pending_event(trigger_id=1, key=key))
        waiting = asyncio.ensure_future(anext(stream))
        assert sorted(files) == sorted(told)
        await asyncio.sleep(0.5)
        assert delivery.left() == 3
        manager.confirm_persisted(numbers)
        await until(lambda: delivery.left() == 0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await manager.stop_all()

    asyncio.run(watch())


@pytest.mark.skipif(SharedStreamManager is None, reason="needs Airflow 3.3")
def test_an_event_that_is_never_persisted_comes_again(new_delivery):
    """A triggerer that is killed before the event is stored: another one receives the message."""
    delivery = new_delivery(hidden_seconds=1)

    async def watch(confirm):
        manager = SharedStreamManager()
        watcher = trigger(delivery)
        key = watcher.shared_stream_key()
        stream = watcher.filter_shared_stream(manager.subscribe(trigger_id=1, trigger=watcher, key=key))
        found = await take(stream, 1)
        if confirm:
            manager.confirm_persisted([manager.bind_pending_event(trigger_id=1, key=key)])
        await manager.stop_all()
        return found

    told = delivery.deliver(KEYS[0])
    assert asyncio.run(watch(confirm=False)) == [told]
    assert delivery.left() == 1
    assert asyncio.run(watch(confirm=True)) == [told]


@pytest.mark.skipif(SharedStreamManager is None, reason="needs Airflow 3.3")
def test_a_message_that_cannot_be_deleted_ends_no_watcher(new_delivery, monkeypatch, caplog):
    """Airflow ends all watchers of a queue if its producer raises."""
    delivery = new_delivery(hidden_seconds=1)
    deletions = notified.deletions
    refused = []

    def refuse_once(url, receipts):
        refused.append(url)
        return deletions(f"{url}-that-is-not-there" if len(refused) == 1 else url, receipts)

    monkeypatch.setattr(notified, "deletions", refuse_once)

    async def watch():
        manager = SharedStreamManager()
        watcher = trigger(delivery)
        key = watcher.shared_stream_key()
        stream = watcher.filter_shared_stream(manager.subscribe(trigger_id=1, trigger=watcher, key=key))
        (first,) = delivery.deliver(KEYS[0])
        assert await take(stream, 1) == [[first]]
        manager.confirm_persisted([manager.bind_pending_event(trigger_id=1, key=key)])
        waiting = asyncio.ensure_future(anext(stream))
        await until(lambda: "come again" in caplog.text)
        (second,) = delivery.deliver(KEYS[1])
        while second not in (event := await waiting).payload["files"]:
            manager.confirm_persisted([manager.bind_pending_event(trigger_id=1, key=key)])
            waiting = asyncio.ensure_future(anext(stream))
        assert event.payload["files"] == [second]
        await manager.stop_all()

    asyncio.run(asyncio.wait_for(watch(), 180))
    assert len(refused) >= 1


MODES = ["run", *(["shared"] if SharedStreamManager is not None else [])]


async def watch_until(delivery, mode, condition):
    watcher, manager = trigger(delivery), None
    if mode == "shared":
        manager = SharedStreamManager()
        key = watcher.shared_stream_key()
        events = watcher.filter_shared_stream(manager.subscribe(trigger_id=1, trigger=watcher, key=key))
    else:
        events = watcher.run()
    waiting = asyncio.ensure_future(anext(events))
    await until(condition)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    if manager is not None:
        await manager.stop_all()


@pytest.mark.parametrize("mode", MODES)
def test_useless_messages_are_deleted(delivery, mode):
    delivery.send("CloudTrail validation message.")
    delivery.send("no JSON at all")
    delivery.send({"s3Bucket": "trail", "s3ObjectKey": ["AWSLogs/x/CloudTrail-Digest/y"]})
    asyncio.run(watch_until(delivery, mode, lambda: delivery.left() == 1))
    assert delivery.left(delivery.dead) == 0


@pytest.mark.parametrize("mode", MODES)
def test_poison_is_left_for_the_dead_letter_queue(new_delivery, mode, caplog):
    delivery = new_delivery(hidden_seconds=1, receptions=2)
    delivery.send("no JSON at all")
    asyncio.run(watch_until(delivery, mode, lambda: delivery.left(delivery.dead) == 1))
    assert delivery.left() == 0
    assert "left for the dead-letter queue: the body is not JSON" in caplog.text


def test_only_wanted_accounts_and_regions(delivery):
    async def watch():
        events = trigger(delivery, regions=["us-east-1"]).run()
        delivery.deliver(KEYS[0])
        (told,) = delivery.deliver(VIRGINIA)
        assert await take(events, 1) == [[told]]

    asyncio.run(watch())


def test_a_queue_that_fails_is_waited_out(delivery, monkeypatch, caplog):
    receive = notified.Queue.receive
    failures = []

    async def failing(self):
        if len(failures) < 2:
            failures.append(1)
            raise RuntimeError("no")
        return await receive(self)

    monkeypatch.setattr(notified.Queue, "receive", failing)
    sleep = asyncio.sleep
    monkeypatch.setattr(notified.asyncio, "sleep", lambda _: sleep(0))
    told = delivery.deliver(KEYS[0])

    async def watch():
        return await take(trigger(delivery).run(), 1)

    assert asyncio.run(watch()) == [told]
    assert "trying again in 4 s" in caplog.text


def test_a_queue_that_fails_for_days_is_waited_for_on(monkeypatch):
    """Every five minutes, for four days."""
    failures, slept = [], []

    async def failing(_):
        failures.append(1)
        if len(failures) <= 1_100:
            raise RuntimeError("no")
        return []

    sleep = asyncio.sleep
    monkeypatch.setattr(notified.log, "warning", lambda *_, **__: None)
    monkeypatch.setattr(notified.Queue, "receive", failing)
    monkeypatch.setattr(notified.asyncio, "sleep", lambda seconds: slept.append(seconds) or sleep(0))

    async def watch():
        return await anext(notified.Queue("q", AwsParameters(None, None, None, None), 1).messages())

    assert asyncio.run(watch()) is None
    assert slept == [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0] + [300.0] * 1_092


def test_without_aiobotocore_a_clear_message_and_no_traceback(delivery, monkeypatch, caplog):
    monkeypatch.setitem(__import__("sys").modules, "aiobotocore", None)
    slept = []

    async def stop(seconds):
        slept.append(seconds)
        raise asyncio.CancelledError

    monkeypatch.setattr(notified.asyncio, "sleep", stop)

    async def watch():
        async for _ in trigger(delivery).run():
            pass

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(watch())
    (said,) = [line for line in caplog.records if line.name == notified.__name__]
    assert "needs aiobotocore; install airflow-provider-cloudtrail[aiobotocore]" in said.getMessage()
    assert said.exc_info is None
    assert slept == [300.0]


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
    monkeypatch.setattr(waiting, "_MOST_RECEPTIONS", 1)
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
    with pytest.raises(ValueError, match="'eu-west1' is no Region"):
        CloudTrailNotificationTrigger(queue_url=delivery.queue, regions="eu-west1")
    assert delivery.left() == 1


@pytest.mark.parametrize("seconds", [0, 21])
def test_wait_seconds(seconds):
    with pytest.raises(ValueError, match=f"wait_seconds={seconds}"):
        CloudTrailNotificationTrigger(queue_url="https://sqs.eu-west-1.amazonaws.com/1/q", wait_seconds=seconds)


def test_what_is_stored_makes_the_same_trigger_again():
    made = CloudTrailNotificationTrigger(
        queue_url="https://sqs.eu-west-1.amazonaws.com/1/q",
        account_ids="111122223333",
        regions=["eu-west-1"],
        wait_seconds=5,
        aws_conn_id="role",
        region_name="eu-central-1",
        verify=False,
        botocore_config={"read_timeout": 30},
    )
    path, arguments = made.serialize()
    assert path == "airflow_provider_cloudtrail.triggers.cloudtrail.CloudTrailNotificationTrigger"
    assert CloudTrailNotificationTrigger(**json.loads(json.dumps(arguments))).serialize() == (path, arguments)
