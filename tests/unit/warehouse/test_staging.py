from __future__ import annotations

import logging

import pytest

from airflow_provider_cloudtrail.warehouse.base import WarehouseError
from airflow_provider_cloudtrail.warehouse.staging import StagingFolder
from tests.support.engines import installed
from tests.support.s3 import REGION, CountedS3, client_of

needs_moto = pytest.mark.skipif(not installed("moto", "werkzeug"), reason="needs moto's server")
ROLE = "arn:aws:iam::111122223333:role/path/redshift-copy"


def never(bucket):
    raise AssertionError("connected too early")


@pytest.mark.parametrize(
    "uri",
    ["", "bucket/folder", "s3://", "s3://B/x", "s3://bucket/it's", 's3://bucket/"', "s3://bucket//x", "s3://bucket/\\"],
)
def test_folder_that_is_none_is_refused(uri):
    with pytest.raises(ValueError, match=r"staging_uri=.* write s3://bucket/folder"):
        StagingFolder(uri, "default", never)


@pytest.mark.parametrize(
    "role",
    [
        "",
        "redshift-copy",
        "aws_access_key_id=AKIA;aws_secret_access_key=x",
        "x y",
        "arn:aws:iam::1:role/x",
        f"{ROLE}' GZIP",
    ],
)
def test_role_that_is_none_is_refused(role):
    with pytest.raises(ValueError, match=r"staging_role=.* write the ARN of an IAM role"):
        StagingFolder("s3://bucket/folder", role, never)


@needs_moto
def test_objects_are_removed_also_when_the_load_fails(s3_server: CountedS3):
    bucket = s3_server.new_bucket()
    client = client_of(s3_server.endpoint)
    folder = StagingFolder(f"s3://{bucket}/a/b/", f"{ROLE},{ROLE}", lambda _: (client, REGION))

    def keys() -> list[str]:
        return [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket).get("Contents", [])]

    uris = []

    def fail() -> None:
        with folder.load() as files:
            files.put("0.json.gz", b"x")
            files.put("1.json.gz", b"y")
            assert len(keys()) == 2
            assert all(f"s3://{bucket}/{key}".startswith(files.uri) for key in keys())
            uris.append(files.uri)
            raise RuntimeError("load failed")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="load failed"):
            fail()
        assert keys() == []
    assert len(set(uris)) == 2
    assert uris[0].startswith(f"s3://{bucket}/a/b/cloudtrail-")
    with StagingFolder(f"s3://{bucket}", "default", lambda _: (client, REGION)).load() as files:
        assert files.uri.startswith(f"s3://{bucket}/cloudtrail-")


@needs_moto
def test_bucket_that_is_not_there(s3_server: CountedS3, caplog):
    folder = StagingFolder("s3://no-such-bucket/x", "default", lambda _: (client_of(s3_server.endpoint), REGION))
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(WarehouseError, match=r"cannot stage under s3://no-such-bucket/x/.*NoSuchBucket"),
        folder.load() as files,
    ):
        files.put("0.json.gz", b"x")
    assert "Could not remove s3://no-such-bucket/x/" in caplog.text


def test_bucket_that_cannot_be_reached_is_named():
    def refuse(bucket):
        raise RuntimeError(f"there is no bucket {bucket}")

    folder = StagingFolder("s3://no-such-bucket/x", "default", refuse)
    said = r"^cannot reach the bucket of s3://no-such-bucket/x: there is no bucket no-such-bucket$"
    with pytest.raises(WarehouseError, match=said):
        folder.connect()
    with pytest.raises(WarehouseError, match=said), folder.load():
        pytest.fail("there is nothing to load through")
