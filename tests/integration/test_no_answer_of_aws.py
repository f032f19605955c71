"""What stands between the worker and AWS answers in its place: the error says so, and is one of ours."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta
from types import SimpleNamespace

import boto3
import pytest
from botocore.credentials import DeferredRefreshableCredentials
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from airflow_provider_cloudtrail.exceptions import CloudTrailBucketError, CloudTrailError, CloudTrailQueueError
from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.operators.coverage import CloudTrailCoverageCheckOperator
from airflow_provider_cloudtrail.sensors.cloudtrail import CloudTrailLogFileSensor
from airflow_provider_cloudtrail.trail import s3_store
from airflow_provider_cloudtrail.trail.lookup_errors import Fault, fault_of
from airflow_provider_cloudtrail.trail.s3_store import S3Store
from airflow_provider_cloudtrail.trail.store import StoreError
from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator
from airflow_provider_cloudtrail.triggers import queue
from airflow_provider_cloudtrail.triggers.cloudtrail import CloudTrailNotificationTrigger
from tests.support.face import DAY
from tests.support.http_server import Handler, http_server
from tests.support.s3 import TRANSPORTS
from tests.support.signed_trail import WINDOW

PAGES = {
    "a page": b"<html><body>Please log in</body></html>",
    "a page that is no XML": b"<html><br>Please log in",
    "nothing": b"",
}
SAID = "is no answer of AWS.*a proxy, the endpoint_url of the connection"


def answering(body, status=200):
    class Proxy(Handler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST

    return http_server(Proxy)


@pytest.fixture(params=PAGES.values(), ids=PAGES)
def page(request):
    with answering(request.param) as endpoint:
        yield endpoint


@pytest.fixture
def connect(page, monkeypatch):
    return connecting(page, monkeypatch)


def connecting(page, monkeypatch):
    def make(**extra):
        services = {name: {"endpoint_url": page} for name in ("s3", "sts", "cloudtrail", "sqs", "ec2")}
        extra |= {"service_config": services, "region_name": "eu-west-1"}
        connection = {"conn_type": "aws", "login": "example", "password": "example", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        return CloudTrailHook(aws_conn_id="aws_default")

    return make


def test_role_that_is_assumed(connect, tmp_path, monkeypatch):
    warehouse = {"conn_type": "sqlite", "host": str(tmp_path / "audit.sqlite")}
    monkeypatch.setenv("AIRFLOW_CONN_CLOUDTRAIL_WAREHOUSE", json.dumps(warehouse))
    connect(role_arn="arn:aws:iam::111122223333:role/reader")
    for task in (
        CloudTrailToSqlOperator(task_id="load", bucket="example-trail", **DAY),
        CloudTrailLogFileSensor(task_id="wait", bucket="example-trail", **DAY),
    ):
        with pytest.raises(CloudTrailBucketError, match=f"bucket example-trail cannot be opened: .*{SAID}"):
            task.execute({})


def test_apis(connect, page):
    hook = connect()
    with pytest.raises(CloudTrailError, match=f"GetTrail failed for trail_name='audit'.*{SAID}"):
        hook.resolve_trail("audit")
    with pytest.raises(CloudTrailError, match=f"ListPublicKeys in eu-west-1 failed.*{SAID}"):
        hook.list_public_keys("eu-west-1", WINDOW[0] - timedelta(hours=1), WINDOW[1])
    with pytest.raises(CloudTrailError, match=f"DescribeRegions failed.*{SAID}"):
        hook.list_enabled_regions()
    with pytest.raises(CloudTrailError, match=f"GetCallerIdentity failed.*{SAID}"):
        hook.read_account_id()
    check = CloudTrailCoverageCheckOperator(task_id="check", trail_name="audit", region_name="eu-west-1")
    with pytest.raises(CloudTrailError, match=f"cloudtrail:GetTrail is not answered: .*{SAID}"):
        check.execute({})


def test_queue(connect, page):
    connect()
    task = CloudTrailLogFileSensor(task_id="wait", queue_url=f"{page}/111122223333/log-files", region_name="eu-west-1")
    with pytest.raises(CloudTrailQueueError, match=f"queue .*/log-files: .*{SAID}"):
        task.execute({})


def test_queue_that_is_watched_is_not_asked_again_at_once(connect, page, monkeypatch):
    connect()
    pauses = []

    async def stop(seconds):
        pauses.append(seconds)
        raise asyncio.CancelledError

    monkeypatch.setattr(queue.asyncio, "sleep", stop)
    watcher = CloudTrailNotificationTrigger(queue_url=f"{page}/111122223333/log-files", region_name="eu-west-1")
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(asyncio.wait_for(anext(watcher.run()), 60))
    assert pauses == [2.0]


def test_page_with_the_status_of_an_error(monkeypatch):
    """Its text is no message of AWS: of a page of many lines, the log and the error hold one."""
    with answering(b"<!DOCTYPE html>\n<h1>Bad Gateway</h1>\n<p>Try later</p>\n</html>", status=502) as endpoint:
        hook = connecting(endpoint, monkeypatch)(config_kwargs={"retries": {"total_max_attempts": 1}})
        with pytest.raises(CloudTrailError, match=f"GetTrail failed for trail_name='audit'.*{SAID}") as raised:
            hook.resolve_trail("audit")
        assert "Bad Gateway" not in str(raised.value)
        with pytest.raises(ClientError) as raised:
            hook.conn.lookup_events()
        check = CloudTrailCoverageCheckOperator(task_id="check", trail_name="audit", region_name="eu-west-1")
        with pytest.raises(CloudTrailError, match=f"cloudtrail:GetTrail is not answered: .*{SAID}"):
            check.execute({})
    fault, text = fault_of(raised.value, "eu-west-1")
    assert fault is Fault.NO_ANSWER
    assert re.fullmatch(rf"eu-west-1: what was answered {SAID}\)", text)


@pytest.mark.parametrize("error", [ResponseParserError("no XML"), KeyError("Credentials")], ids=["page", "no page"])
def test_role_that_is_assumed_anew_for_event_history(error):
    fault, text = fault_of(error, "eu-west-1")
    assert fault is Fault.NO_ANSWER
    assert re.match(f"eu-west-1: what was answered {SAID}", text)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_role_that_is_assumed_anew(connect, page, transport, monkeypatch):
    """In the middle of a run, when the credentials of a role have expired."""
    monkeypatch.setattr(s3_store, "OBSTORE_INSTALLED", False)
    hook = connect()
    client = hook.get_store("example-trail")._client
    sts = boto3.client(
        "sts", "eu-west-1", endpoint_url=page, aws_access_key_id="example", aws_secret_access_key="example"
    )
    expired = DeferredRefreshableCredentials(
        lambda: sts.assume_role(RoleArn="arn:aws:iam::111122223333:role/reader", RoleSessionName="audit"), "assume-role"
    )
    client._request_signer._credentials = expired
    settings = SimpleNamespace(get_config_variable=lambda _: None)
    session = SimpleNamespace(get_credentials=lambda: expired, _session=settings)
    monkeypatch.setattr(s3_store, "OBSTORE_INSTALLED", transport == "obstore")
    store = S3Store(client, "example-trail", session=session, sleep=lambda _: None)
    for ask in (lambda: store.folders("AWSLogs/"), lambda: list(store.objects("AWSLogs/")), lambda: store.get("a/b")):
        with pytest.raises(StoreError, match=r"s3://example-trail/(AWSLogs/|a/b): .*(ResponseParserError|KeyError)"):
            ask()
