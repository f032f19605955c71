"""Findings about the bucket of a trail: whether what was delivered is safe from readers and from deletion."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from math import ceil
from typing import Any

from airflow_provider_cloudtrail.trail.coverage_finding import (
    NO_SUCH_BUCKET,
    Answer,
    Finding,
    TrailSettings,
    Unanswered,
)
from airflow_provider_cloudtrail.trail.log_file import TrailLocation

_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def check_bucket(settings: TrailSettings, retention: timedelta) -> list[Finding]:
    """
    Return what is wrong with the bucket of a trail.

    :param settings: of the trail.
    :param retention: how long log files have to be kept.
    """
    if isinstance(settings.versioning, Unanswered) and settings.versioning.code == NO_SUCH_BUCKET:
        return [_missing(settings)]
    return [
        *_public_access(settings, settings.public_access_block),
        *_versioning(settings, settings.versioning),
        *_lifecycle(settings, settings.lifecycle, retention),
    ]


def _missing(settings: TrailSettings) -> Finding:
    place = ["--region", settings.region]
    if settings.region != "us-east-1":
        place += ["--create-bucket-configuration", f"LocationConstraint={settings.region}"]
    return Finding(
        "bucket_missing",
        "high",
        f"there is no bucket {settings.bucket}",
        "what the trail delivered before is gone; new log files are kept by CloudTrail for 30 days, then lost",
        settings.bucket_cli("create-bucket", *place)
        + " with the bucket policy of the CloudTrail user guide, or "
        + settings.cli("update-trail", "--s3-bucket-name", "OTHER_BUCKET"),
    )


def _unchecked(settings: TrailSettings, what: str, answer: Unanswered) -> Finding:
    statement = {"Effect": "Allow", "Action": answer.permission, "Resource": settings.bucket_arn}
    return Finding(
        f"{what.replace(' ', '_')}_not_checked",
        "low",
        f"the {what} of bucket {settings.bucket} could not be checked: {answer.code}",
        "nobody has verified this part of the protection of the log files",
        f"allow {answer.permission} to the role of this task (and in the bucket policy, if the bucket is of another "
        f"account): {json.dumps(statement)}",
    )


def _public_access(settings: TrailSettings, answer: Answer) -> Iterator[Finding]:
    if isinstance(answer, Unanswered):
        yield _unchecked(settings, "public access block", answer)
        return
    configuration = answer.get("PublicAccessBlockConfiguration") or {}
    if missing := [block for block in _BLOCKS if not configuration.get(block)]:
        yield Finding(
            "public_access_not_blocked",
            "medium",
            f"bucket {settings.bucket} does not block public access: {', '.join(missing)} not set",
            "one wrong ACL or policy publishes the log files, which tell who may do what, unless the account blocks it",
            settings.bucket_cli(
                "put-public-access-block",
                "--public-access-block-configuration",
                ",".join(f"{block}=true" for block in _BLOCKS),
            ),
        )


def _versioning(settings: TrailSettings, answer: Answer) -> Iterator[Finding]:
    if isinstance(answer, Unanswered):
        yield _unchecked(settings, "versioning", answer)
    elif answer.get("Status") != "Enabled":
        yield Finding(
            "versioning_off",
            "medium",
            f"versioning of bucket {settings.bucket} is {str(answer.get('Status') or 'off').lower()}",
            "a log file or digest that is overwritten or deleted is gone; digests show that it happened, not what it "
            "was",
            settings.bucket_cli("put-bucket-versioning", "--versioning-configuration", "Status=Enabled"),
        )


# -- lifecycle -------------------------------------------------------------------------------------


def _lifecycle(settings: TrailSettings, answer: Answer, retention: timedelta) -> Iterator[Finding]:
    if isinstance(answer, Unanswered):
        yield _unchecked(settings, "lifecycle configuration", answer)
        return
    rules = list(answer.get("Rules") or ())
    faults = [
        fault
        for index, rule in enumerate(rules)
        if rule.get("Status") == "Enabled" and touches_trail(settings, rule)
        for fault in _faults(settings, rule, f"rule {rule.get('ID') or index + 1!r}", retention)
    ]
    if not faults:
        return
    # As with event selectors, putting a lifecycle configuration replaces all of it.
    mended = [
        _mended(rule, retention) if rule.get("Status") == "Enabled" and touches_trail(settings, rule) else rule
        for rule in rules
    ]
    fix = settings.bucket_cli(
        "put-bucket-lifecycle-configuration",
        "--lifecycle-configuration",
        json.dumps({"Rules": mended}, default=_json_type),
    )
    yield from (Finding(code, severity, problem, reason, fix) for code, severity, problem, reason in faults)


def _faults(
    settings: TrailSettings, rule: Mapping[str, Any], name: str, retention: timedelta
) -> Iterator[tuple[str, str, str, str]]:
    where = f"lifecycle {name} of bucket {settings.bucket}"
    expiration = rule.get("Expiration") or {}
    severity, only = ("low", " that carry its tags (CloudTrail sets none)") if _wants_tags(rule) else ("high", "")
    reason = f"auditors are promised {_in_days(retention)} days; what has expired cannot be shown or verified any more"
    days, date = expiration.get("Days"), expiration.get("Date")
    if days is not None and timedelta(days=days) < retention:
        yield (
            "lifecycle_shorter_than_retention",
            severity,
            f"{where} removes files of the trail{only} after {days} days, before {_in_days(retention)} have passed",
            reason,
        )
    elif date is not None:
        # From its date on such a rule removes every object, however young, for as long as it is enabled.
        yield (
            "lifecycle_shorter_than_retention",
            severity,
            f"{where} removes all files of the trail{only} on {_json_type(date)[:10]}",
            reason,
        )
    noncurrent = (rule.get("NoncurrentVersionExpiration") or {}).get("NoncurrentDays")
    versioned = isinstance(settings.versioning, Unanswered) or settings.versioning.get("Status")
    if versioned and noncurrent is not None and timedelta(days=noncurrent) < retention:
        yield (
            "noncurrent_versions_shorter_than_retention",
            "low" if _wants_tags(rule) else "medium",
            f"{where} removes old versions{only} after {noncurrent} days, before {_in_days(retention)} have passed",
            "CloudTrail never writes a file twice: an old version is the original of what somebody replaced or deleted",
        )


def touches_trail(settings: TrailSettings, rule: Mapping[str, Any]) -> bool:
    """
    Tell whether a lifecycle rule can be for log files or digests of the trail.

    The prefix of a rule stands in ``Prefix`` (old), ``Filter.Prefix`` or ``Filter.And.Prefix``; conditions on the
    size of objects do not matter, because log files have all sizes.

    :param settings: of the trail.
    :param rule: of a lifecycle configuration.
    """
    conditions = rule.get("Filter") or {}
    prefix = rule.get("Prefix") or conditions.get("Prefix") or (conditions.get("And") or {}).get("Prefix") or ""
    root = TrailLocation(settings.bucket, settings.trail.get("S3KeyPrefix") or "").root
    if root.startswith(prefix):
        return True
    if not prefix.startswith(root):
        return False
    parts = prefix[len(root) :].split("/")
    if settings.is_organization_trail:
        # With or without the organization's folder: both layouts occur in one bucket.
        parts = parts[1:] if parts[0].startswith("o") else parts
        return len(parts) < 2 or _compatible("CloudTrail", parts[1])
    return settings.account_id.startswith(parts[0]) and (len(parts) < 2 or _compatible("CloudTrail", parts[1]))


def _compatible(folder: str, text: str) -> bool:
    # CloudTrail-Digest and its like begin with the name of the folder of log files.
    return folder.startswith(text) or text.startswith(folder)


def _wants_tags(rule: Mapping[str, Any]) -> bool:
    conditions = rule.get("Filter") or {}
    return bool(conditions.get("Tag") or (conditions.get("And") or {}).get("Tags"))


def _mended(rule: Mapping[str, Any], retention: timedelta) -> dict[str, Any]:
    """Return a rule that keeps everything long enough, otherwise unchanged."""
    days, mended = _in_days(retention), dict(rule)
    expiration = rule.get("Expiration") or {}
    if "Days" in expiration or "Date" in expiration:
        mended["Expiration"] = {"Days": max(days, expiration.get("Days", 0))}
    if noncurrent := rule.get("NoncurrentVersionExpiration"):
        mended["NoncurrentVersionExpiration"] = {
            **noncurrent,
            "NoncurrentDays": max(days, noncurrent.get("NoncurrentDays", 0)),
        }
    return mended


def _in_days(duration: timedelta) -> int:
    return ceil(duration / timedelta(days=1))


def _json_type(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
