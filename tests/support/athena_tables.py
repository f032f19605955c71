"""Tables of the stand-in for Athena, and what external ones hold in S3: JSON, read as the SerDe of Hive does."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from typing import Any

MAX_ROW = 32 * 1024 * 1024
DDL_TYPES = {"STRING": "VARCHAR", "BIGINT": "BIGINT", "INT": "INTEGER", "BOOLEAN": "BOOLEAN", "TIMESTAMP": "TIMESTAMP"}


class QueryError(Exception):
    """Raised for what a query fails with; the text is its StateChangeReason."""


@dataclass
class Table:
    """
    A table of the catalog.

    :param columns: DDL type by name.
    :param external: whether it is read from S3; otherwise it is an Iceberg table.
    :param changes: counts commits.
    :param is_view: whether it is one for the catalog, which takes no rows.
    """

    columns: dict[str, str]
    location: str
    external: bool
    day: str | None = None
    changes: int = 0
    is_view: bool = False


def external_rows(table: Table, s3: str) -> Any:
    """
    Return what an external table holds now, as Arrow.

    :param s3: endpoint of the S3 API.
    """
    import pyarrow

    from tests.support.s3 import client_of

    bucket, _, prefix = table.location.removeprefix("s3://").partition("/")
    client = client_of(s3)
    rows: list[dict[str, Any]] = []
    for entry in client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
        content = client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
        if entry["Key"].endswith(".gz"):
            content = gzip.decompress(content)
        rows += [_row(line, table) for line in content.split(b"\n") if line]
    kinds = {"STRING": pyarrow.string(), "BIGINT": pyarrow.int64(), "BOOLEAN": pyarrow.bool_()}
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in table.columns.items()])
    return pyarrow.Table.from_pylist(rows, schema=schema)


def _row(line: bytes, table: Table) -> dict[str, Any]:
    if len(line) > MAX_ROW or b"\r" in line:
        raise QueryError("HIVE_CURSOR_ERROR: Row is too long, or has a line end in it")
    try:
        row = json.loads(line, object_pairs_hook=_members)
    except ValueError:
        raise QueryError("HIVE_CURSOR_ERROR: Row is not a valid JSON Object") from None
    for name, value in row.items():
        kind = {"STRING": str, "BIGINT": int, "BOOLEAN": bool}[table.columns[name]]
        if type(value) is not kind or (kind is int and not -(2**63) <= value < 2**63):
            raise QueryError(f"HIVE_BAD_DATA: Error parsing field value '{value}' for field {name}")
    return row


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("repeated name")
    return dict(pairs)
