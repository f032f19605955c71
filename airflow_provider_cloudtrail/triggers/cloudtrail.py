"""The triggers of this provider, under the names by which Airflow stores them."""

from __future__ import annotations

from airflow_provider_cloudtrail.triggers.notified import CloudTrailNotificationTrigger
from airflow_provider_cloudtrail.triggers.waiting import (
    CloudTrailDeliveryProvenTrigger,
    CloudTrailLogFilesDeliveredTrigger,
    CloudTrailQueueToldTrigger,
)
from airflow_provider_cloudtrail.triggers.watching import CloudTrailLogFileTrigger

__all__ = [
    "CloudTrailDeliveryProvenTrigger",
    "CloudTrailLogFileTrigger",
    "CloudTrailLogFilesDeliveredTrigger",
    "CloudTrailNotificationTrigger",
    "CloudTrailQueueToldTrigger",
]
