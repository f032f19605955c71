"""What the checks of a trail are given, the answers of the API, and what they give, findings."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

SEVERITIES = ("high", "medium", "low")
"""From the gravest to the least."""

NO_SUCH_BUCKET = "NoSuchBucket"
"""Error code of S3."""


@dataclass(frozen=True)
class Finding:
    """
    Something that makes a trail less fit for an audit.

    :param code: name of the kind of finding, stable over versions.
    :param severity: ``high``: evidence is missing, unproven or about to be; ``medium``: it is at risk; ``low``: for
        information.
    :param problem: what is wrong.
    :param reason: why it matters for the audit.
    :param fix: the command or API call that puts it right.
    """

    code: str
    severity: str
    problem: str
    reason: str
    fix: str

    def as_dict(self) -> dict[str, str]:
        """Return the members, as JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Unanswered:
    """
    A request that was refused.

    :param permission: the IAM action that it needs.
    :param code: error code of the API.
    """

    permission: str
    code: str


Answer = Mapping[str, Any] | Unanswered


@dataclass(frozen=True)
class TrailSettings:
    """
    What the API says about a trail and its bucket.

    :param trail: member ``Trail`` of the answer of ``GetTrail``.
    :param status: answer of ``GetTrailStatus``.
    :param selectors: answer of ``GetEventSelectors``.
    :param public_access_block: answer of S3 ``GetPublicAccessBlock``; empty if there is none.
    :param versioning: answer of S3 ``GetBucketVersioning``.
    :param lifecycle: answer of S3 ``GetBucketLifecycleConfiguration``; empty if there is none.
    """

    trail: Mapping[str, Any]
    status: Answer
    selectors: Answer
    public_access_block: Answer
    versioning: Answer
    lifecycle: Answer

    @property
    def name(self) -> str:
        """Name of the trail."""
        return str(self.trail["Name"])

    @property
    def arn(self) -> str:
        """ARN of the trail."""
        return str(self.trail["TrailARN"])

    @property
    def partition(self) -> str:
        """Partition of the trail, such as ``aws``."""
        return self.arn.split(":")[1]

    @property
    def region(self) -> str:
        """Home Region of the trail, where changes have to be made."""
        return str(self.trail.get("HomeRegion") or self.arn.split(":")[3])

    @property
    def account_id(self) -> str:
        """Account that owns the trail."""
        return self.arn.split(":")[4]

    @property
    def bucket(self) -> str:
        """Bucket that the trail delivers to."""
        return str(self.trail["S3BucketName"])

    @property
    def bucket_arn(self) -> str:
        """ARN of the bucket."""
        return f"arn:{self.partition}:s3:::{self.bucket}"

    @property
    def is_organization_trail(self) -> bool:
        """Whether it records all accounts of an organization."""
        return bool(self.trail.get("IsOrganizationTrail"))

    @property
    def is_multi_region(self) -> bool:
        """Whether it records all Regions."""
        return bool(self.trail.get("IsMultiRegionTrail"))

    def cli(self, action: str, *options: str) -> str:
        """Return the AWS CLI command for an action on the trail."""
        name = "--trail-name" if action == "put-event-selectors" else "--name"
        return shlex.join(["aws", "cloudtrail", action, "--region", self.region, name, self.name, *options])

    def bucket_cli(self, action: str, *options: str) -> str:
        """Return the AWS CLI command for an action on the bucket."""
        return shlex.join(["aws", "s3api", action, "--bucket", self.bucket, *options])


def at_or_above(findings: Iterable[Finding], severity: str | None) -> list[Finding]:
    """Return the findings of a severity and of graver ones; None: none of them."""
    if severity is None:
        return []
    grave = SEVERITIES[: SEVERITIES.index(severity) + 1]
    return [finding for finding in findings if finding.severity in grave]


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings, the gravest first."""
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def table(findings: Iterable[Finding]) -> str:
    """Return the findings as a table for people: a line for each, and below it why it matters and the fix."""
    rows = list(findings)
    width = max((len(finding.code) for finding in rows), default=0)
    lines = [f"{'severity':8}  {'finding':{width}}  what is wrong"]
    lines.append(f"{'-' * 8}  {'-' * width}  {'-' * 40}")
    for finding in rows:
        lines.append(f"{finding.severity:8}  {finding.code:{width}}  {finding.problem}")
        lines.append(f"{'':8}  {'':{width}}  Why: {finding.reason}")
        lines.append(f"{'':8}  {'':{width}}  Fix: {finding.fix}")
    return "\n".join(lines)
