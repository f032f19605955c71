from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import VERIFIED, DigestEntry
from airflow_provider_cloudtrail.trail.log_file import log_file_of_uri
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.conditions import between
from airflow_provider_cloudtrail.warehouse.delivery_times import covered_within, delivered_within
from airflow_provider_cloudtrail.warehouse.evidence import Evidence, FileVerdicts
from tests.support.engines import DUCKDB, ENGINES, ICEBERG
from tests.support.log_files import event
from tests.support.rows import AT, file_rows, reread
from tests.support.tables import query

NewWarehouse = Callable[[str], Warehouse]


def uri_of(stamp: str) -> str:
    folder = "s3://example-trail/AWSLogs/111122223333/CloudTrail/eu-west-1/2026/02/03"
    return f"{folder}/111122223333_CloudTrail_eu-west-1_{stamp}_0123456789abcdef.json.gz"


def test_names_say_when_files_were_delivered() -> None:
    first = datetime(2026, 2, 1, 23, 55, tzinfo=timezone.utc)
    last = datetime(2026, 2, 3, 10, 5, tzinfo=timezone.utc)
    within = delivered_within([uri_of(stamp) for stamp in ("20260203T1005Z", "20260201T2355Z", "20260202T0000Z")])
    assert within == between("delivered_at", first, last)


def digest_of(hour: int, suffix: str = "") -> str:
    folder = "s3://example-trail/AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/02/03"
    return (
        f"{folder}/111122223333_CloudTrail-Digest_eu-west-1_a_trail_eu-west-1_20260203T{hour:02}0501Z{suffix}.json.gz"
    )


def test_names_say_which_time_digests_cover() -> None:
    within = covered_within([digest_of(11), digest_of(9, "_backfill"), digest_of(10)])
    first, last = (datetime(2026, 2, 3, hour, 5, 1, tzinfo=timezone.utc) for hour in (9, 11))
    assert within == between("covered_to", first, last)
    assert covered_within([digest_of(10), "s3://example-trail/x"]) == []
    assert covered_within([digest_of(99)]) == []


@pytest.mark.parametrize("unique", ["_x", "x", "_20250101T0000Z_x", "x_20250101T0000Z_x", "x20250101T0000Z_x"])
def test_name_with_two_stamps_is_looked_for_where_the_ledger_has_it(unique: str) -> None:
    file = log_file_of_uri(f"{uri_of('20260203T1000Z').rpartition('_')[0]}{unique}.json.gz")
    of_ledger = between("delivered_at", file.delivered_at, file.delivered_at)
    assert delivered_within([file.uri]) == (of_ledger if unique.startswith("_") else [])


@pytest.mark.parametrize("odd", ["s3://example-trail/x", uri_of("20260203"), uri_of("99999999T9999Z")])
def test_name_that_does_not_say_so_may_be_anywhere(odd: str) -> None:
    assert delivered_within([uri_of("20260203T1005Z"), odd]) == []
    assert delivered_within([]) == []


class Recorded:
    """A cursor whose statements are noted."""

    def __init__(self, cursor: Any, statements: list[str]) -> None:
        self._cursor = cursor
        self._statements = statements

    def execute(self, statement: str, *values: Any) -> Any:
        self._statements.append(statement)
        return self._cursor.execute(statement, *values)

    def executemany(self, statement: str, rows: Any) -> Any:
        self._statements.append(statement)
        return self._cursor.executemany(statement, rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> Callable[[Warehouse], list[str]]:
    """Return what notes the statements of a warehouse from then on."""

    def record(warehouse: Warehouse) -> list[str]:
        noted: list[str] = []
        cursor_of = warehouse._cursor  # type: ignore[attr-defined]
        monkeypatch.setattr(warehouse, "_cursor", lambda connection: Recorded(cursor_of(connection), noted))
        return noted

    return record


@pytest.mark.parametrize("number", [5, 150])
@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine not in ICEBERG])
def test_ledger_is_asked_by_time_of_delivery_as_well(
    new_warehouse: NewWarehouse, statements: Callable[[Warehouse], list[str]], engine: str, number: int
) -> None:
    warehouse = new_warehouse(engine)
    evidence = Evidence(warehouse)
    evidence.prepare()
    files = [file_rows(f"202602{3 + at // 60:02}T10{at % 60:02}Z", event(str(at))) for at in range(number)]
    warehouse.write(files)
    uris = [file.entry.log_file_uri for file in files]
    again = reread(warehouse, *files)
    noted = statements(warehouse)
    assert len(warehouse.known_files(uris)) == number
    assert len(evidence.loaded_files(uris)) == number
    assert len(warehouse.write(again)) == number
    evidence.write([], [FileVerdicts(uris, "s3://example-trail/digest", VERIFIED, datetime.now(timezone.utc))])
    asked = [
        text
        for text in noted
        if warehouse.files in text and text.startswith(("SELECT", "UPDATE", "MERGE")) and "= ''" not in text
    ]
    assert {text.split()[0] for text in asked} >= {"SELECT"}
    assert len(asked) >= 5
    assert [text for text in asked if '"delivered_at" >= ' not in text.replace("`", '"')] == []


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine not in ICEBERG])
def test_digests_are_asked_for_by_the_time_that_they_cover(
    new_warehouse: NewWarehouse, statements: Callable[[Warehouse], list[str]], engine: str
) -> None:
    warehouse = new_warehouse(engine)
    evidence = Evidence(warehouse)
    evidence.prepare()
    nothing = DigestEntry(*[None] * len(DigestEntry._fields))
    entries = [
        nothing._replace(
            digest_uri=digest_of(hour),
            **dict.fromkeys(("account_id", "region", "trail_name", "home_region", "status"), "x"),
            **dict.fromkeys(("covered_from", "covered_to", "verified_at"), AT.replace(hour=hour, minute=5, second=1)),
            backfill=False,
        )
        for hour in (9, 10)
    ]
    noted = statements(warehouse)
    for number in (1, 2, 2):
        evidence.write(entries[:number], [])
    assert len(query(warehouse, f"SELECT * FROM {evidence.digests}")) == 2
    asked = [text for text in noted if evidence.digests in text and text.startswith(("SELECT", "UPDATE", "MERGE"))]
    assert len(asked) >= 3
    assert [text for text in asked if '"covered_to" >= ' not in text.replace("`", '"')] == []


@pytest.mark.skipif(not DUCKDB, reason="needs DuckDB and pyarrow")
def test_duckdb_looks_for_files_of_a_day_among_those_of_that_day(
    new_warehouse: NewWarehouse, statements: Callable[[Warehouse], list[str]]
) -> None:
    warehouse = new_warehouse("duckdb")
    warehouse.prepare()
    files = [file_rows(f"20260{month}03T10{at:02}Z") for month in range(1, 7) for at in range(50)]
    warehouse.write(files)
    noted = statements(warehouse)
    warehouse.known_files([file.entry.log_file_uri for file in files[-50:]])
    (text,) = (text for text in noted if text.startswith("SELECT"))
    connection = warehouse.hook.get_conn()
    try:
        values = [*(file.entry.log_file_uri for file in files[-50:]), files[-50].entry.delivered_at]
        plan = connection.execute(f"EXPLAIN ANALYZE {text}", [*values, files[-1].entry.delivered_at]).fetchall()[0][1]
    finally:
        connection.close()
    assert "300 rows" not in plan
