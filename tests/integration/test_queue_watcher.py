"""The watcher's trigger on a queue that is told of log files, with a real SQS, SNS and S3 API."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest

from airflow_provider_cloudtrail.triggers import notified, queue
from airflow_provider_cloudtrail.triggers.cloudtrail import CloudTrailNotificationTrigger
from airflow_provider_cloudtrail.triggers.looking import AwsParameters
from tests.support.delivery import REGION
from tests.support.log_files import key_of

try:
    from airflow.triggers.shared_stream import SharedStreamManager
except ImportError:
    SharedStreamManager = None

KEYS = [key_of(f"20260203T10{minute:02}Z") for minute in range(3)]
VIRGINIA = key_of("20260203T1000Z", region="us-east-1")


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
    receive = queue.Queue.receive
    monkeypatch.setattr(notified, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    monkeypatch.setattr(queue.Queue, "receive", lambda self: receptions.append(1) or receive(self))

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
    deletions = queue.deletions
    refused = []

    def refuse_once(url, receipts):
        refused.append(url)
        return deletions(f"{url}-that-is-not-there" if len(refused) == 1 else url, receipts)

    monkeypatch.setattr(queue, "deletions", refuse_once)

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
    receive = queue.Queue.receive
    failures = []

    async def failing(self):
        if len(failures) < 2:
            failures.append(1)
            raise RuntimeError("no")
        return await receive(self)

    monkeypatch.setattr(queue.Queue, "receive", failing)
    sleep = asyncio.sleep
    monkeypatch.setattr(queue.asyncio, "sleep", lambda _: sleep(0))
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
    monkeypatch.setattr(queue.log, "warning", lambda *_, **__: None)
    monkeypatch.setattr(queue.Queue, "receive", failing)
    monkeypatch.setattr(queue.asyncio, "sleep", lambda seconds: slept.append(seconds) or sleep(0))

    async def watch():
        return await anext(queue.Queue("q", AwsParameters(None, None, None, None), 1).messages())

    assert asyncio.run(watch()) is None
    assert slept == [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0] + [300.0] * 1_092


def test_without_aiobotocore_a_clear_message_and_no_traceback(delivery, monkeypatch, caplog):
    monkeypatch.setitem(__import__("sys").modules, "aiobotocore", None)
    slept = []

    async def stop(seconds):
        slept.append(seconds)
        raise asyncio.CancelledError

    monkeypatch.setattr(queue.asyncio, "sleep", stop)

    async def watch():
        async for _ in trigger(delivery).run():
            pass

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(watch())
    (said,) = [line for line in caplog.records if line.name == queue.__name__]
    assert "needs aiobotocore; install airflow-provider-cloudtrail[aiobotocore]" in said.getMessage()
    assert said.exc_info is None
    assert slept == [300.0]


def test_what_is_no_region_is_refused_when_it_is_made():
    with pytest.raises(ValueError, match="'eu-west1' is no Region"):
        CloudTrailNotificationTrigger(queue_url="https://sqs.eu-west-1.amazonaws.com/1/q", regions="eu-west1")
    with pytest.raises(ValueError, match="botocore_config is no dictionary but of type str"):
        CloudTrailNotificationTrigger(queue_url="https://sqs.eu-west-1.amazonaws.com/1/q", botocore_config="{}")


@pytest.mark.parametrize("seconds", [0, 21, None])
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
