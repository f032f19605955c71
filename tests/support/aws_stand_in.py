"""What a validation asks AWS for, over HTTP: listings and objects of S3, ListPublicKeys and DescribeTrails."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import md5
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, unquote, urlsplit
from urllib.request import ProxyHandler, Request, build_opener
from xml.sax.saxutils import escape

from airflow_provider_cloudtrail.trail.public_keys import PublicKey
from tests.support.http_server import Handler, http_server
from tests.support.signed_trail import WINDOW, Object, SignedTrail

_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


@dataclass
class StandIn:
    """A running server; every bucket has a CloudTrail API of its own at ``/-cloudtrail-/BUCKET``."""

    buckets: dict[str, dict[str, Object]] = field(default_factory=dict)
    keys: dict[str, list[PublicKey]] = field(default_factory=dict)
    trails: dict[str, SignedTrail] = field(default_factory=dict)
    endpoint: str = ""
    others: str = ""
    """Endpoint of a server that is asked what this one has no answer for."""

    def serve(self, trail: SignedTrail, keys: list[PublicKey] | None = None) -> None:
        self.buckets[trail.bucket] = trail.objects
        self.keys[trail.bucket] = trail.public_keys() if keys is None else keys
        self.trails[trail.bucket] = trail

    def environment(self, bucket: str) -> dict[str, str]:
        """Return the variables that send an AWS client here."""
        return {
            "AWS_ACCESS_KEY_ID": "example",
            "AWS_SECRET_ACCESS_KEY": "example",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ENDPOINT_URL_CLOUDTRAIL": f"{self.endpoint}/-cloudtrail-/{bucket}",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    # -- CloudTrail --------------------------------------------------------------------------------

    def cloudtrail(self, bucket: str, action: str, request: dict[str, Any]) -> dict[str, Any]:
        if action == "DescribeTrails":
            trail = self.trails[bucket]
            arn = f"arn:aws:cloudtrail:eu-central-1:{trail.account}:trail/{trail.trail_name}"
            return {"trailList": [{"Name": trail.trail_name, "S3BucketName": bucket, "TrailARN": arn}]}
        assert action == "ListPublicKeys", action
        start = request["StartTime"]
        valid = [key for key in self.keys[bucket] if _end(key).timestamp() >= start]
        return {
            "PublicKeyList": [
                {
                    "Fingerprint": key.fingerprint,
                    "Value": base64.b64encode(key.der).decode(),
                    "ValidityStartTime": (WINDOW[0] - timedelta(days=20)).timestamp(),
                    "ValidityEndTime": _end(key).timestamp(),
                }
                for key in valid
            ]
        }

    # -- S3 ----------------------------------------------------------------------------------------

    def listing(self, bucket: str, query: dict[str, str]) -> str:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        after = query.get("start-after") or query.get("marker") or ""
        contents, folders = [], set()
        for key in sorted(self.buckets[bucket]):
            if not key.startswith(prefix) or key <= after:
                continue
            if delimiter and delimiter in key[len(prefix) :]:
                folders.add(prefix + key[len(prefix) :].split(delimiter)[0] + delimiter)
                continue
            body = self.buckets[bucket][key].body
            contents.append(
                f"<Contents><Key>{escape(key)}</Key><Size>{len(body)}</Size><ETag>&quot;{etag(body)}&quot;</ETag>"
                "<LastModified>2026-02-03T10:00:00.000Z</LastModified></Contents>"
            )
        common = "".join(
            f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in sorted(folders)
        )
        return (
            f"<ListBucketResult {_NAMESPACE}><IsTruncated>false</IsTruncated>{''.join(contents)}{common}"
            "</ListBucketResult>"
        )


def ask_other(endpoint: str, headers: Mapping[str, str], request: dict[str, Any]) -> tuple[int, bytes, dict[str, str]]:
    """Return status, body and headers of what a server answers to the same request."""
    passed = {name: headers[name] for name in ("Authorization", "X-Amz-Target", "Content-Type", "X-Amz-Date")}
    sent = Request(endpoint, json.dumps(request).encode(), passed)
    try:
        with build_opener(ProxyHandler({})).open(sent, timeout=30) as answer:
            status, body = answer.status, answer.read()
    except HTTPError as error:
        status, body = error.code, error.read()
    return status, body, {"Content-Type": "application/x-amz-json-1.1"}


def etag(body: bytes) -> str:
    return md5(body).hexdigest()


def _end(key: PublicKey) -> datetime:
    return key.valid_to or WINDOW[1] + timedelta(days=20)


@contextmanager
def stand_in() -> Iterator[StandIn]:  # noqa: C901
    served = StandIn()

    class Answering(Handler):
        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def xml(self, text: str, status: int = 200) -> None:
            self.answer(status, f"<?xml version='1.0'?>{text}".encode(), {"Content-Type": "application/xml"})

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            action = self.headers["X-Amz-Target"].rpartition(".")[2]
            if served.others and action != "ListPublicKeys":
                self.answer(*ask_other(served.others, self.headers, request))
                return
            found = served.cloudtrail(self.path.strip("/").split("/")[1], action, request)
            self.answer(200, json.dumps(found).encode(), {"Content-Type": "application/x-amz-json-1.1"})

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
            if "location" in query:
                self.xml(f"<LocationConstraint {_NAMESPACE}>eu-west-1</LocationConstraint>")
            elif not key:
                self.xml(served.listing(bucket, query))
            elif key not in served.buckets[bucket]:
                self.xml("<Error><Code>NoSuchKey</Code><Message>made up</Message></Error>", 404)
            else:
                stored = served.buckets[bucket][key]
                metadata = {f"x-amz-meta-{name}": value for name, value in stored.metadata.items()}
                described = {"ETag": f'"{etag(stored.body)}"', "Last-Modified": "Tue, 03 Feb 2026 10:00:00 GMT"}
                self.answer(200, stored.body, described | {"Content-Type": "application/json"} | metadata)

        def do_HEAD(self) -> None:
            self.answer(200, b"", {"x-amz-bucket-region": "eu-west-1"})

    with http_server(Answering) as served.endpoint:
        yield served
