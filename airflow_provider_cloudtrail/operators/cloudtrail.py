"""The operators that ask whether a trail can be relied upon."""

from __future__ import annotations

from airflow_provider_cloudtrail.operators.coverage import CloudTrailCoverageCheckOperator
from airflow_provider_cloudtrail.operators.validate_logs import CloudTrailValidateLogsOperator

__all__ = ["CloudTrailCoverageCheckOperator", "CloudTrailValidateLogsOperator"]
