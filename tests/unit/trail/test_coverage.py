"""Findings about a trail, from answers of the API as they are documented."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider_cloudtrail.trail.coverage import SEVERITIES, TrailSettings, Unanswered, check_coverage
from tests.support.trail_settings import GOOD_TRAIL, NOW, YEAR, check, codes, settings


def test_nothing_is_wrong_with_a_good_trail():
    assert check() == []


def test_a_new_trail_without_any_setting():
    findings = check_coverage(
        TrailSettings(
            {key: GOOD_TRAIL[key] for key in ("Name", "S3BucketName", "TrailARN")},
            {"IsLogging": False},
            {},
            {},
            {},
            {},
        ),
        YEAR,
        NOW,
    )
    assert codes(findings) == {
        "logging_off": "high",
        "log_file_validation_off": "high",
        "mwaa_data_events_missing": "high",
        "not_multi_region": "medium",
        "public_access_not_blocked": "medium",
        "versioning_off": "medium",
        "not_organization_trail": "low",
        "no_kms_key": "low",
        "no_sns_topic": "low",
    }
    assert [finding.severity for finding in findings] == sorted(codes(findings).values(), key=SEVERITIES.index)
    by_code = {finding.code: finding for finding in findings}
    assert by_code["logging_off"].fix == "aws cloudtrail start-logging --region eu-west-1 --name audit"
    assert by_code["log_file_validation_off"].fix.endswith("--name audit --enable-log-file-validation")
    assert by_code["versioning_off"].fix.startswith("aws s3api put-bucket-versioning --bucket example-trail ")
    assert "basic event selectors, which cannot" in by_code["mwaa_data_events_missing"].problem
    assert all(finding.reason and finding.fix for finding in findings)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param({"IsLogging": False, "StopLoggingTime": NOW}, {"logging_off": "high"}, id="stopped"),
        pytest.param({"LatestDeliveryError": "AccessDenied"}, {"delivery_error": "high"}, id="delivery"),
        pytest.param({"LatestDigestDeliveryError": "NoSuchBucket"}, {"digest_delivery_error": "high"}, id="digest"),
        pytest.param({"LatestNotificationError": "AuthorizationError"}, {"notification_error": "medium"}, id="sns"),
        pytest.param({"LatestDeliveryTime": NOW - timedelta(hours=25)}, {"delivery_too_old": "medium"}, id="old"),
        pytest.param(
            {"LatestDigestDeliveryTime": NOW - timedelta(hours=4)}, {"digest_delivery_too_old": "high"}, id="old digest"
        ),
        pytest.param(
            {"LatestDeliveryTime": None, "LatestDigestDeliveryTime": None},
            {"delivery_too_old": "medium", "digest_delivery_too_old": "high"},
            id="never",
        ),
        pytest.param(
            {
                "LatestDeliveryTime": None,
                "LatestDigestDeliveryTime": None,
                "StartLoggingTime": NOW - timedelta(hours=1),
            },
            {},
            id="just switched on",
        ),
    ],
)
def test_status(status, expected):
    assert codes(check({}, status)) == expected


def test_a_trail_without_validation_owes_no_digests():
    expected = {"log_file_validation_off": "high"}
    assert codes(check({"LogFileValidationEnabled": False}, {"LatestDigestDeliveryTime": None})) == expected


@pytest.mark.parametrize(
    ("answer", "permission", "code", "severity"),
    [
        ("public_access_block", "s3:GetBucketPublicAccessBlock", "public_access_block_not_checked", "low"),
        ("versioning", "s3:GetBucketVersioning", "versioning_not_checked", "low"),
        ("lifecycle", "s3:GetLifecycleConfiguration", "lifecycle_configuration_not_checked", "low"),
        ("selectors", "cloudtrail:GetEventSelectors", "event_selectors_not_checked", "high"),
    ],
)
def test_a_refused_request(answer, permission, code, severity):
    (finding,) = check(**{answer: Unanswered(permission, "AccessDenied")})
    assert (finding.code, finding.severity) == (code, severity)
    assert "could not be checked: AccessDenied" in finding.problem
    assert permission in finding.fix


def test_a_refused_status():
    found = TrailSettings(**{**settings().__dict__, "status": Unanswered("cloudtrail:GetTrailStatus", "AccessDenied")})
    assert codes(check_coverage(found, YEAR, NOW)) == {"status_not_checked": "high"}
