"""
What stands in for Amazon Redshift: its protocol on a loopback port, in front of the embedded PostgreSQL.

The real driver connects to it. Every statement is parsed in sqlglot's Redshift dialect; what Redshift lacks is
refused (ON CONFLICT, RETURNING, indexes, CHECK, JSON types, ON COMMIT ...), what PostgreSQL lacks is translated
(SUPER, JSON_PARSE, ARRAY, SORTKEY, lengths in bytes) and what Redshift only declares is dropped (PRIMARY KEY).
COPY is carried out from S3, and refuses what the documentation says that COPY refuses. Everything else, such as
transactions and locks, is PostgreSQL's in its SERIALIZABLE level.
"""

from __future__ import annotations

import gzip
import json
import logging
import re
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

ROLE = "arn:aws:iam::111122223333:role/redshift-copy"
MAX_VARCHAR = 65_535
MAX_JSON_OBJECT = 4 * 1024 * 1024
DATABASE = "redshift"

_SSL_REQUEST, _VERSION_3 = 80877103, 196608
_JSON_OID, _SUPER_OID = 114, 4000
_COMMANDS = re.compile(r"(LOCK|RESET) ", re.IGNORECASE)
_COPY = re.compile(
    r"""COPY\ (?P<table>"\w+")\ \((?P<columns>"\w+"(?:,\ "\w+")*)\)
        \ FROM\ '(?P<uri>s3://(?P<bucket>[^/']+)/(?P<prefix>[^']*))'
        \ IAM_ROLE\ (?P<role>DEFAULT|'[^']+')\ REGION\ '(?P<region>[a-z0-9-]+)'
        \ FORMAT\ JSON\ 'auto'\ GZIP\ ACCEPTINVCHARS\ COMPUPDATE\ OFF\ STATUPDATE\ OFF""",
    re.VERBOSE,
)
_MORE_ROWS = re.compile(r"(VALUES \((?:\$\d+(?:, )?)+\))(?:, \((?:\$\d+(?:, )?)+\))+$")
# JSON_PARSE refuses repeated names and long strings unless a setting of the session says otherwise.
_FUNCTIONS = f"""
CREATE FUNCTION super_holds(value json) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$
  SELECT value::text IS JSON WITH UNIQUE KEYS AND octet_length(value::text) <= 16777216 AND NOT EXISTS (
    SELECT FROM jsonb_path_query(value::jsonb, 'strict $.** ? (@.type() == "string")') AS found
    WHERE octet_length(found #>> '{{}}') > {MAX_VARCHAR}) $$;
CREATE DOMAIN super AS json CHECK (super_holds(value));
CREATE FUNCTION json_parse(value text) RETURNS super IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
  IF octet_length(value) > {MAX_VARCHAR} THEN RAISE 'Value too long for type character varying' USING ERRCODE = '22001';
  END IF; RETURN value; END $$;
CREATE FUNCTION super_array(VARIADIC items text[]) RETURNS super IMMUTABLE LANGUAGE sql AS $$
  SELECT array_to_json(items) $$;
CREATE FUNCTION getdate() RETURNS timestamp LANGUAGE sql AS $$ SELECT localtimestamp(0) $$;
"""


class RefusedError(Exception):
    """Raised for what Redshift answers with an error; the code is the SQLSTATE."""

    def __init__(self, code: str, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.fields = {"S": "ERROR", "C": code, "M": message} | ({"D": detail} if detail else {})


# -- SQL -------------------------------------------------------------------------------------------


def translated(sql: str) -> str:
    """
    Return a statement of Redshift as PostgreSQL understands it.

    :raises RefusedError: for what Redshift does not understand.
    """
    import sqlglot
    from sqlglot import exp

    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        # Of thousands of rows of nothing but placeholders the first stands for all.
        tree = sqlglot.parse_one(_MORE_ROWS.sub(r"\1", sql), dialect="redshift")
    except sqlglot.ParseError:
        raise RefusedError("42601", "syntax error") from None
    lacking = [exp.OnConflict, exp.Returning, exp.CheckColumnConstraint, exp.Check, exp.OnCommitProperty, exp.Merge]
    for kind in lacking:
        if tree.find(kind):
            raise RefusedError("0A000", f"{kind.__name__} is not supported by the shim, as by Redshift")
    statements = (exp.Query, exp.DML, exp.DDL, exp.Drop, exp.Alter, exp.Transaction, exp.Commit, exp.Rollback, exp.Set)
    if not isinstance(tree, (*statements, exp.Copy)) and not (isinstance(tree, exp.Command) and _COMMANDS.match(sql)):
        raise RefusedError("42601", "syntax error")
    if isinstance(tree, exp.Create):
        if tree.kind != "TABLE":
            raise RefusedError("0A000", f"CREATE {tree.kind} is not supported")
        return _create_table(tree)
    if isinstance(tree, exp.Alter):
        (action,) = tree.args["actions"]
        if isinstance(action, exp.ColumnDef):
            if action.args.get("constraints"):
                raise RefusedError("42601", "ALTER TABLE ADD COLUMN takes no such constraint")
            return f"ALTER TABLE {tree.this.sql('postgres')} ADD COLUMN {_column(action)}"
    return re.sub(r"\bARRAY\(", "super_array(", sql)


def _create_table(tree: Any) -> str:
    from sqlglot import exp

    columns = {column.name: column for column in tree.this.find_all(exp.ColumnDef)}
    for key in tree.find_all(exp.SortKeyProperty, exp.DistKeyProperty):
        for name in (identifier.name for identifier in key.find_all(exp.Identifier)):
            if name not in columns:
                raise RefusedError("42703", f'column "{name}" named in key does not exist')
            if _type_of(columns[name]) == "SUPER":
                raise RefusedError("0A000", "SUPER columns can be neither sort nor distribution key")
    temporary = "TEMPORARY " if tree.find(exp.TemporaryProperty) else ""
    definitions = ", ".join(_column(column) for column in columns.values())
    return f"CREATE {temporary}TABLE {tree.this.this.sql('postgres')} ({definitions})"


def _type_of(column: Any) -> str:
    return str(column.args["kind"].sql("redshift"))


def _column(column: Any) -> str:
    """Return the definition of a column whose length counts bytes."""
    from sqlglot import exp

    name = f'"{column.name.lower()}"'
    constraints = [constraint.kind for constraint in column.args.get("constraints") or []]
    suffix = " NOT NULL" if any(isinstance(kind, exp.NotNullColumnConstraint) for kind in constraints) else ""
    declared = _type_of(column).upper()
    if found := re.fullmatch(r"(?:VARCHAR|CHARACTER VARYING)(?:\((\w+)\))?|TEXT", declared):
        length = MAX_VARCHAR if found[1] == "MAX" else int(found[1] or 256)
        if length > MAX_VARCHAR:
            raise RefusedError("42601", f"length for type character varying cannot exceed {MAX_VARCHAR}")
        return f"{name} TEXT CHECK (octet_length({name}) <= {length}){suffix}"
    if declared == "SUPER":
        return f"{name} super{suffix}"
    if re.fullmatch(r"BIGINT|INTEGER|INT|SMALLINT|BOOLEAN|DOUBLE PRECISION|TIMESTAMP( WITH TIME ZONE)?", declared):
        identity = any(isinstance(kind, exp.GeneratedAsIdentityColumnConstraint) for kind in constraints)
        return f"{name} {declared}{' GENERATED BY DEFAULT AS IDENTITY' if identity else ''}{suffix}"
    raise RefusedError("0A000", f"type {declared} is not supported by Redshift")


# -- COPY ------------------------------------------------------------------------------------------


def _load_failed(table: str) -> RefusedError:
    name = table.strip('"')
    return RefusedError("XX000", f"Load into table '{name}' failed.  Check 'stl_load_errors' system table for details.")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("repeated name")
    return dict(pairs)


def _check_scalar(value: Any) -> None:
    if isinstance(value, str) and len(value.encode()) > MAX_VARCHAR:
        raise ValueError("long string")
    if isinstance(value, int) and len(str(abs(value))) > 38:
        raise ValueError("number")


def _check_super(raw: bytes) -> None:
    """Raise ValueError for a value that SUPER cannot hold."""
    if len(raw) > 16 * 1024 * 1024:
        raise ValueError("large object")
    try:
        level = [json.loads(raw, object_pairs_hook=_members)]
    except RecursionError:
        raise ValueError("levels") from None
    for _ in range(1_001):
        following: list[Any] = []
        for value in level:
            _check_scalar(value)
            if isinstance(value, (dict, list)):
                following += value.values() if isinstance(value, dict) else value
        if not following:
            return
        level = following
    raise ValueError("levels")


def _copy_rows(objects: Iterator[bytes], names: list[str], types: dict[str, str]) -> Iterator[bytes]:
    """Yield the lines of objects as PostgreSQL's COPY takes them; raise ValueError for what Redshift refuses."""
    import msgspec

    for packed in objects:
        # COPY reads objects one after the other; so that none is torn, ours are one a line.
        for line in gzip.decompress(packed).split(b"\n"):
            if len(line) > MAX_JSON_OBJECT:
                raise ValueError("JSON object above 4 MB")
            members = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
            values = []
            for name in names:
                raw = bytes(members.get(name, b"null"))
                if raw == b"null":
                    values.append(b"\\N")
                    continue
                if types[name] == "super":
                    _check_super(raw)
                    text = raw.decode()
                else:
                    value = json.loads(raw)
                    text = value if isinstance(value, str) else raw.decode()
                if "\0" in text or (types[name] == "super" and "\\u0000" in text):
                    raise ValueError("NUL")
                escaped = text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
                values.append(escaped.encode())
            yield b"\t".join(values) + b"\n"


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
            rows = list(_copy_rows(iter(objects), names, types))
        except (ValueError, zlib.error, OSError):
            raise _load_failed(table) from None
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
            raise _load_failed(table)
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
            database.execute(_FUNCTIONS)
    return RedshiftShim(f"{folder}/.s.PGSQL.{port}", user, s3)
