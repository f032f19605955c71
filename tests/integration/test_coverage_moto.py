"""The coverage check against an API over HTTP: real trails, event selectors and buckets."""

from __future__ import annotations

import json
import shlex
from datetime import timedelta

import pytest

from airflow_provider_cloudtrail.exceptions import CloudTrailCoverageError, CloudTrailTrailNotFoundError
from tests.support.engines import installed
from tests.support.moto_trail import MANAGEMENT, REGION, Trail, advanced

pytestmark = pytest.mark.skipif(not installed("moto"), reason="moto is no part of a bare image")

ENVIRONMENT = "arn:aws:airflow:eu-west-1:123456789012:environment/orders"
MISSING, NARROWED = ("mwaa_data_events_missing", "high"), ("mwaa_data_events_narrowed", "high")


BASIC = {"ReadWriteType": "All", "IncludeManagementEvents": True}
SELECTOR_SETS = {
    "basic, the default": ({"EventSelectors": [BASIC]}, {MISSING}),
    "basic, only writes": (
        {"EventSelectors": [{**BASIC, "ReadWriteType": "WriteOnly"}]},
        {MISSING, ("management_events_only_write", "medium")},
    ),
    "basic, without KMS, with S3": (
        {
            "EventSelectors": [
                {
                    **BASIC,
                    "ExcludeManagementEventSources": ["kms.amazonaws.com"],
                    "DataResources": [{"Type": "AWS::S3::Object", "Values": ["arn:aws:s3"]}],
                }
            ]
        },
        {MISSING, ("management_events_excluded", "medium")},
    ),
    "basic, no management events": (
        {"EventSelectors": [{**BASIC, "IncludeManagementEvents": False}]},
        {MISSING, ("management_events_missing", "high")},
    ),
    "everything": ({"AdvancedEventSelectors": [MANAGEMENT, advanced("Data")]}, set()),
    "everything, by halves": (
        {
            "AdvancedEventSelectors": [
                advanced("Management", readOnly=("Equals", "true")),
                advanced("Management", readOnly=("Equals", "false")),
                advanced("Data", resources_ARN=("StartsWith", ENVIRONMENT)),
                advanced("Data", resources_ARN=("NotStartsWith", ENVIRONMENT)),
            ]
        },
        set(),
    ),
    "only reads of management events": (
        {"AdvancedEventSelectors": [advanced("Management", readOnly=("Equals", "true")), advanced("Data")]},
        {("management_events_only_read", "high")},
    ),
    "only CLI tokens": (
        {"AdvancedEventSelectors": [MANAGEMENT, advanced("Data", eventName=("Equals", "CreateCliToken"))]},
        {NARROWED},
    ),
    "only events that read": (
        {"AdvancedEventSelectors": [MANAGEMENT, advanced("Data", readOnly=("Equals", "true"))]},
        {NARROWED},
    ),
    "one environment": (
        {"AdvancedEventSelectors": [MANAGEMENT, advanced("Data", resources_ARN=("Equals", ENVIRONMENT))]},
        {("mwaa_environments_partly_covered", "medium")},
    ),
    "all but the environments of developers": (
        {"AdvancedEventSelectors": [MANAGEMENT, advanced("Data", resources_ARN=("NotEndsWith", "-dev"))]},
        {("mwaa_environments_partly_covered", "medium")},
    ),
    "only management events": ({"AdvancedEventSelectors": [MANAGEMENT]}, {MISSING}),
}


@pytest.fixture
def trail(s3_server, monkeypatch):
    services = {service: {"endpoint_url": s3_server.endpoint} for service in ("cloudtrail", "s3")}
    connection = {
        "conn_type": "aws",
        "login": "example",
        "password": "example",
        "extra": {"region_name": REGION, "service_config": services},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AUDIT_READER", json.dumps(connection))
    made = Trail(s3_server.endpoint)
    yield made
    made.delete()


def severities(findings):
    return {(finding["code"], finding["severity"]) for finding in findings} - {("no_sns_topic", "low")}


@pytest.mark.parametrize(("selectors", "expected"), SELECTOR_SETS.values(), ids=SELECTOR_SETS)
def test_selector_sets(trail, selectors, expected):
    trail.select(**selectors)
    findings = trail.check()
    assert severities(findings) == expected

    # What the findings say, done.
    for finding in findings:
        command = shlex.split(finding["fix"])
        if command[2] == "put-event-selectors":
            trail.select(AdvancedEventSelectors=json.loads(command[-1]))
    assert severities(trail.check()) == set()


@pytest.mark.parametrize("name", ["basic, only writes", "only CLI tokens"])
def test_the_task_fails_for_high_findings(trail, name):
    selectors, expected = SELECTOR_SETS[name]
    trail.select(**selectors)
    with pytest.raises(CloudTrailCoverageError) as failure:
        trail.check(fail_on="high")
    for code, severity in expected:
        assert (code in str(failure.value)) is (severity == "high")
    assert f"--trail-name {trail.name}" in str(failure.value)


def test_trail_that_was_just_made(s3_server, trail):
    trail.cloudtrail.create_trail(Name="audit-bare", S3BucketName=trail.bucket)
    try:
        codes = {code for code, _ in severities(trail.check(trail_name="audit-bare"))}
    finally:
        trail.cloudtrail.delete_trail(Name="audit-bare")
    assert codes == {
        "logging_off",
        "log_file_validation_off",
        "mwaa_data_events_missing",
        "not_multi_region",
        "not_organization_trail",
        "no_kms_key",
    }


def test_by_arn_over_one_endpoint(s3_server, trail, monkeypatch):
    extra = {"region_name": REGION, "endpoint_url": s3_server.endpoint}
    connection = {"conn_type": "aws", "login": "example", "password": "example", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AUDIT_READER", json.dumps(connection))
    trail.select(AdvancedEventSelectors=[MANAGEMENT, advanced("Data")])
    assert severities(trail.check(trail_name=trail.arn)) == set()


def test_bucket_settings(trail):
    trail.select(AdvancedEventSelectors=[MANAGEMENT, advanced("Data")])
    trail.s3.put_bucket_versioning(Bucket=trail.bucket, VersioningConfiguration={"Status": "Suspended"})
    trail.s3.delete_public_access_block(Bucket=trail.bucket)
    rules = [
        {"ID": "others", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 1}},
        {
            "ID": "logs",
            "Status": "Enabled",
            "Filter": {"And": {"Prefix": "team/AWSLogs/", "ObjectSizeGreaterThan": 1}},
            "Expiration": {"Days": 90},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
        },
    ]
    trail.s3.put_bucket_lifecycle_configuration(Bucket=trail.bucket, LifecycleConfiguration={"Rules": rules})
    findings = trail.check()
    assert severities(findings) == {
        ("lifecycle_shorter_than_retention", "high"),
        ("noncurrent_versions_shorter_than_retention", "medium"),
        ("public_access_not_blocked", "medium"),
        ("versioning_off", "medium"),
    }
    assert severities(trail.check(retention=timedelta(days=30))) == {
        ("public_access_not_blocked", "medium"),
        ("versioning_off", "medium"),
    }
    command = shlex.split(next(f["fix"] for f in findings if f["code"] == "lifecycle_shorter_than_retention"))
    trail.s3.put_bucket_lifecycle_configuration(Bucket=trail.bucket, LifecycleConfiguration=json.loads(command[-1]))
    assert len(severities(trail.check())) == 2


def test_no_such_trail(trail):
    with pytest.raises(CloudTrailTrailNotFoundError, match="there is no trail 'nowhere' in eu-west-1"):
        trail.check(trail_name="nowhere")


def test_nothing_but_reading(s3_server, trail):
    trail.select(AdvancedEventSelectors=[MANAGEMENT])
    s3_server.requests()
    trail.check()
    # The CloudTrail API is POST to "/" whatever is asked.
    assert {method for method, path, _ in s3_server.requests() if path != "/"} <= {"GET", "HEAD"}
