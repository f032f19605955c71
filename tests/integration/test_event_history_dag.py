"""The backfill DAG, run by the ``airflow`` command in real time, over HTTP into a DuckDB file."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from airflow_provider_cloudtrail.trail.event_history import Clock
from tests.mwaa.commands import clean_environment, run
from tests.support.engines import REPOSITORY, DuckDBHook, installed
from tests.support.event_history import EventHistoryStandIn, management_events, served

DAG = "mwaa_audit_event_history_backfill"
AIRFLOW = Path(sys.executable).with_name("airflow")
REGIONS = ("eu-west-1", "us-east-1")
TABLE = "mwaa_audit_events"


@pytest.mark.skipif(not installed("duckdb", "airflow.providers.duckdb"), reason="the DuckDB provider is an extra")
def test_backfill_twice(tmp_path: Path) -> None:
    stand_in = EventHistoryStandIn(clock=Clock(), enabled=REGIONS)
    newest = datetime.now(timezone.utc) - timedelta(hours=2)
    for region in REGIONS:
        stand_in.record(region, management_events(160, region, newest=newest))
    database = str(tmp_path / "audit.duckdb")
    with served(stand_in):
        environment = (
            clean_environment()
            | stand_in.environment()
            | {
                "AIRFLOW_HOME": str(tmp_path / "airflow"),
                "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW_CONN_CLOUDTRAIL_WAREHOUSE": json.dumps({"conn_type": "duckdb", "host": database}),
            }
        )
        run(AIRFLOW, "db", "migrate", env=environment, limit=600)
        said = run(AIRFLOW, "dags", "test", DAG, env=environment, limit=600)
        answered = len(stand_in.answered())
        again = run(AIRFLOW, "dags", "test", DAG, env=environment, limit=600)

    assert "320 events = 320 loaded + 0 duplicate + 0 filtered + 0 quarantined" in said
    assert "It has no data events: no UI logins" in said
    assert "0 events = 0 loaded + 0 duplicate" in again
    # One request for each Region and event source: for what was too young to be complete. On a busy machine one
    # arrives late, and the service refuses another because of it.
    assert len(stand_in.answered()) - answered == 4
    connection = DuckDBHook(database).get_conn()
    try:
        rows = connection.execute(
            f"SELECT count(*), count(DISTINCT event_id), min(loaded_by) FROM {TABLE} "
            "WHERE log_file_uri LIKE 'event-history://%'"
        ).fetchall()
    finally:
        connection.close()
    ((number, distinct, loaded_by),) = rows
    assert (number, distinct) == (320, 320)
    assert loaded_by.startswith(f"{DAG}.load_event_history ")
