"""
Load MWAA audit events as soon as CloudTrail has delivered them, some minutes after the call.

Airflow 3: a watcher in the triggerer starts a run for new log files. Airflow 2: each run defers until there
is one. Both ask the SQS queue ``cloudtrail.queue_url`` if it is set, else they poll the bucket every minute.
Keep ``mwaa_audit_export_daily`` beside it: driven by the ledger, it loads whatever an event did not tell.

Configured through Airflow configuration options; see ``airflow_provider_cloudtrail.settings``. The triggerer
needs the package: installed, or in the plugins folder. Other DAGs can use the table as their schedule:
``schedule=[audit_table("cloudtrail_warehouse", "mwaa_audit_events")]``.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow_provider_cloudtrail.assets import FILES_OF_TRIGGERING_EVENTS, audit_table
from airflow_provider_cloudtrail.sensors.cloudtrail import CloudTrailLogFileSensor
from airflow_provider_cloudtrail.settings import listed, option, switched_on
from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator
from airflow_provider_cloudtrail.triggers.cloudtrail import CloudTrailLogFileTrigger, CloudTrailNotificationTrigger

try:
    from airflow.sdk import DAG, Asset, AssetWatcher
except ImportError:  # Airflow 2
    from airflow import DAG

    AssetWatcher = None

queue_url = option("queue_url")
wanted = {
    "account_ids": listed("account_ids"),
    "regions": listed("regions"),
    "aws_conn_id": option("aws_conn_id"),
}
trail = {
    **wanted,
    "bucket": option("bucket"),
    "prefix": option("prefix"),
    "organization_id": option("organization_id"),
    # Bucket or trail; the check of the trail in mwaa_audit_integrity_daily wants its name as well.
    "trail_name": option("trail_name") if option("bucket") is None else None,
}
warehouse = {"conn_id": option("conn_id"), "table": option("table"), "schema": option("schema")}

if AssetWatcher:
    trigger = None
    if queue_url:
        trigger = CloudTrailNotificationTrigger(queue_url=queue_url, **wanted)
    elif trail["bucket"] or trail["trail_name"]:
        trigger = CloudTrailLogFileTrigger(**trail)
    # Without any of them there is nothing to watch, and no schedule, until one is set.
    watchers = [AssetWatcher(name="new_log_files", trigger=trigger)] if trigger else []
    schedule = [Asset("x-cloudtrail://log-files", watchers=watchers)] if watchers else None
    what = {"files": FILES_OF_TRIGGERING_EVENTS}
else:
    schedule = "@continuous"
    # The ledger knows what was loaded, so that an hour of overlap costs one listing.
    what = {
        "delivered_from": "{{ dag_run.start_date }}",
        "delivered_to": "{{ macros.datetime.utcnow() }}",
        "lookback": timedelta(hours=1),
    }

with DAG(
    dag_id="mwaa_audit_export_on_delivery",
    schedule=schedule,
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    tags=["audit", "cloudtrail", "mwaa"],
    doc_md=__doc__,
):
    export_new_log_files = CloudTrailToSqlOperator(
        task_id="export_new_log_files",
        **trail,
        **warehouse,
        **what,
        staging_uri=option("staging_uri"),
        staging_role=option("staging_role"),
        include_environment_activity=switched_on("include_environment_activity"),
        fail_on_quarantine=switched_on("fail_on_quarantine"),
        outlets=[audit_table(**warehouse)],
    )
    if not AssetWatcher:
        wait_for_log_files = CloudTrailLogFileSensor(
            task_id="wait_for_log_files",
            **trail,
            queue_url=queue_url,
            delivered_from="{{ dag_run.start_date }}",
            delivered_to="{{ dag_run.start_date + macros.timedelta(days=1) }}",
            deferrable=True,
            poke_interval=5 if queue_url else 60,
            timeout=timedelta(hours=12).total_seconds(),
            soft_fail=True,  # a quiet trail is no failure: the next run waits on
        )
        wait_for_log_files >> export_new_log_files
