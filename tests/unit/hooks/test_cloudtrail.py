from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from botocore.config import Config
from botocore.stub import Stubber

from airflow_provider_cloudtrail.exceptions import (
    CloudTrailBucketError,
    CloudTrailError,
    CloudTrailLogFileError,
    CloudTrailTrailNotFoundError,
)
from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.operators.cloudtrail import CloudTrailCoverageCheckOperator
from airflow_provider_cloudtrail.trail.log_file import TrailLocation
from airflow_provider_cloudtrail.windows import window
from tests.support.face import DAY
from tests.support.log_files import event as record
from tests.support.log_files import key_of, log_bytes
from tests.support.ports import reserved_port
from tests.support.s3 import silent_server
from tests.support.signed_trail import WINDOW


@pytest.fixture
def hook(monkeypatch):
    monkeypatch.setenv(
        "AIRFLOW_CONN_AWS_DEFAULT",
        json.dumps({
            "conn_type": "aws",
            "login": "access-key",
            "password": "secret-key",
            "extra": {"region_name": "eu-west-1"},
        }),
    )
    return CloudTrailHook()


def described(**members):
    return {
        "Trail": {
            "Name": "audit",
            "S3BucketName": "example-trail",
            "TrailARN": "arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit",
            "IsOrganizationTrail": False,
            **members,
        }
    }


@pytest.mark.parametrize(
    ("members", "prefix", "accounts"),
    [
        pytest.param({}, "", ["111122223333"], id="account"),
        pytest.param({"S3KeyPrefix": "audit/logs"}, "audit/logs", ["111122223333"], id="prefix"),
        pytest.param({"IsOrganizationTrail": True}, "", None, id="organization"),
    ],
)
def test_resolves_a_trail(hook, members, prefix, accounts):
    with Stubber(hook.conn) as stubber:
        stubber.add_response("get_trail", described(**members), {"Name": "audit"})
        location, found = hook.locate(None, "", None, "audit", None)
    assert location == TrailLocation("example-trail", prefix)
    assert found == accounts


def test_unknown_trail(hook):
    with Stubber(hook.conn) as stubber:
        stubber.add_client_error("get_trail", "TrailNotFoundException")
        with pytest.raises(CloudTrailTrailNotFoundError, match="named by its ARN"):
            hook.resolve_trail("audit")


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(lambda stubber: stubber.add_client_error("get_trail", "AccessDeniedException"), id="refused"),
        pytest.param(lambda stubber: stubber.add_response("get_trail", described(), {"Name": "other"}), id="no answer"),
    ],
)
def test_a_trail_that_cannot_be_asked_for_says_what_to_do(hook, failure):
    with Stubber(hook.conn) as stubber:
        failure(stubber)
        with pytest.raises(
            CloudTrailError,
            match=r"(?s)GetTrail failed for trail_name='audit'.*\. GetTrail has to be allowed.* or give bucket",
        ):
            hook.resolve_trail("audit")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(lambda hook, day: hook.list_log_files("my-bucket", day), "write TrailLocation", id="bucket"),
        pytest.param(lambda hook, _: hook.list_accounts_and_regions("my-bucket"), "write TrailLocation", id="pairs of"),
        pytest.param(lambda hook, day: hook.list_log_files(TrailLocation(None), day), "bucket=None is no", id="none"),
        pytest.param(
            lambda hook, day: hook.list_log_files(TrailLocation("s3://b"), day), "bucket='s3://b' is no", id="URI"
        ),
        pytest.param(
            lambda hook, _: hook.list_accounts_and_regions(TrailLocation("b", organization_id="example")),
            "organization_id='example' is no organization",
            id="no organization",
        ),
        pytest.param(
            lambda hook, day: hook.list_log_files(TrailLocation("b"), (day.start, day.end)),
            "no DeliveryWindow",
            id="pair",
        ),
        pytest.param(lambda hook, _: hook.read_log_file(None), "'None' is not the URI of an object", id="no file"),
        pytest.param(
            lambda hook, _: hook.read_log_file(f"s3://b/{key_of()}", max_file_bytes="5"), "='5' is no size", id="size"
        ),
        pytest.param(lambda hook, _: hook.resolve_trail("None"), "trail_name is not set", id="no trail"),
        pytest.param(lambda hook, _: hook.receive_messages(None), "queue_url is not set", id="no queue"),
        pytest.param(lambda hook, _: hook.receive_messages("arn:aws:sqs:x:1:q"), "no URL of a queue", id="ARN of one"),
        pytest.param(lambda hook, _: hook.delete_messages(None, ["a"]), "queue_url is not set", id="none to delete of"),
    ],
)
def test_what_the_hook_cannot_take_is_named(hook, call, message):
    with pytest.raises(ValueError, match=message):
        list(call(hook, window(*DAY.values(), timedelta(0), timedelta(0))))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        pytest.param("{}", "no dictionary but of type str", id="text"),
        pytest.param([], "no dictionary but of type list", id="list"),
        pytest.param({"timeout": 3}, "unexpected keyword argument 'timeout'", id="unknown"),
        pytest.param({3: 3}, "keywords must be strings", id="number"),
        pytest.param({"retries": {"max_attempts": -3}}, "greater than or equal to 0", id="negative"),
        pytest.param({"retries": 3}, "not taken by botocore", id="no-retries"),
    ],
)
def test_a_configuration_that_botocore_does_not_take_is_named(config, message):
    hidden = {"proxies": {"https": "http://user:hunter-2@proxy"}} if isinstance(config, dict) else {}
    with pytest.raises(ValueError, match=f"botocore_config.*{message}.*; write a dictionary") as raised:
        CloudTrailHook(config={**config, **hidden} if hidden else config)
    assert "hunter-2" not in str(raised.value)


def test_lists_both_layouts_of_a_bucket_and_prefixes_with_slashes(trail):
    roots = ("a/b/AWSLogs/", "a/b/AWSLogs/o-exampleorg/")
    uris = [trail.deliver("20260203T1200Z", record(root), root=root).uri for root in roots]
    trail.deliver("20260203T1200Z", record("elsewhere"))
    day = window(DAY["delivered_from"], DAY["delivered_to"], timedelta(0), timedelta(0))

    everything = CloudTrailHook().list_log_files(TrailLocation(trail.bucket, "a/b"), day)
    assert [file.uri for file in everything] == uris
    organization = CloudTrailHook().list_log_files(TrailLocation(trail.bucket, "a/b", "o-exampleorg"), day)
    assert [file.uri for file in organization] == uris[1:]


@pytest.mark.parametrize(
    ("stamp", "day", "begin", "end"),
    [
        pytest.param("20260203T0010Z", "2026/02/02", "2026-02-03T00:00:00Z", "2026-02-04T00:00:00Z", id="behind"),
        pytest.param("20260203T2340Z", "2026/02/04", "2026-02-03T23:00:00Z", "2026-02-03T23:45:00Z", id="ahead"),
    ],
)
def test_lists_what_lies_in_the_folder_of_a_neighbouring_day(trail, stamp, day, begin, end):
    key = key_of(stamp).replace("/2026/02/03/", f"/{day}/")
    trail.put(key, log_bytes(record("a")))
    span = window(begin, end, timedelta(0), timedelta(0))
    assert [file.key for file in CloudTrailHook().list_log_files(TrailLocation(trail.bucket), span)] == [key]


def test_lists_accounts_and_regions(trail):
    trail.deliver("20260203T1200Z", record("a"))
    trail.deliver("20260203T1200Z", record("b"), account="444455556666", region="us-east-1", root="AWSLogs/o-example/")
    pairs = CloudTrailHook().list_accounts_and_regions(TrailLocation(trail.bucket))
    assert pairs == [("111122223333", "eu-west-1"), ("444455556666", "us-east-1")]


@pytest.mark.parametrize("missing", [None, "", "None"])
def test_what_is_missing_of_a_place_selects_nothing_less(trail, missing):
    trail.deliver("20260203T1000Z", record("a"))
    place = TrailLocation(trail.bucket, "" if missing == "None" else missing, missing)
    assert len(CloudTrailHook().list_accounts_and_regions(place)) == 1


def test_one_account_and_region_are_taken_without_a_list(trail):
    """A text is a collection of its characters: nothing was found, without a word."""
    trail.deliver("20260203T1200Z", record("a"))
    location, day = TrailLocation(trail.bucket), window(*DAY.values(), timedelta(0), timedelta(0))
    hook = CloudTrailHook()
    (file,) = hook.list_log_files(location, day, "111122223333", "eu-west-1")
    assert hook.list_accounts_and_regions(location, "111122223333") == [(file.account_id, file.region)]


def test_accounts_and_regions_that_can_be_none_are_refused(trail):
    location, day = TrailLocation(trail.bucket), window(*DAY.values(), timedelta(0), timedelta(0))
    hook = CloudTrailHook()
    with pytest.raises(ValueError, match="regions: 'eu-west1' is no Region"):
        list(hook.list_log_files(location, day, None, ["eu-west1"]))
    with pytest.raises(ValueError, match="account_ids: '1' is no account"):
        list(hook.list_log_files(location, day, ["1"]))
    with pytest.raises(ValueError, match="account_ids: '1' is no account"):
        hook.list_accounts_and_regions(location, "1")


def test_reads_one_log_file_as_records(trail):
    uri = trail.deliver("20260203T1200Z", record("a"), record("b", eventSource="s3.amazonaws.com")).uri
    assert [found["eventID"] for found in CloudTrailHook().read_log_file(uri)] == ["a", "b"]


def test_a_damaged_log_file_is_named(trail):
    uri = trail.put(key_of("20260203T1200Z"), b"x").uri
    with pytest.raises(CloudTrailLogFileError, match=f"{uri}: not a gzip file"):
        list(CloudTrailHook().read_log_file(uri))


def test_public_keys_come_from_the_signing_region_page_by_page(monkeypatch):
    hook = CloudTrailHook(aws_conn_id=None)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "example")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    regions = []
    real = CloudTrailHook.conn.func

    def conn(hook):
        client = real(hook)
        regions.append(client.meta.region_name)
        stub = Stubber(client)
        window = {"StartTime": WINDOW[0], "EndTime": WINDOW[1]}
        stub.add_response(
            "list_public_keys", {"PublicKeyList": [{"Fingerprint": "a", "Value": b"1"}], "NextToken": "n"}, window
        )
        stub.add_response(
            "list_public_keys",
            {"PublicKeyList": [{"Fingerprint": "b", "Value": b"2", "ValidityEndTime": WINDOW[1]}]},
            {**window, "NextToken": "n"},
        )
        stub.activate()
        return client

    monkeypatch.setattr(CloudTrailHook, "conn", property(conn))
    keys = list(hook.list_public_keys("ap-southeast-2", *WINDOW))
    assert regions == ["ap-southeast-2"]
    assert [(key.fingerprint, key.der, key.valid_to) for key in keys] == [("a", b"1", None), ("b", b"2", WINDOW[1])]


def test_a_missing_connection_is_no_reason_to_use_other_credentials(hook, monkeypatch):
    with pytest.raises(CloudTrailError, match="no connection aws_conn_id='audit_reader'"):
        CloudTrailHook(aws_conn_id="audit_reader").get_store("example-trail")
    with pytest.raises(CloudTrailError, match="no connection aws_conn_id='audit_reader'"):
        CloudTrailHook(aws_conn_id="audit_reader").resolve_trail("audit")


@pytest.mark.parametrize(("written", "verify"), [("False", False), ("true", True), ("None", None), ("", None)])
def test_what_templates_make_of_tls_is_no_ca_bundle(hook, written, verify):
    assert CloudTrailHook(verify=written).verify is verify
    assert CloudTrailHook(verify="/etc/ssl/bundle.pem").verify == "/etc/ssl/bundle.pem"


@pytest.mark.parametrize("missing", ["None", ""])
def test_a_region_that_a_template_does_not_find_is_that_of_the_connection(hook, missing):
    assert CloudTrailHook(region_name=missing).conn_region_name == "eu-west-1"
    assert CloudTrailHook(region_name="eu-central-1").conn_region_name == "eu-central-1"


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda: CloudTrailHook().resolve_trail("audit"), id="hook"),
        pytest.param(
            lambda: CloudTrailCoverageCheckOperator(task_id="check", trail_name="audit").execute({}), id="coverage"
        ),
    ],
)
def test_where_no_region_is_known_it_says_where_to_give_one(monkeypatch, ask):
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", '{"conn_type": "aws", "login": "access-key", "password": "secret"}')
    with pytest.raises(CloudTrailError, match="no Region is known; give region_name here, or in the extra"):
        ask()


@pytest.mark.parametrize("bucket", [None, 7])
def test_what_is_no_text_is_no_bucket(hook, bucket):
    with pytest.raises(ValueError, match=f"bucket={bucket} is no bucket name; write the name"):
        hook.get_store(bucket)


@pytest.mark.parametrize("bucket", ["file://data/trail", "file://./trail", "file://trail"])
def test_a_relative_path_is_no_copy_of_a_bucket(hook, bucket):
    with pytest.raises(CloudTrailBucketError, match=f"{bucket} names a computer .* absolute path .*, as in file:///"):
        hook.get_store(bucket)


def test_a_copy_of_a_bucket_on_this_computer(hook, tmp_path):
    (tmp_path / "x").write_bytes(b"1")
    for computer in ("", "localhost"):
        assert hook.get_store(f"file://{computer}{tmp_path}").get("x").body == b"1"


def test_a_bucket_that_does_not_answer_keeps_no_other_from_being_opened(hook, monkeypatch):
    """Triggers share a hook; the Region of a bucket is asked for when it is opened."""
    hook._config = Config(retries={"total_max_attempts": 1})
    with ThreadPoolExecutor(2) as pool, silent_server(answered="/example-trail") as (endpoint, asked):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        silent = pool.submit(hook.get_store, "silent")
        while not asked and not silent.done():
            pass
        opened = pool.submit(hook.get_store, "example-trail").result(30)
        assert not silent.done()
    assert hook.get_store("example-trail") is opened
    assert asked == ["/silent"]


def test_a_bucket_that_cannot_be_reached_is_named_with_what_to_do(hook, monkeypatch):
    hook._config = Config(retries={"total_max_attempts": 1})
    with reserved_port() as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
        day = window(*DAY.values(), timedelta(0), timedelta(0))
        message = "bucket example-trail cannot be opened: Could not connect.* Check the credentials of aws_conn_id"
        with pytest.raises(CloudTrailBucketError, match=message):
            list(hook.list_log_files(TrailLocation("example-trail"), day))


class Retries(dict):
    """Settings that two clients look at before either goes on: botocore takes out what it finds."""

    met = threading.Barrier(2)

    def __contains__(self, name):
        found = super().__contains__(name)
        if found and name == "max_attempts":
            self.met.wait(30)
        return found


def test_buckets_are_opened_at_the_same_time(monkeypatch):
    """Triggers share a hook, its settings too."""
    extra = {"endpoint_url": "http://127.0.0.1:9", "region_name": "eu-west-1"}
    connection = {"conn_type": "aws", "login": "access-key", "password": "secret-key", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AUDIT_READER", json.dumps(connection))
    hook = CloudTrailHook(aws_conn_id="audit_reader", config={"retries": Retries(max_attempts=2)})
    with ThreadPoolExecutor(2) as pool:
        stores = list(pool.map(hook.get_store, ["example-trail", "other-trail"]))
    assert [store._client.meta.config.retries["total_max_attempts"] for store in stores] == [3, 3]
