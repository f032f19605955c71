from __future__ import annotations

from datetime import datetime, timezone

import pytest

from airflow_provider_cloudtrail.audit_event import Column, ColumnKind
from airflow_provider_cloudtrail.warehouse import arrow_rows
from airflow_provider_cloudtrail.warehouse.arrow_rows import arrow_batches, arrow_schema

pyarrow = pytest.importorskip("pyarrow")

COLUMNS = [Column(kind.value, kind, True, "what it means") for kind in ColumnKind]
AT = datetime(2026, 2, 3, 10, 0, 0, 123456, tzinfo=timezone.utc)


def test_columns_are_of_the_types_that_hold_their_values() -> None:
    types = {field.name: str(field.type) for field in arrow_schema(COLUMNS)}
    assert {name for name, kind in types.items() if kind == "string"} == {"key", "text", "json", "raw_json"}
    assert types["integer"] == "int64"
    assert types["boolean"] == "bool"
    assert types["timestamp"] == "timestamp[us, tz=UTC]"


def test_a_column_takes_null_unless_it_is_required() -> None:
    assert all(field.nullable for field in arrow_schema(COLUMNS))
    schema = arrow_schema(COLUMNS, required=["key", "timestamp"])
    assert [field.name for field in schema if not field.nullable] == ["key", "timestamp"]


def test_rows_come_in_portions_and_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_rows, "ROWS_IN_ONE_BATCH", 2)
    rows = [(f"{number}", "text", number, number % 2 == 0, AT, "{}", None) for number in range(5)]
    schema = arrow_schema(COLUMNS)
    batches = list(arrow_batches(schema, rows))
    assert [batch.num_rows for batch in batches] == [2, 2, 1]
    names = [column.name for column in COLUMNS]
    assert [tuple(row[name] for name in names) for batch in batches for row in batch.to_pylist()] == rows
    assert list(arrow_batches(schema, [])) == []
