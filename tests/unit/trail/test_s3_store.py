from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_cloudtrail.trail.local_store import LocalStore
from airflow_provider_cloudtrail.trail.s3_errors import etag_of
from airflow_provider_cloudtrail.trail.s3_store import ATTEMPTS, S3Store, read_times_quickly
from airflow_provider_cloudtrail.trail.store import ObjectError, StoreError, plain_etag
from tests.support.buckets import KEYS, folder_of_keys
from tests.support.engines import installed
from tests.support.log_files import FolderTrail, key_of
from tests.support.ports import reserved_port
from tests.support.s3 import (
    CUT_OFF,
    RESET,
    TRANSPORTS,
    CountedS3,
    ScriptedS3,
    client_of,
    error_body,
    s3_store,
    transport_of,
)

needs_moto = pytest.mark.skipif(not installed("moto", "werkzeug"), reason="needs moto's server")
needs_boto3 = pytest.mark.skipif(not installed("boto3"), reason="needs boto3")


@pytest.fixture
def folder(trail: FolderTrail) -> LocalStore:
    return folder_of_keys(trail)


def no_sleep(_: float) -> None:
    pass


class Bucket:
    """A bucket of the S3 server with what puts into it."""

    def __init__(self, server: CountedS3) -> None:
        self.server = server
        self.name = server.new_bucket()
        self.client = client_of(server.endpoint)

    def put(self, key: str, body: bytes = b"body", **arguments: Any) -> str:
        etag: str = self.client.put_object(Bucket=self.name, Key=key, Body=body, **arguments)["ETag"]
        return etag.strip('"')

    def store(self, transport: str) -> S3Store:
        return s3_store(self.server.endpoint, self.name, transport, sleep=no_sleep)


@pytest.fixture
def bucket(s3_server: CountedS3) -> Bucket:
    return Bucket(s3_server)


@needs_moto
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_get(bucket: Bucket, transport: str) -> None:
    body = random.Random(1).randbytes(300_000)
    etag = bucket.put(key_of(), body, Metadata={"signature": "0f1e2d"})
    store = bucket.store(transport)
    bucket.server.requests()
    stored = store.get(key_of())
    assert (stored.body, stored.etag) == (body, etag)
    assert type(stored.body) is bytes
    assert dict(stored.metadata) == {"signature": "0f1e2d"}
    assert bucket.server.gets(bucket.name) == [key_of()]
    assert transport_of(store) == transport


@needs_moto
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_missing_object(bucket: Bucket, transport: str) -> None:
    store = bucket.store(transport)
    bucket.server.requests()
    with pytest.raises(ObjectError, match=f"s3://{bucket.name}/a/b: the object is not there any more") as caught:
        store.get("a/b")
    assert caught.value.code == "not_found"
    assert bucket.server.gets(bucket.name) == ["a/b"]


@needs_moto
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_object_of_a_bucket_that_is_not_there(bucket: Bucket, transport: str) -> None:
    store = bucket.store(transport)
    bucket.client.delete_bucket(Bucket=bucket.name)
    with pytest.raises(ObjectError, match=f"s3://{bucket.name}/a/b: there is no bucket {bucket.name}") as caught:
        store.get("a/b")
    assert caught.value.code == "not_found"


@needs_moto
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_object_that_is_too_large(bucket: Bucket, transport: str) -> None:
    bucket.put("a/b", bytes(101))
    store = bucket.store(transport)
    with pytest.raises(ObjectError, match=f"s3://{bucket.name}/a/b: it has 101 bytes, .* max_file_bytes=100") as caught:
        store.get("a/b", 100)
    assert caught.value.code == "too_large"
    assert len(store.get("a/b", 101).body) == 101


@needs_moto
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
def test_archived_object(bucket: Bucket, transport: str, storage_class: str) -> None:
    bucket.put("a/b", StorageClass=storage_class)
    store = bucket.store(transport)
    bucket.server.requests()
    with pytest.raises(ObjectError, match=f"s3://{bucket.name}/a/b: .* archive .* has to be restored") as caught:
        store.get("a/b")
    assert caught.value.code == "archived"
    assert bucket.server.gets(bucket.name) == ["a/b"]
    bucket.client.restore_object(Bucket=bucket.name, Key="a/b", RestoreRequest={"Days": 1})
    assert store.get("a/b").body == b"body"


@needs_moto
@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    "key",
    [
        pytest.param("a b/c+d&e=f.json.gz", id="space and plus"),
        pytest.param("a%20b/c%2Fd", id="percent"),
        pytest.param("prefix//AWSLogs/x", id="two slashes"),
        pytest.param("a?b#c", id="query and fragment"),
        pytest.param("été/\N{WATER WAVE}", id="not ASCII"),
        pytest.param("a~b!c*d'(e),;:@$", id="punctuation"),
    ],
)
def test_odd_keys(bucket: Bucket, transport: str, key: str) -> None:
    bucket.put(key, key.encode())
    store = bucket.store(transport)
    assert store.get(key).body == key.encode()
    assert [entry.key for entry in store.objects("")] == [key]


@needs_moto
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_odd_keys_are_listed_among_others(bucket: Bucket, transport: str) -> None:
    odd = ["a b", "b%20c", "c//d", "e?f#g", "h/", "i\N{WATER WAVE}", "j~!*'(e),;:@$", "k/./l", "m/../n", "x\ty", "zz"]
    keys = sorted(f"AWSLogs/{key}" for key in odd)
    for key in keys:
        bucket.put(key)
    store = bucket.store(transport)
    listed = [entry.key for entry in store.objects("AWSLogs/")]
    # obstore names the marker of a folder without its slash; neither is a log file.
    assert [key.replace("h", "h/") if key.endswith("h") else key for key in listed] == keys
    for number, key in enumerate(keys):
        assert [entry.key for entry in store.objects("AWSLogs/", key)][-1:] == keys[number + 1 :][-1:]


@needs_moto
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_folders_and_objects_of_a_bucket_are_those_of_a_folder(
    bucket: Bucket, folder: LocalStore, transport: str
) -> None:
    for key in KEYS:
        bucket.put(key, key.encode())
    store = bucket.store(transport)
    for prefix in ("", "AWSLogs/", "AWSLogs/1/", "AWSLogs/1/CloudTrail/", "AWSLogs/2/"):
        assert store.folders(prefix) == folder.folders(prefix)
        for start_after in ("", KEYS[0], "AWSLogs/1/CloudTrail/eu-west-1/2026/02/03"):
            assert [(entry.key, entry.size_bytes) for entry in store.objects(prefix, start_after)] == [
                (entry.key, entry.size_bytes) for entry in folder.objects(prefix, start_after)
            ]
    etags = {entry.key: entry.etag for entry in store.objects("")}
    assert etags == {key: store.get(key).etag for key in KEYS}


@needs_moto
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_listing_goes_on_behind_a_page_and_no_further_than_it_is_asked_for(bucket: Bucket, transport: str) -> None:
    keys = [f"AWSLogs/1/CloudTrail/eu-west-1/2026/02/03/{number:04}.json.gz" for number in range(1010)]
    for key in keys:
        bucket.put(key, b"")
    store = bucket.store(transport)
    bucket.server.requests()
    assert [entry.key for entry in store.objects("AWSLogs/")] == keys
    assert len(bucket.server.requests()) == store.requests["LIST"] == 2
    assert [entry.key for entry in store.objects("AWSLogs/", keys[4])] == keys[5:]
    bucket.server.requests()
    listing = store.objects("AWSLogs/")
    assert [next(listing).key for _ in range(1000)] == keys[:1000]
    assert len(bucket.server.requests()) == 1


@needs_moto
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_bucket_that_is_not_there(s3_server: CountedS3, transport: str) -> None:
    store = s3_store(s3_server.endpoint, "no-such-trail", transport, sleep=no_sleep)
    with pytest.raises(StoreError, match=r"listing s3://no-such-trail/AWSLogs/: NoSuchBucket: .*; check the name"):
        list(store.objects("AWSLogs/"))
    with pytest.raises(StoreError, match=r"listing s3://no-such-trail/AWSLogs/: NoSuchBucket: .*; check the name"):
        store.folders("AWSLogs/")


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
        with pytest.raises(StoreError, match=r"s3://example-trail/a/b: (Could not connect|.* error sending request)"):
            store.get("a/b")
    assert waits == [1.0, 2.0, 4.0]


@needs_boto3
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("2026-02-03T10:00:00.000Z", "2026-02-03T10:00:00+00:00", id="s3"),
        pytest.param("2026-02-03T12:00:00+02:00", "2026-02-03T10:00:00+00:00", id="zone"),
        pytest.param("Tue, 03 Feb 2026 10:00:00 GMT", "2026-02-03T10:00:00+00:00", id="http"),
        pytest.param(1770112800, "2026-02-03T10:00:00+00:00", id="seconds"),
    ],
)
def test_times_are_read_as_botocore_reads_them(value, expected):
    import boto3
    from botocore.utils import parse_timestamp

    session = boto3.Session(region_name="eu-west-1")
    read_times_quickly(session)
    factory = session._session.get_component("response_parser_factory")
    found = factory.create_parser("rest-xml")._timestamp_parser(value)
    assert found == parse_timestamp(value) == datetime.fromisoformat(expected)
