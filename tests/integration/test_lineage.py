"""Lineage as the OpenLineage provider asks for it."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest

from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator
from airflow_provider_cloudtrail.transfers.event_history_to_sql import CloudTrailEventHistoryToSqlOperator

pytest.importorskip("airflow.providers.openlineage", reason="the OpenLineage provider is an extra")


def lineage_of(**arguments):
    task = CloudTrailToSqlOperator(task_id="export", **arguments)
    return task.get_openlineage_facets_on_complete(None)


def test_bucket_to_postgres(monkeypatch):
    warehouse = {"conn_type": "postgres", "host": "db.example", "port": 5433, "schema": "audit", "login": "u"}
    monkeypatch.setenv("AIRFLOW_CONN_CLOUDTRAIL_WAREHOUSE", json.dumps(warehouse))
    lineage = lineage_of(bucket="example-trail", prefix="a/b", schema="logs")

    assert [(found.namespace, found.name) for found in lineage.inputs] == [("s3://example-trail", "a/b/AWSLogs")]
    assert [(found.namespace, found.name) for found in lineage.outputs] == [
        ("postgres://db.example:5433", f"audit.logs.mwaa_audit_events{suffix}")
        for suffix in ("", "_files", "_quarantine")
    ]


def test_a_schema_that_a_template_gives_as_nothing_is_the_default(monkeypatch):
    warehouse = {"conn_type": "postgres", "host": "db.example", "port": 5433, "schema": "audit", "login": "u"}
    monkeypatch.setenv("AIRFLOW_CONN_CLOUDTRAIL_WAREHOUSE", json.dumps(warehouse))
    # The hook would ask the database.
    default = "airflow.providers.postgres.hooks.postgres.PostgresHook.get_openlineage_default_schema"
    monkeypatch.setattr(default, lambda _: "public")
    lineage = lineage_of(bucket="example-trail", schema="None")
    assert lineage.outputs[0].name == "audit.public.mwaa_audit_events"


@pytest.mark.skipif(find_spec("airflow.providers.duckdb") is None, reason="the DuckDB provider is an extra")
def test_files_to_duckdb(monkeypatch):
    warehouse = {"conn_type": "duckdb", "host": "audit.duckdb"}
    monkeypatch.setenv("AIRFLOW_CONN_CLOUDTRAIL_WAREHOUSE", json.dumps(warehouse))
    key = "AWSLogs/1/CloudTrail/eu-west-1/2026/02/03/1_CloudTrail_eu-west-1_20260203T1000Z_Q1w2E3r4.json.gz"
    lineage = lineage_of(files=[f"s3://one/{key}", f"s3://two/{key}"], table="events")

    assert [found.namespace for found in lineage.inputs] == ["s3://one", "s3://two"]
    assert (lineage.outputs[0].namespace, lineage.outputs[0].name) == ("duckdb://audit.duckdb", "events")


def test_event_history_to_postgres(monkeypatch):
    warehouse = {"conn_type": "postgres", "host": "db.example", "port": 5433, "schema": "audit", "login": "u"}
    monkeypatch.setenv("AIRFLOW_CONN_CLOUDTRAIL_WAREHOUSE", json.dumps(warehouse))
    monkeypatch.setattr(CloudTrailHook, "read_account_id", lambda _: "111122223333")
    task = CloudTrailEventHistoryToSqlOperator(task_id="backfill", regions="eu-west-1,us-east-1", schema="logs")
    lineage = task.get_openlineage_facets_on_complete(None)

    assert [(found.namespace, found.name) for found in lineage.inputs] == [
        ("event-history://111122223333", "eu-west-1"),
        ("event-history://111122223333", "us-east-1"),
    ]
    assert [found.name for found in lineage.outputs] == [
        f"audit.logs.mwaa_audit_events{suffix}" for suffix in ("", "_lookups", "_quarantine")
    ]
