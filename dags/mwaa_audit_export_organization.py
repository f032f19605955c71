"""
The daily export for a large organization trail: one task for each account, with all its Regions.

The tasks are mapped when the run knows which accounts have log files, so that a large organization spreads
over the workers of the executor. The number of these accounts decides how many tasks there are, up to
``MOST_TASKS``; where there are more accounts, a task takes several. They write the same table at once, which
PostgreSQL and its like take; a DuckDB file has one writer, there the tasks wait for each other.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_provider_cloudtrail.sensors.cloudtrail import CloudTrailLogFileSensor
from airflow_provider_cloudtrail.settings import listed, option, switched_on, whole_number
from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.decorators import task

# Airflow refuses to map more than [core] max_map_length (1024 by default), and then nothing is exported.
MOST_TASKS = 200

trail = {
    "bucket": option("bucket"),
    "prefix": option("prefix"),
    "organization_id": option("organization_id"),
    "trail_name": option("trail_name") if option("bucket") is None else None,
    "aws_conn_id": option("aws_conn_id"),
}


@task
def accounts() -> list[list[str]]:
    """Return the accounts that each mapped task reads."""
    from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook

    hook = CloudTrailHook(aws_conn_id=trail["aws_conn_id"])
    location, account_ids = hook.locate(
        trail["bucket"], trail["prefix"], trail["organization_id"], trail["trail_name"], listed("account_ids")
    )
    wanted = listed("regions")
    pairs = hook.list_accounts_and_regions(location, account_ids)
    found = sorted({account for account, region in pairs if wanted is None or region in wanted})
    tasks = min(len(found), MOST_TASKS)
    return [found[first::tasks] for first in range(tasks)]


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
    found = accounts()
    wait_for_log_files >> found
    CloudTrailToSqlOperator.partial(
        task_id="export_audit_events",
        **trail,
        regions=listed("regions"),
        lookback=timedelta(days=whole_number("lookback_days")),
        include_environment_activity=switched_on("include_environment_activity"),
        conn_id=option("conn_id"),
        table=option("table"),
        schema=option("schema"),
        staging_uri=option("staging_uri"),
        staging_role=option("staging_role"),
        fail_on_quarantine=switched_on("fail_on_quarantine"),
    ).expand(account_ids=found)
