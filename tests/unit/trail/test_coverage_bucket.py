"""Findings about the bucket of a trail, and commands that mend them."""

from __future__ import annotations

import json
import shlex
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.trail.coverage import NO_SUCH_BUCKET, Unanswered
from tests.support.trail_settings import GOOD_BLOCK, check, codes

SHORT = {"lifecycle_shorter_than_retention": "high"}


def rule(**members):
    return {"Rules": [{"ID": "tidy", "Status": "Enabled", "Filter": {}, **members}]}


@pytest.mark.parametrize(
    ("lifecycle", "expected"),
    [
        pytest.param(rule(Expiration={"Days": 90}), SHORT, id="everything"),
        pytest.param(rule(Expiration={"Days": 364}), SHORT, id="a day too short"),
        pytest.param(rule(Expiration={"Days": 365}), {}, id="long enough"),
        pytest.param(rule(Expiration={"Days": 90}, Status="Disabled"), {}, id="disabled"),
        pytest.param({"Rules": [{"Status": "Enabled", "Prefix": "", "Expiration": {"Days": 1}}]}, SHORT, id="old form"),
        pytest.param(rule(Filter={"Prefix": "team/AWS"}, Expiration={"Days": 90}), SHORT, id="filter"),
        pytest.param(rule(Filter={"Prefix": "other/"}, Expiration={"Days": 90}), {}, id="other prefix"),
        pytest.param(rule(Filter={"Prefix": "AWSLogs/"}, Expiration={"Days": 90}), {}, id="of another trail"),
        pytest.param(
            rule(Filter={"Prefix": "team/AWSLogs/o-example/444455556666/CloudTrail-Digest/"}, Expiration={"Days": 90}),
            SHORT,
            id="digests of an account of the organization",
        ),
        pytest.param(
            rule(Filter={"Prefix": "team/AWSLogs/111122223333/vpcflowlogs/"}, Expiration={"Days": 90}),
            {},
            id="logs of another service",
        ),
        pytest.param(
            rule(Filter={"And": {"Prefix": "team/", "ObjectSizeGreaterThan": 100}}, Expiration={"Days": 90}),
            SHORT,
            id="prefix and size",
        ),
        pytest.param(
            rule(Filter={"Tag": {"Key": "keep", "Value": "no"}}, Expiration={"Days": 90}),
            {"lifecycle_shorter_than_retention": "low"},
            id="tag",
        ),
        pytest.param(rule(Expiration={"Date": datetime(2026, 1, 1, tzinfo=timezone.utc)}), SHORT, id="date"),
        pytest.param(rule(Expiration={"ExpiredObjectDeleteMarker": True}), {}, id="delete markers"),
        pytest.param(rule(Transitions=[{"Days": 30, "StorageClass": "STANDARD_IA"}]), {}, id="transition"),
        pytest.param(
            rule(NoncurrentVersionExpiration={"NoncurrentDays": 30}),
            {"noncurrent_versions_shorter_than_retention": "medium"},
            id="old versions",
        ),
        pytest.param(rule(NoncurrentVersionExpiration={"NoncurrentDays": 400}), {}, id="old versions, long enough"),
        pytest.param({"Rules": []}, {}, id="no rules"),
    ],
)
def test_lifecycle(lifecycle, expected):
    findings = check({"S3KeyPrefix": "team"}, lifecycle=lifecycle)
    assert codes(findings) == expected
    for finding in findings:
        command = shlex.split(finding.fix)
        assert command[2:5] == ["put-bucket-lifecycle-configuration", "--bucket", "example-trail"]
        assert check({"S3KeyPrefix": "team"}, lifecycle=json.loads(command[-1])) == []


def test_lifecycle_rules_of_a_trail_of_one_account():
    for account, expected in (("111122223333", SHORT), ("444455556666", {})):
        answer = rule(Filter={"Prefix": f"AWSLogs/{account}/CloudTrail/"}, Expiration={"Days": 90})
        findings = check({"IsOrganizationTrail": False}, lifecycle=answer)
        assert codes(findings) == {"not_organization_trail": "low", **expected}


def test_rules_that_are_no_fault_stay_as_they_are():
    other = {"ID": "other", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 1}}
    (finding,) = check(lifecycle={"Rules": [other, *rule(Expiration={"Days": 5})["Rules"]]})
    mended = json.loads(shlex.split(finding.fix)[-1])["Rules"]
    assert mended[0] == other
    assert mended[1]["Expiration"] == {"Days": 365}


def test_a_retention_of_part_of_a_day():
    assert codes(check(lifecycle=rule(Expiration={"Days": 7}), retention=timedelta(days=7, hours=1))) == SHORT


def test_public_access_block_with_a_hole():
    block = {"PublicAccessBlockConfiguration": {**GOOD_BLOCK["PublicAccessBlockConfiguration"], "BlockPublicPolicy": 0}}
    (finding,) = check(public_access_block=block)
    assert (finding.code, finding.severity) == ("public_access_not_blocked", "medium")
    assert "BlockPublicPolicy not set" in finding.problem


def test_suspended_versioning():
    (finding,) = check(versioning={"Status": "Suspended"})
    assert finding.problem == "versioning of bucket example-trail is suspended"


def test_a_bucket_that_is_gone():
    gone = Unanswered("s3:ListBucket", NO_SUCH_BUCKET)
    assert codes(check(public_access_block=gone, versioning=gone, lifecycle=gone)) == {"bucket_missing": "high"}
