from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.audit_event import (
    QuarantineEntry,
    columns_of,
)
from airflow_provider_cloudtrail.warehouse.athena_rows import source_of
from airflow_provider_cloudtrail.warehouse.athena_session import AthenaSession
from tests.support.engines import ATHENA, staging_folder
from tests.support.tables import query

pytestmark = pytest.mark.skipif(not ATHENA, reason="needs pyathena, duckdb, pyarrow, sqlglot and moto")

AT = datetime(2026, 2, 3, 10, tzinfo=timezone.utc)


def test_long_keys_are_asked_for_by_bytes_and_many_through_the_folder(athena_warehouse, statements_since, staged_keys):
    some = [f"s3://example-trail/{'é' * 300}{number}" for number in range(500)]
    assert athena_warehouse.known_files(some) == {}
    assert statements_since() == ["SELECT"] * 2
    assert athena_warehouse.known_files([f"{uri}{number}" for uri in some for number in range(4)]) == {}
    assert statements_since()[2:] == ["CREATE", "SELECT", "DROP"]
    assert staged_keys() == []


def test_string_that_is_too_long_for_a_row_is_shortened(athena_warehouse, caplog):
    text = "é" * 20_000_000
    row = QuarantineEntry("s3://example-trail/x", 0, "reason", text, AT)
    athena_warehouse.transact(
        "inserting",
        lambda session: athena_warehouse.insert(
            session, athena_warehouse.quarantine, columns_of(QuarantineEntry), [row]
        ),
        writes=True,
    )
    ((raw,),) = query(athena_warehouse, f"SELECT raw FROM {athena_warehouse.quarantine}")
    assert raw.startswith("é" * 1_000)
    assert raw.endswith("... (shortened from 40000000 bytes)")
    assert "1 values were too long for Athena and are shortened" in caplog.text


def test_rows_come_as_they_are_whichever_way_they_go(athena_warehouse, athena_place):
    columns = columns_of(QuarantineEntry)
    rows = [
        ("s3://x/1", None, "a'b\\n\n\r\u2028\U0001f30a", None, AT + timedelta(microseconds=1)),
        ("s3://x/2", 2**62, "NULL", "", AT.replace(year=1969)),
    ]
    staging = staging_folder(athena_place["s3"], athena_place["bucket"])
    session = AthenaSession(athena_warehouse.hook.get_conn(), "%s")

    def read(copies: int) -> set:
        with source_of(session, staging, columns, rows * copies, athena_warehouse.qualified) as source:
            session.execute(source)
            return set(session.fetchall())

    few, staged = read(1), read(1_000)
    assert few == staged == {(*row[:4], row[4].replace(tzinfo=None)) for row in rows}
