"""The S3 server of the demo serves a trail, and is gone afterwards."""

from __future__ import annotations

import socket
from datetime import date
from urllib.parse import urlsplit

import pytest

from airflow_provider_cloudtrail.demo import server
from airflow_provider_cloudtrail.demo.airflow_home import DemoError
from airflow_provider_cloudtrail.demo.digests import SigningKey
from airflow_provider_cloudtrail.demo.plan import TrailPlan
from airflow_provider_cloudtrail.demo.server import S3Server, s3_server, upload
from airflow_provider_cloudtrail.demo.trail import generate
from tests.support.engines import installed

TINY = TrailPlan(
    accounts=("111122223333",), regions=("eu-west-1",), first_day=date(2026, 2, 2), days=1, files_per_day=2
)


needs_moto = pytest.mark.skipif(not installed("moto", "werkzeug"), reason="needs moto's server")


@needs_moto
def test_server_holds_the_trail_with_signatures_and_ends_with_its_block() -> None:
    key = SigningKey.generate()
    with s3_server() as running:
        client = running.client()
        upload(TINY, client, key)
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=TINY.bucket)
        stored = {entry["Key"] for page in pages for entry in page["Contents"]}
        planned = {found.key: found for found in generate(TINY, key)}
        assert stored == set(planned)
        digest = next(found for found in planned.values() if found.metadata)
        answer = client.get_object(Bucket=TINY.bucket, Key=digest.key)
        assert answer["Metadata"] == digest.metadata
        assert answer["Body"].read() == digest.body
    address = urlsplit(running.url)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port), timeout=5)


@needs_moto
def test_nobody_is_given_the_port_before_the_server_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others ask for any port on a busy machine, and each of their connections takes one."""

    def chosen(url: str, region: str) -> S3Server:
        address = urlsplit(url)
        with pytest.raises(OSError, match="already in use"):
            socket.create_server((address.hostname, address.port))
        return S3Server(url, region)

    monkeypatch.setattr(server, "S3Server", chosen)
    with server.s3_server() as running:
        assert running.client().list_buckets()["Buckets"] == []


def test_server_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_PROGRAM", "raise SystemExit('no moto here')")
    with pytest.raises(DemoError, match="the S3 server did not start: no moto here"), s3_server():
        pass
