"""The deferrable mode of the sensors does what the other modes do."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from airflow.exceptions import AirflowException

from airflow_provider_cloudtrail import _compat
from airflow_provider_cloudtrail._compat import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    triggerer_imports,
)
from airflow_provider_cloudtrail.exceptions import CloudTrailBucketError, CloudTrailTriggerError
from airflow_provider_cloudtrail.sensors import trail_sensor
from airflow_provider_cloudtrail.sensors.cloudtrail import CloudTrailDigestSensor, CloudTrailLogFileSensor
from tests.support.face import DAY
from tests.support.log_files import event as record

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:
    from airflow.exceptions import TaskDeferred

ON_AIRFLOW_2 = __import__("airflow").__version__.startswith("2.")


def sensor(trail, **arguments):
    given = {"bucket": trail.bucket, **DAY, "deferrable": True, "timeout": 3600, **arguments}
    return CloudTrailLogFileSensor(task_id="wait", **given)


def deferred(call):
    with pytest.raises(TaskDeferred) as raised:
        call()
    return raised.value


def resume(task, deferral, event):
    """Do what a worker does with the event of a trigger."""
    return task.resume_execution(deferral.method_name, {**deferral.kwargs, "event": event}, {})


def test_looks_before_it_defers(trail):
    uri = trail.deliver("20260203T1200Z", record("c")).uri
    assert sensor(trail).execute({}) == [uri]


def test_waits_in_the_triggerer(trail):
    task = sensor(trail)
    deferral = deferred(lambda: task.execute({}))
    left = datetime.fromisoformat(deferral.kwargs["deadline"]) - datetime.now(timezone.utc)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    assert left < deferral.timeout < left + timedelta(minutes=2)

    uri = trail.deliver("20260203T1200Z", record("c")).uri

    async def fired():
        return [event.payload async for event in deferral.trigger.run()]

    (event,) = asyncio.run(fired())
    assert resume(task, deferral, event) == [uri]


def test_the_trigger_is_told_what_the_templates_mean(trail):
    task = sensor(trail, region_name="None", verify="False")
    told = deferred(lambda: task.execute({})).trigger.serialize()[1]
    assert (told.get("region_name"), told["verify"]) == (None, False)


def test_the_timeout_ends_it_where_airflow_passes_on_the_event_alone(trail):
    """As `airflow dags test` does; it went on for ever."""
    task = sensor(trail)
    deferral = deferred(lambda: task.execute({}))
    late = {"status": "late", "files": [], "said": "0 log files"}
    with pytest.raises(AirflowSensorTimeout):
        task.resume_execution(deferral.method_name, {"event": late}, {})
    with pytest.raises(AirflowSkipException):
        sensor(trail, soft_fail=True).resume_execution(deferral.method_name, {"event": late}, {})
    uri = trail.deliver("20260203T1200Z", record("c")).uri
    assert task.resume_execution(deferral.method_name, {"event": late}, {}) == [uri]


def test_goes_on_with_the_event_of_a_trigger_of_an_earlier_version(trail):
    """The environment was upgraded between the trigger's event and the worker that goes on."""
    task = sensor(trail)
    deferral = deferred(lambda: task.execute({}))
    assert resume(task, deferral, {"status": "done", "files": ["s3://a"], "said": "there"}) == ["s3://a"]


def test_a_late_trigger_is_a_last_look_and_then_a_timeout(trail):
    task = sensor(trail, timeout=0)
    with pytest.raises(AirflowSensorTimeout, match="0 seconds"):
        task.execute({})
    past = (datetime.now(timezone.utc) - timedelta(seconds=1)).isoformat()
    late = {"status": "late", "files": [], "said": ""}
    with pytest.raises(AirflowSensorTimeout):
        task.execute_complete({}, event=late, deadline=past)
    with pytest.raises(AirflowSkipException, match="The last look: Nothing yet: no log files"):
        sensor(trail, timeout=0, soft_fail=True).execute_complete({}, event=late, deadline=past)
    trail.deliver("20260103T1200Z", record("a"))
    with pytest.raises(AirflowSensorTimeout, match="nothing was ever delivered of eu-wset-1"):
        sensor(trail, timeout=0, regions="eu-wset-1").execute_complete({}, event=late, deadline=past)
    uri = trail.deliver("20260203T1200Z", record("c")).uri
    assert task.execute_complete({}, event=late, deadline=past) == [uri]


def failing(monkeypatch, error):
    def look(*_, **__):
        raise error

    monkeypatch.setattr("airflow_provider_cloudtrail.sensors.cloudtrail.log_files_delivered", look)


@pytest.mark.parametrize(
    ("error", "soft"),
    [
        pytest.param(CloudTrailBucketError("bucket b: AccessDenied"), CloudTrailBucketError, id="error-of-ours"),
        pytest.param(ValueError("delivered_to is not set"), ValueError, id="wrong-parameter"),
        pytest.param(AirflowFailException("no"), AirflowSkipException, id="fail-at-once"),
        pytest.param(AirflowTaskTimeout("Timeout"), AirflowSkipException, id="execution-timeout"),
    ],
)
def test_an_error_is_the_same_in_every_mode(trail, error, soft, monkeypatch):
    """Also with soft_fail, where Airflow treats what happens after a deferral in another way."""
    for soft_fail, expected in ((False, type(error)), (True, soft)):
        task = sensor(trail, soft_fail=soft_fail)
        deferral = deferred(lambda: task.execute({}))  # noqa: B023
        for run in (
            lambda: sensor(trail, deferrable=False, soft_fail=soft_fail).execute({}),  # noqa: B023
            lambda: task.execute({}),  # noqa: B023
            lambda: resume(task, deferral, {"status": "failed", "files": [], "said": "..."}),  # noqa: B023
        ):
            with monkeypatch.context() as patched:
                failing(patched, error)
                with pytest.raises(expected) as raised:
                    run()
            if expected is type(error):
                assert str(raised.value) == str(error)


def test_a_trigger_that_never_can_look_while_the_worker_can(trail):
    task = sensor(trail)
    deferral = deferred(lambda: task.execute({}))
    said = {"status": "failed", "files": [], "said": "NoCredentialsError: none"}
    for _ in range(3):
        before = deferral
        deferral = deferred(lambda: resume(task, before, said))  # noqa: B023
        assert deferral.kwargs["deadline"] == before.kwargs["deadline"]
    with pytest.raises(CloudTrailTriggerError, match=r"4 times in a row.*NoCredentialsError: none.*role and network"):
        resume(task, deferral, said)


def hand_overs(task, *, looked):
    """Defer, and resume with failures of the trigger; yield each deferral."""
    deferral = deferred(lambda: task.execute({}))
    for known in looked:
        said = {"status": "failed", "files": [], "said": "ConnectTimeoutError: S3", "receipts": [], "looked": known}
        before = deferral
        deferral = deferred(lambda: resume(task, before, said))  # noqa: B023
        yield deferral


@pytest.mark.parametrize(
    ("looked", "counted"),
    [
        pytest.param([True] * 6, [1] * 6, id="always-in-between"),
        pytest.param([False, False, True, False, False], [1, 2, 1, 2, 3], id="once-in-between"),
    ],
)
def test_looks_that_succeed_in_between_are_no_row(trail, looked, counted):
    assert [deferral.kwargs["hand_overs"] for deferral in hand_overs(sensor(trail), looked=looked)] == counted


def test_a_trigger_that_could_not_look_is_given_time(trail):
    task = sensor(trail, poke_interval=600)
    assert deferred(lambda: task.execute({})).trigger.first_look is None
    (deferral,) = hand_overs(task, looked=[False])
    left = datetime.fromisoformat(deferral.trigger.first_look) - datetime.now(timezone.utc)
    assert timedelta(minutes=9) < left <= timedelta(minutes=10)


def test_a_trigger_pauses_though_airflow_takes_no_pause(trail):
    """The triggerer waits for many sensors, and each look costs requests."""
    assert deferred(lambda: sensor(trail, poke_interval=0).execute({})).trigger.poke_interval == 1


def test_with_silent_fail_the_sensor_waits_on_for_its_trigger(trail):
    deferrals = list(hand_overs(sensor(trail, silent_fail=True), looked=[False] * 6))
    assert deferrals[-1].kwargs["hand_overs"] == 6


def test_with_never_fail_a_trigger_that_cannot_look_skips_the_task(trail):
    task = sensor(trail, never_fail=True)
    *_, deferral = hand_overs(task, looked=[False] * 3)
    with pytest.raises(AirflowSkipException, match="4 times in a row"):
        resume(task, deferral, {"status": "failed", "files": [], "said": "ConnectTimeoutError: S3"})
    with pytest.raises(AirflowSkipException, match="ended without an answer"):
        task.resume_execution("__fail__", {"error": "Trigger failure"}, {})


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        pytest.param({"silent_fail": True}, TaskDeferred, id="silent"),
        pytest.param({"never_fail": True}, AirflowSkipException, id="never"),
        pytest.param({"silent_fail": True, "never_fail": True}, TaskDeferred, id="silent-before-never"),
    ],
)
def test_an_error_of_a_look_that_is_overlooked(trail, flags, expected, monkeypatch):
    """In the order in which Airflow asks for these settings."""
    failing(monkeypatch, CloudTrailBucketError("bucket b: SlowDown"))
    with pytest.raises(expected):
        sensor(trail, **flags).execute({})


@pytest.mark.parametrize("deferrable", [False, True])
def test_the_timeout_says_how_the_last_look_failed(trail, deferrable, monkeypatch):
    """With silent_fail nothing else tells those who hear of the timeout; an earlier look had found something else."""
    task = sensor(trail, silent_fail=True, timeout=0, deferrable=deferrable)
    task._said = "0 log files"
    failing(monkeypatch, CloudTrailBucketError("bucket b: SlowDown"))
    with pytest.raises(AirflowSensorTimeout, match="The last look: CloudTrailBucketError: bucket b: SlowDown"):
        task.execute({})


@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_trigger_that_ended_without_an_answer(trail, soft_fail):
    task = sensor(trail, soft_fail=soft_fail)
    with pytest.raises(CloudTrailTriggerError, match="install airflow-provider-cloudtrail where the triggerer"):
        task.resume_execution("__fail__", {"error": "Trigger failure"}, {})
    with pytest.raises(AirflowSkipException if soft_fail else AirflowSensorTimeout):
        task.resume_execution("__fail__", {"error": "Trigger timeout"}, {})


@pytest.mark.skipif(ON_AIRFLOW_2, reason="on Airflow 2 the triggerer imports from the DAG folder")
def test_where_the_triggerer_cannot_import_the_trigger_the_sensor_reschedules(trail, monkeypatch, caplog, capsys):
    monkeypatch.setattr(trail_sensor, "triggerer_imports", lambda _: False)
    task = sensor(trail)
    assert (task.deferrable, task.mode, task.reschedule) == (False, "reschedule", True)
    uri = trail.deliver("20260203T1200Z", record("c")).uri
    said = []
    for count in (0, 1):
        assert task.execute({"task_reschedule_count": count, "ti": _Instance()}) == [uri]
        said.append(caplog.text + capsys.readouterr().out)
        caplog.clear()
    assert "waiting in reschedule mode" in said[0]
    assert "waiting in reschedule mode" not in said[1]


class _Instance:
    def get_first_reschedule_date(self, _):
        return None


def test_without_deferrable_nothing_is_asked_of_the_triggerer(trail, monkeypatch):
    monkeypatch.setattr(trail_sensor, "triggerer_imports", lambda _: False)
    task = sensor(trail, deferrable=False)
    assert task.mode == "poke"
    assert not task.trigger_is_missing


@pytest.mark.skipif(ON_AIRFLOW_2, reason="on Airflow 2 the triggerer imports from the DAG folder")
@pytest.mark.parametrize(
    ("file", "found"),
    [
        pytest.param("/opt/airflow/dags/airflow_provider_cloudtrail/sensors/x.py", False, id="dag-folder"),
        pytest.param("/srv/bundle/airflow_provider_cloudtrail/sensors/x.py", False, id="local-bundle"),
        pytest.param("/srv/bundles/git/1f3/airflow_provider_cloudtrail/x.py", False, id="stored-bundle"),
        pytest.param("/opt/airflow/plugins/airflow_provider_cloudtrail/sensors/x.py", True, id="plugins"),
        pytest.param("/usr/lib/python3/site-packages/airflow_provider_cloudtrail/x.py", True, id="installed"),
    ],
)
def test_what_the_triggerer_imports(file, found, monkeypatch):
    options = {
        "dags_folder": "/opt/airflow/dags",
        "dag_bundle_storage_path": "/srv/bundles",
        "dag_bundle_config_list": '[{"name": "a", "kwargs": {"path": "/srv/bundle"}}, {"name": "b", "kwargs": null}]',
    }
    monkeypatch.setattr(_compat.conf, "get", lambda _, option, **__: options[option])
    assert triggerer_imports(file) is found


@pytest.mark.skipif(not ON_AIRFLOW_2, reason="Airflow 3 has bundles")
def test_the_triggerer_of_airflow_2_imports_from_the_dag_folder():
    assert triggerer_imports(str(Path(_compat.conf.get("core", "dags_folder"), "x.py")))


def test_default_arguments_reach_every_parameter(trail):
    from tests.support.dags import dag

    with dag(default_args={"bucket": trail.bucket, "deferrable": True, "regions": ["eu-west-1"], "settle": None}):
        task = CloudTrailLogFileSensor(task_id="wait", **DAY)
        other = CloudTrailDigestSensor(task_id="digests")
    assert (task.bucket, task.deferrable, task.regions) == (trail.bucket, True, ["eu-west-1"])
    assert (other.bucket, other.deferrable) == (trail.bucket, True)


def test_errors_are_those_of_the_provider():
    assert issubclass(CloudTrailTriggerError, AirflowException)
