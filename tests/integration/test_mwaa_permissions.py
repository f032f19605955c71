"""The IAM statements are those that the code needs: what it calls is recorded, and held against them."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from datetime import timedelta
from types import SimpleNamespace

import pytest

from airflow_provider_cloudtrail._compat import BaseHook
from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.mwaa.permissions import (
    ATHENA,
    BULK_LOAD,
    COVERAGE,
    EVENT_HISTORY,
    EXPORT,
    ICEBERG_GLUE,
    NOTIFICATIONS,
    STATEMENTS,
    VALIDATION,
)
from airflow_provider_cloudtrail.operators.athena import AthenaCloudTrailTableOperator
from airflow_provider_cloudtrail.operators.cloudtrail import CloudTrailValidateLogsOperator
from airflow_provider_cloudtrail.sensors.cloudtrail import CloudTrailDigestSensor, CloudTrailLogFileSensor
from airflow_provider_cloudtrail.trail import s3_store
from airflow_provider_cloudtrail.trail.lookup import Span
from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator
from airflow_provider_cloudtrail.warehouse.staging import DEFAULT_ROLE, StagingFolder
from tests.support import engines
from tests.support.aws_stand_in import stand_in
from tests.support.deployment import Deployer, use_package_of
from tests.support.engines import REPOSITORY, SqliteHook, installed
from tests.support.event_history import NOW, EventHistoryStandIn, served
from tests.support.face import connection_of
from tests.support.log_files import event, foreign, id_of
from tests.support.moto_trail import MANAGEMENT, REGION, Trail, advanced, boto_client
from tests.support.mwaa_stand_in import mwaa_stand_in
from tests.support.signed_trail import WINDOW, SignedTrail

README = REPOSITORY / "airflow_provider_cloudtrail" / "mwaa" / "README.md"
# Operations whose IAM action has another name (Service Authorization Reference).
ACTIONS = {
    ("s3", "ListObjectsV2"): "s3:ListBucket",
    ("s3", "HeadBucket"): "s3:ListBucket",
    # Head asks for what Get would give.
    ("s3", "HeadObject"): "s3:GetObject",
    ("sqs", "DeleteMessageBatch"): "sqs:DeleteMessage",
    ("s3", "GetPublicAccessBlock"): "s3:GetBucketPublicAccessBlock",
    ("s3", "GetBucketLifecycleConfiguration"): "s3:GetLifecycleConfiguration",
}


def allowed(*features):
    return {action for statement in STATEMENTS if statement.feature in features for action in statement.actions}


@pytest.fixture
def called(monkeypatch):
    """Record the actions behind whatever botocore sends, by the name of what is running."""
    from botocore.client import BaseClient

    recorded = defaultdict(set)
    recorded["now"] = ""
    original = BaseClient._make_api_call

    def record(client, operation, parameters):
        service = client.meta.service_model.signing_name
        recorded[recorded["now"]].add(ACTIONS.get((service, operation), f"{service}:{operation}"))
        return original(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", record)
    return recorded


def connect(monkeypatch, hook, **endpoints):
    services = {service: {"endpoint_url": endpoint} for service, endpoint in endpoints.items()}
    extra = {"region_name": REGION, "service_config": services}
    connection = {"conn_type": "aws", "login": "example", "password": "example", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AUDIT_READER", json.dumps(connection))
    original = BaseHook.get_connection.__func__
    warehouse = connection_of(hook)

    def get_connection(cls, conn_id):
        return warehouse if conn_id == "cloudtrail_warehouse" else original(cls, conn_id)

    monkeypatch.setattr(BaseHook, "get_connection", classmethod(get_connection))


@pytest.mark.skipif(not installed("moto"), reason="needs moto's server")
def test_role_may_do_what_the_code_calls_and_nothing_else(s3_server, called, monkeypatch, tmp_path):
    # obstore fetches objects beside botocore, with the same GetObject (test_s3_requests.py counts them).
    monkeypatch.setattr(s3_store, "OBSTORE_INSTALLED", False)
    monkeypatch.setattr(CloudTrailToSqlOperator, "_persist_links", lambda *_: None)
    trail = SignedTrail().build()
    window = {"delivered_from": WINDOW[0], "delivered_to": WINDOW[1]}
    common = {"bucket": trail.bucket, "aws_conn_id": "audit_reader"}
    with stand_in() as aws:
        aws.serve(trail)
        cloudtrail = f"{aws.endpoint}/-cloudtrail-/{trail.bucket}"
        connect(monkeypatch, SqliteHook(tmp_path / "audit.sqlite"), s3=aws.endpoint, cloudtrail=cloudtrail)
        called["now"] = EXPORT
        assert CloudTrailLogFileSensor(task_id="wait", **common, **window).poke({})
        CloudTrailToSqlOperator(task_id="export", **common, **window, fail_on_quarantine=False).execute({})
        called["now"] = VALIDATION
        instance = SimpleNamespace(dag_id="d", task_id="t", run_id="r", xcom_push=lambda **_: None)
        CloudTrailDigestSensor(task_id="digests", **common, until=WINDOW[1]).poke({"ti": instance})
        CloudTrailValidateLogsOperator(task_id="validate", **common, **window, fail_on=()).execute({"ti": instance})
    called["now"] = "not the role"
    queue = boto_client("sqs", s3_server.endpoint).create_queue(QueueName="log-files")["QueueUrl"]
    boto_client("sqs", s3_server.endpoint).send_message(QueueUrl=queue, MessageBody="{}")
    connect(monkeypatch, SqliteHook(tmp_path / "none.sqlite"), sqs=s3_server.endpoint)
    # The trigger asks for the same, by aiobotocore.
    called["now"] = NOTIFICATIONS
    hook = CloudTrailHook(aws_conn_id="audit_reader")
    hook.delete_messages(queue, [message.receipt for message in hook.receive_messages(queue)])
    called["now"] = "not the role"
    coverage = Trail(s3_server.endpoint)
    coverage.select(AdvancedEventSelectors=[MANAGEMENT, advanced("Data")])
    connect(monkeypatch, SqliteHook(tmp_path / "none.sqlite"), s3=s3_server.endpoint, cloudtrail=s3_server.endpoint)
    called["now"] = COVERAGE
    coverage.check()
    called["now"] = "not the role"
    coverage.delete()

    assert called[EXPORT] == allowed(EXPORT)
    assert allowed(VALIDATION) <= called[VALIDATION] <= allowed(EXPORT, VALIDATION)
    assert called[NOTIFICATIONS] == allowed(NOTIFICATIONS)
    assert allowed(COVERAGE) <= called[COVERAGE] <= allowed(EXPORT, COVERAGE)


def test_role_may_do_what_event_history_asks(called, monkeypatch, tmp_path):
    with served(EventHistoryStandIn()) as server:
        endpoints = dict.fromkeys(("cloudtrail", "sts", "ec2"), server.endpoint)
        connect(monkeypatch, SqliteHook(tmp_path / "none.sqlite"), **endpoints)
        hook = CloudTrailHook(aws_conn_id="audit_reader")
        history = hook.get_event_history(clock=server.clock)
        called["now"] = EVENT_HISTORY
        hook.read_account_id()
        for region in hook.list_enabled_regions():
            list(history.pages(region, None, Span(NOW - timedelta(days=1), NOW)))
    # Whoever has credentials may ask whose they are.
    assert called[EVENT_HISTORY] - {"sts:GetCallerIdentity"} == allowed(EVENT_HISTORY)


@pytest.mark.skipif(not installed("moto"), reason="needs moto's server")
def test_role_may_do_what_staging_asks(s3_server, called):
    bucket = s3_server.new_bucket()
    client = boto_client("s3", s3_server.endpoint)
    folder = StagingFolder(f"s3://{bucket}/staging", DEFAULT_ROLE, lambda _: (client, REGION))
    called["now"] = BULK_LOAD
    with folder.load() as files:
        files.put("rows.json.gz", b"{}")
    assert called[BULK_LOAD] == allowed(BULK_LOAD)


# What Athena asks of Glue for a statement, with the rights of its caller
# (https://docs.aws.amazon.com/athena/latest/ug/fine-grained-access-to-glue-resources.html); a change of an Iceberg
# table is one of its entry in Glue.
BEHIND = {
    "CREATE": {
        *("glue:CreateTable", "glue:GetDatabase", "glue:GetDatabases"),
        *("glue:GetPartitions", "glue:GetTable", "glue:GetTables"),
    },
    "ALTER": {"glue:GetDatabase", "glue:GetTable", "glue:UpdateTable"},
    "DROP": {"glue:DeleteTable", "glue:GetDatabase", "glue:GetTable"},
    "MERGE": {"glue:GetDatabase", "glue:GetTable", "glue:UpdateTable"},
    "SELECT": {"glue:GetDatabase", "glue:GetTable"},
    "WITH": {"glue:GetDatabase", "glue:GetTable"},
}
OF_METHODS = {
    "GET": "s3:GetObject",
    "HEAD": "s3:GetObject",
    "PUT": "s3:PutObject",
    "POST": "s3:PutObject",
    "DELETE": "s3:DeleteObject",
}


def asked_of(bucket, requests):
    """Return the actions behind requests to a bucket: those on itself, and those on its objects."""
    on_bucket, on_objects = set(), set()
    for method, path, query in requests:
        _, name, key = (*path.split("/", 2), "")[:3]
        if name != bucket:
            continue
        if key:
            on_objects.add(OF_METHODS[method])
        else:
            assert (method, "list-type" in query) in (("GET", True), ("HEAD", False)), (method, query)
            on_bucket.add("s3:ListBucket")
    return on_bucket, on_objects


def allowed_on(resource, *features):
    return {
        action
        for statement in STATEMENTS
        if statement.feature in features and statement.resource == resource
        for action in statement.actions
    }


@pytest.mark.skipif(not engines.ATHENA, reason="needs pyathena, duckdb, pyarrow, sqlglot and moto")
def test_role_may_do_what_athena_is_asked(called, athena, athena_address, s3_server, monkeypatch):
    from tests.support.lake import Lake

    place = json.loads(athena_address) | {"bucket": s3_server.new_bucket()}
    lake = Lake(athena, place, monkeypatch)
    lake.staging_uri = f"s3://{s3_server.new_bucket()}/staging"
    lake.deliver("20260203T1000Z", event(id_of(1)), foreign(id_of(2)))
    # For the worker path, and too long for a statement: it is staged.
    odd = {"eventTime": "2026-02-03T10:58:00.25Z", "userAgent": "x" * 300_000}
    lake.deliver("20260203T1100Z", event(id_of(3), **odd))
    bucket, folder = lake.staging_uri.removeprefix("s3://").split("/")
    stopped, before = next(iter(athena.queries), "unknown"), len(athena.statements)
    s3_server.requests()
    called["now"] = ATHENA
    assert lake.events().execute({})["loaded"] == 1
    assert lake.export().execute({})["loaded"] == 1
    called["now"] = "not the role"
    requests = s3_server.requests()
    # A column of a newer version, and the lock of a writer that was killed.
    lake.drop_column("user_agent")
    lock = {"owner": "x", "queries": [stopped], "lease": 0, "at": 0}
    key = f"{folder}/cloudtrail-locks/audit.{lake.table}.json"
    lake.s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(lock))
    time.sleep(1.1)
    lake.deliver("20260203T1200Z", event(id_of(4)))
    s3_server.requests()
    called["now"] = ATHENA
    assert lake.events().execute({})["loaded"] == 1
    requests += s3_server.requests()

    behind = set().union(*(BEHIND[text.split()[0]] for text in athena.statements[before:]))
    assert {action for action in called[ATHENA] if action.startswith("athena:")} == (
        (allowed_on("{workgroup}", ATHENA) | allowed_on("{data_catalog}", ATHENA)) - {"athena:GetDataCatalog"}
    )
    # Queries name their catalog (https://docs.aws.amazon.com/athena/latest/ug/datacatalogs-example-policies.html).
    assert {query.catalog for query in list(athena.queries.values())[before:]} == {"AwsDataCatalog"}
    assert "athena:GetDataCatalog" in allowed_on("{data_catalog}", ATHENA)
    assert {action for action in called[ATHENA] if action.startswith("glue:")} == {"glue:GetDatabase"} < behind
    for glue in ("{glue}:catalog", "{glue}:database/{database}", "{glue}:table/{database}/*"):
        assert allowed_on(glue, ATHENA) == behind
    on_bucket, on_objects = asked_of(bucket, requests)
    assert on_objects == allowed_on("{staging}", ATHENA, BULK_LOAD)
    # The rest of S3 is what Athena does beyond its API, which the stand-in does not do there.
    assert on_bucket == allowed_on("{staging_bucket}", ATHENA) - {"s3:GetBucketLocation"}
    assert asked_of(lake.bucket, requests)[1] <= allowed(EXPORT)


@pytest.mark.skipif(not engines.ATHENA, reason="needs pyathena, duckdb, pyarrow, sqlglot and moto")
def test_role_may_do_what_the_table_of_a_trail_asks(called, athena, athena_address, monkeypatch):
    from moto import mock_aws

    from tests.support.lake import Lake

    Lake(athena, json.loads(athena_address), monkeypatch)
    extra = {"region_name": REGION, "s3_staging_dir": "s3://example-results/", "poll_interval": 0.01}
    entry = {"conn_type": "athena", "schema": "audit", "login": "x", "password": "y", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(entry))
    given = {"bucket": "example-trail", "account_ids": "111122223333", "regions": REGION, "table": "logs"}
    with mock_aws():
        called["now"] = ATHENA
        AthenaCloudTrailTableOperator(task_id="table", conn_id="lake", aws_conn_id="trail", **given).execute({})
    assert called[ATHENA]
    assert called[ATHENA] <= allowed(ATHENA)


@pytest.mark.skipif(not engines.ICEBERG_GLUE, reason="needs pyiceberg and moto's server")
def test_role_may_do_what_iceberg_in_glue_asks(called, new_warehouse, s3_server):
    from tests.support.iceberg_tasks import again, at_commits
    from tests.support.rows import file_rows

    warehouse = new_warehouse("iceberg-glue")
    bucket = json.loads(warehouse.hook.uri)["warehouse"].removeprefix("s3://").partition("/")[0]
    others = [[file_rows("20260203T1010Z", event("c"))]]

    def interfere(_, commit):
        if others:
            again(warehouse).write(others.pop())
        return commit()

    s3_server.requests()
    called["now"] = ICEBERG_GLUE
    warehouse.prepare()
    for stamp in ("20260203T1000Z", "20260203T1005Z"):
        warehouse.write([file_rows(stamp, event("a"), 7)])
    # What a commit that is overtaken had written is removed.
    with at_commits(warehouse, interfere):
        warehouse.write([file_rows("20260203T1015Z", event("d"))])
    on_bucket, on_objects = asked_of(bucket, s3_server.requests())

    # pyarrow talks to S3 by itself.
    for glue in ("{glue}:catalog", "{glue}:database/{database}", "{glue}:table/{database}/*"):
        assert allowed_on(glue, ICEBERG_GLUE) == called[ICEBERG_GLUE]
    assert on_objects == allowed_on("{tables}", ICEBERG_GLUE)
    assert on_bucket == allowed_on("{tables_bucket}", ICEBERG_GLUE)


@pytest.mark.skipif(not installed("moto", "werkzeug"), reason="needs moto's server")
def test_readme_names_what_whoever_deploys_needs(called, monkeypatch, tmp_path):
    with mwaa_stand_in() as server:
        for name, value in server.variables().items():
            monkeypatch.setenv(name, value)
        deployer = Deployer(server, server.create(), tmp_path)
        deployer.use_customers_files()
        use_package_of(deployer, monkeypatch)
        for mode in ("copy", "wheel", "copy"):
            assert deployer("deploy", "--mode", mode) == 0
        deployer.environment.outcome = "failure"
        assert deployer("deploy", "--mode", "wheel") == 5
        deployer("verify")
        needed = called[""] | {"s3:GetObjectVersion"}
        called["now"] = "plan"
        assert deployer("plan", "--mode", "copy") == 0
        assert called["plan"] - needed == {"iam:SimulatePrincipalPolicy"}
    (paragraph,) = [part for part in README.read_text().split("\n\n") if part.startswith("Whoever deploys")]
    assert set(re.findall(r"`((?:airflow|s3|iam):\w+)`", paragraph)) == needed | called["plan"]
