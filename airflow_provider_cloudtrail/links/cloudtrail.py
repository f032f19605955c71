"""Links from a task to what it read, in the AWS console."""

from __future__ import annotations

from airflow.providers.amazon.aws.links.base_aws import BASE_AWS_CONSOLE_LINK, BaseAwsLink


class CloudTrailBucketLink(BaseAwsLink):
    """Link to the folder of the trail bucket that holds the log files."""

    name = "CloudTrail log files"
    key = "cloudtrail_bucket"
    format_str = BASE_AWS_CONSOLE_LINK + "/s3/buckets/{bucket}?region={region_name}&prefix={prefix}"


class CloudTrailEventHistoryLink(BaseAwsLink):
    """Link to Event history, filtered by the event source: management events of the last 90 days."""

    name = "CloudTrail Event history"
    key = "cloudtrail_event_history"
    format_str = BASE_AWS_CONSOLE_LINK + "/cloudtrailv2/home?region={region_name}#/events?EventSource={event_source}"
