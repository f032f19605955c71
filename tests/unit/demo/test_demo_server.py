"""The S3 server of the demo serves a trail, and is gone afterwards."""

from __future__ import annotations

import socket
from datetime import date
from urllib.parse import urlsplit

import pytest

from airflow_provider_cloudtrail.demo.digests import SigningKey
from airflow_provider_cloudtrail.demo.plan import TrailPlan
from airflow_provider_cloudtrail.demo.server import s3_server, upload
from airflow_provider_cloudtrail.demo.trail import generate
from tests.support.engines import installed

TINY = TrailPlan(
    accounts=("111122223333",), regions=("eu-west-1",), first_day=date(2026, 2, 2), days=1, files_per_day=2
)


@pytest.mark.skipif(not installed("moto", "werkzeug"), reason="needs moto's server")
def test_server_holds_the_trail_with_signatures_and_ends_with_its_block() -> None:
    key = SigningKey.generate()
    with s3_server() as server:
        client = server.client()
        upload(TINY, client, key)
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=TINY.bucket)
        stored = {entry["Key"] for page in pages for entry in page["Contents"]}
        planned = {found.key: found for found in generate(TINY, key)}
        assert stored == set(planned)
        digest = next(found for found in planned.values() if found.metadata)
        answer = client.get_object(Bucket=TINY.bucket, Key=digest.key)
        assert answer["Metadata"] == digest.metadata
        assert answer["Body"].read() == digest.body
    address = urlsplit(server.url)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port), timeout=5)
