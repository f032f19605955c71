"""
Load what MWAA did in the last 90 days from CloudTrail's Event history, without any trail.

Trigger it once before the first daily export, or give it a schedule in an account that has no trail: each run
reads only what is missing. Event history has no data events: who created, changed or deleted environments is in
it, UI logins, CLI tokens and REST calls are not. Reads ``[cloudtrail] regions`` (unset: all that are enabled in
the account) and the options of the warehouse; see ``airflow_provider_cloudtrail.settings``.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow_provider_cloudtrail.settings import listed, option, switched_on
from airflow_provider_cloudtrail.transfers.event_history_to_sql import CloudTrailEventHistoryToSqlOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

with DAG(
    dag_id="mwaa_audit_event_history_backfill",
    schedule=None,  # without a trail: "@daily"
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    # Two runs at once would share the account's two requests a second.
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["audit", "cloudtrail", "mwaa"],
    doc_md=__doc__,
):
    load_event_history = CloudTrailEventHistoryToSqlOperator(
        task_id="load_event_history",
        regions=listed("regions"),
        include_environment_activity=switched_on("include_environment_activity"),
        aws_conn_id=option("aws_conn_id"),
        conn_id=option("conn_id"),
        table=option("table"),
        schema=option("schema"),
        staging_uri=option("staging_uri"),
        staging_role=option("staging_role"),
        fail_on_quarantine=switched_on("fail_on_quarantine"),
    )
