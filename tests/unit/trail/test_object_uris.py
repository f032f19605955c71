from __future__ import annotations

import pytest

from airflow_provider_cloudtrail.trail.object_uris import KeyGrammarError, local_folder, object_uri, split_uri


@pytest.mark.parametrize(
    ("uri", "bucket", "key"),
    [
        pytest.param("s3://example-trail/a/b", "example-trail", "a/b", id="s3"),
        pytest.param("s3://example-trail/a?b#c/d e", "example-trail", "a?b#c/d e", id="query characters"),
        pytest.param("s3://example-trail//a", "example-trail", "/a", id="key with a leading slash"),
        pytest.param("file:///srv/copy/AWSLogs/x", "file:///srv/copy", "AWSLogs/x", id="folder"),
    ],
)
def test_uris_are_split_and_put_together(uri: str, bucket: str, key: str) -> None:
    assert split_uri(uri) == (bucket, key)
    assert object_uri(bucket, key) == uri


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param("", id="nothing"),
        pytest.param("s3://example-trail", id="bucket alone"),
        pytest.param("s3://example-trail/", id="no key"),
        pytest.param("s3:///AWSLogs/x", id="no bucket"),
        pytest.param("https://example-trail.s3.amazonaws.com/AWSLogs/x", id="https"),
        pytest.param("file:///srv/copy/x.json.gz", id="file outside of AWSLogs"),
        pytest.param("AWSLogs/x", id="key alone"),
    ],
)
def test_uris_that_name_no_object(uri: str) -> None:
    with pytest.raises(KeyGrammarError, match=r"expected s3://bucket/key"):
        split_uri(uri)


def test_folder_of_a_file_uri_is_unquoted() -> None:
    assert local_folder("file:///srv/a%20copy") == "/srv/a copy"
