from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import QuarantineEntry, columns_of
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.conditions import (
    AllOf,
    AnyOf,
    BeginsWith,
    Compare,
    Condition,
    IsNull,
    Not,
    OneOf,
)
from tests.support.engines import ICEBERG

pytestmark = pytest.mark.skipif(not ICEBERG, reason="needs pyiceberg")
NOON = datetime(2026, 2, 3, 12, tzinfo=timezone.utc)
OR = AnyOf([
    Compare("record_index", "<", 2),
    AllOf([Compare("log_file_uri", "=", "ab"), Compare("record_index", "=", 2)]),
])


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        pytest.param(Compare("record_index", ">=", 2), ["ab", "b%"], id="comparison"),
        pytest.param(Compare("quarantined_at", "<", NOON), ["A"], id="time"),
        pytest.param(OneOf("log_file_uri", ["a", "A", "x"]), ["A", "a"], id="one of"),
        pytest.param(OneOf("log_file_uri", ["a", *map(str, range(500))]), ["a"], id="one of many"),
        pytest.param(IsNull("record_index"), ["A"], id="null"),
        pytest.param(BeginsWith("log_file_uri", "b%"), ["b%"], id="no pattern"),
        pytest.param(AllOf([OR, IsNull("record_index")]), [], id="all"),
        pytest.param(AnyOf([OR, IsNull("record_index")]), ["A", "a", "ab"], id="any"),
        pytest.param(
            Not(AllOf([Compare("log_file_uri", "=", "A"), IsNull("record_index")])), ["a", "ab", "b%"], id="not"
        ),
    ],
)
def test_conditions(iceberg: Warehouse, condition: Condition, found: list[str]) -> None:
    columns = columns_of(QuarantineEntry)
    rows = [
        QuarantineEntry(uri, index, "", None, NOON - timedelta(hours=index is None))
        for uri, index in [("a", 1), ("ab", 2), ("A", None), ("b%", 3)]
    ]
    iceberg.transact("x", lambda cursor: iceberg.insert(cursor, iceberg.quarantine, columns, rows), writes=True)

    def ask(cursor: Any) -> list[str]:
        return sorted(row[0] for row in iceberg.select(cursor, iceberg.quarantine, ["log_file_uri"], condition))

    assert iceberg.transact("reading", ask) == found
