"""
What stands in for Amazon Redshift: its protocol on a loopback port, in front of the embedded PostgreSQL.

The real driver connects to it. Statements are refused or translated, see ``redshift_sql``. COPY is carried out from
S3, and refuses what the documentation says that COPY refuses. Everything else, such as transactions and locks, is
PostgreSQL's in its SERIALIZABLE level.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.support.redshift_sql import FUNCTIONS, RefusedError, copy_rows, load_failed, translated

ROLE = "arn:aws:iam::111122223333:role/redshift-copy"
DATABASE = "redshift"

_SSL_REQUEST, _VERSION_3 = 80877103, 196608
_JSON_OID, _SUPER_OID = 114, 4000
_COPY = re.compile(
    r"""COPY\ (?P<table>"\w+")\ \((?P<columns>"\w+"(?:,\ "\w+")*)\)
        \ FROM\ '(?P<uri>s3://(?P<bucket>[^/']+)/(?P<prefix>[^']*))'
        \ IAM_ROLE\ (?P<role>DEFAULT|'[^']+')\ REGION\ '(?P<region>[a-z0-9-]+)'
        \ FORMAT\ JSON\ 'auto'\ GZIP\ ACCEPTINVCHARS\ COMPUPDATE\ OFF\ STATUPDATE\ OFF""",
    re.VERBOSE,
)


# -- protocol --------------------------------------------------------------------------------------


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _error(fields: dict[str, str]) -> bytes:
    return _message(b"E", b"".join(f"{key}{value}".encode() + b"\0" for key, value in fields.items()) + b"\0")


class _Stream:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._file = connection.makefile("rb")

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise ConnectionError("closed")
        return data

    def message(self) -> tuple[bytes, bytes]:
        kind = self.read(1)
        (size,) = struct.unpack("!i", self.read(4))
        return kind, self.read(size - 4)

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def close(self) -> None:
        self._file.close()
        self.connection.close()


class _Session:
    """One client: its messages go on to PostgreSQL, one round after the other."""

    def __init__(self, shim: RedshiftShim, client: socket.socket) -> None:
        self._shim = shim
        self._client = _Stream(client)
        backend = socket.socket(socket.AF_UNIX)
        backend.connect(shim.socket_path)
        self._server = _Stream(backend)

    def run(self) -> None:
        try:
            self._start()
            while self._round():
                pass
        finally:
            self._client.close()
            self._server.close()

    def _start(self) -> None:
        while True:
            (size,) = struct.unpack("!i", self._client.read(4))
            body = self._client.read(size - 4)
            (code,) = struct.unpack("!i", body[:4])
            if code != _SSL_REQUEST:
                break
            self._client.send(b"N")
        assert code == _VERSION_3
        options = "-c default_transaction_isolation=serializable -c timezone=UTC"
        parameters = {"user": self._shim.user, "database": DATABASE, "options": options}
        words = b"".join(word.encode() + b"\0" for pair in parameters.items() for word in pair) + b"\0"
        self._server.send(struct.pack("!ii", len(words) + 8, _VERSION_3) + words)
        self._answer()

    def _round(self) -> bool:
        """Pass on what the client says until it waits for an answer, and the answer; False: it is gone."""
        failed = False
        while True:
            try:
                kind, body = self._client.message()
            except ConnectionError:
                return False
            if kind == b"X":
                self._server.send(_message(b"X", b""))
                return False
            if kind == b"H":
                continue
            if kind in b"PQ" and not failed:
                try:
                    body = self._parsed(kind, body)
                except RefusedError as error:
                    self._client.send(_error(error.fields))
                    failed = True
                    # The transaction is lost with it.
                    self._run("SELECT 1/0", quiet=True)
            if not failed or kind == b"S":
                self._server.send(_message(kind, body))
            if kind in b"SQ":
                self._answer()
                return True

    def _parsed(self, kind: bytes, body: bytes) -> bytes:
        name, sql, rest = (b"", *body.split(b"\0", 1)) if kind == b"Q" else body.split(b"\0", 2)
        text = sql.decode()
        self._shim.statements.append(text)
        if text.upper().startswith("COPY "):
            self._copy(text)
            new = "DO 'BEGIN END'"
        else:
            new = translated(text)
        return b"\0".join([*([name] if kind == b"P" else []), new.encode(), rest])

    def _answer(self) -> None:
        while True:
            kind, body = self._server.message()
            if kind == b"T":
                body = _with_super(body)
            elif kind == b"E":
                self._client.send(_as_redshift_says(body))
                continue
            self._client.send(_message(kind, body))
            if kind == b"Z":
                return

    # -- statements of the shim itself -------------------------------------------------------------

    def _run(self, sql: str, *, quiet: bool = False) -> list[list[str]]:
        self._server.send(_message(b"Q", sql.encode() + b"\0"))
        rows = []
        failure = None
        while True:
            kind, body = self._server.message()
            if kind == b"D":
                rows.append(_fields(body))
            elif kind == b"E":
                failure = body
            elif kind == b"Z":
                break
        if failure is not None and not quiet:
            raise RefusedError("XX000", "failed in the shim", failure.decode(errors="replace"))
        return rows

    def _copy(self, sql: str) -> None:
        translated(sql)
        found = _COPY.fullmatch(sql)
        if found is None:
            raise RefusedError("42601", "syntax error in COPY")
        role = found["role"].strip("'")
        if role not in ("DEFAULT", ROLE):
            raise RefusedError("XX000", f"User arn:aws:redshift is not authorized to assume IAM Role {role}")
        table, names = found["table"], re.findall(r'"(\w+)"', found["columns"])
        objects = list(self._shim.objects(found["bucket"], found["prefix"], found["region"]))
        types = dict(
            self._run(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
                f"WHERE attrelid = '{table}'::regclass AND attnum > 0"
            )
        )
        try:
            rows = list(copy_rows(iter(objects), names, types))
        except (ValueError, zlib.error, OSError):
            raise load_failed(table) from None
        self._server.send(_message(b"Q", f"COPY {table} ({found['columns']}) FROM STDIN\0".encode()))
        failure = False
        while True:
            kind, _ = self._server.message()
            if kind == b"G":
                for row in rows:
                    self._server.send(_message(b"d", row))
                self._server.send(_message(b"c", b""))
            elif kind == b"E":
                failure = True
            elif kind == b"Z":
                break
        if failure:
            raise load_failed(table)
        self._shim.copied += len(rows)


def _fields(body: bytes) -> list[str]:
    (count,) = struct.unpack("!h", body[:2])
    values, at = [], 2
    for _ in range(count):
        (size,) = struct.unpack("!i", body[at : at + 4])
        at += 4
        values.append(body[at : at + max(size, 0)].decode())
        at += max(size, 0)
    return values


def _with_super(body: bytes) -> bytes:
    """Return a description of rows in which JSON is SUPER."""
    patched = bytearray(body)
    at = 2
    for _ in range(struct.unpack("!h", body[:2])[0]):
        at = body.index(b"\0", at) + 1 + 6
        if struct.unpack("!i", body[at : at + 4])[0] == _JSON_OID:
            patched[at : at + 4] = struct.pack("!i", _SUPER_OID)
        at += 12
    return bytes(patched)


def _as_redshift_says(body: bytes) -> bytes:
    fields = {part[:1].decode(): part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
    if fields["C"] == "40001":
        detail = "Serializable isolation violation on table - 100000, transactions forming the cycle are: 1, 2"
        fields = {"S": "ERROR", "C": "XX000", "M": "1023", "D": detail}
    return _error(fields)


# -- server ----------------------------------------------------------------------------------------


@dataclass
class RedshiftShim:
    """
    A running stand-in.

    :param socket_path: socket of the PostgreSQL server.
    :param user: its superuser.
    :param s3: endpoint of the S3 API that COPY reads from.
    """

    socket_path: str
    user: str
    s3: str
    port: int = 0
    statements: list[str] = field(default_factory=list)
    copied: int = 0

    def objects(self, bucket: str, prefix: str, region: str) -> Iterator[bytes]:
        """Yield the objects below a prefix."""
        from botocore.exceptions import ClientError

        from tests.support.s3 import client_of

        client = client_of(self.s3)
        try:
            location = client.get_bucket_location(Bucket=bucket)["LocationConstraint"] or "us-east-1"
            if location != region:
                raise RefusedError("XX000", "S3ServiceException:The bucket is in another Region,Status 301,Error 301")
            found = client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
            if not found:
                raise RefusedError("XX000", f"The specified S3 prefix '{prefix}' does not exist")
            for entry in found:
                yield client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
        except ClientError as error:
            code = error.response["Error"]["Code"]
            raise RefusedError("XX000", f"S3ServiceException:{code},Status 403,Error {code}") from None

    @contextmanager
    def running(self) -> Iterator[RedshiftShim]:
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = listener.getsockname()[1]

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    threading.Thread(target=self._serve, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield self
        finally:
            listener.close()

    def _serve(self, client: socket.socket) -> None:
        # A client that was killed is no failure of the server.
        with suppress(ConnectionError, BrokenPipeError):
            _Session(self, client).run()


def redshift_shim(postgres_uri: str, s3: str) -> RedshiftShim:
    """Return a stand-in, not running yet, in front of a PostgreSQL server that listens on a socket."""
    import psycopg

    with psycopg.connect(postgres_uri, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {DATABASE}")
        folder, user = connection.info.host, connection.info.user
        port = connection.info.port
        with psycopg.connect(postgres_uri, dbname=DATABASE, autocommit=True) as database:
            database.execute(FUNCTIONS)
    return RedshiftShim(f"{folder}/.s.PGSQL.{port}", user, s3)
