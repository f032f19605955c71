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

    def __init__(self, text: str) -> None:
        self.text = text
        self.ways: list[tuple[str, bool]] = []
        self.executed: list[str] = []

    def transact(self, doing: str, work: Callable[[Any], Any], *, writes: bool = False) -> Any:
        self.ways.append((doing, writes))
        return work(self)

    def execute(self, statement: str) -> None:
        self.executed.append(statement)
        if self.text:
            raise _EngineError(self.text)

    def fetchall(self) -> list[tuple[int]]:
        return [(7,)]


def _engine(text: str = "") -> tuple[WarehouseEngine, _Warehouse]:
    warehouse = _Warehouse(text)
    return WarehouseEngine(cast(Warehouse, warehouse)), warehouse


def _told(text: str) -> BaseException:
    with pytest.raises((WarehouseError, _EngineError)) as raised:
        _engine(text)[0].read("reading", "SELECT 1")
    return raised.value


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
