"""
Whether a trail records what an MWAA audit needs, and whether it is kept.

Pure functions over the answers of the API: who asks, and with which credentials, is somebody else's matter.
Sources: API reference of CloudTrail (GetTrail, GetTrailStatus, GetEventSelectors) and of S3.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from airflow_provider_cloudtrail.trail.coverage_bucket import check_bucket
from airflow_provider_cloudtrail.trail.coverage_events import check_selectors
from airflow_provider_cloudtrail.trail.coverage_finding import (
    NO_SUCH_BUCKET,
    SEVERITIES,
    Finding,
    TrailSettings,
    Unanswered,
    at_or_above,
    by_severity,
    table,
)

__all__ = [
    "NO_SUCH_BUCKET",
    "SEVERITIES",
    "Finding",
    "TrailSettings",
    "Unanswered",
    "at_or_above",
    "check_coverage",
    "table",
]

# CloudTrail delivers about every five minutes where anything happens: a day without a file is no quiet day.
_DELIVERY_AGE = timedelta(hours=24)
# Digests come every hour, empty ones too.
_DIGEST_AGE = timedelta(hours=3)


def check_coverage(settings: TrailSettings, retention: timedelta, now: datetime) -> list[Finding]:
    """
    Return what makes a trail less fit for an MWAA audit, the gravest first.

    :param settings: what the API says about the trail and its bucket.
    :param retention: how long log files have to be kept.
    :param now: the time, with a zone.
    """
    return by_severity([
        *_status(settings, now),
        *_selectors(settings),
        *_trail(settings),
        *check_bucket(settings, retention),
    ])


def _trail(settings: TrailSettings) -> Iterator[Finding]:
    trail = settings.trail
    if not trail.get("LogFileValidationEnabled"):
        yield Finding(
            "log_file_validation_off",
            "high",
            "log file validation is off: CloudTrail writes no digests",
            "nothing proves that log files are what CloudTrail wrote and that none is missing; digests are never "
            "written afterwards",
            settings.cli("update-trail", "--enable-log-file-validation"),
        )
    if not settings.is_multi_region:
        yield Finding(
            "not_multi_region",
            "medium",
            f"the trail records {settings.region} only",
            "an environment in another Region, and IAM changes, which are recorded in us-east-1, are not seen",
            settings.cli("update-trail", "--is-multi-region-trail"),
        )
    if not settings.is_organization_trail:
        yield Finding(
            "not_organization_trail",
            "low",
            f"the trail records account {settings.account_id} only",
            "other accounts need trails of their own; those of member accounts can be stopped by their administrators",
            settings.cli("update-trail", "--is-organization-trail") + " (in the management account)",
        )
    if not trail.get("KmsKeyId"):
        yield Finding(
            "no_kms_key",
            "low",
            "log files are encrypted with a key of S3 (SSE-S3), not of yours",
            "whoever may read the bucket can read them; with a KMS key reading is granted, and recorded, twice",
            settings.cli("update-trail", "--kms-key-id", "KEY_ARN")
            + " (a key whose policy lets cloudtrail.amazonaws.com encrypt)",
        )
    if not (trail.get("SnsTopicARN") or trail.get("SnsTopicName")):
        yield Finding(
            "no_sns_topic",
            "low",
            "no SNS topic is told about new log files",
            "exports cannot be driven by deliveries; scheduled runs do not need it",
            settings.cli("update-trail", "--sns-topic-name", "TOPIC_NAME")
            + " (a topic whose policy lets cloudtrail.amazonaws.com publish)",
        )


# -- status ----------------------------------------------------------------------------------------


def _status(settings: TrailSettings, now: datetime) -> Iterator[Finding]:
    status = settings.status
    if isinstance(status, Unanswered):
        yield _unanswered(settings, "status_not_checked", "whether the trail is logging", status)
        return
    if not status.get("IsLogging"):
        since = status.get("StopLoggingTime")
        yield Finding(
            "logging_off",
            "high",
            f"the trail is not logging{f' since {_written(since)}' if since else ''}",
            "nothing is recorded, and what was not recorded can never be recovered",
            settings.cli("start-logging"),
        )
    yield from _delivery_errors(settings, status)
    if status.get("IsLogging"):
        yield from _silence(settings, status, now)


def _delivery_errors(settings: TrailSettings, status: Mapping[str, Any]) -> Iterator[Finding]:
    policy = (
        f"give bucket {settings.bucket} the bucket policy of the CloudTrail user guide, which lets "
        f"cloudtrail.amazonaws.com call s3:GetBucketAcl and s3:PutObject (and kms:GenerateDataKey* on the key): "
        + settings.bucket_cli("put-bucket-policy", "--policy", "file://policy.json")
    )
    if error := status.get("LatestDeliveryError"):
        yield Finding(
            "delivery_error",
            "high",
            f"the last delivery of log files failed: {error}",
            "CloudTrail tries again for 30 days, then the events are lost",
            policy,
        )
    if error := status.get("LatestDigestDeliveryError"):
        yield Finding(
            "digest_delivery_error",
            "high",
            f"the last delivery of a digest failed: {error}",
            "log files of this time cannot be proven complete and unaltered, and the chain of digests may break",
            policy,
        )
    if error := status.get("LatestNotificationError"):
        topic = settings.trail.get("SnsTopicARN") or "TOPIC_ARN"
        yield Finding(
            "notification_error",
            "medium",
            f"the last notification to the SNS topic failed: {error}",
            "runs that are driven by notifications miss log files",
            f"let cloudtrail.amazonaws.com call sns:Publish: aws sns set-topic-attributes --topic-arn {topic} "
            "--attribute-name Policy --attribute-value file://policy.json",
        )


def _silence(settings: TrailSettings, status: Mapping[str, Any], now: datetime) -> Iterator[Finding]:
    started = status.get("StartLoggingTime")
    fix = settings.cli("get-trail-status") + f"; then check that bucket {settings.bucket} and its policy still exist"
    kinds = [("LatestDeliveryTime", _DELIVERY_AGE, "delivery_too_old", "medium", "log file")]
    if settings.trail.get("LogFileValidationEnabled"):
        kinds.append(("LatestDigestDeliveryTime", _DIGEST_AGE, "digest_delivery_too_old", "high", "digest"))
    for member, age, code, severity, what in kinds:
        latest = status.get(member)
        # A trail that was switched on just now has not delivered yet.
        since = max((time for time in (latest, started) if time is not None), default=None)
        if since is not None and now - since <= age:
            continue
        yield Finding(
            code,
            severity,
            f"the last {what} was delivered {_written(latest)}" if latest else f"no {what} was ever delivered",
            f"{what}s come {'every hour, empty ones too' if what == 'digest' else 'within minutes of events'}: either "
            "nothing happens, which is unlikely, or evidence does not arrive",
            fix,
        )


def _selectors(settings: TrailSettings) -> list[Finding]:
    if isinstance(settings.selectors, Unanswered):
        return [_unanswered(settings, "event_selectors_not_checked", "which events are recorded", settings.selectors)]
    return check_selectors(settings, settings.selectors)


def _unanswered(settings: TrailSettings, code: str, what: str, answer: Unanswered) -> Finding:
    # Unlike for the bucket, the question of the whole check stays open.
    statement = {"Effect": "Allow", "Action": answer.permission, "Resource": settings.arn}
    return Finding(
        code,
        "high",
        f"{what} could not be checked: {answer.code}",
        "without an answer nobody can say that the trail is fit for an audit",
        f"allow {answer.permission} to the role of this task: {json.dumps(statement)}",
    )


def _written(time: Any) -> str:
    return time.isoformat(timespec="seconds") if isinstance(time, datetime) else str(time)
