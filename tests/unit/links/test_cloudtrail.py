from __future__ import annotations

from airflow_provider_cloudtrail.links.cloudtrail import CloudTrailBucketLink, CloudTrailEventHistoryLink


def test_bucket_link_opens_the_folder():
    url = CloudTrailBucketLink().format_link(
        aws_domain="aws.amazon.com", region_name="eu-west-1", bucket="example-trail", prefix="audit/AWSLogs/"
    )
    assert url == "https://console.aws.amazon.com/s3/buckets/example-trail?region=eu-west-1&prefix=audit/AWSLogs/"


def test_event_history_link_is_filtered():
    url = CloudTrailEventHistoryLink().format_link(
        aws_domain="aws.amazon.com", region_name="eu-west-1", event_source="airflow.amazonaws.com"
    )
    assert url.endswith("/cloudtrailv2/home?region=eu-west-1#/events?EventSource=airflow.amazonaws.com")
