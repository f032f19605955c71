from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.audit_event import (
    FindingEntry,
    columns_of,
)
from airflow_provider_cloudtrail.warehouse.athena_session import literal, with_values
from airflow_provider_cloudtrail.warehouse.base import WarehouseError
from airflow_provider_cloudtrail.warehouse.conditions import Compare
from airflow_provider_cloudtrail.warehouse.evidence import Evidence
from tests.support.engines import ATHENA
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.tables import query

pytestmark = pytest.mark.skipif(not ATHENA, reason="needs pyathena, duckdb, pyarrow, sqlglot and moto")

AT = datetime(2026, 2, 3, 10, tzinfo=timezone.utc)


def test_statement_that_is_too_long_is_not_sent(athena_warehouse, statements_since):
    where = Compare("reason", "=", "x" * 300_000)
    with pytest.raises(WarehouseError, match=r"a statement of 300\d+ bytes is longer than the 262144 of Athena"):
        athena_warehouse.transact(
            "asking", lambda session: athena_warehouse.select(session, athena_warehouse.files, ["etag"], where)
        )
    assert statements_since() == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("it's \\' %s", r"'it''s \'' %s'", id="text"),
        pytest.param(True, "TRUE", id="boolean"),
        pytest.param(2**63 - 1, "9223372036854775807", id="integer"),
        pytest.param(None, "NULL", id="null"),
        pytest.param(
            datetime(2026, 1, 1, 1, 0, 0, 7, timezone(timedelta(hours=1))),
            "TIMESTAMP '2026-01-01 00:00:00.000007'",
            id="moment",
        ),
    ],
)
def test_literals(value, text):
    assert literal(value) == text


def test_literal_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="no literal for float"):
        literal(0.5)
    with pytest.raises(ValueError, match="1 values for 2 placeholders"):
        with_values("a = %s AND b = %s", ["x"], "%s")


def test_row_that_looks_like_a_placeholder_is_none(athena_warehouse):
    # Conditions and rows stand in one statement there.
    evidence = Evidence(athena_warehouse)
    evidence.prepare()
    wanted = [column for column in columns_of(FindingEntry) if column.name in ("finding_id", "message")]
    rows = [("one", "%s' OR '1'='1"), ("two", "%(x)s ?")]
    entry = FindingEntry("one", "gap", True, "s3://x/", *[None] * 4, AT, AT, 0, "old", AT, AT, None, None, None)

    def work(session):
        athena_warehouse.insert(
            session, evidence.findings.name, columns_of(FindingEntry), [entry, entry._replace(finding_id="two")]
        )
        athena_warehouse.update(session, evidence.findings.name, wanted, rows, Compare("message", "=", "old"))

    athena_warehouse.transact("updating", work, writes=True)
    assert sorted(query(athena_warehouse, f"SELECT finding_id, message FROM {evidence.findings.name}")) == rows


def test_too_many_queries_are_waited_for(athena_warehouse, athena, monkeypatch):
    monkeypatch.setattr(athena, "throttle_every", 2)
    (entry,) = athena_warehouse.write([file_rows("20260203T1000Z", event("a"))])
    assert entry.loaded == 1
