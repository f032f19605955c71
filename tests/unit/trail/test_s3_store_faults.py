"""What S3 refuses, and what does not answer: tried again, or told of the object or of the bucket."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_cloudtrail.trail.s3_errors import etag_of
from airflow_provider_cloudtrail.trail.s3_store import ATTEMPTS, S3Store
from airflow_provider_cloudtrail.trail.store import ObjectError, StoreError, plain_etag
from tests.support.engines import installed
from tests.support.ports import reserved_port
from tests.support.s3 import (
    CUT_OFF,
    RESET,
    TRANSPORTS,
    ScriptedS3,
    error_body,
    s3_store,
)

needs_boto3 = pytest.mark.skipif(not installed("boto3"), reason="needs boto3")


OK = (200, b"the body")


def scripted(script: ScriptedS3, transport: str, waits: list[float]) -> S3Store:
    return s3_store(script.endpoint, "example-trail", transport, sleep=waits.append)


def session_with(credentials: Any) -> Any:
    import boto3
    import botocore.session

    of_botocore = botocore.session.Session()
    of_botocore.get_credentials = lambda: credentials
    return boto3.Session(botocore_session=of_botocore, region_name="eu-west-1")


def store_of_session(session: Any, script: ScriptedS3, transport: str, waits: list[float]) -> S3Store:
    client = session.client("s3", endpoint_url=script.endpoint)
    return S3Store(client, "example-trail", session=session if transport == "obstore" else None, sleep=waits.append)


@needs_boto3
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param((503, error_body("SlowDown")), id="throttled"),
        pytest.param((500, error_body("InternalError")), id="server error"),
        pytest.param(RESET, id="reset"),
        pytest.param(CUT_OFF, id="cut off in the body"),
    ],
)
@pytest.mark.parametrize("times", [1, 3])
def test_get_is_tried_again(transport: str, fault: tuple[int, bytes] | str, times: int) -> None:
    with ScriptedS3([*[fault] * times, OK]).running() as script:
        stored = scripted(script, transport, []).get("a/b")
    assert (stored.body, stored.etag) == (b"the body", "5d41402abc4b2a76b9719d911017c592")
    assert len(script.paths) == times + 1


PAGE = (200, b"<html><body>Please log in</body></html>")


@pytest.mark.parametrize("given", ['"e-2"', 'W/"e-2"', "e-2"])
def test_etag_of_an_answer_is_the_one_of_a_listing(given: str) -> None:
    assert etag_of(given, "example-trail", "k") == plain_etag(given) == "e-2"


@needs_boto3
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_answer_that_is_no_object_is_not_taken_for_one(transport: str) -> None:
    waits: list[float] = []
    with (
        ScriptedS3([PAGE], etag=None).running() as script,
        pytest.raises(StoreError, match=r"^s3://example-trail/a/b: the answer is no object of S3; look what stands"),
    ):
        scripted(script, transport, waits).get("a/b")
    assert waits == [1.0, 2.0, 4.0]
    assert len(script.paths) == ATTEMPTS


@needs_boto3
def test_store_that_never_answers() -> None:
    waits: list[float] = []
    with ScriptedS3([(503, error_body("SlowDown"))]).running() as script:
        store = scripted(script, "boto3", waits)
        with pytest.raises(StoreError, match=r"s3://example-trail/a/b: SlowDown") as caught:
            store.get("a/b")
    assert not isinstance(caught.value, ObjectError)
    assert waits == [1.0, 2.0, 4.0]
    assert len(script.paths) == ATTEMPTS * 2


@needs_boto3
@pytest.mark.skipif("obstore" not in TRANSPORTS, reason="needs obstore")
def test_store_that_never_answers_through_obstore() -> None:
    waits: list[float] = []
    # An answer that the client below does not try again, so that its minutes of retries are not waited for.
    with (
        ScriptedS3([(400, error_body("RequestTimeout"))]).running() as script,
        pytest.raises(StoreError, match=r"s3://example-trail/a/b: "),
    ):
        scripted(script, "obstore", waits).get("a/b")
    assert waits == [1.0, 2.0, 4.0]
    assert len(script.paths) == ATTEMPTS


@needs_boto3
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("key", ["a/b", "a/InvalidObjectState"])
def test_object_that_must_not_be_read(transport: str, key: str) -> None:
    waits: list[float] = []
    with (
        ScriptedS3([(403, error_body("AccessDenied"))]).running() as script,
        pytest.raises(ObjectError, match=f"s3://example-trail/{key}: AccessDenied; the role needs") as caught,
    ):
        scripted(script, transport, waits).get(key)
    assert caught.value.code == "access_denied"
    assert (waits, len(script.paths)) == ([], 1)


@needs_boto3
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ExpiredToken"),
        (403, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch"),
        (403, "RequestTimeTooSkewed"),
    ],
)
def test_who_is_not_accepted_is_no_fault_of_the_object(transport: str, status: int, code: str) -> None:
    waits: list[float] = []
    with (
        ScriptedS3([(status, error_body(code))]).running() as script,
        pytest.raises(StoreError, match=f"^s3://example-trail/a/b: {code}: made & up$") as caught,
    ):
        scripted(script, transport, waits).get("a/b")
    assert not isinstance(caught.value, ObjectError)
    assert waits == [1.0, 2.0, 4.0]


@needs_boto3
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_role_that_cannot_be_assumed_any_more_is_no_fault_of_the_object(transport: str) -> None:
    from botocore.credentials import RefreshableCredentials
    from botocore.exceptions import ClientError

    def refuse() -> dict[str, str]:
        answer = {"Error": {"Code": "AccessDenied", "Message": "made up"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        raise ClientError(answer, "AssumeRole")  # type: ignore[arg-type]

    waits: list[float] = []
    over = datetime.now(timezone.utc) - timedelta(hours=1)
    session = session_with(RefreshableCredentials("example", "example", "example", over, refuse, "assume-role"))
    with ScriptedS3([OK]).running() as script:
        with pytest.raises(StoreError, match=r"^s3://example-trail/a/b: .*AccessDenied.* AssumeRole .*: made up"):
            store_of_session(session, script, transport, waits).get("a/b")
        assert script.paths == []
    assert waits == [1.0, 2.0, 4.0]


@needs_boto3
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_no_credentials(transport: str) -> None:
    session = session_with(None)
    with ScriptedS3([OK]).running() as script:
        store = store_of_session(session, script, transport, [])
        with pytest.raises(StoreError, match=r"^listing s3://example-trail/AWSLogs/: Unable to locate credentials"):
            list(store.objects("AWSLogs/"))
        with pytest.raises(StoreError, match=r"^s3://example-trail/a/b: Unable to locate credentials"):
            store.get("a/b")


@needs_boto3
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("code", ["KMS.DisabledException", "KMS.KMSInvalidStateException", "KMS.NotFoundException"])
def test_object_whose_key_cannot_be_used(transport: str, code: str) -> None:
    waits: list[float] = []
    with (
        ScriptedS3([(400, error_body(code))]).running() as script,
        pytest.raises(ObjectError, match=f"s3://example-trail/a/b: {code}: made & up; the KMS key") as caught,
    ):
        scripted(script, transport, waits).get("a/b")
    assert caught.value.code == "access_denied"
    assert (waits, len(script.paths)) == ([], 1)


@needs_boto3
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_server_that_is_not_there(transport: str) -> None:
    waits: list[float] = []
    with reserved_port() as port:
        store = s3_store(f"http://127.0.0.1:{port}", "example-trail", transport, sleep=waits.append)
        with pytest.raises(StoreError, match=r"listing s3://example-trail/AWSLogs/: Could not connect"):
            list(store.objects("AWSLogs/"))
        with pytest.raises(
            StoreError, match=r"s3://example-trail/a/b: (Could not connect|no connection to S3: Connec)"
        ):
            store.get("a/b")
    assert waits == [1.0, 2.0, 4.0]
