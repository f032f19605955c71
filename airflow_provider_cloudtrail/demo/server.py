"""
A real S3 API on this machine, for the demo and for tests: moto's server in a process of its own.

Nobody from outside reaches it, it keeps everything in memory, and it ends with the ``with`` block.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from airflow_provider_cloudtrail.demo.airflow_home import DemoError
from airflow_provider_cloudtrail.demo.digests import SigningKey
from airflow_provider_cloudtrail.demo.plan import TrailPlan
from airflow_provider_cloudtrail.demo.trail import TrailObject, generate

_HOST = "127.0.0.1"
_START_SECONDS = 60
_STOP_SECONDS = 10
# moto answers one request after the other; more threads only wait.
_THREADS = 6
# moto's own command takes the number of a port, which others could be given before it listens.
_PROGRAM = (
    "import sys; from moto.server import DomainDispatcherApplication, create_backend_app; "
    "from werkzeug.serving import make_server; application = DomainDispatcherApplication(create_backend_app); "
    "make_server('127.0.0.1', 0, application, threaded=True, fd=int(sys.argv[1])).serve_forever()"
)


@dataclass(frozen=True)
class S3Server:
    """
    A running server.

    :param url: its endpoint.
    :param region: Region that clients shall name.
    """

    url: str
    region: str = "us-east-1"

    def client(self) -> Any:
        """Return a boto3 S3 client."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=self.region,
            aws_access_key_id="demo",
            aws_secret_access_key="demo",  # noqa: S106
            config=Config(max_pool_connections=_THREADS, proxies={}, s3={"addressing_style": "path"}),
        )

    def connection(self) -> dict[str, Any]:
        """Return an Airflow connection of type ``aws``, as JSON types."""
        extra = {"endpoint_url": self.url, "region_name": self.region}
        return {"conn_type": "aws", "login": "demo", "password": "demo", "extra": extra}


@contextmanager
def s3_server(region: str = "us-east-1") -> Iterator[S3Server]:
    """
    Run a server while the block runs.

    :raises DemoError: if it does not start; the message holds what it said.
    """
    with socket.create_server((_HOST, 0)) as listener, tempfile.TemporaryFile() as output:
        server = S3Server(f"http://{_HOST}:{listener.getsockname()[1]}", region)
        command = [sys.executable, "-c", _PROGRAM, str(listener.fileno())]
        # Two credentials of its own keep moto from looking for the user's.
        environment = os.environ | {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo"}
        # In a group of its own: Ctrl-C shall not end it before those who ask it.
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            pass_fds=[listener.fileno()],
        )
        # The server's alone: when it ends, nobody is kept waiting for an answer.
        listener.close()
        try:
            if not _answers(server.url, process):
                output.seek(0)
                said = output.read().decode(errors="replace")[-2000:].strip()
                raise DemoError(
                    f"the S3 server did not start: {said or 'it said nothing'}; it comes with the extra "
                    "airflow-provider-cloudtrail[demo]"
                )
            yield server
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def upload(plan: TrailPlan, client: Any, signed_by: SigningKey | None = None) -> None:
    """
    Put a trail into its bucket, which is created if it is missing.

    :param client: boto3 S3 client, used by several threads.
    :param signed_by: signs the digests; None: there are none.
    """
    _create_bucket(plan.bucket, client)

    def put(written: TrailObject) -> None:
        client.put_object(Bucket=plan.bucket, Key=written.key, Body=written.body, Metadata=dict(written.metadata))

    pending: set[Future[None]] = set()
    pool = ThreadPoolExecutor(_THREADS)
    try:
        for written in generate(plan, signed_by):
            pending.add(pool.submit(put, written))
            if len(pending) >= 4 * _THREADS:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
        for future in pending:
            future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _create_bucket(bucket: str, client: Any) -> None:
    region = client.meta.region_name
    elsewhere = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    try:
        client.create_bucket(Bucket=bucket, **elsewhere)
    except client.exceptions.BucketAlreadyOwnedByYou:
        return


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    opener = build_opener(ProxyHandler({}))
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with opener.open(f"{url}/moto-api/", timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            time.sleep(0.05)
    return False
