"""From a trail in S3 to Athena: operators, Airflow's AthenaSQLHook, its driver, the staging folder; kill -9; moto."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
import urllib.request
from typing import Any

import pytest

from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.operators.cloudtrail import CloudTrailValidateLogsOperator
from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator
from airflow_provider_cloudtrail.transfers.event_history_to_sql import CloudTrailEventHistoryToSqlOperator
from airflow_provider_cloudtrail.warehouse.athena_session import AthenaSession
from tests.support.engines import ATHENA, REPOSITORY, airflow_athena_hook, athena_extra, installed, warehouse_of
from tests.support.face import DAY
from tests.support.killing import kill_after
from tests.support.log_files import FolderTrail, event, foreign, key_of, log_bytes
from tests.support.s3 import REGION, client_of
from tests.support.signed_trail import WINDOW, SignedTrail
from tests.support.tables import assert_balanced, query, read_table

pytestmark = pytest.mark.skipif(not ATHENA, reason="needs pyathena, duckdb, pyarrow, sqlglot and moto")


@pytest.fixture
def connections(s3_server, athena_address, monkeypatch) -> dict[str, Any]:
    """Define the connections as an environment has them: that of Athena is completed by that of AWS."""
    place = json.loads(athena_address)
    aws = {
        "conn_type": "aws",
        "login": "AKIAEXAMPLEKEY",
        "password": "secret-of-the-worker",
        "extra": {
            "region_name": REGION,
            "service_config": {"s3": {"endpoint_url": s3_server.endpoint}},
            "config_kwargs": {"s3": {"addressing_style": "path"}},
        },
    }
    athena = {
        "conn_type": "athena",
        "login": "AKIAEXAMPLEKEY",
        "password": "secret-of-the-worker",
        "schema": "audit",
        "extra": athena_extra(place),
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(aws))
    monkeypatch.setenv("AIRFLOW_CONN_ATHENA_WAREHOUSE", json.dumps(athena))
    return place


def left_in(place: dict[str, Any], bucket: str) -> list[str]:
    return [entry["Key"] for entry in client_of(place["s3"]).list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_operator_loads_into_athena(connections, s3_server, athena, athena_address):
    bucket, staging = s3_server.new_bucket(), s3_server.new_bucket()
    client = client_of(s3_server.endpoint)
    for stamp, records in {
        "20260203T1000Z": [event("a"), event("b"), foreign("f"), 7],
        "20260203T1005Z": [event("b"), event("c", userAgent="x" * 300_000)],
    }.items():
        client.put_object(Bucket=bucket, Key=key_of(stamp), Body=log_bytes(*records))
    before = len(athena.statements)

    def load(**arguments):
        given = {"conn_id": "athena_warehouse", "table": "operator_audit", "fail_on_quarantine": False, **arguments}
        return CloudTrailToSqlOperator(task_id="export", bucket=bucket, **DAY, **given).execute({})

    with pytest.raises(ValueError, match="Athena needs staging_uri"):
        load()
    assert athena.statements[before:] == []
    # No role: Athena reads with the caller's rights.
    first, again = (load(staging_uri=f"s3://{staging}/a") for _ in range(2))

    assert (first["records"], first["loaded"], first["duplicate"]) == (6, 3, 1)
    assert (first["filtered"], first["quarantined"]) == (1, 1)
    assert (again["files_read"], again["loaded"]) == (0, 0)
    tables = read_table(warehouse_of("athena", athena_address, "operator_audit"))
    assert_balanced(tables)
    assert tables.event_ids == ["a", "b", "c"]
    assert json.loads(tables.events[2]["raw_event"])["userAgent"] == "x" * 300_000
    assert left_in(connections, staging) == []
    text = "".join(athena.statements[before:])
    assert "AKIAEXAMPLEKEY" not in text
    assert "secret-of-the-worker" not in text


def test_operator_validates_what_is_in_athena(connections, s3_server, athena_address, monkeypatch):
    bucket, staging = s3_server.new_bucket(), s3_server.new_bucket()
    trail = SignedTrail(bucket=bucket).build()
    client = client_of(s3_server.endpoint)
    for key, stored in trail.objects.items():
        client.put_object(Bucket=bucket, Key=key, Body=stored.body, Metadata=stored.metadata)
    monkeypatch.setattr(CloudTrailHook, "list_public_keys", lambda *_: trail.public_keys())
    common = {
        "bucket": bucket,
        "conn_id": "athena_warehouse",
        "table": "validated_audit",
        "staging_uri": f"s3://{staging}/a",
    }
    window = {"delivered_from": WINDOW[0], "delivered_to": WINDOW[1]}
    CloudTrailToSqlOperator(task_id="export", **common, **window).execute({})
    summaries = [CloudTrailValidateLogsOperator(task_id="validate", **common, **window).execute({}) for _ in range(2)]

    warehouse = warehouse_of("athena", athena_address, "validated_audit")
    ((verified,),) = query(warehouse, f"SELECT count(*) FROM {warehouse.files} WHERE digest_status = 'verified'")
    assert verified == summaries[0]["files_verified"] == summaries[1]["files_verified"] > 5
    assert query(warehouse, "SELECT count(*) FROM validated_audit_findings WHERE kind <> 'not_loaded'") == [(0,)]
    assert left_in(connections, staging) == []


def test_other_operators_say_that_the_folder_is_needed(connections):
    common = {"conn_id": "athena_warehouse", "task_id": "t"}
    for operator in (
        CloudTrailValidateLogsOperator(bucket="file:///tmp", **DAY, **common),
        CloudTrailEventHistoryToSqlOperator(regions="eu-west-1", **common),
    ):
        with pytest.raises(ValueError, match="Athena needs staging_uri"):
            operator.execute({})


# -- kill -9 ---------------------------------------------------------------------------------------------


FILES = 60


def test_killed_and_run_again(new_warehouse, athena_address, tmp_path):
    trail = FolderTrail(tmp_path / "trail")
    for number in range(FILES):
        own = [event(f"{number}-{index}", userAgent="x" * 2_000) for index in range(20)]
        bad = [event(eventTime=None)] if number % 11 == 2 else []
        key = trail.deliver(f"20260203T10{number:02}Z", *own, event(f"{number // 2}-0"), foreign(f"f{number}"), *bad)
        if number % 29 == 3:
            trail.put(key.key, b"no gzip")
    undisturbed, warehouse = new_warehouse("athena"), new_warehouse("athena")

    def start(table: str, lines: int | None = None) -> subprocess.Popen[bytes]:
        task = {
            "engine": "athena",
            "address": athena_address,
            "table": table,
            "folder": str(trail.folder),
            "batches": True,
            "lines": lines,
            "limits": {"batch_files": 4},
            "lease": 2,
        }
        command = [sys.executable, "-m", "tests.support.load", json.dumps(task)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0, cwd=REPOSITORY)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    def finish(table: str) -> dict[str, Any]:
        output, _ = start(table).communicate(timeout=600)
        summary: dict[str, Any] = json.loads(output.splitlines()[-1])
        return summary

    started = time.monotonic()
    finish(undisturbed.table)
    of_a_batch = (time.monotonic() - started) / (FILES / 4)
    moments = random.Random(20260203)
    killed = [kill_after(start(warehouse.table, 1), 1, moments.uniform(0, 1.5 * of_a_batch)) for _ in range(5)]
    finish(warehouse.table)
    assert all(killed)
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables == read_table(undisturbed)
    assert finish(warehouse.table)["files_read"] == 0


# -- moto ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not installed("moto"), reason="needs moto's server")
def test_the_way_of_the_api_is_moto_s_too(s3_server):
    columns = [{"Name": "n", "Type": "bigint", "Precision": 0, "Scale": 0, "Nullable": "UNKNOWN"}]
    rows = [{"Data": [{"VarCharValue": "n"}]}, {"Data": [{"VarCharValue": "42"}]}]
    queued = {"results": [{"rows": rows, "column_info": columns}], "region": REGION}
    request = urllib.request.Request(
        f"{s3_server.endpoint}/moto-api/static/athena/query-results",
        json.dumps(queued).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 201
    hook = airflow_athena_hook({"athena": s3_server.endpoint, "bucket": s3_server.new_bucket()})
    connection = hook.get_conn()
    connection.work_group = "primary"
    session = AthenaSession(connection, hook.placeholder)
    session.execute("SELECT %s AS n", [42])
    assert session.fetchall() == [(42,)]
    (query_id,) = connection.client.list_query_executions()["QueryExecutionIds"]
    execution = connection.client.get_query_execution(QueryExecutionId=query_id)["QueryExecution"]
    assert (execution["Query"], execution["QueryExecutionContext"]["Database"]) == ("SELECT 42 AS n", "audit")
    session.stop(query_id)
    session.close()
