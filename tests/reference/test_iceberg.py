"""
Iceberg tables read by others than pyiceberg: DuckDB, and DataFusion through Iceberg's library in Rust.

In an environment of its own, because the development environment has a DuckDB without this extension; ``make
test-engines`` makes it, and ``ICEBERG_READER_PYTHON`` names the interpreter of another.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import AuditEvent, LedgerEntry, QuarantineEntry, columns_of
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from tests.support.engines import ICEBERG, REPOSITORY
from tests.support.hostile import TEXTS, hostile_batch
from tests.support.iceberg import catalog
from tests.support.iceberg_tasks import PARTED, part_by
from tests.support.log_files import event
from tests.support.rows import file_rows, reread

READER = Path(os.environ.get("ICEBERG_READER_PYTHON", REPOSITORY / ".matrix" / "iceberg" / "bin" / "python"))

pytestmark = pytest.mark.skipif(not ICEBERG or not READER.exists(), reason="needs `make test-engines`")

# Each prints the rows, one a line; times in microseconds.
_PROGRAMS = {
    "duckdb": """
import json, sys
import duckdb
from duckdb_extensions import import_extension
connection = duckdb.connect()
for extension in ("avro", "iceberg"):
    import_extension(extension, con=connection)
    connection.execute(f"LOAD {extension}")
location, where, *names = sys.argv[1:]
names = ", ".join(f"epoch_us({name})" if name.endswith(("_at", "_time")) else f'"{name}"' for name in names)
for row in connection.execute(f"SELECT {names} FROM iceberg_scan('{location}') WHERE {where} ORDER BY ALL").fetchall():
    print(json.dumps(row))
""",
    "datafusion": """
import json, sys
from datafusion import SessionContext
from pyiceberg_core.datafusion import IcebergDataFusionTable
location, where, *names = sys.argv[1:]
context = SessionContext()
context.register_table("audit", IcebergDataFusionTable(["audit", "audit"], f"file://{location}", file_io_properties={}))
names = ", ".join(f'"{name}"' for name in names)
for batch in context.sql(f"SELECT {names} FROM audit WHERE {where}").collect():
    columns = [
        column.cast("int64").to_pylist() if str(column.type).startswith("timestamp[us") else column.to_pylist()
        for column in batch.columns
    ]
    for row in zip(*columns):
        print(json.dumps(row))
""",
}


@pytest.fixture(params=_PROGRAMS)
def read(request: pytest.FixtureRequest) -> Callable[..., list[list[Any]]]:
    """Return what gives the rows of a table as another engine reads them."""

    def rows(warehouse: Warehouse, table: str, names: list[str], where: str = "true") -> list[list[Any]]:
        location = catalog(warehouse.hook.uri).load_table(table).metadata_location.removeprefix("file://")
        done = subprocess.run(
            [READER, "-c", _PROGRAMS[request.param], location, where, *names],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return rows


def test_another_engine_reads_the_same_rows(
    new_warehouse: Callable[[str], Warehouse], read: Callable[..., list[list[Any]]]
) -> None:
    warehouse = new_warehouse("iceberg")
    warehouse.prepare()
    batch = hostile_batch()
    values = file_rows(
        "20260203T1100Z",
        *[
            event(str(number), userAgent=case.values[0], eventTime=f"2026-02-{1 + number:02}T09:58:00Z")
            for number, case in enumerate(TEXTS)
        ],
    )
    entries = warehouse.write([*batch, values])
    # Written anew: the ledger has files that are not there any more.
    warehouse.write(reread(warehouse, *hostile_batch()))

    expected: dict[str, AuditEvent] = {}
    for one in [*batch, values]:
        for row in one.events:
            expected.setdefault(row.event_id, row)
    for table, row_type, rows in (
        (warehouse.events, AuditEvent, list(expected.values())),
        (warehouse.files, LedgerEntry, entries),
        (warehouse.quarantine, QuarantineEntry, [row for file in batch for row in file.quarantine]),
    ):
        names = [column.name for column in columns_of(row_type)]
        of_run = [names.index(name) for name in names if name in ("loaded_at", "quarantined_at")]
        found = [
            [None if index in of_run else value for index, value in enumerate(row)]
            for row in read(warehouse, table, names)
        ]
        wanted = [
            [
                None if index in of_run else round(value.timestamp() * 1e6) if hasattr(value, "timestamp") else value
                for index, value in enumerate(row)
            ]
            for row in rows
        ]
        assert sorted(found, key=json.dumps) == sorted(wanted, key=json.dumps)


@pytest.mark.parametrize("transform", [None, *PARTED])
def test_another_engine_finds_what_lies_beside_long_texts(
    new_warehouse: Callable[[str], Warehouse], read: Callable[..., list[list[Any]]], transform: str | None
) -> None:
    """Also in a table that the user has parted in another way, whose files pyiceberg writes."""
    warehouse = new_warehouse("iceberg")
    warehouse.prepare()
    part_by(warehouse, transform)
    # Arrow keeps no text of more than 4 KiB as the greatest value of a row group.
    file = file_rows("20260203T1000Z", event("b", userAgent="b"), event("long", userAgent="z" * 5_000))
    file.events += [file.events[0]._replace(event_id=f"{number}", user_agent="a") for number in range(12_000)]
    warehouse.write([file])
    for where in ("user_agent = 'b'", "user_agent LIKE 'b%'", "user_agent BETWEEN 'b' AND 'c'"):
        assert read(warehouse, warehouse.events, ["event_id"], where) == [["b"]]
