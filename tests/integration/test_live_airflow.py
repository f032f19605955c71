"""Event-driven runs in a whole Airflow: scheduler, DAG processor, API server and triggerer as processes."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from airflow import __version__ as airflow_version

from tests.support.delivery import REGION, Delivery, stamp_now
from tests.support.engines import ATHENA, REPOSITORY, athena_extra
from tests.support.live_airflow import LiveAirflow, live_airflow
from tests.support.log_files import key_of

pytestmark = pytest.mark.skipif(not airflow_version.startswith("3.3"), reason="needs Airflow 3.3")

TABLE = "mwaa_audit_events"
_later = itertools.count()
SUCCEEDED = "SELECT 1 FROM dag_run WHERE dag_id = %s AND run_id = %s AND state = 'success'"
DEFERRED = """
from datetime import datetime, timedelta, timezone

from airflow.sdk import DAG

from airflow_provider_cloudtrail.sensors.cloudtrail import CloudTrailLogFileSensor
from airflow_provider_cloudtrail.settings import option
from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator

window = {"delivered_from": "2026-02-03T00:00:00Z", "delivered_to": "2026-02-04T00:00:00Z"}
again = {"retries": 3, "retry_delay": timedelta(seconds=1)}
with DAG("deferred", schedule="@once", start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), default_args=again):
    wait = CloudTrailLogFileSensor(
        task_id="wait", bucket=BUCKET, **window, deferrable=True, poke_interval=1, timeout=600
    )
    load = CloudTrailToSqlOperator(task_id="load", files=wait.output, table="deferred_events")
    wait >> load
"""
KILLED = """
from datetime import datetime, timezone

from airflow.sdk import DAG

from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator

with DAG("killed", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc)):
    CloudTrailToSqlOperator(
        task_id="load", files=["{{ params.file }}"], conn_id="athena", staging_uri=STAGING, table="killed_events",
        params={"file": ""},
    )
"""


@pytest.fixture(scope="module")
def trails(s3_server) -> tuple[Delivery, Delivery]:
    # What a triggerer had received that is killed comes again soon.
    return Delivery(s3_server.endpoint), Delivery(s3_server.endpoint, hidden_seconds=1)


@pytest.fixture(scope="module")
def athena_place(athena_address) -> dict[str, Any]:
    return json.loads(athena_address)


@pytest.fixture(scope="module")
def airflow(s3_server, postgres_uri, trails, athena_place, tmp_path_factory) -> Iterator[LiveAirflow]:
    from urllib.parse import parse_qs, urlsplit

    polled, told = trails
    (socket_folder,) = parse_qs(urlsplit(postgres_uri).query)["host"]
    # Not for Athena, whose connection is completed by it.
    extra = {
        "region_name": REGION,
        "service_config": {name: {"endpoint_url": s3_server.endpoint} for name in ("s3", "sqs")},
    }
    connections = {
        "aws_default": {"conn_type": "aws", "login": "example", "password": "example", "extra": extra},
        "cloudtrail_warehouse": {
            "conn_type": "postgres",
            "login": "postgres",
            "schema": "postgres",
            "host": socket_folder,
        },
        "athena": {
            "conn_type": "athena",
            "login": "example",
            "password": "example",
            "schema": "audit",
            "extra": athena_extra(athena_place),
        },
    }
    command = Path(sys.executable).with_name("airflow")
    options = {"CLOUDTRAIL__QUEUE_URL": told.queue, "CLOUDTRAIL__BUCKET": told.bucket}
    folder = tmp_path_factory.mktemp("live") / "airflow"
    with live_airflow(command, airflow_version, folder, connections=connections, options=options) as live:
        (live.dags / "deferred.py").write_text(f"BUCKET = {polled.bucket!r}\n{DEFERRED}")
        staging = f"s3://{athena_place['bucket']}/killed"
        (live.dags / "killed.py").write_text(f"STAGING = {staging!r}\n{KILLED}")
        example = REPOSITORY / "dags" / "mwaa_audit_export_on_delivery.py"
        shutil.copy(example, live.dags)
        # The same by polling, beside the one that asks the queue.
        text = example.read_text()
        text = text.replace('option("queue_url")', "None").replace('option("bucket")', repr(polled.bucket))
        text = text.replace('option("table")', '"polled_events"').replace("x-cloudtrail://log-files", "x-polled://b")
        text = text.replace('"new_log_files"', '"polled_log_files"').replace("_on_delivery", "_by_polling")
        text = text.replace("CloudTrailLogFileTrigger(**trail)", "CloudTrailLogFileTrigger(**trail, poke_interval=2)")
        (live.dags / "polling.py").write_text(text)
        live.start()
        yield live


@pytest.fixture
def rows(postgres_uri):
    import psycopg

    def ask(table: str) -> list[str]:
        with psycopg.connect(postgres_uri) as connection:
            if connection.execute("SELECT to_regclass(%s)", (table,)).fetchone() == (None,):
                return []
            return sorted(event_id for (event_id,) in connection.execute(f"SELECT event_id FROM {table}"))

    return ask


def wait_for_rows(airflow: LiveAirflow, trail: Delivery, told: Callable[[], list[str]], *wanted: str) -> None:
    """
    Wait until events are in a table, while the trail goes on delivering.

    Airflow 3.3 makes one run of the events that it knows of when it begins with it. What it is told until that run is
    there is left to the next event (``AssetManager`` queues a DAG once), so that a trail which falls silent waits.
    """
    next_delivery = time.monotonic() + 20

    def all_there() -> bool:
        nonlocal next_delivery
        if time.monotonic() > next_delivery:
            next_delivery = time.monotonic() + 20
            trail.put(f"later-{next(_later)}", stamp_now())
        return set(wanted) <= set(told())

    airflow.until(f"{', '.join(wanted)} are there", all_there)


def test_a_deferred_sensor_finds_what_is_delivered_while_it_waits(airflow, trails, rows):
    airflow.wait_for_task("deferred", "wait", "deferred")
    trails[0].put("event-1", "20260203T1000Z")
    airflow.wait_for_run("deferred")
    assert rows("deferred_events") == ["event-1"]


def test_from_delivery_to_row_through_a_queue(airflow, trails, rows, record_property):
    dag_id = "mwaa_audit_export_on_delivery"
    airflow.wait_for_dag(dag_id)
    delivered = time.monotonic()
    trails[1].put("event-2", stamp_now())
    # Not alone, if the worker has run one of the other tests before.
    wait_for_rows(airflow, trails[1], lambda: rows(TABLE), "event-2")
    seconds = time.monotonic() - delivered
    ((queued, started),) = airflow.rows(
        "SELECT queued_at, start_date FROM dag_run WHERE dag_id = %s ORDER BY id LIMIT 1", dag_id
    )
    waited = (started - queued).total_seconds()
    record_property("from PUT to row, over S3, SNS, SQS and an asset", f"{seconds:.1f} s ({waited:.1f} s of it queued)")
    airflow.until("the message is deleted", lambda: trails[1].left() == 0)


@pytest.mark.parametrize(
    ("number", "dag_id", "table"),
    [
        pytest.param(0, "mwaa_audit_export_by_polling", "polled_events", id="polling"),
        pytest.param(1, "mwaa_audit_export_on_delivery", TABLE, id="queue"),
    ],
)
def test_a_triggerer_that_is_killed_misses_nothing_and_doubles_nothing(airflow, trails, rows, number, dag_id, table):
    airflow.wait_for_dag(dag_id)
    trail = trails[number]
    before = rows(table)
    expected = [f"killed-{number}-{count}" for count in range(4)]
    trail.put(expected[0], stamp_now())
    wait_for_rows(airflow, trail, lambda: rows(table), expected[0])
    trail.put(expected[1], stamp_now())  # told, perhaps not yet handed on
    airflow.kill("triggerer")
    trail.put(expected[2], stamp_now())
    airflow.start("triggerer")
    trail.put(expected[3], stamp_now())
    wait_for_rows(airflow, trail, lambda: rows(table), *expected)
    found = rows(table)
    assert len(found) == len(set(found))
    assert set(found) >= {*before, *expected}
    states = {state for (state,) in airflow.rows("SELECT state FROM dag_run WHERE dag_id = %s", dag_id)}
    assert "failed" not in states


def test_the_table_is_an_asset_that_tells_what_was_loaded(airflow, trails, rows):
    # Of its own: another worker may run the tests before.
    trails[1].put("event-3", stamp_now())
    wait_for_rows(airflow, trails[1], lambda: rows(TABLE), "event-3")
    uri = "x-cloudtrail://cloudtrail_warehouse/mwaa_audit_events"

    def told() -> list[dict]:
        return [
            extra
            for (extra,) in airflow.rows(
                "SELECT e.extra FROM asset_event e JOIN asset a ON a.id = e.asset_id WHERE a.uri = %s", uri
            )
        ]

    events = airflow.until("the table's asset has an event", told)
    assert sum(extra["loaded"] for extra in events) >= 1


def test_late_file_of_the_past_hour(airflow, trails, rows):
    """A key with an earlier stamp than what was seen."""
    trails[0].put("late-1", f"{datetime.now(timezone.utc) - timedelta(minutes=40):%Y%m%dT%H%MZ}")
    wait_for_rows(airflow, trails[0], lambda: rows("polled_events"), "late-1")


@pytest.mark.skipif(not ATHENA, reason="needs pyathena, duckdb, pyarrow, sqlglot and moto")
@pytest.mark.parametrize("cleared", [False, True])
def test_a_task_that_is_killed_stops_its_statement_and_gives_back_its_lock(
    airflow, trails, athena, athena_place, monkeypatch, cleared
):
    trails[0].put(f"killed-{cleared}", "20260203T1000Z")
    uri = f"s3://{trails[0].bucket}/{key_of('20260203T1000Z', unique=f'killed{cleared}'.ljust(16, 'x'))}"
    held = threading.Event()
    monkeypatch.setattr(athena, "hold", held)
    airflow.wait_for_dag("killed")
    airflow.command("dags", "trigger", "killed", "--run-id", str(cleared), "--conf", json.dumps({"file": uri}))
    airflow.until("a statement is being waited for", held.is_set)
    (running,) = [query for query in athena.queries.values() if query.state == "RUNNING"]
    monkeypatch.setattr(athena, "hold", None)
    if cleared:
        airflow.command("tasks", "clear", "killed", "--yes")
    else:
        # What marking it as failed does.
        airflow.execute("UPDATE task_instance SET state = 'failed' WHERE dag_id = 'killed'")

    airflow.until("the statement is stopped", lambda: running.state != "RUNNING")
    assert running.state == "CANCELLED"

    def staged() -> list[dict[str, Any]]:
        return trails[0].s3.list_objects_v2(Bucket=athena_place["bucket"], Prefix="killed/").get("Contents", [])

    # Sooner than it expires.
    airflow.until("nothing is left in the staging folder", lambda: not staged())
    if cleared:
        airflow.until("it has run again", lambda: airflow.rows(SUCCEEDED, "killed", str(cleared)))
