from __future__ import annotations

import pytest
from botocore.parsers import ResponseParserError

from airflow_provider_cloudtrail.hooks.queues import messages_in


def answered(content_type: str) -> dict[str, object]:
    return {"ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": {"content-type": content_type}}}


@pytest.mark.parametrize("content_type", ["application/x-amz-json-1.0", "text/xml", "text/plain"])
def test_a_queue_without_messages(content_type: str) -> None:
    assert messages_in(answered(content_type)) == []


@pytest.mark.parametrize("content_type", ["text/html", "application/xhtml+xml; charset=utf-8", ""])
def test_a_page_is_no_queue_without_messages(content_type: str) -> None:
    with pytest.raises(ResponseParserError, match=r"answered with the type .*, which SQS does not give"):
        messages_in(answered(content_type))
