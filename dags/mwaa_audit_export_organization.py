"""
The daily export for a large organization trail: one task for each account and Region.

The tasks are mapped when the run knows which accounts and Regions have log files, so that a large
organization spreads over the workers of the executor. They write the same table at once, which PostgreSQL
and its like take; a DuckDB file has one writer, there the tasks wait for each other.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_cloudtrail.sensors.cloudtrail import CloudTrailLogFileSensor
from airflow_provider_cloudtrail.settings import listed, option, switched_on
from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task

trail = {
    "bucket": option("bucket"),
    "prefix": option("prefix"),
    "organization_id": option("organization_id"),
    "trail_name": option("trail_name") if option("bucket") is None else None,
    "aws_conn_id": option("aws_conn_id"),
}


@task
def accounts_and_regions() -> list[dict[str, list[str]]]:
    """Return what each mapped task reads."""
    from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook

    hook = CloudTrailHook(aws_conn_id=trail["aws_conn_id"])
    location, accounts = hook.locate(
        trail["bucket"], trail["prefix"], trail["organization_id"], trail["trail_name"], listed("account_ids")
    )
    wanted = listed("regions")
    return [
        {"account_ids": [account], "regions": [region]}
        for account, region in hook.list_accounts_and_regions(location, accounts)
        if wanted is None or region in wanted
    ]


with DAG(
    dag_id="mwaa_audit_export_organization",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["audit", "cloudtrail", "mwaa"],
    doc_md=__doc__,
):
    wait_for_log_files = CloudTrailLogFileSensor(
        task_id="wait_for_log_files",
        **trail,
        account_ids=listed("account_ids"),
        regions=listed("regions"),
        settle=timedelta(hours=1),
        max_files=1,
        mode="reschedule",
        poke_interval=600,
        timeout=timedelta(hours=12).total_seconds(),
    )
    found = accounts_and_regions()
    wait_for_log_files >> found
    CloudTrailToSqlOperator.partial(
        task_id="export_audit_events",
        **trail,
        lookback=timedelta(days=int(option("lookback_days") or 7)),
        include_environment_activity=switched_on("include_environment_activity"),
        conn_id=option("conn_id"),
        table=option("table"),
        schema=option("schema"),
        staging_uri=option("staging_uri"),
        staging_role=option("staging_role"),
        fail_on_quarantine=switched_on("fail_on_quarantine"),
    ).expand_kwargs(found)
