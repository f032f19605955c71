"""The coverage check with an API that answers as told."""

from __future__ import annotations

import json
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import boto3
import pytest
from botocore.stub import Stubber

from airflow_provider_cloudtrail._compat import AirflowFailException
from airflow_provider_cloudtrail.exceptions import (
    CloudTrailBucketError,
    CloudTrailCoverageError,
    CloudTrailError,
    CloudTrailTrailNotFoundError,
)
from airflow_provider_cloudtrail.operators.coverage import CloudTrailCoverageCheckOperator

ARN = "arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit"
BUCKET = {"Bucket": "example-trail"}
BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
SELECTORS = [
    {"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Management"]}]},
    {
        "FieldSelectors": [
            {"Field": "eventCategory", "Equals": ["Data"]},
            {"Field": "resources.type", "Equals": ["AWS::MWAA::Environment"]},
        ]
    },
]


@pytest.fixture(autouse=True)
def connection(monkeypatch):
    extra = {"region_name": "eu-west-1"}
    connection = {"conn_type": "aws", "login": "access-key", "password": "secret-key", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))


class Api:
    """The answers of an API for a trail in order; each can be replaced by an error code."""

    def __init__(self, monkeypatch):
        now = datetime.now(timezone.utc)
        self.answers = {
            "get_trail": {
                "Trail": {
                    "Name": "audit",
                    "S3BucketName": "example-trail",
                    "TrailARN": ARN,
                    "IsMultiRegionTrail": True,
                    "IsOrganizationTrail": True,
                    "LogFileValidationEnabled": True,
                    "KmsKeyId": "arn:aws:kms:eu-west-1:111122223333:key/k",
                    "SnsTopicARN": "arn:aws:sns:eu-west-1:111122223333:audit",
                }
            },
            "get_trail_status": {"IsLogging": True, "LatestDeliveryTime": now, "LatestDigestDeliveryTime": now},
            "get_event_selectors": {"TrailARN": ARN, "AdvancedEventSelectors": SELECTORS},
            "get_public_access_block": {"PublicAccessBlockConfiguration": dict.fromkeys(BLOCKS, True)},
            "get_bucket_versioning": {"Status": "Enabled"},
            "get_bucket_lifecycle_configuration": "NoSuchLifecycleConfiguration",
        }
        self.expected = {
            "get_trail": {"Name": "audit"},
            "get_trail_status": {"Name": ARN},
            "get_event_selectors": {"TrailName": ARN},
        }
        self.monkeypatch = monkeypatch

    def run(self, context=None, **arguments):
        task = CloudTrailCoverageCheckOperator(task_id="check", **{"trail_name": "audit", **arguments})
        s3 = boto3.client("s3", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="s")
        self.monkeypatch.setattr(task, "_bucket_client", lambda _: s3)
        with ExitStack() as stack:
            stubbers = {client: stack.enter_context(Stubber(client)) for client in (task.hook.conn, s3)}
            for method, answer in self.answers.items():
                stubber = stubbers[s3 if method not in self.expected else task.hook.conn]
                expected = self.expected.get(method, BUCKET)
                if isinstance(answer, str):
                    status = 503 if answer == "SlowDown" else 403 if "Denied" in answer else 404
                    stubber.add_client_error(method, answer, http_status_code=status, expected_params=expected)
                else:
                    stubber.add_response(method, answer, expected)
            return task.execute(context or {})


@pytest.fixture
def api(monkeypatch):
    return Api(monkeypatch)


@pytest.fixture
def log(monkeypatch):
    """Return the lines that the operator logs; where they go differs between the versions of Airflow."""
    lines = []
    # Airflow itself warns that the task runs outside of a task runner.
    logger = SimpleNamespace(info=lambda text, *values: lines.append(text % values), warning=lambda *_: None)
    monkeypatch.setattr(CloudTrailCoverageCheckOperator, "log", logger)
    return lines


def test_a_trail_in_order(api, log):
    assert api.run() == []
    assert log == [f"Trail {ARN}: nothing was found that makes it unfit for an MWAA audit"]


def test_denied_bucket_requests_are_findings_with_the_permission(api, log):
    for method in ("get_public_access_block", "get_bucket_versioning", "get_bucket_lifecycle_configuration"):
        api.answers[method] = "AccessDenied"
    found = api.run()
    assert {finding["severity"] for finding in found} == {"low"}
    for permission in ("s3:GetBucketPublicAccessBlock", "s3:GetBucketVersioning", "s3:GetLifecycleConfiguration"):
        assert any(permission in finding["fix"] for finding in found)
        assert permission in log[0]
    assert log[0].startswith(f"Trail {ARN}: 3 findings (0 high, 0 medium, 3 low)\nseverity  finding ")
    assert json.loads(json.dumps(found)) == found


def test_no_public_access_block_at_all(api):
    api.answers["get_public_access_block"] = "NoSuchPublicAccessBlockConfiguration"
    assert [finding["code"] for finding in api.run()] == ["public_access_not_blocked"]


def test_lifecycle_against_the_retention(api):
    rules = [{"ID": "tidy", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 100}}]
    api.answers["get_bucket_lifecycle_configuration"] = {"Rules": rules}
    assert api.run(retention=timedelta(days=90)) == []
    with pytest.raises(CloudTrailCoverageError, match=r"'tidy' of bucket example-trail removes .* after 100 days"):
        api.run()


def test_a_failed_task_names_findings_and_fixes_and_keeps_them(api):
    pushed = {}

    class Instance:
        def xcom_push(self, key, value):
            pushed[key] = value

    api.answers["get_trail_status"] = {"IsLogging": False}
    api.answers["get_event_selectors"] = "AccessDeniedException"
    api.answers["get_bucket_versioning"] = {}
    with pytest.raises(CloudTrailCoverageError) as failure:
        api.run({"ti": Instance()})
    message = str(failure.value)
    assert f"trail {ARN} has 2 findings of severity high or above" in message
    assert "aws cloudtrail start-logging --region eu-west-1 --name audit" in message
    assert "cloudtrail:GetEventSelectors" in message
    assert "versioning" not in message
    assert [finding["code"] for finding in pushed["findings"]] == [
        "logging_off",
        "event_selectors_not_checked",
        "versioning_off",
    ]
    # Trying again does not change the trail.
    assert isinstance(failure.value, AirflowFailException)


@pytest.mark.parametrize(("fail_on", "fails"), [(None, False), ("high", False), ("medium", True), ("low", True)])
def test_fail_on(api, fail_on, fails):
    api.answers["get_bucket_versioning"] = {}
    if fails:
        with pytest.raises(CloudTrailCoverageError, match="versioning_off"):
            api.run(fail_on=fail_on)
    else:
        assert [finding["code"] for finding in api.run(fail_on=fail_on)] == ["versioning_off"]


def test_the_bucket_is_gone(api, monkeypatch):
    def gone(_self, bucket):
        raise CloudTrailBucketError(f"there is no bucket {bucket}")

    task = CloudTrailCoverageCheckOperator(task_id="check", trail_name="audit")
    monkeypatch.setattr(CloudTrailCoverageCheckOperator, "_bucket_client", gone)
    with Stubber(task.hook.conn) as stubber:
        for method, expected in api.expected.items():
            stubber.add_response(method, api.answers[method], expected)
        with pytest.raises(CloudTrailCoverageError, match="bucket_missing: there is no bucket example-trail"):
            task.execute({})


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        ("TrailNotFoundException", CloudTrailTrailNotFoundError, "named by its ARN"),
        ("AccessDeniedException", CloudTrailError, "allow cloudtrail:GetTrail to the role"),
        ("ThrottlingException", CloudTrailError, "is not answered"),
    ],
)
def test_a_trail_that_cannot_be_looked_at(api, code, error, message):
    api.answers = {"get_trail": code}
    with pytest.raises(error, match=message):
        api.run()


def test_an_api_that_is_busy_is_no_finding(api):
    """The task is tried again."""
    api.answers["get_bucket_versioning"] = "SlowDown"
    with pytest.raises(CloudTrailError, match="s3:GetBucketVersioning is not answered") as failure:
        api.run()
    assert not isinstance(failure.value, AirflowFailException)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"trail_name": "None"}, "trail_name is not set"),
        ({"fail_on": "severe"}, "fail_on='severe' is no severity; write one of high, medium, low, or None"),
        ({"retention": timedelta(0)}, "is no duration"),
        ({"retention": 365}, "is no duration"),
    ],
)
def test_wrong_parameters(arguments, message):
    task = CloudTrailCoverageCheckOperator(task_id="check", **{"trail_name": "audit", **arguments})
    with pytest.raises(ValueError, match=message):
        task.execute({})


def test_the_trail_is_a_template():
    task = CloudTrailCoverageCheckOperator(task_id="check", trail_name="{{ var.value.trail }}")
    assert {"trail_name", "aws_conn_id", "region_name"} <= set(task.template_fields)
