"""The operators that have Athena itself read a trail, for trails that are too large for any worker."""

from __future__ import annotations

from airflow_provider_cloudtrail.operators.pushdown import AthenaMwaaAuditEventsOperator
from airflow_provider_cloudtrail.operators.trail_table import AthenaCloudTrailTableOperator

__all__ = ["AthenaCloudTrailTableOperator", "AthenaMwaaAuditEventsOperator"]
