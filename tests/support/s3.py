"""S3 for tests: moto in a process of its own with counted requests, and a server that answers as told."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from airflow_provider_cloudtrail.trail.s3_store import S3Store
from tests.support.engines import REPOSITORY, installed
from tests.support.http_server import Handler, http_server
from tests.support.s3_server import RECORDED

TRANSPORTS = ["boto3", *(["obstore"] if installed("obstore") else [])]
REGION = "eu-west-1"


@cache
def session() -> Any:
    import boto3

    return boto3.Session(aws_access_key_id="example", aws_secret_access_key="example", region_name=REGION)


def client_of(endpoint: str, **config: Any) -> Any:
    from botocore.config import Config

    return session().client(
        "s3",
        endpoint_url=endpoint,
        config=Config(s3={"addressing_style": "path"}, read_timeout=60, **config),
    )


def s3_store(endpoint: str, bucket: str, transport: str, **arguments: Any) -> S3Store:
    """Return a store whose GETs go through boto3 or through obstore."""
    retries = {"total_max_attempts": 2, "mode": "standard"}
    client = client_of(endpoint, retries=retries)
    return S3Store(client, bucket, session=session() if transport == "obstore" else None, **arguments)


@contextmanager
def counted_s3() -> Iterator[CountedS3]:
    """Run moto's S3 API on a free port."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.s3_server"],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield CountedS3(f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.terminate()
            process.wait(60)


@dataclass
class CountedS3:
    """A running S3 API."""

    endpoint: str
    _buckets: int = 0

    def new_bucket(self) -> str:
        self._buckets += 1
        bucket = f"example-trail-{self._buckets}"
        client_of(self.endpoint).create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        return bucket

    def requests(self) -> list[tuple[str, str, str]]:
        """Return method, path and query of the requests since the last call, and forget them."""
        request = urllib.request.Request(self.endpoint + RECORDED, method="DELETE")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return [(method, path, query) for method, path, query in json.load(answer)]

    def gets(self, bucket: str) -> list[str]:
        """Return the keys of the objects that were read since the last call, in the order of the requests."""
        start = f"/{bucket}/"
        return [
            path.removeprefix(start)
            for method, path, _ in self.requests()
            if method == "GET" and path.startswith(start) and path != start
        ]


RESET = "reset"
"""Answer of a :class:`ScriptedS3` that closes the connection instead."""
CUT_OFF = "cut off"
"""Answer that promises the body of the next proper answer, and sends one byte of it."""


@dataclass
class ScriptedS3:
    """
    A server that gives one answer after the other, the last one for ever, and keeps the paths asked for.

    :param etag: of its answers; None: they have none, as those of a proxy.
    """

    answers: list[tuple[int, bytes] | str]
    etag: str | None = "5d41402abc4b2a76b9719d911017c592"
    paths: list[str] = field(default_factory=list)
    endpoint: str = ""

    def next_answer(self) -> tuple[int, bytes] | str:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    @contextmanager
    def running(self) -> Iterator[ScriptedS3]:
        script = self

        class Answering(Handler):
            def do_GET(self) -> None:
                script.paths.append(self.path)
                answer = script.next_answer()
                if answer == RESET:
                    self.break_off()
                    return
                if answer == CUT_OFF:
                    status, body = next(other for other in script.answers if not isinstance(other, str))
                else:
                    status, body = answer
                start = (
                    int(self.headers["Range"].removeprefix("bytes=").partition("-")[0])
                    if "Range" in self.headers
                    else 0
                )
                self.send_response(206 if start else status)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
                self.send_header("Content-Length", str(len(body) - start))
                if script.etag is not None:
                    self.send_header("ETag", f'"{script.etag}"')
                self.send_header("Last-Modified", "Tue, 03 Feb 2026 10:00:00 GMT")
                self.end_headers()
                self.wfile.write(body[start : start + 1] if answer == CUT_OFF else body[start:])
                self.wfile.flush()
                self.close_connection = answer == CUT_OFF

        with http_server(Answering) as self.endpoint:
            yield self


@contextmanager
def silent_server(answered: str | None = None) -> Iterator[tuple[str, list[str]]]:
    """
    Run a server that takes requests and does not answer them before it is stopped.

    :param answered: begin of the paths that are answered, with an empty 200.
    :return: its endpoint, and the paths that were asked for and are not answered.
    """
    asked: list[str] = []
    ended = threading.Event()

    class Waiting(Handler):
        def do_GET(self) -> None:
            if answered is not None and self.path.startswith(answered):
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            asked.append(self.path)
            ended.wait()
            self.close_connection = True

        do_HEAD = do_GET

    with http_server(Waiting) as endpoint:
        try:
            yield endpoint, asked
        finally:
            ended.set()


def error_body(code: str) -> bytes:
    return f"<?xml version='1.0'?>\n<Error><Code>{code}</Code><Message>made &amp; up</Message></Error>".encode()


def transport_of(store: S3Store) -> str:
    """Return what the GETs of a store go through."""
    return "obstore" if store._obstore is not None else "boto3"
