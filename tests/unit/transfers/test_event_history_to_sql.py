from __future__ import annotations

import logging
from collections import defaultdict
from datetime import timedelta
from types import SimpleNamespace

import pytest

from airflow_provider_cloudtrail._compat import AirflowFailException
from airflow_provider_cloudtrail.assets import audit_table
from airflow_provider_cloudtrail.exceptions import (
    CloudTrailError,
    CloudTrailEventHistoryError,
    CloudTrailQuarantineError,
    CloudTrailWarehouseError,
)
from airflow_provider_cloudtrail.links.cloudtrail import CloudTrailEventHistoryLink
from airflow_provider_cloudtrail.transfers.event_history_to_sql import CloudTrailEventHistoryToSqlOperator
from tests.support.engines import SqliteHook
from tests.support.event_history import NOW, EventHistoryStandIn, RefusalError, management_events, served
from tests.support.event_history_face import connect, operator
from tests.support.log_files import ACCOUNT, MWAA, event

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
REGION = "eu-west-1"


def iso(moment):
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture
def stand_in():
    with served(EventHistoryStandIn()) as running:
        yield running


@pytest.fixture
def warehouse(tmp_path, monkeypatch, stand_in):
    hook = SqliteHook(tmp_path / "audit.sqlite")
    connect(monkeypatch, stand_in, hook)
    return hook


def spans(warehouse, status="complete"):
    found = warehouse.rows(
        "SELECT region, lookup_attribute, window_from, window_to FROM mwaa_audit_events_lookups "
        f"WHERE status = '{status}' ORDER BY 1, 2, 3"
    )
    return [(region, attribute, begin[:19] + "Z", end[:19] + "Z") for region, attribute, begin, end in found]


def output_of(task, caplog, capsys):
    """Run a task and return what it logs, on Airflow 2 and 3."""
    if isinstance(task.log, logging.Logger):
        task.log.propagate = True
    with caplog.at_level(logging.INFO):
        task.execute({})
    return caplog.text + capsys.readouterr().out


def test_loads_all_that_there_is_and_asks_for_it_once(stand_in, warehouse):
    stand_in.record(REGION, management_events(120, REGION))

    first = operator().execute({})
    asked = len(stand_in.asked)
    stand_in.clock.sleep(60)
    again = operator().execute({})

    # One lookup for each of MWAA's two event sources.
    assert (asked, first["requests"]) == (3 + 1, 4)
    assert (first["events"], first["loaded"], first["account_id"]) == (120, 120, ACCOUNT)
    assert warehouse.rows("SELECT count(*), count(DISTINCT event_id) FROM mwaa_audit_events") == [(120, 120)]
    # What is younger than an hour is asked for again, and nothing else.
    assert (again["requests"], again["loaded"], again["events"]) == (2, 0, 0)
    assert [found.parameters["StartTime"] for found in stand_in.asked[asked:]] == [(NOW - HOUR).timestamp()] * 2


def test_a_window_that_is_complete_is_not_asked_for(stand_in, warehouse):
    stand_in.record(REGION, management_events(60, REGION))
    window = {"events_from": iso(NOW - 30 * DAY), "events_to": iso(NOW - DAY)}
    first = operator(**window).execute({})
    asked = len(stand_in.asked)
    again = operator(**window).execute({})

    assert first["loaded"] > 10
    assert (again["requests"], again["regions"], len(stand_in.asked)) == (0, [REGION], asked)
    assert spans(warehouse) == [
        (REGION, f"EventSource={source}", iso(NOW - 30 * DAY), iso(NOW - DAY))
        for source in ("airflow-serverless.amazonaws.com", MWAA)
    ]


def test_a_wider_window_asks_for_the_difference(stand_in, warehouse):
    stand_in.record(REGION, management_events(100, REGION))
    one = {"event_sources": MWAA}
    operator(events_from=iso(NOW - 30 * DAY), events_to=iso(NOW - 20 * DAY), **one).execute({})
    operator(events_from=iso(NOW - 15 * DAY), events_to=iso(NOW - 10 * DAY), **one).execute({})
    stand_in.asked.clear()
    summary = operator(events_from=iso(NOW - 35 * DAY), events_to=iso(NOW - 5 * DAY), **one).execute({})

    bounds = [(asked.parameters["StartTime"], asked.parameters["EndTime"]) for asked in stand_in.answered()]
    days = [(35, 30), (20, 15), (10, 5)]
    assert bounds == [((NOW - begin * DAY).timestamp(), (NOW - end * DAY).timestamp() - 1) for begin, end in days]
    assert summary["duplicate"] == 0


def test_events_that_appear_late_are_not_missed(stand_in, warehouse):
    """An event appears ten minutes after its call; a run in between has not seen it."""
    stand_in.record(REGION, [event("early", eventTime=iso(NOW - 30 * timedelta(minutes=1)))])
    stand_in.record(REGION, [event("late", eventTime=iso(NOW - timedelta(minutes=5)))])
    operator().execute({})
    assert warehouse.rows("SELECT event_id FROM mwaa_audit_events") == [("early",)]
    assert [row[2:] for row in spans(warehouse, "recent")] == [(iso(NOW - HOUR), iso(NOW))]

    stand_in.clock.sleep(600)
    again = operator().execute({})
    assert (again["loaded"], again["duplicate"]) == (1, 1)
    assert warehouse.rows("SELECT event_id FROM mwaa_audit_events ORDER BY 1") == [("early",), ("late",)]
    assert warehouse.rows(
        "SELECT sum(events) - sum(loaded) - sum(duplicate) - sum(filtered) - sum(quarantined), sum(loaded) "
        "FROM mwaa_audit_events_lookups"
    ) == [(0, 2)]


def test_a_wider_selection_reads_again_and_a_narrower_one_does_not(stand_in, warehouse):
    stand_in.record(REGION, [*management_events(8, REGION), event("s3", eventSource="s3.amazonaws.com")])
    window = {"events_from": iso(NOW - 89 * DAY), "events_to": iso(NOW - HOUR)}
    operator(**window, event_sources=MWAA).execute({})
    narrower = operator(**window, event_names=["CreateEnvironment"], event_sources=MWAA).execute({})
    wider = operator(**window, event_sources=None).execute({})
    after = operator(**window).execute({})

    assert (narrower["requests"], after["requests"]) == (0, 0)
    assert (wider["requests"], wider["events"], wider["duplicate"], wider["loaded"]) == (1, 8, 8, 0)


def test_selection_within_what_the_service_finds(stand_in, warehouse):
    stand_in.record(REGION, management_events(8, REGION))
    stand_in.record(REGION, management_events(4, REGION, prefix="other-"))
    names = ["CreateEnvironment", "DeleteEnvironment", "UpdateEnvironment"]
    summary = operator(event_names=names, environment_names="orders").execute({})
    assert (summary["events"], summary["loaded"], summary["filtered"]) == (12, 9, 3)


def test_environment_activity_reads_everything(stand_in, warehouse):
    session = {"type": "AssumedRole", "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/exec/AmazonMWAA-airflow"}
    at = iso(NOW - 2 * DAY)
    stand_in.record(REGION, [event("kms", eventSource="kms.amazonaws.com", userIdentity=session, eventTime=at)])
    stand_in.record(REGION, [event("else", eventSource="kms.amazonaws.com", eventTime=at)])
    summary = operator(include_environment_activity=True).execute({})

    assert (summary["requests"], summary["loaded"], summary["filtered"]) == (1, 1, 1)
    assert "LookupAttributes" not in stand_in.asked[0].parameters


def test_regions_one_after_another_and_those_that_are_enabled(stand_in, warehouse):
    for region in ("us-east-1", "eu-west-1", "ap-south-1"):
        stand_in.record(region, management_events(110, region))
    summary = operator(regions=None).execute({})

    assert summary["regions"] == ["ap-south-1", "eu-west-1", "us-east-1"]
    asked = [found.region for found in stand_in.asked]
    assert asked == sorted(asked)
    assert (summary["loaded"], summary["throttled"]) == (330, 0)
    assert stand_in.calls.count("DescribeRegions") == 1


def test_regions_that_cannot_be_told(stand_in, warehouse):
    stand_in.enabled = None
    with pytest.raises(CloudTrailError, match=r"ec2:DescribeRegions failed.*name the Regions in regions"):
        operator(regions=None).execute({})


def test_the_summary_says_what_was_read_of_all_regions(stand_in, warehouse):
    """Parts come Region by Region: neither the first nor the last of them holds all that is said."""
    token = "a-token-that-was-written-down"
    for region, ages in ((REGION, (5, 20)), ("us-east-1", (3, 30)), ("us-west-2", (7, 9))):
        moments = {age: iso(NOW - age * HOUR) for age in ages}
        stand_in.record(
            region,
            [
                event(f"{region}-{age}", eventTime=moment, awsRegion=region, responseElements={"CliToken": token})
                for age, moment in moments.items()
            ],
        )
    regions = [REGION, "us-east-1", "us-west-2"]
    summary = operator(
        regions=regions, event_sources=MWAA, events_from=iso(NOW - 2 * DAY), events_to=iso(NOW + DAY)
    ).execute({})
    assert (summary["regions"], summary["lookups"], summary["requests"]) == (regions, 3, 3)
    counts = [summary[name] for name in ("events", "loaded", "duplicate", "filtered", "quarantined", "redacted")]
    assert counts == [6, 6, 0, 0, 0, 6]
    moments = [summary[name] for name in ("first_event_time", "last_event_time")]
    assert moments == [(NOW - 30 * HOUR).isoformat(), (NOW - 3 * HOUR).isoformat()]
    window = [summary[name] for name in ("window_from", "complete_to", "window_to")]
    assert window == [moment.isoformat() for moment in (NOW - 2 * DAY, NOW - HOUR, NOW)]


def test_a_region_that_is_refused_does_not_keep_the_others_back(stand_in, warehouse, monkeypatch):
    linked = {}
    monkeypatch.setattr(CloudTrailEventHistoryLink, "persist", lambda **described: linked.update(described))
    stand_in.closed = {"eu-west-1": RefusalError("AccessDeniedException", "explicit deny in a service control policy")}
    for region in ("ap-south-1", "us-east-1"):
        stand_in.record(region, management_events(3, region))
    pushed = {}
    instance = SimpleNamespace(
        dag_id="d", task_id="t", run_id="r", map_index=-1, xcom_push=lambda key, value: pushed.update({key: value})
    )
    with pytest.raises(CloudTrailEventHistoryError) as raised:
        operator(regions="ap-south-1,eu-west-1,us-east-1").execute({"ti": instance})

    text = str(raised.value)
    assert "1 Regions could not be read, 2 could" in text
    assert "eu-west-1: LookupEvents: AccessDeniedException: explicit deny" in text
    assert "allow cloudtrail:LookupEvents on *" in text
    assert pushed["summary"]["loaded"] == 6
    assert list(pushed["summary"]["regions_refused"]) == ["eu-west-1"]
    assert warehouse.rows("SELECT count(*), min(loaded_by) FROM mwaa_audit_events") == [(6, "d.t r")]
    assert (linked["region_name"], linked["aws_partition"]) == ("ap-south-1", "aws")
    assert linked["event_source"] == MWAA


def test_credentials_that_expire_stop_the_run_and_the_next_one_goes_on(stand_in, warehouse):
    records = management_events(400, REGION)
    stand_in.record(REGION, records)
    stand_in.record("us-east-1", management_events(10, "us-east-1"))
    stand_in.refusals = {
        6: RefusalError("ExpiredTokenException", "The security token included in the request is expired")
    }
    with pytest.raises(CloudTrailEventHistoryError, match=r"credentials of aws_conn_id have expired.*run this again"):
        operator(regions=[REGION, "us-east-1"], event_sources=MWAA).execute({})
    # Five pages were read; the second that the last one ended in is not known to be complete.
    (stored,) = warehouse.rows("SELECT count(*) FROM mwaa_audit_events")[0]
    assert 240 <= stored < 250
    assert len(stand_in.asked) == 6

    stand_in.clock.sleep(60)
    summary = operator(regions=[REGION, "us-east-1"], event_sources=MWAA).execute({})
    assert summary["loaded"] == 410 - stored
    assert summary["duplicate"] == 0
    # Four pages for what is missing, one for the recent hour, one for the other Region.
    assert summary["requests"] == 4 + 1 + 1


def test_quarantine_fails_the_task_after_everything_good_is_stored(stand_in, warehouse):
    stand_in.record(REGION, management_events(5, REGION))
    stand_in.record(REGION, ["secret-value"], at=NOW - DAY)
    with pytest.raises(CloudTrailQuarantineError) as raised:
        operator().execute({})
    assert isinstance(raised.value, AirflowFailException)
    assert "1 events were put into quarantine" in str(raised.value)
    assert "not_an_object: event-history://" in str(raised.value)
    assert "secret-value" not in str(raised.value)
    assert warehouse.rows("SELECT count(*) FROM mwaa_audit_events") == [(5,)]

    # Run again, it is as red as before, without reading the event.
    with pytest.raises(CloudTrailQuarantineError, match="1 events of this window are in quarantine since earlier"):
        operator().execute({})
    assert operator(fail_on_quarantine=False).execute({})["known_quarantined"] == 1
    assert warehouse.rows("SELECT count(*) FROM mwaa_audit_events_quarantine") == [(1,)]


def test_what_is_filtered_is_counted_in_all_regions(stand_in, warehouse):
    for region in (REGION, "us-east-1"):
        stand_in.record(region, management_events(2, region))
    summary = operator(regions=[REGION, "us-east-1"], environment_names="another").execute({})
    assert (summary["events"], summary["filtered"], summary["loaded"]) == (4, 4, 0)


def test_what_is_in_quarantine_of_one_region_is_not_forgotten_with_the_next(stand_in, warehouse):
    stand_in.record(REGION, ["no record"], at=NOW - DAY)
    stand_in.record("us-east-1", management_events(1, "us-east-1"))
    task = operator(regions=[REGION, "us-east-1"], fail_on_quarantine=False)
    assert task.execute({})["quarantined"] == 1
    assert task.execute({})["known_quarantined"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"events_from": "tomorrow"}, "ISO 8601", id="no-time"),
        pytest.param({"events_from": iso(NOW + DAY)}, "the window is empty", id="future"),
        pytest.param({"events_from": iso(NOW - DAY), "events_to": iso(NOW - DAY)}, "the window is empty", id="empty"),
        pytest.param({"events_from": iso(NOW - DAY), "events_to": iso(NOW - 2 * DAY)}, "is not before", id="reversed"),
        pytest.param(
            {"events_from": iso(NOW - 200 * DAY), "events_to": iso(NOW - 100 * DAY)},
            "CloudTrailToSqlOperator",
            id="old",
        ),
        pytest.param({"event_names": ["CreateCliToken", "InvokeRestApi"]}, "are data events", id="data-events"),
        pytest.param({"event_names": ["create_environment"]}, "write 'CreateEnvironment'", id="name-of-boto3"),
        pytest.param({"event_sources": []}, "selects nothing", id="empty-selection"),
        pytest.param({"settle": timedelta(seconds=-1)}, "zero or more", id="negative-settle"),
        pytest.param({"settle": timedelta.max}, "settle=.* is longer than 100 years", id="settle-for-ever"),
        pytest.param({"settle": 3600}, "settle=3600 is no duration; write a timedelta", id="settle-is-number"),
        pytest.param({"include_environment_activity": "False"}, "neither True nor False; write", id="switch-is-text"),
        pytest.param({"fail_on_quarantine": "False"}, "fail_on_quarantine='False' is neither", id="fails-is-text"),
        pytest.param({"table": "a; drop table b"}, "table='a; drop table b'", id="unsafe-table"),
        pytest.param({"regions": []}, "regions is empty", id="no-regions"),
        pytest.param({"regions": "eu-west-1,Ireland"}, "'Ireland' is no Region", id="no-such-region"),
    ],
)
def test_wrong_parameters_fail_before_any_work(stand_in, warehouse, arguments, message):
    with pytest.raises(ValueError, match=message):
        operator(**arguments).execute({})
    assert stand_in.asked == []
    assert not warehouse.path.exists()


def test_what_is_too_old_is_left_out_and_said_so(stand_in, warehouse, caplog, capsys):
    task = operator(events_from=iso(NOW - 120 * DAY))
    text = output_of(task, caplog, capsys)
    assert (
        f"{iso(NOW - 120 * DAY)} to {iso(NOW - 90 * DAY + timedelta(minutes=1))} is more than 90 days ago and NOT"
        in text
    )
    (_, _, begin, _), *_ = spans(warehouse)
    assert begin == iso(NOW - 90 * DAY + timedelta(minutes=1))


def test_log_says_what_event_history_cannot_contain_and_what_was_done(stand_in, warehouse, caplog, capsys):
    stand_in.record(REGION, management_events(3, REGION))
    text = output_of(operator(), caplog, capsys)
    assert "It has no data events: no UI logins (CreateWebLoginToken)" in text
    assert "more than 90 days ago" not in text
    assert "3 events = 3 loaded + 0 duplicate + 0 filtered + 0 quarantined" in text
    assert f"{REGION} EventSource={MWAA}, " in text
    assert "2 requests (0 throttled)" in text


def test_templates_that_render_to_nothing_are_defaults(stand_in, warehouse):
    stand_in.record(REGION, management_events(3, REGION))
    assert operator(events_from="None", events_to="", event_sources=f"['{MWAA}']").execute({})["loaded"] == 3


def test_template_fields_are_attributes():
    task = CloudTrailEventHistoryToSqlOperator(task_id="backfill")
    assert all(hasattr(task, name) for name in task.template_fields)
    assert {"regions", "events_from", "aws_conn_id", "conn_id", "table"} <= set(task.template_fields)


def test_unknown_account(stand_in, warehouse, monkeypatch):
    def refuse(action):
        raise RefusalError("ExpiredToken", "The security token is expired", 403)

    monkeypatch.setattr(stand_in, "query", refuse)
    with pytest.raises(CloudTrailError, match=r"sts:GetCallerIdentity failed.*aws_conn_id='aws_default'.*ExpiredToken"):
        operator().execute({})


def test_warehouse_that_refuses(stand_in, warehouse):
    warehouse.path.write_bytes(b"no database at all, but long enough to be looked at")
    with pytest.raises(CloudTrailWarehouseError):
        operator().execute({})
    assert stand_in.asked == []


def test_unexpected_error_shows_no_values(stand_in, warehouse, monkeypatch):
    def fail(*_, **__):
        raise KeyError("secret-value")

    stand_in.record(REGION, management_events(3, REGION))
    monkeypatch.setattr("airflow_provider_cloudtrail.export.event_history.read_part", fail)
    with pytest.raises(CloudTrailError, match="unexpected KeyError in") as raised:
        operator().execute({})
    assert "secret-value" not in str(raised.value)
    assert raised.value.__suppress_context__


def test_botocore_retries_of_the_connection_do_not_bypass_the_pace(stand_in, warehouse):
    stand_in.record(REGION, management_events(60, REGION))
    stand_in.refusals = {1: RefusalError("ThrottlingException", "Rate exceeded")}
    task = operator(event_sources=MWAA, botocore_config={"retries": {"max_attempts": 9, "mode": "standard"}})
    summary = task.execute({})
    assert (summary["throttled"], summary["requests"], len(stand_in.asked)) == (1, 3, 3)


class OutletEvents(defaultdict):
    """By asset, as Airflow has it: assets of Airflow 3.0 cannot be keys themselves."""

    def __getitem__(self, asset):
        return super().__getitem__(asset.uri)


def test_outlets_are_told_the_summary(stand_in, warehouse):
    table = audit_table("cloudtrail_warehouse", "mwaa_audit_events")
    events = OutletEvents(lambda: SimpleNamespace(extra={}))
    stand_in.record(REGION, management_events(3, REGION))
    operator(outlets=[table]).execute({"outlet_events": events})
    assert events[table].extra["loaded"] == 3
