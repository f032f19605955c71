from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from botocore.exceptions import NoCredentialsError

from airflow_provider_cloudtrail._compat import AirflowFailException, AirflowNotFoundException, BaseHook
from airflow_provider_cloudtrail.exceptions import (
    CloudTrailBucketError,
    CloudTrailQuarantineError,
    CloudTrailTrailNotFoundError,
    CloudTrailWarehouseError,
)
from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.trail.local_store import LocalStore
from airflow_provider_cloudtrail.trail.store import StoreError
from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator
from tests.support.face import ONE_REGION
from tests.support.face import export_operator as operator
from tests.support.log_files import ACCOUNT, key_of
from tests.support.log_files import event as record
from tests.support.ports import reserved_port


def test_loads_a_window_once(trail, warehouse):
    trail.deliver("20260203T1000Z", record("a"), record("b"))
    trail.deliver("20260203T1005Z", record("b"), record("c", eventSource="s3.amazonaws.com"))

    first = operator(trail).execute({})
    again = operator(trail).execute({})

    assert (first["records"], first["loaded"], first["duplicate"], first["filtered"]) == (4, 2, 1, 1)
    assert (again["files_read"], again["files_known"], again["loaded"]) == (0, 2, 0)
    assert warehouse.rows("SELECT event_id FROM mwaa_audit_events ORDER BY 1") == [("a",), ("b",)]
    assert first["first_event_time"] == "2026-02-03T09:58:00+00:00"


def test_what_templates_make_of_parameters(trail, warehouse):
    """With native objects an account becomes a number; without, a missing schema becomes a word."""
    trail.deliver("20260203T1000Z", record("a"))
    missing = dict.fromkeys(("schema", "regions", "event_names", "environment_names"), "None")
    summary = operator(trail, account_ids=int(ACCOUNT), **missing).execute({})
    assert (summary["files"], summary["loaded"]) == (1, 1)


@pytest.mark.parametrize("files", [None, "", "None"])
def test_files_that_are_missing_are_those_of_the_window(trail, warehouse, files):
    """No files at all would be a green run that has read nothing."""
    trail.deliver("20260203T1000Z", record("a"))
    assert operator(trail, files=files, delivered_from=" 2026-02-03\n").execute({})["loaded"] == 1


def test_window_is_one_of_delivery_with_margins(trail, warehouse):
    for event_id, stamp in (
        ("1", "20260201T2359Z"),
        ("2", "20260202T0000Z"),
        ("3", "20260204T0059Z"),
        ("4", "20260204T0100Z"),
    ):
        trail.deliver(stamp, record(event_id, eventTime="2020-01-01T00:00:00Z"))

    operator(trail).execute({})

    assert warehouse.rows("SELECT event_id FROM mwaa_audit_events ORDER BY 1") == [("2",), ("3",)]


def test_files_ignore_window_and_bucket(trail, warehouse):
    uri = trail.deliver("20200101T0000Z", record("old")).uri

    summary = CloudTrailToSqlOperator(task_id="export", files=[uri, uri], delivered_from="None").execute({})

    assert (summary["files"], summary["loaded"]) == (1, 1)


@pytest.mark.parametrize("files", [[], (), "[]", "()", [[], []], [None], "[None, []]"])
def test_no_files_is_a_run_without_work(trail, warehouse, files):
    assert CloudTrailToSqlOperator(task_id="export", files=files).execute({})["files"] == 0


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(lambda a, b: [[a], [a, b]], id="mapped-sensors"),
        pytest.param(lambda a, b: str([[a], [a, b]]), id="mapped-sensors-as-text"),
        pytest.param(lambda a, b: [[a], [[a], [b]]], id="a-sensor-and-mapped-sensors"),
        pytest.param(lambda a, b: [str([a]), str([b])], id="two-templates"),
        pytest.param(lambda a, b: [a, [b], None], id="one-skipped"),
        pytest.param(lambda a, b: str((a, b)), id="tuple-as-text"),
        pytest.param(lambda a, b: json.dumps([a, b, None]), id="json"),
        pytest.param(lambda a, b: f"{a}, {b}", id="commas"),
    ],
)
def test_files_of_several_tasks(trail, warehouse, given):
    found = (trail.deliver("20260203T1000Z", record("a")).uri, trail.deliver("20260203T1005Z", record("b")).uri)

    summary = CloudTrailToSqlOperator(task_id="export", files=given(*found)).execute({})

    assert (summary["files"], summary["loaded"]) == (2, 2)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param([""], "files is empty", id="blank"),
        pytest.param(["None"], "files holds None", id="none-as-text"),
        pytest.param("[s3://trail/x", "is no list", id="no-list"),
        pytest.param("(" * 1_000, "is no list", id="deep"),
        pytest.param([["s3://trail/x"]], "is not a CloudTrail log file", id="no-log-file"),
        pytest.param([7], "files=7 is no list", id="number"),
    ],
)
def test_files_that_are_none(trail, warehouse, files, message):
    with pytest.raises(ValueError, match=message):
        CloudTrailToSqlOperator(task_id="export", files=files).execute({})


@pytest.mark.parametrize(
    ("parameter", "value", "message"),
    [
        pytest.param("conn_id", None, "conn_id is not set", id="connection"),
        pytest.param("conn_id", "None", "conn_id is not set", id="connection-as-text"),
        pytest.param("table", None, "table is not set", id="table"),
        pytest.param("table", "None", "table is not set", id="table-as-text"),
        pytest.param("event_names", ["None"], "event_names holds None", id="event-names"),
        pytest.param("environment_names", "orders, None", "environment_names holds None", id="environments"),
    ],
)
def test_what_templates_make_of_a_missing_value_is_named(trail, warehouse, parameter, value, message):
    trail.deliver("20260203T1000Z", record("a"))
    with pytest.raises(ValueError, match=message):
        operator(trail, **{parameter: value}).execute({})


@pytest.mark.parametrize("kind", ["generic", "email", "aws"])
def test_a_connection_that_is_none_of_a_database_is_named(trail, monkeypatch, kind):
    """For two of these types Airflow has no hook, and ended in an AttributeError."""
    monkeypatch.setenv("AIRFLOW_CONN_MISTAKEN", json.dumps({"conn_type": kind, "host": "example"}))
    with pytest.raises(ValueError, match=f"^conn_id='mistaken' has the type '{kind}', which is no SQL database"):
        operator(trail, conn_id="mistaken").execute({})


def test_selects_environments_and_names(trail, warehouse):
    trail.deliver(
        "20260203T1000Z",
        record("a"),
        record("b", requestParameters={"Name": "billing"}),
        record("c", eventName="UpdateEnvironment"),
    )

    operator(trail, environment_names="orders", event_names="['CreateCliToken', 'CreateWebLoginToken']").execute({})

    assert warehouse.rows("SELECT event_id FROM mwaa_audit_events") == [("a",)]


def test_environment_activity_is_loaded_on_request(trail, warehouse):
    session = {"type": "AssumedRole", "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/exec/AmazonMWAA-airflow"}
    trail.deliver("20260203T1000Z", record("a", eventSource="kms.amazonaws.com", userIdentity=session))

    operator(trail).execute({})
    assert warehouse.rows("SELECT count(*) FROM mwaa_audit_events") == [(0,)]

    widened = operator(trail, include_environment_activity=True).execute({})
    assert (widened["files_read"], widened["loaded"]) == (1, 1)
    assert warehouse.rows("SELECT loaded, filtered FROM mwaa_audit_events_files") == [(1, 0)]


def test_quarantine_fails_the_task_after_everything_good_is_stored(trail, warehouse):
    trail.deliver("20260203T1000Z", record("a"), 7)
    trail.put(key_of("20260203T1001Z"), b"secret-value")
    pushed = {}
    instance = SimpleNamespace(
        dag_id="d", task_id="t", run_id="r", map_index=2, xcom_push=lambda key, value: pushed.update({key: value})
    )

    with pytest.raises(CloudTrailQuarantineError) as raised:
        operator(trail).execute({"ti": instance})

    assert isinstance(raised.value, AirflowFailException)
    assert "not_gzip" in str(raised.value)
    assert "not_an_object" in str(raised.value)
    assert "secret-value" not in str(raised.value)
    assert pushed["summary"]["files_quarantined"] == 1
    assert warehouse.rows("SELECT event_id, loaded_by FROM mwaa_audit_events") == [("a", "d.t[2] r")]
    assert len(warehouse.rows("SELECT * FROM mwaa_audit_events_quarantine")) == 2

    # Cleared and run again, it is as red as before, without reading anything.
    with pytest.raises(CloudTrailQuarantineError, match="since earlier"):
        operator(trail).execute({})
    # For the run of the next day it lies in the look-back, and is history.
    next_day = {"delivered_from": "2026-02-04T00:00:00Z", "delivered_to": "2026-02-05T00:00:00Z"}
    assert operator(trail, **next_day).execute({})["files_known"] == 2


def test_a_record_in_quarantine_is_not_forgotten_by_the_next_try(trail, warehouse):
    trail.deliver("20260203T1000Z", record("a"), 7)
    for reason in ("1 records were put", "since earlier", "since earlier"):
        with pytest.raises(CloudTrailQuarantineError, match=reason):
            operator(trail).execute({})
    assert operator(trail, fail_on_quarantine=False).execute({})["files_known"] == 1


def test_a_bucket_that_cannot_be_opened_does_not_keep_out_the_other_files(trail, warehouse):
    good, behind = trail.deliver("20260203T1000Z", record("a")).uri, trail.deliver("20260203T1001Z", record("b")).uri
    gone = good.replace("file://", "file://no-computer")
    with pytest.raises(CloudTrailQuarantineError, match="not_found: file:"):
        CloudTrailToSqlOperator(task_id="export", files=[good, gone, behind]).execute({})
    assert warehouse.rows("SELECT event_id FROM mwaa_audit_events ORDER BY 1") == [("a",), ("b",)]


def test_credentials_that_are_missing_are_said_to_be(trail, warehouse, monkeypatch):
    def get_store(self, bucket):
        raise NoCredentialsError

    monkeypatch.setattr(CloudTrailHook, "get_store", get_store)
    uri = "s3://bucket/AWSLogs/" + trail.deliver("20260203T1000Z", record("a")).uri.partition("/AWSLogs/")[2]
    with pytest.raises(CloudTrailBucketError, match="bucket bucket cannot be opened: Unable to locate credentials"):
        CloudTrailToSqlOperator(task_id="export", files=[uri]).execute({})


def test_quarantine_may_be_tolerated(trail, warehouse):
    trail.put(key_of("20260203T1001Z"), b"x")
    assert operator(trail, fail_on_quarantine=False).execute({})["files_quarantined"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"bucket": None}, "neither bucket nor trail_name is set", id="no-bucket"),
        pytest.param({"bucket": "s3://b/p"}, "is no bucket name", id="bucket-is-uri"),
        pytest.param({"bucket": "arn:aws:s3:::b"}, "is no bucket name", id="bucket-is-arn"),
        pytest.param(
            {"bucket": "arn:aws:s3:eu-west-1:111122223333:accesspoint/trail"},
            "write the alias of the access point.* ends with -s3alias",
            id="bucket-is-access-point",
        ),
        pytest.param({"prefix": "x/AWSLogs/"}, "holds AWSLogs/", id="prefix-too-long"),
        pytest.param({"organization_id": "111122223333"}, "no organization; write its id", id="no-organization"),
        pytest.param({"trail_name": "audit"}, "both bucket and trail_name", id="bucket-and-trail"),
        pytest.param({"table": "a; drop table b"}, "table='a; drop table b'", id="unsafe-table"),
        pytest.param({"schema": 'x"y'}, "schema=", id="unsafe-schema"),
        pytest.param({"delivered_from": "2026-02-05T00:00:00Z"}, "later than delivered_to", id="reversed"),
        pytest.param({"delivered_from": "2026-02-04T00:00:00Z"}, "CronDataIntervalTimetable", id="no-length"),
        pytest.param(
            {"delivered_from": "None"}, "no data interval.*backfill.*UI.*00Z, or give files$", id="no-interval"
        ),
        pytest.param({"delivered_to": None}, "delivered_to is not set.*00Z, or give files$", id="no-end"),
        pytest.param({"delivered_to": "tomorrow"}, "delivered_to='tomorrow' is no time; write ISO 8601", id="no-time"),
        pytest.param({"lookback": timedelta(days=-1)}, "zero or more", id="negative-lookback"),
        pytest.param({"lookback": 7}, "lookback=7 is no duration; write a timedelta", id="lookback-is-number"),
        pytest.param({"settle": "1 hour"}, "settle='1 hour' is no duration", id="settle-is-text"),
        pytest.param({"event_sources": []}, "selects nothing", id="empty-selection"),
        pytest.param({"event_sources": "airflow"}, "'airflow' is no event source; write names", id="no-event-source"),
        pytest.param(
            {"event_sources": "Airflow.amazonaws.com"}, "write 'airflow.amazonaws.com'", id="source-in-capitals"
        ),
        pytest.param({"event_names": "createenvironment"}, "write 'CreateEnvironment'", id="name-in-small-letters"),
        pytest.param({"delivered_from": "0001-01-01"}, "leaves the years 2 to 9998", id="before-time"),
        pytest.param({"delivered_from": "0001-06-01"}, "leaves the years 2 to 9998", id="hardly-behind-its-begin"),
        pytest.param({"delivered_from": "0001-01-01T00:00+14:00"}, "years 1 to 9999, in UTC", id="before-UTC"),
        pytest.param({"delivered_to": "9999-12-31"}, "leaves the years 2 to 9998", id="behind-time"),
        pytest.param({"delivered_to": "9999-06-01"}, "leaves the years 2 to 9998", id="hardly-before-its-end"),
        pytest.param({"lookback": timedelta(days=999_999)}, "longer than 100 years; write", id="lookback-for-ever"),
        pytest.param({"regions": "eu-west1"}, "'eu-west1' is no Region", id="no-region"),
        pytest.param({"account_ids": "111122223333,1111"}, "'1111' is no account", id="no-account"),
        pytest.param({"account_ids": ["1111-2222-3333"]}, "12 digits without hyphens", id="account-with-hyphens"),
        pytest.param({"max_file_bytes": 0}, "above 0", id="no-size"),
        pytest.param({"include_environment_activity": "False"}, "neither True nor False; write", id="switch-is-text"),
        pytest.param({"fail_on_quarantine": "False"}, "fail_on_quarantine='False' is neither", id="fails-is-text"),
        pytest.param({"fail_on_quarantine": None}, "fail_on_quarantine=None is neither", id="fails-is-none"),
        pytest.param({"max_file_bytes": "1000"}, "max_file_bytes='1000' is no size", id="size-is-text"),
        pytest.param({"bucket": " "}, "neither bucket nor trail_name is set", id="blank-bucket"),
        pytest.param(
            {"bucket": None, "files": "None"}, "If files comes from another task, that was skipped", id="files-skipped"
        ),
        pytest.param(
            {"bucket": None, "files": None, "delivered_from": "2026-02-03", "delivered_to": "2026-02-03"},
            "bucket nor trail_name is set; .* that was skipped, or marked as success .*: run it again",
            id="files-of-a-mapped-task",
        ),
        pytest.param({"files": ["s3://b/key"]}, "is not a CloudTrail log file", id="foreign-file"),
        pytest.param(
            {"files": [f"s3://b/{key_of()}"], "botocore_config": "{}"}, "botocore_config .* no dictionary", id="config"
        ),
    ],
)
def test_wrong_parameters_fail_before_any_work(trail, warehouse, arguments, message):
    trail.deliver("20260203T1000Z", record("a"))
    with pytest.raises(ValueError, match=message):
        operator(trail, **arguments).execute({})
    assert not warehouse.path.exists()


def test_unknown_connection(trail, monkeypatch):
    def missing(cls, conn_id):
        raise AirflowNotFoundException(conn_id)

    monkeypatch.setattr(BaseHook, "get_connection", classmethod(missing))
    with pytest.raises(CloudTrailWarehouseError, match="AIRFLOW_CONN_CLOUDTRAIL_WAREHOUSE"):
        operator(trail).execute({})


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param({"prefix": "wrong"}, id="prefix"),
        pytest.param({"prefix": "wrong", **ONE_REGION}, id="prefix, with account and Region"),
        pytest.param({"organization_id": "o-wrong", **ONE_REGION}, id="organization, with account and Region"),
        pytest.param({**ONE_REGION, "account_ids": ["444455556666"]}, id="account, with Region"),
    ],
)
def test_empty_trail_names_what_to_check(trail, warehouse, arguments):
    trail.deliver("20260203T1000Z", record("a"))
    with pytest.raises(CloudTrailTrailNotFoundError, match="check bucket and prefix"):
        operator(trail, **arguments).execute({})


@pytest.mark.parametrize(
    "regions",
    [
        pytest.param(["eu-west-1"], id="before the window"),
        pytest.param(["us-east-1"], id="Region without a delivery yet"),
    ],
)
def test_nothing_in_the_window_of_a_trail_that_is_there(trail, warehouse, regions):
    trail.deliver("20260103T1000Z", record("a"))
    assert operator(trail, account_ids=[ACCOUNT], regions=regions).execute({})["files"] == 0


def test_connection_that_leads_nowhere_is_named(trail, monkeypatch):
    pytest.importorskip("airflow.providers.postgres")
    with reserved_port() as port:
        connection = {"conn_type": "postgres", "host": "127.0.0.1", "port": port, "login": "airflow", "schema": "audit"}
        monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", json.dumps(connection))
        with pytest.raises(CloudTrailWarehouseError, match=r"postgres: cannot connect with conn_id='elsewhere' \("):
            operator(trail, conn_id="elsewhere").execute({})


def test_what_was_listed_before_the_bucket_fell_silent_is_stored(trail, warehouse, monkeypatch):
    trail.deliver("20260203T1000Z", record("a"))
    trail.deliver("20260203T1001Z", record("b"))
    objects = LocalStore.objects

    def broken(self, *arguments, **named):
        yield next(objects(self, *arguments, **named))
        raise StoreError("SlowDown")

    monkeypatch.setattr(LocalStore, "objects", broken)
    with pytest.raises(CloudTrailBucketError, match="SlowDown"):
        operator(trail).execute({})
    assert warehouse.rows("SELECT event_id FROM mwaa_audit_events") == [("a",)]


def test_template_fields_are_attributes():
    task = CloudTrailToSqlOperator(task_id="export")
    assert all(hasattr(task, name) for name in task.template_fields)


def test_times_may_be_datetimes(trail, warehouse):
    trail.deliver("20260203T1000Z", record("a"))
    day = datetime(2026, 2, 3, tzinfo=timezone.utc)
    summary = operator(trail, delivered_from=day, delivered_to=day + timedelta(days=1)).execute({})
    assert summary["loaded"] == 1


@pytest.mark.parametrize("files", [None, ["s3://trail/x"]])
def test_a_run_without_a_data_interval_says_what_to_write(files):
    """Airflow 3 gives runs by hand or by an asset no data interval, not even an empty one."""
    task = CloudTrailToSqlOperator(task_id="export", bucket="trail", files=files)
    task.render_template_fields({})
    with pytest.raises(ValueError, match="no data interval" if files is None else "is not a CloudTrail log file"):
        task.execute({})
