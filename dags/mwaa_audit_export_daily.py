"""
Every morning, load every MWAA audit event of yesterday into the audit table, each event once.

Configured through Airflow configuration options (on MWAA: of the environment), at least ``cloudtrail.bucket``;
see ``airflow_provider_cloudtrail.settings`` for all. The warehouse is the connection ``cloudtrail_warehouse``.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_cloudtrail.sensors.cloudtrail import CloudTrailDigestSensor, CloudTrailLogFileSensor
from airflow_provider_cloudtrail.settings import listed, one_of, option, switched_on, whole_number
from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

trail = {
    "bucket": option("bucket"),
    "prefix": option("prefix"),
    "organization_id": option("organization_id"),
    # Bucket or trail; the check of the trail in mwaa_audit_integrity_daily wants its name as well.
    "trail_name": option("trail_name") if option("bucket") is None else None,
    "account_ids": listed("account_ids"),
    "regions": listed("regions"),
    "aws_conn_id": option("aws_conn_id"),
}
waiting = {"mode": "reschedule", "poke_interval": 600, "timeout": timedelta(hours=12).total_seconds()}

with DAG(
    dag_id="mwaa_audit_export_daily",
    # Airflow 3's "@daily" has data intervals without length; the window of delivery is a real day.
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    # Days that were missed are made up for by the look-back, and without a second GET for what is loaded.
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["audit", "cloudtrail", "mwaa"],
    doc_md=__doc__,
):
    if one_of("wait_for", "files", "digests") == "digests":
        # Until signed digests prove that every log file of the day is there.
        wait = CloudTrailDigestSensor(task_id="wait_for_digests", **trail, **waiting)
    else:
        # Until the day has been over for an hour, and at least one log file of it is there.
        wait = CloudTrailLogFileSensor(
            task_id="wait_for_log_files", **trail, **waiting, settle=timedelta(hours=1), max_files=1
        )
    export_audit_events = CloudTrailToSqlOperator(
        task_id="export_audit_events",
        **trail,
        lookback=timedelta(days=whole_number("lookback_days")),
        include_environment_activity=switched_on("include_environment_activity"),
        conn_id=option("conn_id"),
        table=option("table"),
        schema=option("schema"),
        staging_uri=option("staging_uri"),
        staging_role=option("staging_role"),
        fail_on_quarantine=switched_on("fail_on_quarantine"),
    )
    wait >> export_audit_events
