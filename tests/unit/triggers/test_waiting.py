from __future__ import annotations

import asyncio
import gc
import importlib
import inspect
import json
import threading
import weakref
from datetime import datetime, timedelta, timezone

import pytest
from airflow.triggers.base import BaseTrigger

from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.sensors.cloudtrail import CloudTrailDigestSensor, CloudTrailLogFileSensor
from airflow_provider_cloudtrail.triggers import cloudtrail, looking, waiting
from airflow_provider_cloudtrail.triggers.looking import AwsParameters
from tests.support.face import DAY
from tests.support.log_files import event as record
from tests.support.s3 import silent_server

AWS = {
    "aws_conn_id": "audit_role",
    "region_name": "eu-central-1",
    "verify": "/etc/ssl/company.pem",
    "botocore_config": {"read_timeout": 7, "retries": {"max_attempts": 2}},
}


def soon(**duration):
    return datetime.now(timezone.utc) + timedelta(**(duration or {"minutes": 10}))


def events(trigger):
    async def collect():
        return [event.payload async for event in trigger.run()]

    return asyncio.run(collect())


def delivered(trail, **arguments):
    given = {"bucket": trail.bucket, **DAY, "deadline": soon().isoformat(), "poke_interval": 0.01, **arguments}
    return cloudtrail.CloudTrailLogFilesDeliveredTrigger(**given)


SENSORS = [
    pytest.param(lambda **given: CloudTrailLogFileSensor(task_id="wait", **DAY, **given), id="log-files"),
    pytest.param(
        lambda **given: CloudTrailDigestSensor(task_id="wait", until="2026-02-04T00:00:00Z", **given), id="digests"
    ),
]


@pytest.mark.parametrize("sensor", SENSORS)
def test_every_aws_setting_of_a_task_reaches_the_trigger(sensor, monkeypatch):
    trigger = sensor(bucket="trail", **AWS).trigger(soon())
    _, arguments = trigger.serialize()
    assert {name: arguments[name] for name in AWS} == AWS

    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    again = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))
    hook = again.aws.hook()
    assert (hook.aws_conn_id, hook._region_name, hook._verify) == tuple(AWS.values())[:3]
    assert hook._config.read_timeout == 7


@pytest.mark.parametrize("sensor", SENSORS)
def test_every_parameter_of_a_trigger_survives_its_storage(sensor):
    given = {
        "bucket": "trail",
        "prefix": "audit/trail",
        "organization_id": "o-exampleorgid",
        "account_ids": "111122223333,444455556666",
        "regions": ("eu-west-1",),
        "poke_interval": 77,
        "exponential_backoff": True,
    }
    trigger = sensor(**given, **AWS).trigger(soon())
    path, arguments = trigger.serialize()
    again = type(trigger)(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (path, arguments)
    assert (arguments["account_ids"], arguments["regions"]) == (["111122223333", "444455556666"], ["eu-west-1"])
    taken = {
        name
        for klass in type(trigger).__mro__
        if issubclass(klass, BaseTrigger) and klass is not BaseTrigger
        for name, parameter in inspect.signature(klass.__init__).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    assert set(arguments) == taken


REQUIRED = {
    "CloudTrailDeliveryProvenTrigger": {"bucket": "b", "deadline": "2026", "until": "2026", "seen_within": 1.0},
    "CloudTrailLogFilesDeliveredTrigger": {
        "bucket": "b",
        "deadline": "2026",
        "delivered_from": "2026",
        "delivered_to": "2027",
    },
    "CloudTrailLogFileTrigger": {"bucket": "b"},
    "CloudTrailNotificationTrigger": {"queue_url": "https://sqs.eu-west-1.amazonaws.com/1/q"},
    "CloudTrailQueueToldTrigger": {"bucket": None, "deadline": "2026", "queue_url": "q"},
}


@pytest.mark.parametrize("name", cloudtrail.__all__)
def test_every_trigger_keeps_every_aws_setting_under_a_name_that_leads_to_it(name):
    made = getattr(cloudtrail, name)(**REQUIRED[name], **AWS)
    path, arguments = made.serialize()
    assert path == f"{cloudtrail.__name__}.{name}"
    assert {setting: arguments[setting] for setting in AWS} == AWS
    again = getattr(cloudtrail, name)(**json.loads(json.dumps(arguments)))
    assert isinstance(again, BaseTrigger)
    assert again.serialize() == (path, arguments)


class Queue(cloudtrail.CloudTrailNotificationTrigger):
    """As users extend the triggers."""


class Bucket(cloudtrail.CloudTrailLogFileTrigger):
    """As users extend the triggers."""


class Wait(cloudtrail.CloudTrailLogFilesDeliveredTrigger):
    """As users extend the triggers."""


@pytest.mark.parametrize("kind", [Queue, Bucket, Wait])
def test_a_trigger_of_users_is_imported_from_their_module(kind):
    made = kind(**REQUIRED[kind.__base__.__name__])
    path, arguments = made.serialize()
    module, _, name = path.rpartition(".")
    assert getattr(importlib.import_module(module), name) is kind
    assert kind(**arguments).serialize() == (path, arguments)


def test_fires_when_a_file_arrives(trail, monkeypatch):
    looks = []
    ask = waiting.log_files_delivered

    def look(*arguments, **more):
        looks.append(1)
        if len(looks) == 3:
            trail.deliver("20260203T1200Z", record("c"))
        return ask(*arguments, **more)

    monkeypatch.setattr(waiting, "log_files_delivered", look)
    (event,) = events(delivered(trail))
    assert event["status"] == "done"
    assert len(event["files"]) == 1
    assert len(looks) == 3


def test_ends_at_the_deadline(trail):
    (event,) = events(delivered(trail, deadline=soon(seconds=0.05).isoformat()))
    assert event["status"] == "late"
    assert event["files"] == []


def test_does_not_look_before_the_window_has_settled(trail, monkeypatch):
    looks = []
    ask = waiting.log_files_delivered
    monkeypatch.setattr(waiting, "log_files_delivered", lambda *a, **k: looks.append(1) or ask(*a, **k))
    window = {"delivered_from": soon(hours=-1).isoformat(), "delivered_to": soon(hours=1).isoformat()}
    (event,) = events(delivered(trail, **window, settle=60.0, deadline=soon(seconds=0.2).isoformat()))
    assert event["status"] == "late"
    assert len(looks) == 1


def test_what_it_cannot_find_out_it_leaves_to_the_worker(trail):
    (event,) = events(delivered(trail, bucket="file:///there/is/none", regions=[]))
    assert event["status"] == "failed"
    assert event["said"].startswith("ValueError: regions is empty")
    assert event["looked"] is False


def test_says_that_it_has_looked_before_it_failed(trail, monkeypatch):
    looks = []
    ask = waiting.log_files_delivered

    def look(*arguments, **more):
        looks.append(1)
        if len(looks) == 3:
            raise ConnectionError("one hiccup")
        return ask(*arguments, **more)

    monkeypatch.setattr(waiting, "log_files_delivered", look)
    (event,) = events(delivered(trail))
    assert (event["status"], event["said"], event["looked"]) == ("failed", "ConnectionError: one hiccup", True)


@pytest.mark.parametrize(
    ("first_look", "hours"),
    [
        pytest.param({"hours": 1}, 1, id="before-the-deadline"),
        pytest.param({"hours": 180}, 60, id="not-after-it"),
    ],
)
def test_does_not_look_before_the_first_look(trail, first_look, hours, monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(round(seconds / 3_600))
        trail.deliver("20260203T1200Z", record("c"))

    monkeypatch.setattr(waiting.asyncio, "sleep", sleep)
    deadline, first_look = soon(hours=60).isoformat(), soon(**first_look).isoformat()
    (event,) = events(delivered(trail, deadline=deadline, first_look=first_look))
    assert (event["status"], slept) == ("done", [hours])


def test_a_trigger_that_was_stored_before_an_upgrade(trail):
    _, arguments = delivered(trail).serialize()
    del arguments["first_look"]
    trail.deliver("20260203T1200Z", record("c"))
    (event,) = events(cloudtrail.CloudTrailLogFilesDeliveredTrigger(**arguments))
    assert event["status"] == "done"


@pytest.mark.parametrize(
    ("arguments", "pauses"),
    [
        pytest.param({}, [60, 60, 60], id="even"),
        pytest.param({"exponential_backoff": True}, [60, 120, 240], id="doubled"),
        pytest.param({"exponential_backoff": True, "max_wait": 100.0}, [60, 100, 100], id="up-to"),
    ],
)
def test_pauses(trail, arguments, pauses, monkeypatch):
    monkeypatch.setattr(waiting.random, "uniform", lambda low, high: (low + high) / 2)
    trigger = delivered(trail, poke_interval=60.0, **arguments)
    assert [round(trigger._pause(looks)) for looks in range(3)] == pauses


def test_triggers_with_the_same_settings_share_a_hook():
    one, same, other = (AwsParameters(conn, None, None, None) for conn in ("a", "a", "b"))
    hook = one.hook()
    assert same.hook() is hook
    assert other.hook() is not hook
    one.forget(hook)
    assert same.hook() is not hook
    assert isinstance(hook, CloudTrailHook)


def test_they_still_share_it_when_botocore_has_read_the_settings(monkeypatch):
    """botocore writes a ``mode`` into the retries that it is given."""
    connection = {"conn_type": "aws", "login": "a", "password": "b", "extra": {"endpoint_url": "http://127.0.0.1:9"}}
    monkeypatch.setenv("AIRFLOW_CONN_AUDIT_ROLE", json.dumps(connection))
    given = {"retries": {"max_attempts": 2}}
    parameters = AwsParameters("audit_role", "eu-central-1", None, given)
    hook, key = parameters.hook(), parameters.key
    hook.get_store("example-trail")
    assert (parameters.hook(), parameters.key) == (hook, key)
    assert given == {"retries": {"max_attempts": 2}}


def test_a_place_that_does_not_answer_keeps_no_other_waiting(trail, monkeypatch):
    """Sensors on a bucket behind a closed network: each of their looks takes minutes."""
    trail.deliver("20260203T1200Z", record("c"))
    with silent_server() as (endpoint, asked):
        connection = {"conn_type": "aws", "login": "a", "password": "b", "extra": {"endpoint_url": endpoint}}
        monkeypatch.setenv("AIRFLOW_CONN_AUDIT_ROLE", json.dumps(connection))
        patience = {"read_timeout": 300, "retries": {"total_max_attempts": 1}}

        async def watch():
            silent = [
                asyncio.ensure_future(anext(delivered(trail, bucket="silent", **AWS | given).run()))
                for given in [{"verify": None, "botocore_config": patience, "region_name": "eu-central-1"}] * 40
            ]
            async with asyncio.timeout(60):
                while not asked:
                    await asyncio.sleep(0.01)
            # All that are to be had have been taken, and nothing has come back.
            for _ in range(5):
                await asyncio.sleep(0.05)
            async with asyncio.timeout(60):
                (event,) = [event.payload async for event in delivered(trail).run()]
            assert not any(task.done() for task in silent)
            for task in silent:
                task.cancel()
            await asyncio.gather(*silent, return_exceptions=True)
            return event

        assert asyncio.run(watch())["status"] == "done"
        assert 0 < len(asked) <= 8


def test_threads_end_with_the_triggers_of_their_place(trail):
    trail.deliver("20260203T1200Z", record("c"))
    trigger, ended = delivered(trail), threading.Event()
    threads = looking.threads_of(trigger.place)
    weakref.finalize(threads, ended.set)
    (event,) = events(trigger)
    assert event["status"] == "done"
    assert looking.threads_of(trigger.place) is threads
    del threads
    gc.collect()
    # The thread that has looked may hold them a moment longer.
    assert ended.wait(60)
    assert trigger.place not in looking._threads


def test_all_that_ask_one_place_share_its_threads():
    of = {"deadline": "2026", "delivered_from": "2026", "delivered_to": "2027"}
    one, same, other, elsewhere = (
        cloudtrail.CloudTrailLogFilesDeliveredTrigger(bucket=bucket, aws_conn_id=conn, account_ids=accounts, **of)
        for bucket, conn, accounts in (("b", "a", ["1"]), ("b", "a", ["2"]), ("c", "a", None), ("b", "z", None))
    )
    threads = looking.threads_of(one.place)
    assert looking.threads_of(same.place) is threads
    assert looking.threads_of(other.place) is not threads
    assert looking.threads_of(elsewhere.place) is not threads
    queue = cloudtrail.CloudTrailQueueToldTrigger(bucket="b", aws_conn_id="a", deadline="2026", queue_url="q")
    assert looking.threads_of(queue.place) is not threads
