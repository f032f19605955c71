from __future__ import annotations

import random
from datetime import datetime
from typing import Any

import pytest

from airflow_provider_cloudtrail.trail.local_store import LocalStore
from airflow_provider_cloudtrail.trail.s3_store import S3Store, read_times_quickly
from airflow_provider_cloudtrail.trail.store import ObjectError, StoreError
from tests.support.buckets import KEYS, folder_of_keys
from tests.support.engines import installed
from tests.support.log_files import FolderTrail, key_of
from tests.support.s3 import (
    TRANSPORTS,
    CountedS3,
    client_of,
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
