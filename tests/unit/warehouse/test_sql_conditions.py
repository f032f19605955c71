from __future__ import annotations

import sqlite3
from typing import Any

import pytest

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
from airflow_provider_cloudtrail.warehouse.sql_conditions import as_sql

ROWS = [("a", 1), ("ab", 2), ("A", None), ("b%", 3)]
OR = AnyOf([Compare("n", "<", 2), AllOf([Compare("t", "=", "ab"), Compare("n", "=", 2)])])


def rows_that_fulfil(sql: str, values: list[Any]) -> list[str]:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE rows (t TEXT, n INTEGER)")
    connection.executemany("INSERT INTO rows VALUES (?, ?)", ROWS)
    rows: list[tuple[Any, ...]] = connection.execute(f"SELECT t FROM rows WHERE {sql} ORDER BY t", values).fetchall()
    return [row[0] for row in rows]


@pytest.mark.parametrize(
    ("condition", "text", "found"),
    [
        pytest.param(Compare("n", ">=", 2), '"n" >= ?', ["ab", "b%"], id="comparison"),
        pytest.param(OneOf("t", ["a", "A", "x"]), '"t" IN (?, ?, ?)', ["A", "a"], id="one of"),
        pytest.param(IsNull("n"), '"n" IS NULL', ["A"], id="null"),
        pytest.param(BeginsWith("t", "b%"), 'SUBSTR("t", 1, 2) = ?', ["b%"], id="no pattern"),
        pytest.param(
            AllOf([OR, IsNull("n")]), '("n" < ? OR "t" = ? AND "n" = ?) AND "n" IS NULL', [], id="and binds stronger"
        ),
        pytest.param(
            AnyOf([OR, IsNull("n")]), '(("n" < ? OR "t" = ? AND "n" = ?) OR "n" IS NULL)', ["A", "a", "ab"], id="or"
        ),
        pytest.param(
            Not(AllOf([Compare("t", "=", "A"), IsNull("n")])),
            'NOT ("t" = ? AND "n" IS NULL)',
            ["a", "ab", "b%"],
            id="not",
        ),
    ],
)
def test_conditions(condition: Condition, text: str, found: list[str]) -> None:
    sql, values = as_sql(condition, quoted='"{}"'.format, mark="?", value=lambda value: value)
    assert sql == text
    assert rows_that_fulfil(sql, values) == found


def test_list_is_no_longer_than_it_may_be() -> None:
    condition = AllOf([OneOf("t", ["x", "a", "y", "b%", "ab"]), Not(OneOf("t", ["b%"]))])
    sql, values = as_sql(condition, quoted='"{}"'.format, mark="?", value=lambda value: value, max_in_list=2)
    assert sql == '("t" IN (?, ?) OR "t" IN (?, ?) OR "t" IN (?)) AND NOT ("t" IN (?))'
    assert rows_that_fulfil(sql, values) == ["a", "ab"]
