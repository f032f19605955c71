from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail._compat import AirflowSensorTimeout
from airflow_provider_cloudtrail.sensors.cloudtrail import CloudTrailLogFileSensor
from airflow_provider_cloudtrail.trail.local_store import LocalStore
from airflow_provider_cloudtrail.triggers.questions import Answer
from tests.support.face import DAY
from tests.support.log_files import ACCOUNT, key_of
from tests.support.log_files import event as record
from tests.support.told_queue import ToldQueue, told

QUEUE = "https://sqs.eu-west-1.amazonaws.com/1/q"


def sensor(trail, **arguments):
    return CloudTrailLogFileSensor(task_id="wait", **{"bucket": trail.bucket, **DAY, **arguments})


def test_waits_for_a_file_in_the_window(trail):
    trail.deliver("20260202T2359Z", record("a"))
    trail.deliver("20260204T0000Z", record("b"))
    assert not sensor(trail).poke({})

    uri = trail.deliver("20260203T1200Z", record("c")).uri
    found = sensor(trail).poke({})
    assert found
    assert found.xcom_value == [uri]


def test_a_trail_without_any_delivery_is_waited_for(trail):
    assert not sensor(trail).poke({})


def test_returns_at_most_max_files_and_lists_no_further(trail, monkeypatch):
    for minute in range(30):
        trail.deliver(f"20260203T10{minute:02}Z", record("a"))
    taken = []
    objects = LocalStore.objects

    def counted(self, *arguments, **named):
        for found in objects(self, *arguments, **named):
            taken.append(found)
            yield found

    monkeypatch.setattr(LocalStore, "objects", counted)
    assert len(sensor(trail, max_files=3).poke({}).xcom_value) == 3
    assert len(taken) == 3


def test_settle_waits_for_the_end_of_the_window_without_a_request(trail, monkeypatch):
    now = datetime.now(timezone.utc)
    trail.deliver(f"{now - timedelta(minutes=30):%Y%m%dT%H%MZ}", record("a"))
    window = {"delivered_from": now - timedelta(hours=1), "delivered_to": now + timedelta(minutes=1)}
    assert sensor(trail, **window).poke({})

    def refused(*_, **__):
        raise AssertionError("no request is needed")

    monkeypatch.setattr(LocalStore, "folders", refused)
    assert not sensor(trail, **window, settle=timedelta(hours=1)).poke({})


def test_settle_is_over(trail):
    trail.deliver("20260203T1200Z", record("c"))
    assert sensor(trail, settle=timedelta(hours=1)).poke({})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"bucket": None}, "neither bucket nor trail_name", id="no-bucket"),
        pytest.param({"delivered_from": "None"}, "delivered_from is not set.*00Z$", id="no-interval"),
        pytest.param({"delivered_to": "2026-02-03T00:00:00Z"}, "both 2026-02-03", id="no-length"),
        pytest.param({"regions": "[1"}, "regions=", id="no-list"),
        pytest.param({"regions": "eu-west1"}, "'eu-west1' is no Region", id="no-region"),
        pytest.param({"account_ids": "1111"}, "'1111' is no account", id="no-account"),
        pytest.param({"organization_id": "r-ab12"}, "'r-ab12' is no organization", id="no-organization"),
        pytest.param({"queue_url": "arn:aws:sqs:eu-west-1:1:q"}, "is no URL of a queue", id="no-queue"),
        pytest.param({"settle": 3600}, "settle=3600 is no duration; write a timedelta", id="settle-is-number"),
        pytest.param({"settle": timedelta(hours=-1)}, "zero or more", id="negative-settle"),
        pytest.param({"settle": timedelta.max}, "settle=.* is longer than 100 years", id="settle-for-ever"),
    ],
)
def test_wrong_parameters(trail, arguments, message):
    with pytest.raises(ValueError, match=message):
        sensor(trail, **arguments).poke({})


@pytest.mark.parametrize("max_files", [pytest.param(0, id="none"), pytest.param(-1, id="negative")])
def test_max_files_below_one_is_refused_before_anything_is_waited_for(trail, max_files):
    with pytest.raises(ValueError, match=f"max_files={max_files} finds nothing; write 1 or more"):
        sensor(trail, max_files=max_files)


@pytest.mark.parametrize("max_files", [None, "5", 2.5, True])
def test_max_files_that_is_no_whole_number_is_named(trail, max_files):
    with pytest.raises(ValueError, match=r"max_files=\S+ is no whole number; write one"):
        sensor(trail, max_files=max_files)


def test_deferrable_in_quotes_is_refused(trail):
    """Any text would be on, also 'False'."""
    with pytest.raises(ValueError, match="deferrable='False' is neither True nor False"):
        sensor(trail, deferrable="False")


def test_the_trigger_says_what_is_no_duration_too(trail):
    with pytest.raises(ValueError, match="settle=3600 is no duration"):
        sensor(trail, settle=3600).trigger(datetime.now(timezone.utc))


def test_regions_and_accounts_narrow_the_listing(trail):
    trail.deliver("20260203T1200Z", record("c"))
    assert not sensor(trail, regions=["us-east-1"]).poke({})
    assert not sensor(trail, account_ids="444455556666").poke({})
    assert sensor(trail, account_ids="444455556666, 111122223333", regions="eu-west-1").poke({})


def said_by(task, call, caplog, capsys):
    """Return what a call logs: to the standard output on Airflow 3, to a logger on Airflow 2."""
    if isinstance(task.log, logging.Logger):
        task.log.propagate = True
    caplog.clear()
    capsys.readouterr()
    call()
    return caplog.text + capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        pytest.param({"regions": ["eu-west-1", "eu-wset-1"]}, "eu-wset-1", id="Region"),
        pytest.param({"account_ids": ["999900001111", ACCOUNT]}, "999900001111", id="account"),
        pytest.param({"account_ids": ACCOUNT, "regions": "eu-wset-1"}, "eu-wset-1", id="the only Region"),
        pytest.param({"regions": "eu-west-1", "settle": timedelta(days=20_000)}, None, id="quiet"),
        pytest.param({"regions": "eu-wset-1", "settle": timedelta(days=20_000)}, "eu-wset-1", id="before its time"),
        pytest.param({}, None, id="not named"),
    ],
)
def test_names_that_have_no_folder_are_told_at_the_first_poke(trail, caplog, capsys, arguments, missing):
    trail.deliver("20260103T1200Z", record("a"))
    task = sensor(trail, **arguments)
    first, second = (said_by(task, lambda: task.poke({}), caplog, capsys) for _ in range(2))
    assert ("nothing was ever delivered of" in first) is bool(missing)
    assert not missing or f"nothing was ever delivered of {missing}: there is no such folder below AWSLogs/" in first
    assert "nothing was ever delivered of" not in second
    for context, said in (
        ({"task_reschedule_count": 0}, bool(missing)),
        ({"task_reschedule_count": 1}, False),
        ({}, False),  # Airflow 2
    ):
        again = sensor(trail, **arguments, mode="reschedule")
        rescheduled = said_by(again, lambda: again.poke(context), caplog, capsys)  # noqa: B023
        assert ("nothing was ever delivered of" in rescheduled) is said


def test_a_bucket_that_cannot_be_asked_for_names_is_waited_for(trail, monkeypatch):
    task = sensor(trail, regions="eu-west-1")
    monkeypatch.setattr(task.hook, "get_store", lambda _: 1 / 0)
    monkeypatch.setattr(task, "look", lambda: Answer(False, [], "0 log files"))
    assert not task.poke({})


def test_the_timeout_says_what_the_last_look_has_found(trail):
    trail.deliver("20260103T1200Z", record("a"))
    message = "timeout of 0.* The last look: 0 log files delivered from 2026-02-03.* Perhaps.* delivered of eu-wset-1"
    with pytest.raises(AirflowSensorTimeout, match=message):
        sensor(trail, regions="eu-wset-1", timeout=0).execute({})


def test_template_fields_are_attributes():
    task = CloudTrailLogFileSensor(task_id="wait")
    assert all(hasattr(task, name) for name in task.template_fields)


class Instance:
    """A task instance, as far as the sensor asks it."""

    def __init__(self) -> None:
        self.stored = {}

    def xcom_push(self, key, value):
        self.stored[key] = value


@pytest.mark.parametrize(
    "attempt",
    [
        pytest.param(lambda task, context: task.poke(context).xcom_value, id="poke"),
        pytest.param(
            lambda task, context: task.execute_complete(context, {**task.look()._asdict(), "status": "done"}),
            id="deferred",
        ),
    ],
)
def test_messages_that_cannot_be_deleted_do_not_fail_what_is_found(attempt, monkeypatch, caplog, capsys):
    keys = [key_of(f"20260203T10{minute:02}Z") for minute in range(25)]
    queue = ToldQueue(told(*keys), refuses={2})
    monkeypatch.setattr(CloudTrailLogFileSensor, "hook", queue)
    uris = [f"s3://trail/{key}" for key in keys]
    instance = Instance()

    assert attempt(CloudTrailLogFileSensor(task_id="wait", queue_url=QUEUE), {"ti": instance}) == uris
    assert instance.stored == {"return_value": uris}
    assert "Of 25 messages some were not deleted and come again" in caplog.text + capsys.readouterr().out
    assert len(queue.left) == 15

    queue.all_come_again()
    assert attempt(CloudTrailLogFileSensor(task_id="wait", queue_url=QUEUE), {"ti": Instance()}) == uris[10:]
    assert queue.left == {}
