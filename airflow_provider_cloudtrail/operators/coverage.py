"""Check whether a trail is fit for an MWAA audit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_provider_cloudtrail import parameters
from airflow_provider_cloudtrail.exceptions import (
    CloudTrailBucketError,
    CloudTrailCoverageError,
    CloudTrailError,
    CloudTrailTrailNotFoundError,
)
from airflow_provider_cloudtrail.hooks.api_errors import api_errors, said_by
from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.operators.base import push_of_failing
from airflow_provider_cloudtrail.trail.coverage import (
    NO_SUCH_BUCKET,
    SEVERITIES,
    Finding,
    TrailSettings,
    Unanswered,
    at_or_above,
    check_coverage,
    table,
)
from airflow_provider_cloudtrail.trail.store import StoreError

if TYPE_CHECKING:
    from airflow_provider_cloudtrail._compat import Context

_NO_SUCH_TRAIL = ("TrailNotFoundException", "InvalidTrailNameException", "CloudTrailARNInvalidException")
# Answers that say "there is none", which is an answer.
_NO_BLOCK = ("NoSuchPublicAccessBlockConfiguration",)
_NO_LIFECYCLE = ("NoSuchLifecycleConfiguration",)
# Not about this request: the next try may succeed.
_PASSING = frozenset({"Throttling", "ThrottlingException", "SlowDown", "RequestTimeout", "RequestLimitExceeded"})


class CloudTrailCoverageCheckOperator(AwsBaseOperator[CloudTrailHook]):
    """
    Check whether a trail records what an MWAA audit needs, and whether it is kept.

    Looks at the trail (logging, Regions, organization, validation, encryption, notification, errors), at its
    event selectors (management events; data events of ``AWS::MWAA::Environment``, without which nobody sees UI
    logins, CLI tokens and REST calls), and at its bucket (public access, versioning, lifecycle). Changes nothing:
    each finding tells the command that puts it right. What the role may not ask becomes a finding as well.

    .. seealso::
        For more information on how to use this operator, take a look at the README.

    :param trail_name: name of a trail of this account and Region, or the ARN of any. (templated)
    :param retention: how long log files have to be kept.
    :param fail_on: fail if there are findings of this severity or a graver one: ``"high"``, ``"medium"``, ``"low"``;
        None: never.
    :param aws_conn_id: AWS connection that asks CloudTrail and S3. (templated)
    :param region_name: Region of the CloudTrail API; the bucket's own is found out. (templated)
    :param verify: whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: configuration of the botocore clients.
    :return: the findings, the gravest first (XCom): dictionaries with ``code``, ``severity``, ``problem``, ``reason``
        and ``fix``. If the task fails, they are the XCom ``findings``.
    :raises ValueError: for wrong parameters, before any request.
    :raises CloudTrailTrailNotFoundError: if there is no such trail.
    :raises CloudTrailCoverageError: for findings at or above ``fail_on``.
    :raises CloudTrailError: if the API does not answer.
    """

    aws_hook_class = CloudTrailHook
    template_fields: Sequence[str] = aws_template_fields("trail_name")
    ui_color = "#e7157b"
    ui_fgcolor = "#ffffff"

    def __init__(
        self,
        *,
        trail_name: str,
        retention: timedelta = timedelta(days=365),
        fail_on: str | None = "high",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.trail_name = trail_name
        self.retention = retention
        self.fail_on = fail_on

    def execute(self, context: Context) -> list[dict[str, str]]:
        """Ask, judge and report."""
        name = self._checked_parameters()
        settings = self._settings(name)
        findings = check_coverage(settings, self.retention, datetime.now(timezone.utc))
        self._report(settings, findings)
        found = [finding.as_dict() for finding in findings]
        if failing := at_or_above(findings, self.fail_on):
            push_of_failing(self, context, "findings", found)
            raise CloudTrailCoverageError(_message(settings, failing, self.fail_on))
        return found

    def _checked_parameters(self) -> str:
        name = parameters.text(self.trail_name)
        if name is None:
            raise ValueError("trail_name is not set; give the name or the ARN of the trail to check")
        if self.fail_on is not None and self.fail_on not in SEVERITIES:
            raise ValueError(f"fail_on={self.fail_on!r} is no severity; write one of {', '.join(SEVERITIES)}, or None")
        if not isinstance(self.retention, timedelta) or self.retention <= timedelta(0):
            raise ValueError(f"retention={self.retention!r} is no duration; write for instance timedelta(days=365)")
        return name

    def _report(self, settings: TrailSettings, findings: Sequence[Finding]) -> None:
        if not findings:
            self.log.info("Trail %s: nothing was found that makes it unfit for an MWAA audit", settings.arn)
            return
        counts = ", ".join(
            f"{sum(finding.severity == severity for finding in findings)} {severity}" for severity in SEVERITIES
        )
        self.log.info("Trail %s: %s findings (%s)\n%s", settings.arn, len(findings), counts, table(findings))

    # -- the API -----------------------------------------------------------------------------------

    def _settings(self, name: str) -> TrailSettings:
        try:
            client = self.hook.conn
        except api_errors() as error:
            raise CloudTrailError(
                f"CloudTrail cannot be asked with aws_conn_id={self.aws_conn_id!r}: {said_by(error)}"
            ) from None
        # Whatever is no JSON, botocore takes for an answer without members.
        trail = _ask(lambda: client.get_trail(Name=name)["Trail"], "cloudtrail:GetTrail")
        if isinstance(trail, Unanswered):
            if trail.code in _NO_SUCH_TRAIL:
                raise CloudTrailTrailNotFoundError(
                    f"there is no trail {name!r} in {self.hook.conn_region_name}; a trail of another Region or of the "
                    "management account is named by its ARN"
                )
            raise CloudTrailError(
                f"trail {name!r} cannot be looked at: {trail.code}; allow {trail.permission} to the role of this task"
            )
        arn, bucket = trail["TrailARN"], trail["S3BucketName"]
        status = _ask(lambda: client.get_trail_status(Name=arn), "cloudtrail:GetTrailStatus")
        selectors = _ask(lambda: client.get_event_selectors(TrailName=arn), "cloudtrail:GetEventSelectors")
        return TrailSettings(trail, status, selectors, **self._bucket_settings(bucket))

    def _bucket_settings(self, bucket: str) -> dict[str, Any]:
        try:
            s3 = self._bucket_client(bucket)
        except CloudTrailBucketError:
            missing = Unanswered("s3:ListBucket", NO_SUCH_BUCKET)
            return {"public_access_block": missing, "versioning": missing, "lifecycle": missing}
        return {
            "public_access_block": _ask(
                lambda: s3.get_public_access_block(Bucket=bucket), "s3:GetBucketPublicAccessBlock", _NO_BLOCK
            ),
            "versioning": _ask(lambda: s3.get_bucket_versioning(Bucket=bucket), "s3:GetBucketVersioning"),
            "lifecycle": _ask(
                lambda: s3.get_bucket_lifecycle_configuration(Bucket=bucket),
                "s3:GetLifecycleConfiguration",
                _NO_LIFECYCLE,
            ),
        }

    def _bucket_client(self, bucket: str) -> Any:
        """
        Return an S3 client of the same connection, for the Region of the bucket.

        :raises CloudTrailBucketError: if there is no such bucket.
        """
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        try:
            self.hook.get_store(bucket)
        except StoreError as error:
            raise CloudTrailError(str(error)) from None
        region, _ = self.hook.bucket_region(bucket)
        return S3Hook(
            aws_conn_id=self.aws_conn_id, region_name=region, verify=self.hook.verify, config=self.botocore_config
        ).conn


def _ask(request: Callable[[], Any], permission: str, nothing: Collection[str] = ()) -> Any:
    """
    Return the answer to a request, or that there is none.

    :param request: makes it.
    :param permission: IAM action that it needs.
    :param nothing: error codes that say that what was asked for is not configured; the answer is empty then.
    :raises CloudTrailError: if the API does not answer now.
    """
    from botocore.exceptions import ClientError

    try:
        return request()
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code") or "unknown error"
        if code in nothing:
            return {}
        if code in _PASSING or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400) >= 500:
            raise CloudTrailError(f"{permission} is not answered: {said_by(error)}") from None
        return Unanswered(permission, code)
    except api_errors() as error:
        raise CloudTrailError(f"{permission} is not answered: {said_by(error)}") from None


def _message(settings: TrailSettings, failing: Sequence[Finding], fail_on: str | None) -> str:
    lines = "".join(
        f"\n  {finding.severity} {finding.code}: {finding.problem}. Fix: {finding.fix}" for finding in failing
    )
    count = "1 finding" if len(failing) == 1 else f"{len(failing)} findings"
    return f"trail {settings.arn} has {count} of severity {fail_on} or above:{lines}"
