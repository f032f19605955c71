"""
An Iceberg REST catalog as S3 Tables has one: requests signed for ``s3tables``, a prefix from its configuration.

What is behind it is pyiceberg's catalog in SQLite, so that commits are refused by the same rules. Sources:
Apache Iceberg, "REST Catalog API"; Amazon S3 user guide, "Accessing tables using the S3 Tables Iceberg REST endpoint".
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from tests.support.http_server import Handler, http_server

REGION = "eu-west-1"
SIGNED_FOR = "s3tables"
TABLE_BUCKET = f"arn:aws:s3tables:{REGION}:111122223333:bucket/audit"
_KEY = ("example", "example")
_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,254}")


class RefusedError(Exception):
    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


def rest_catalog(endpoint: str, s3: str) -> dict[str, str]:
    """Return the properties of a catalog behind a server, as the README gives them for S3 Tables."""
    keys = {"access-key-id": _KEY[0], "secret-access-key": _KEY[1], "region": REGION}
    return {
        "type": "rest",
        "uri": endpoint,
        "warehouse": TABLE_BUCKET,
        "rest.sigv4-enabled": "true",
        "rest.signing-name": SIGNED_FOR,
        "rest.signing-region": REGION,
        **{f"client.{name}": value for name, value in keys.items()},
        **{f"s3.{name}": value for name, value in (keys | {"endpoint": s3}).items()},
    }


@contextmanager
def rest_server(folder: Path, s3: str, bucket: str) -> Iterator[str]:
    """Run it on a free port, with the tables in a bucket; yields its address."""
    from pyiceberg.catalog.sql import SqlCatalog

    keys = {"s3.access-key-id": _KEY[0], "s3.secret-access-key": _KEY[1], "s3.region": REGION, "s3.endpoint": s3}
    behind = SqlCatalog(
        "behind", uri=f"sqlite:///{folder / 'behind.sqlite'}", warehouse=f"s3://{bucket}/warehouse", **keys
    )

    class OfThisCatalog(_Answering):
        catalog = behind
        turn = threading.Lock()

    with http_server(OfThisCatalog) as address:
        yield f"{address}/iceberg"


class _Answering(Handler):
    catalog: Any
    turn: Any

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            _check_signature(self, body)
            with self.turn:
                status, answer = _carry_out(self.catalog, self.command, self.path, body)
        except Exception as error:
            status, answer = _refusal(error)
        content = b"" if self.command == "HEAD" or answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_DELETE = _answer


def _check_signature(handler: Handler, body: bytes) -> None:
    """Sign the request once more, and compare."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    found = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, "
        r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})",
        handler.headers.get("Authorization") or "",
    )
    if found is None or found[1] != _KEY[0] or (found[3], found[4]) != (REGION, SIGNED_FOR):
        raise RefusedError(403, "ForbiddenException", f"the request is not signed for {SIGNED_FOR} in {REGION}")
    parts = urlsplit(handler.path)
    request = AWSRequest(
        method=handler.command,
        url=f"http://{handler.headers['Host']}{parts.path}",
        params=dict(parse_qsl(parts.query)),
        data=body,
        headers={name: handler.headers[name] for name in found[5].split(";") if handler.headers[name] is not None},
    )
    request.context["timestamp"] = handler.headers["X-Amz-Date"]
    signer = SigV4Auth(Credentials(*_KEY), SIGNED_FOR, REGION)
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    if signature != found[6]:
        raise RefusedError(403, "ForbiddenException", "the signature does not fit the request")


def _refusal(error: Exception) -> tuple[int, Any]:
    from pyiceberg import exceptions

    statuses: dict[type[Exception], int] = {
        exceptions.CommitFailedException: 409,
        exceptions.TableAlreadyExistsError: 409,
        exceptions.NamespaceAlreadyExistsError: 409,
        exceptions.NoSuchTableError: 404,
        exceptions.NoSuchNamespaceError: 404,
    }
    if isinstance(error, RefusedError):
        status, kind = error.status, error.kind
    else:
        status = next((status for of, status in statuses.items() if isinstance(error, of)), 500)
        # Clients tell what is missing by these names.
        kind = type(error).__name__.replace("Error", "Exception")
    return status, {"error": {"message": str(error), "type": kind, "code": status}}


def _carry_out(catalog: Any, method: str, path: str, body: bytes) -> tuple[int, Any]:
    parts = urlsplit(path)
    query = dict(parse_qsl(parts.query))
    steps = [unquote(step) for step in parts.path.removeprefix("/iceberg/v1/").split("/")]
    if steps == ["config"]:
        if query.get("warehouse") != TABLE_BUCKET:
            raise RefusedError(400, "BadRequestException", "warehouse is not the ARN of a table bucket")
        return 200, {"defaults": {}, "overrides": {"prefix": quote(TABLE_BUCKET, safe="")}}
    if steps[0] != TABLE_BUCKET:
        raise RefusedError(404, "NotFoundException", f"there is no {steps[0]}")
    resource = tuple("*" if number % 2 else step for number, step in enumerate(steps[1:]))
    action = _ACTIONS.get((method, *resource))
    if action is None:
        raise RefusedError(406, "UnsupportedOperationException", f"{method} {parts.path}")
    return action(catalog, steps[2::2], query, body)


def _list_namespaces(catalog: Any, names: list[str], query: dict[str, str], body: bytes) -> tuple[int, Any]:
    return 200, {"namespaces": [list(one) for one in catalog.list_namespaces()]}


def _create_namespace(catalog: Any, names: list[str], query: dict[str, str], body: bytes) -> tuple[int, Any]:
    (name,) = _checked(json.loads(body)["namespace"])
    catalog.create_namespace(name)
    return 200, {"namespace": [name], "properties": {}}


def _load_namespace(catalog: Any, names: list[str], query: dict[str, str], body: bytes) -> tuple[int, Any]:
    catalog.load_namespace_properties(names[0])
    return 200, {"namespace": names, "properties": {}}


def _create_table(catalog: Any, names: list[str], query: dict[str, str], body: bytes) -> tuple[int, Any]:
    from pyiceberg.catalog.rest import CreateTableRequest
    from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
    from pyiceberg.table.sorting import UNSORTED_SORT_ORDER

    optional = {"location": None, "partition-spec": None, "write-order": None}
    asked = CreateTableRequest.model_validate(optional | json.loads(body))
    if asked.location is not None:
        raise RefusedError(400, "BadRequestException", "the location of a table is chosen by the service")
    table = catalog.create_table(
        (*names, *_checked([asked.name])),
        asked.table_schema,
        partition_spec=asked.partition_spec or UNPARTITIONED_PARTITION_SPEC,
        sort_order=asked.write_order or UNSORTED_SORT_ORDER,
        properties=asked.properties,
    )
    return 200, _described(table)


def _load_table(catalog: Any, names: list[str], query: dict[str, str], body: bytes) -> tuple[int, Any]:
    return 200, _described(catalog.load_table(tuple(names)))


def _commit(catalog: Any, names: list[str], query: dict[str, str], body: bytes) -> tuple[int, Any]:
    from pyiceberg.table import CommitTableRequest

    asked = CommitTableRequest.model_validate_json(body)
    if not asked.requirements:
        raise RefusedError(400, "BadRequestException", "a commit without requirements would overwrite those of others")
    catalog.commit_table(catalog.load_table(tuple(names)), asked.requirements, asked.updates)
    return 200, _described(catalog.load_table(tuple(names)))


def _drop_table(catalog: Any, names: list[str], query: dict[str, str], body: bytes) -> tuple[int, Any]:
    if query.get("purgeRequested", "").lower() != "true":
        raise RefusedError(400, "BadRequestException", "tables are dropped with purge only")
    catalog.drop_table(tuple(names))
    return 204, None


_ACTIONS: dict[tuple[str, ...], Callable[[Any, list[str], dict[str, str], bytes], tuple[int, Any]]] = {
    ("GET", "namespaces"): _list_namespaces,
    ("POST", "namespaces"): _create_namespace,
    ("GET", "namespaces", "*"): _load_namespace,
    ("HEAD", "namespaces", "*"): _load_namespace,
    ("POST", "namespaces", "*", "tables"): _create_table,
    ("GET", "namespaces", "*", "tables", "*"): _load_table,
    ("HEAD", "namespaces", "*", "tables", "*"): _load_table,
    ("POST", "namespaces", "*", "tables", "*"): _commit,
    ("DELETE", "namespaces", "*", "tables", "*"): _drop_table,
}


def _checked(names: list[str]) -> list[str]:
    for name in names:
        if not _NAME.fullmatch(name):
            raise RefusedError(400, "BadRequestException", f"{name} is no name: lower case, digits, underscores")
    return names


def _described(table: Any) -> dict[str, Any]:
    return {
        "metadata-location": table.metadata_location,
        "metadata": json.loads(table.metadata.model_dump_json()),
        "config": {},
    }
