from __future__ import annotations

import json

import pytest

from airflow_provider_cloudtrail.trail import s3_store
from tests.support.asked_bucket import READERS
from tests.support.delivery import Delivery
from tests.support.deployment import Deployer, use_package_of
from tests.support.log_files import event, foreign, key_of, log_bytes
from tests.support.mwaa_stand_in import mwaa_stand_in
from tests.support.s3 import REGION, client_of


@pytest.fixture(scope="module")
def mwaa_server():
    with mwaa_stand_in() as served:
        yield served


@pytest.fixture
def deployer(mwaa_server, monkeypatch, tmp_path):
    """Somebody who deploys the small package to an environment of the stand-in for MWAA."""
    for name, value in mwaa_server.variables().items():
        monkeypatch.setenv(name, value)
    mwaa_server.allowed, mwaa_server.denied_calls = set(), set()
    made = Deployer(mwaa_server, mwaa_server.create(), tmp_path)
    use_package_of(made, monkeypatch)
    return made


@pytest.fixture
def bucket(s3_server, monkeypatch):
    """A bucket with log files of two minutes, behind the AWS connection of the worker."""
    connection = {
        "conn_type": "aws",
        "login": "AKIAEXAMPLEKEY",
        "password": "secret-of-the-worker",
        "extra": {
            "region_name": REGION,
            "endpoint_url": s3_server.endpoint,
            "config_kwargs": {"s3": {"addressing_style": "path"}},
        },
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    bucket = s3_server.new_bucket()
    client = client_of(s3_server.endpoint)
    for stamp, records in {
        "20260203T1000Z": [event("a"), event("b"), foreign("f"), 7],
        "20260203T1005Z": [event("b"), event("c", userAgent="x" * 100_000)],
    }.items():
        client.put_object(Bucket=bucket, Key=key_of(stamp), Body=log_bytes(*records))
    return bucket


@pytest.fixture
def new_delivery(s3_server, monkeypatch):
    """Return what makes a bucket with a queue that is told of its log files, behind the worker's AWS connection."""
    connection = {
        "conn_type": "aws",
        "login": "example",
        "password": "example",
        "extra": {"endpoint_url": s3_server.endpoint, "region_name": REGION},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))

    def make(**settings):
        made = Delivery(s3_server.endpoint, **settings)
        # Of the set-up itself: S3 tests whether it may publish.
        for message in made.sqs.receive_message(QueueUrl=made.queue, MaxNumberOfMessages=10).get("Messages", ()):
            made.sqs.delete_message(QueueUrl=made.queue, ReceiptHandle=message["ReceiptHandle"])
        return made

    return make


@pytest.fixture
def delivery(new_delivery):
    """A bucket with a queue that is told of its log files."""
    return new_delivery()


@pytest.fixture(params=READERS)
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have one client read buckets, and return its name."""
    monkeypatch.setattr(s3_store, "OBSTORE_INSTALLED", request.param == "obstore")
    return request.param
