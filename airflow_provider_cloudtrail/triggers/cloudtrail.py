"""The triggers of this provider, under the names by which Airflow stores them."""

from __future__ import annotations

from airflow_provider_cloudtrail.triggers.waiting import (
    CloudTrailDeliveryProvenTrigger,
    CloudTrailLogFilesDeliveredTrigger,
)

__all__ = ["CloudTrailDeliveryProvenTrigger", "CloudTrailLogFilesDeliveredTrigger"]
