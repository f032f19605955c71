"""A bucket that remembers who asked, and a hook that asks it over a connection of Airflow."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from urllib.parse import urlsplit

from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.trail import s3_store
from tests.support.http_server import Handler

READERS = ["boto3", "obstore"] if s3_store.OBSTORE_INSTALLED else ["boto3"]
KEY = "AWSLogs/111122223333/CloudTrail/eu-west-1/2026/02/03/x.json.gz"
LISTING = (
    b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>example-trail</Name><KeyCount>1</KeyCount>'
    b"<IsTruncated>false</IsTruncated><Contents><Key>AWSLogs/o-exampleorgid/111122223333/CloudTrail/eu-west-1/2026/02/03/"
    b"111122223333_CloudTrail_eu-west-1_20260203T1000Z_Q1w2E3r4T5y6U7i8.json.gz</Key><LastModified>2026-02-03T10:00:00.000Z</LastModified><Size>7</Size>"
    b"<ETag>&quot;abc&quot;</ETag></Contents></ListBucketResult>"
)


class Bucket(Handler):
    """An S3 bucket that remembers who asked, and the STS that gives roles out."""

    asked: SimpleNamespace

    def do_HEAD(self) -> None:
        self._answer(b"", {"x-amz-bucket-region": "eu-central-1"})

    def do_GET(self) -> None:
        self.asked.seen.append((urlsplit(self.path).path, self.headers.get("Authorization", ""), dict(self.headers)))
        if "list-type" in self.path:
            self._answer(LISTING, {"Content-Type": "application/xml"})
            return
        self._answer(b"content", {"ETag": '"abc"', "Last-Modified": "Tue, 03 Feb 2026 10:00:00 GMT"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.roles += 1
        expiration = datetime.now(timezone.utc) + timedelta(hours=1)
        self._answer(
            b'<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
            b"<AccessKeyId>ROLEKEY</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token"
            b"</SessionToken><Expiration>" + f"{expiration:%Y-%m-%dT%H:%M:%SZ}".encode() + b"</Expiration>"
            b"</Credentials></AssumeRoleResult></AssumeRoleResponse>",
            {"Content-Type": "text/xml"},
        )

    def _answer(self, body: bytes, headers: dict[str, str], status: int = 200) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def connect(monkeypatch, **extra):
    connection = {"conn_type": "aws", "login": "USERKEY", "password": "secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AUDIT_READER", json.dumps(connection))
    return CloudTrailHook(aws_conn_id="audit_reader")
