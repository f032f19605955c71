"""
Prove every day that what was loaded is complete and unaltered, and that the trail records what an audit needs.

Waits for the signed digests of yesterday, holds every log file against them and the ledger, loads what was
never loaded, and checks the trail itself. Configured like ``mwaa_audit_export_daily``; the check of the trail
needs the option ``cloudtrail.trail_name``.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_cloudtrail.operators.cloudtrail import (
    CloudTrailCoverageCheckOperator,
    CloudTrailValidateLogsOperator,
)
from airflow_provider_cloudtrail.sensors.cloudtrail import CloudTrailDigestSensor
from airflow_provider_cloudtrail.settings import listed, option, switched_on
from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

trail = {
    "bucket": option("bucket"),
    "prefix": option("prefix"),
    "organization_id": option("organization_id"),
    "trail_name": option("trail_name") if option("bucket") is None else None,
    "account_ids": listed("account_ids"),
    "regions": listed("regions"),
    "aws_conn_id": option("aws_conn_id"),
}
warehouse = {"conn_id": option("conn_id"), "table": option("table"), "schema": option("schema")}

with DAG(
    dag_id="mwaa_audit_integrity_daily",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=30)},
    tags=["audit", "cloudtrail", "mwaa"],
    doc_md=__doc__,
):
    wait_for_digests = CloudTrailDigestSensor(
        task_id="wait_for_digests",
        **trail,
        mode="reschedule",
        poke_interval=900,
        timeout=timedelta(hours=12).total_seconds(),
    )
    # Everything of the day is delivered now; what is loaded already costs nothing.
    export_audit_events = CloudTrailToSqlOperator(
        task_id="export_audit_events",
        **trail,
        **warehouse,
        # As in the other DAGs: a narrower selection would have them read the same files again.
        include_environment_activity=switched_on("include_environment_activity"),
        staging_uri=option("staging_uri"),
        staging_role=option("staging_role"),
        fail_on_quarantine=False,
    )
    validate_logs = CloudTrailValidateLogsOperator(
        task_id="validate_logs", **trail, **warehouse, staging_uri=option("staging_uri")
    )
    wait_for_digests >> export_audit_events >> validate_logs

    if option("trail_name") is not None:
        CloudTrailCoverageCheckOperator(
            task_id="check_coverage", trail_name=option("trail_name"), aws_conn_id=option("aws_conn_id")
        )
