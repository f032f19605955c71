"""The settings of a trail with which nothing is wrong, and of others, as the API answers."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow_provider_cloudtrail.trail.coverage import TrailSettings, check_coverage

NOW = datetime(2026, 2, 3, 10, 0, tzinfo=timezone.utc)
YEAR = timedelta(days=365)
TYPE = "AWS::MWAA::Environment"
ORDERS = "arn:aws:airflow:eu-west-1:111122223333:environment/orders"
GOOD_TRAIL = {
    "Name": "audit",
    "S3BucketName": "example-trail",
    "TrailARN": "arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit",
    "HomeRegion": "eu-west-1",
    "IsMultiRegionTrail": True,
    "IsOrganizationTrail": True,
    "LogFileValidationEnabled": True,
    "KmsKeyId": "arn:aws:kms:eu-west-1:111122223333:key/k",
    "SnsTopicARN": "arn:aws:sns:eu-west-1:111122223333:audit",
}
GOOD_STATUS = {
    "IsLogging": True,
    "StartLoggingTime": NOW - timedelta(days=90),
    "LatestDeliveryTime": NOW - timedelta(minutes=5),
    "LatestDigestDeliveryTime": NOW - timedelta(minutes=50),
}
GOOD_BLOCK = {
    "PublicAccessBlockConfiguration": dict.fromkeys(
        ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
    )
}


def selector(category="Data", /, **conditions):
    """Return an advanced selector; ``eventName__Equals=[...]``, a dot in a field is ``_dot_``."""
    fields = {"eventCategory": {"Equals": [category]}}
    if category == "Data":
        fields["resources.type"] = {"Equals": [TYPE]}
    for name, values in conditions.items():
        field, _, operator = name.partition("__")
        fields.setdefault(field.replace("_dot_", "."), {})[operator] = values
    return {"FieldSelectors": [{"Field": field, **operators} for field, operators in fields.items()]}


MANAGEMENT = selector("Management")
DATA = selector()


def advanced(*selectors):
    return {"AdvancedEventSelectors": list(selectors)}


def basic(**members):
    return {"EventSelectors": [{"ReadWriteType": "All", "IncludeManagementEvents": True, **members}]}


def settings(trail=None, status=None, **answers):
    good = {
        "selectors": advanced(MANAGEMENT, DATA),
        "public_access_block": GOOD_BLOCK,
        "versioning": {"Status": "Enabled"},
        "lifecycle": {},
    }
    return TrailSettings({**GOOD_TRAIL, **(trail or {})}, {**GOOD_STATUS, **(status or {})}, **{**good, **answers})


def check(*arguments, retention=YEAR, **answers):
    return check_coverage(settings(*arguments, **answers), retention, NOW)


def codes(findings):
    return {finding.code: finding.severity for finding in findings}
