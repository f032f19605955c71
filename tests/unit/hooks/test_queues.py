from __future__ import annotations

import pytest
from botocore.parsers import ResponseParserError

from airflow_provider_cloudtrail.hooks.queues import messages_in, queue_region


def answered(content_type: str) -> dict[str, object]:
    return {"ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": {"content-type": content_type}}}


@pytest.mark.parametrize("content_type", ["application/x-amz-json-1.0", "text/xml", "text/plain"])
def test_a_queue_without_messages(content_type: str) -> None:
    assert messages_in(answered(content_type)) == []


@pytest.mark.parametrize("content_type", ["text/html", "application/xhtml+xml; charset=utf-8", ""])
def test_a_page_is_no_queue_without_messages(content_type: str) -> None:
    with pytest.raises(ResponseParserError, match=r"answered with the type .*, which SQS does not give"):
        messages_in(answered(content_type))


@pytest.mark.parametrize(
    ("server", "region"),
    [
        pytest.param("https://sqs.eu-west-1.amazonaws.com", "eu-west-1", id="the usual one"),
        pytest.param("https://sqs.cn-north-1.amazonaws.com.cn", "cn-north-1", id="another partition"),
        pytest.param("https://sqs-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1", id="FIPS"),
        pytest.param("https://sqs.eu-west-1.api.aws", "eu-west-1", id="dual stack"),
        pytest.param("https://vpce-0a1b2c-3d4e.sqs.eu-west-1.vpce.amazonaws.com", "eu-west-1", id="VPC endpoint"),
        pytest.param("https://eu-west-1.queue.amazonaws.com", "eu-west-1", id="old"),
        pytest.param("https://queue.amazonaws.com", "us-east-1", id="oldest"),
        pytest.param("http://sqs.us-east-1.localhost.localstack.cloud:4566", "us-east-1", id="LocalStack"),
        pytest.param("http://localhost:9324", None, id="another server"),
        pytest.param("https://sqs.amazonaws.com", None, id="no Region"),
        pytest.param("https://sqs.example.org", None, id="a host of one's own"),
    ],
)
def test_region_of_a_queue(server: str, region: str | None) -> None:
    assert queue_region(f"{server}/111122223333/log-files") == region
