"""What becomes of an error of the engine, whose text can quote a record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

pytest.importorskip("botocore")

from airflow_provider_cloudtrail.pushdown.engine import UnreadableLogFileError, WarehouseEngine
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError

FOLDER = "AWSLogs/123456789012/CloudTrail/eu-west-1/2026/02/03/"
NAME = "123456789012_CloudTrail_eu-west-1_20260203T1000Z_abcdefghijklmnop.json.gz"
URI = f"s3://trail/{FOLDER}{NAME}"


class _EngineError(Exception):
    pass


class _Warehouse:
    """One whose statements fail with a text."""

    engine = "athena"

    def __init__(self, text: str, query: str | None) -> None:
        self.text = text
        self.query = query
        self.ways: list[tuple[str, bool]] = []
        self.executed: list[str] = []

    def transact(self, doing: str, work: Callable[[Any], Any], *, writes: bool = False) -> Any:
        self.ways.append((doing, writes))
        return work(self)

    def execute(self, statement: str) -> None:
        self.executed.append(statement)
        if self.text:
            error = _EngineError(self.text)
            error.__dict__["athena_query"] = self.query
            raise error

    def fetchall(self) -> list[tuple[int]]:
        return [(7,)]


def _engine(text: str = "", query: str | None = None) -> tuple[WarehouseEngine, _Warehouse]:
    warehouse = _Warehouse(text, query)
    return WarehouseEngine(cast(Warehouse, warehouse)), warehouse


def _told(text: str, query: str | None = None) -> BaseException:
    with pytest.raises((WarehouseError, _EngineError)) as raised:
        _engine(text, query)[0].read("reading", "SELECT 1")
    return raised.value


def test_a_question_does_not_keep_writers_out() -> None:
    engine, warehouse = _engine()
    assert engine.read("reading", "SELECT 7") == [(7,)]
    assert warehouse.ways == [("reading", False)]
    assert warehouse.executed == ["SELECT 7"]


def test_all_statements_that_write_run_under_one_lock_in_their_order() -> None:
    engine, warehouse = _engine()
    engine.write("writing", ["MERGE rows", "MERGE ledger"])
    assert warehouse.ways == [("writing", True)]
    assert warehouse.executed == ["MERGE rows", "MERGE ledger"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"HIVE_BAD_DATA: s3://s3://s3:// in {URI}, at 7", id="beginnings before it"),
        pytest.param(f"HIVE_BAD_DATA: s3://trail/other.json.gz in '{URI}'", id="another object before it"),
        pytest.param(f"HIVE_BAD_DATA: of {URI} and {URI.replace('abc', 'xyz')}", id="two of them"),
    ],
)
def test_log_file_is_named(text: str) -> None:
    error = _told(text)
    assert isinstance(error, UnreadableLogFileError)
    assert str(error).startswith(f"the engine cannot read {URI} (HIVE_BAD_DATA), and with it nothing of its span. If")
    assert f"files=['{URI}']" in str(error)


@pytest.mark.parametrize("length", [1_024, 20_000])
def test_only_what_can_be_the_uri_of_an_object_is_looked_at(length: int) -> None:
    # A record that the text quotes may be one long beginning of a URI: where it ends, nobody looks for.
    uri = f"s3://trail/{'p' * (length - len(FOLDER + NAME) - 1)}/{FOLDER}{NAME}"
    error = _told(f"HIVE_BAD_DATA: {uri}")
    assert isinstance(error, UnreadableLogFileError) is (length == 1_024)


@pytest.mark.parametrize(
    ("text", "query", "details"),
    [
        pytest.param("HIVE_BAD_DATA: ", "q-1", " (HIVE_BAD_DATA, query q-1), ", id="code and query"),
        pytest.param("a HIVE_BAD_DATA ", "q-1", " (query q-1), ", id="query"),
        pytest.param("", None, ", ", id="neither"),
    ],
)
def test_where_to_look_is_told(text: str, query: str | None, details: str) -> None:
    assert str(_told(f"{text}{URI}", query)).startswith(f"the engine cannot read {URI}{details}and with it")


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        pytest.param(f"HIVE_CANNOT_OPEN_SPLIT: {URI}: Access Denied", True, id="not opened, denied"),
        pytest.param(f"HIVE_CANNOT_OPEN_SPLIT: {URI}: Slow Down", False, id="not opened, busy"),
        pytest.param(f"HIVE_CURSOR_ERROR: AccessDenied in {URI}", False, id="a record about a denied call"),
    ],
)
def test_rights_are_asked_for_only_where_they_lack(text: str, denied: bool) -> None:
    assert ("s3:GetObject" in str(_told(text))) is denied


def test_what_is_too_much_for_a_statement_says_what_to_do() -> None:
    error = _told("Query exhausted resources at this scale factor")
    assert type(error) is WarehouseError
    assert str(error).startswith("athena, reading: ")
    assert "days_at_once" in str(error)


def test_other_errors_are_left_to_the_warehouse() -> None:
    error = _told("GENERIC_INTERNAL_ERROR: s3://trail/other.json.gz")
    assert isinstance(error, _EngineError)
