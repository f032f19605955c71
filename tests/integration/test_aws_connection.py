"""What an AWS connection says is honoured when the bucket is read, whichever client does it."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import boto3
import pytest

from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.sensors.cloudtrail import CloudTrailLogFileSensor
from airflow_provider_cloudtrail.trail import obstore_bucket, s3_store
from airflow_provider_cloudtrail.trail.lookup import Span
from airflow_provider_cloudtrail.trail.obstore_settings import fits_obstore
from airflow_provider_cloudtrail.trail.s3_store import S3Store
from airflow_provider_cloudtrail.trail.store import StoreError
from tests.support.asked_bucket import KEY, Bucket, connect
from tests.support.event_history import NOW, EventHistoryStandIn, served
from tests.support.http_server import http_server
from tests.support.s3 import transport_of


@pytest.fixture
def server():
    class OfThisTest(Bucket):
        asked = SimpleNamespace(seen=[], roles=0)

    with http_server(OfThisTest) as OfThisTest.asked.url:
        yield OfThisTest.asked


def test_endpoint_region_and_credentials(server, reader, monkeypatch):
    hook = connect(monkeypatch, endpoint_url=server.url, region_name="eu-central-1")
    stored = hook.get_store("example-trail").get(KEY)

    assert (stored.body, stored.etag) == (b"content", "abc")
    (path, authorization, _), *others = server.seen
    assert not others, "one object is one request"
    assert path == f"/example-trail/{KEY}"
    assert "Credential=USERKEY/" in authorization
    assert "/eu-central-1/s3/" in authorization


def test_assumed_role(server, reader, monkeypatch):
    role = "arn:aws:iam::111122223333:role/audit"
    services = {name: {"endpoint_url": server.url} for name in ("s3", "sts")}
    hook = connect(monkeypatch, service_config=services, region_name="eu-central-1", role_arn=role)
    store = hook.get_store("example-trail")
    store.get(KEY)
    store.get(KEY)

    assert all("Credential=ROLEKEY/" in authorization for _, authorization, _ in server.seen)
    assert server.roles == 1


def test_botocore_configuration_of_the_task(server, monkeypatch):
    monkeypatch.setattr(s3_store, "OBSTORE_INSTALLED", False)
    connect(monkeypatch, endpoint_url=server.url, region_name="eu-central-1")
    hook = CloudTrailHook(aws_conn_id="audit_reader", config={"user_agent_extra": "from-the-task"})
    hook.get_store("example-trail").get(KEY)
    assert "from-the-task" in server.seen[0][2]["User-Agent"]


def test_role_endpoint_and_botocore_configuration_reach_the_trigger(server, monkeypatch):
    """Also a trigger that was stored between, as in the triggerer, lists the bucket as the worker does."""
    role = "arn:aws:iam::111122223333:role/audit"
    services = {name: {"endpoint_url": server.url} for name in ("s3", "sts")}
    connect(monkeypatch, service_config=services, role_arn=role)
    sensor = CloudTrailLogFileSensor(
        task_id="wait",
        bucket="example-trail",
        organization_id="o-exampleorgid",
        account_ids=["111122223333"],
        regions=["eu-west-1"],
        delivered_from="2026-02-03T00:00:00Z",
        delivered_to="2026-02-04T00:00:00Z",
        aws_conn_id="audit_reader",
        region_name="eu-central-1",
        botocore_config={"user_agent_extra": "from-the-task"},
    )
    deferred = sensor.trigger(datetime.now(timezone.utc) + timedelta(minutes=1))
    _, arguments = deferred.serialize()
    again = type(deferred)(**json.loads(json.dumps(arguments)))

    async def fired():
        return [event.payload async for event in again.run()]

    (event,) = asyncio.run(fired())
    assert (event["status"], len(event["files"])) == ("done", 1)
    ((_, authorization, headers),) = server.seen
    assert "Credential=ROLEKEY/" in authorization
    assert "/eu-central-1/s3/" in authorization
    assert "from-the-task" in {name.lower(): value for name, value in headers.items()}["user-agent"]


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"])
def test_endpoint_of_the_connection_comes_before_that_of_the_environment(server, reader, monkeypatch, variable):
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    hook = connect(monkeypatch, endpoint_url=server.url, region_name="eu-central-1")
    assert hook.get_store("example-trail").get(KEY).body == b"content"


def test_endpoint_of_the_environment(server, reader, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
    hook = connect(monkeypatch, region_name="eu-central-1")
    assert hook.get_store("example-trail").get(KEY).body == b"content"
    assert server.seen[-1][0] == f"/example-trail/{KEY}"


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"AWS_SKIP_SIGNATURE": "true"}, id="nothing is signed"),
        pytest.param({"AWS_REQUEST_PAYER": "true"}, id="who asks pays"),
        pytest.param(
            {
                "AWS_SERVER_SIDE_ENCRYPTION": "sse-c",
                "AWS_SSE_CUSTOMER_KEY_BASE64": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
            },
            id="a key of the customer",
        ),
    ],
)
def test_what_others_than_boto3_read_in_the_environment_is_not_meant(server, reader, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    store = connect(monkeypatch, endpoint_url=server.url, region_name="eu-central-1").get_store("example-trail")
    assert transport_of(store) == reader
    assert store.get(KEY).body == b"content"
    assert len(list(store.objects("AWSLogs/"))) == 1

    assert all("Credential=USERKEY/" in authorization for _, authorization, _ in server.seen)
    headers = {name.lower() for _, _, headers in server.seen for name in headers}
    assert not {name for name in headers if "payer" in name or "encryption" in name}


def test_another_region_than_that_of_the_endpoint_is_found_out(reader, monkeypatch, caplog):
    class OfThisTest(Bucket):
        asked = SimpleNamespace(seen=[], roles=0)

        def do_GET(self) -> None:
            if "/eu-central-1/s3/" in self.headers["Authorization"]:
                super().do_GET()
                return
            body = (
                b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>expecting 'eu-central-1'</Message>"
                b"<Region>eu-central-1</Region></Error>"
            )
            self._answer(body, {"x-amz-bucket-region": "eu-central-1"}, status=400)

    with http_server(OfThisTest) as endpoint:
        hook = connect(monkeypatch, endpoint_url=endpoint, region_name="eu-west-1")
        store = hook.get_store("example-trail")
        assert [store.get(KEY).body for _ in range(3)] == [b"content"] * 3
        assert next(iter(store.objects("AWSLogs/o-exampleorgid/"))).etag == "abc"
        assert store.requests["GET"] == (4 if reader == "obstore" else 3)
        assert caplog.text.count("Set region_name of the connection") == (reader == "obstore")
        # A listing finds it out as well.
        store = hook.get_store("another-trail")
        assert [next(iter(store.objects("AWSLogs/o-exampleorgid/"))).etag for _ in range(2)] == ["abc"] * 2
        assert store.get(KEY).body == b"content"
    assert transport_of(store) == "boto3"
    assert store.requests["GET"] == 1


def test_malformed_keys_are_not_taken_for_another_region(reader, monkeypatch, caplog):
    class OfThisTest(Bucket):
        asked = SimpleNamespace(seen=[], roles=0)

        def do_GET(self) -> None:
            body = (
                b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is malformed; "
                b"the Credential is mal-formed</Message><RequestId>1</RequestId></Error>"
            )
            self._answer(body, {}, status=400)

    with http_server(OfThisTest) as endpoint:
        hook = connect(monkeypatch, endpoint_url=endpoint, region_name="eu-west-1")
        store = hook.get_store("example-trail")
        monkeypatch.setattr(store, "_sleep", lambda _: None)
        with pytest.raises(StoreError, match=rf"{KEY}: AuthorizationHeaderMalformed: .* the Credential is mal-formed$"):
            store.get(KEY)
        with pytest.raises(StoreError, match=r"AuthorizationHeaderMalformed: .* the Credential is mal-formed$"):
            list(store.objects("AWSLogs/o-exampleorgid/"))
    assert "region_name" not in caplog.text


def test_what_can_be_no_bucket_is_named_when_it_is_read(server, reader, monkeypatch):
    hook = connect(monkeypatch, endpoint_url=server.url, region_name="eu-west-1")
    store = hook.get_store("arn:aws:s3:eu-west-1:111122223333:accesspoint")
    monkeypatch.setattr(store, "_sleep", lambda _: None)
    with pytest.raises(StoreError, match="Invalid bucket name"):
        store.get(KEY)


def test_a_proxy_that_boto3_does_not_ask_is_asked_by_neither(monkeypatch):
    client = boto3.client("s3", region_name="eu-west-1", aws_access_key_id="k", aws_secret_access_key="s")
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert not fits_obstore(client)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert fits_obstore(client)


@pytest.mark.parametrize(
    ("bucket", "host", "folder"),
    [
        pytest.param("example-trail", "example-trail.s3.eu-west-1.amazonaws.com", "/", id="bucket"),
        pytest.param("audit-s3alias", "audit-s3alias.s3.eu-west-1.amazonaws.com", "/", id="access point"),
        pytest.param("Example_Trail", "s3.eu-west-1.amazonaws.com", "/Example_Trail/", id="old name"),
    ],
)
def test_both_ask_the_same_host(server, reader, monkeypatch, bucket, host, folder):
    """A network can let a worker ask the host of one bucket alone, and access points have no other."""
    monkeypatch.setenv("HTTP_PROXY", server.url)
    session = boto3.session.Session("USERKEY", "secret", region_name="eu-west-1")
    store = S3Store(session.client("s3", use_ssl=False), bucket, session=session if reader == "obstore" else None)
    assert transport_of(store) == reader
    store.get(KEY)
    assert [listed.etag for listed in store.objects("AWSLogs/o-exampleorgid/")] == ["abc"]
    asked = [
        ({name.lower(): value for name, value in headers.items()}["host"], path) for path, _, headers in server.seen
    ]
    assert {name for name, _ in asked} == {host}
    assert [path for _, path in asked] == [f"{folder}{KEY}", folder.rstrip("/") or "/"]


def test_credentials_that_change_while_a_run_reads(server, reader, monkeypatch):
    monkeypatch.setattr(obstore_bucket, "_CREDENTIALS_LIFETIME", timedelta(seconds=0))
    from botocore.credentials import RefreshableCredentials
    from botocore.session import get_session

    given = []

    def refresh():
        given.append(f"KEY{len(given)}")
        # Always about to expire, so that each use asks again.
        expiry = (datetime.now(timezone.utc) + timedelta(seconds=30)).isoformat()
        return {"access_key": given[-1], "secret_key": "s", "token": "t", "expiry_time": expiry}

    core = get_session()
    core._credentials = RefreshableCredentials.create_from_metadata(refresh(), refresh, "test")
    session = boto3.session.Session(botocore_session=core, region_name="eu-west-1")
    store = S3Store(session.client("s3", endpoint_url=server.url), "example-trail", session=session)
    for _ in range(3):
        store.get(KEY)

    keys = [authorization.partition("Credential=")[2].partition("/")[0] for _, authorization, _ in server.seen]
    assert len(set(keys)) == 3


def test_the_region_of_a_bucket_is_asked_of_s3(monkeypatch):
    """S3 names the Region also in a refusal; the client is made anew for it."""
    from botocore.exceptions import ClientError

    from airflow_provider_cloudtrail.hooks import buckets

    def head_bucket(Bucket):  # noqa: N803
        headers = {"x-amz-bucket-region": "ap-south-1"}
        raise ClientError({"ResponseMetadata": {"HTTPStatusCode": 403, "HTTPHeaders": headers}}, "HeadBucket")

    assert buckets._region_of(SimpleNamespace(head_bucket=head_bucket), "example-trail") == "ap-south-1"


def test_the_region_of_a_bucket_is_not_guessed(monkeypatch):
    """Where S3 does not tell it now, the next attempt of the task asks again."""
    from botocore.exceptions import ClientError

    from airflow_provider_cloudtrail.exceptions import CloudTrailBucketError
    from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
    from airflow_provider_cloudtrail.trail.log_file import TrailLocation

    statuses = [503, 404]

    def make_api_call(client, operation, arguments):
        assert (operation, arguments) == ("HeadBucket", {"Bucket": "example-trail"})
        raise ClientError({"ResponseMetadata": {"HTTPStatusCode": statuses.pop(0), "HTTPHeaders": {}}}, operation)

    connect(monkeypatch)
    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", make_api_call)
    hook = CloudTrailHook(aws_conn_id="audit_reader", region_name="eu-central-1")
    window = DeliveryWindow(NOW - timedelta(days=1), NOW)
    for said in ("bucket example-trail cannot be opened: S3 answers HeadBucket with 503", "there is no bucket"):
        with pytest.raises(CloudTrailBucketError, match=said):
            list(hook.list_log_files(TrailLocation("example-trail"), window))


def test_role_endpoint_and_botocore_configuration_reach_event_history(monkeypatch, tmp_path):
    role = "arn:aws:iam::111122223333:role/audit"
    with served(EventHistoryStandIn()) as stand_in:
        services = {name: {"endpoint_url": stand_in.endpoint} for name in ("cloudtrail", "sts", "ec2")}
        connect(monkeypatch, service_config=services, role_arn=role, region_name="eu-central-1")
        hook = CloudTrailHook(aws_conn_id="audit_reader", config={"user_agent_extra": "from-the-task"})
        history = hook.get_event_history(clock=stand_in.clock)
        regions, account = hook.list_enabled_regions(), hook.read_account_id()
        for region in regions:
            list(history.pages(region, None, Span(NOW - timedelta(days=1), NOW)))

    assert account == "111122223333"
    assert [asked.region for asked in stand_in.asked] == regions == ["ap-south-1", "eu-west-1", "us-east-1"]
    assert {asked.access_key for asked in stand_in.asked} == {"ROLEKEY"}
    assert all("from-the-task" in asked.user_agent for asked in stand_in.asked)
