from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.audit_event import FileRows
from airflow_provider_cloudtrail.warehouse import arrow_rows, iceberg_files
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.conditions import OneOf
from tests.support.engines import ICEBERG
from tests.support.iceberg_tasks import PARTED, part_by, table_of
from tests.support.log_files import event
from tests.support.rows import file_rows

pytestmark = pytest.mark.skipif(not ICEBERG, reason="needs pyiceberg")

LONG = "z" * 5_000
"""Longer than what Arrow keeps as the greatest value of a row group."""


@pytest.mark.parametrize("agent", ["a", "b", "c", LONG])
def test_every_value_is_found_by_the_bounds_of_its_file(
    iceberg: Warehouse, monkeypatch: pytest.MonkeyPatch, agent: str
) -> None:
    monkeypatch.setattr(arrow_rows, "ROWS_IN_ONE_BATCH", 2)
    monkeypatch.setattr(iceberg_files, "_BATCHES_IN_ONE_GROUP", 1)
    agents = ["b", "c", "a", LONG]
    iceberg.write([
        file_rows("20260203T1000Z", *[event(f"{number}", userAgent=one) for number, one in enumerate(agents)])
    ])
    table = table_of(iceberg, iceberg.events)
    (found,) = table.scan(f"user_agent = '{agent}'", selected_fields=("user_agent",)).to_arrow().to_pylist()
    assert found == {"user_agent": agent}
    # Of other columns bounds are kept: an engine finds a day and an id by them.
    (file,) = table.inspect.files().to_pylist()
    assert file["readable_metrics"]["event_id"]["lower_bound"] == "0"


MANY = 12_000


def many_rows() -> FileRows:
    """Return a file of many events and broken records, of which one of the first has a long text."""
    file = file_rows("20260203T1000Z", event("b", userAgent="b"), event("long", userAgent=LONG), "b", LONG)
    file.events += [file.events[0]._replace(event_id=f"{number}", user_agent="a") for number in range(MANY)]
    file.quarantine += [file.quarantine[0]._replace(record_index=4 + number, raw="a") for number in range(MANY)]
    return file


def rows_with(warehouse: Warehouse, name: str, column: str, values: list[str]) -> list[int]:
    """Return how many rows of a table are found by each of some values, of which it has a single data file."""
    table = table_of(warehouse, name)
    assert table.inspect.files().num_rows == 1
    return [table.scan(f"{column} = '{value}'", selected_fields=(column,)).to_arrow().num_rows for value in values]


@pytest.mark.parametrize("transform", [None, *PARTED])
def test_every_value_is_found_in_a_file_that_pyiceberg_writes(iceberg: Warehouse, transform: str | None) -> None:
    """In one of a table that the user has parted in another way, of the quarantine, and in one that is rewritten."""
    part_by(iceberg, transform)
    iceberg.write([many_rows()])
    assert rows_with(iceberg, iceberg.events, "user_agent", ["a", "b", LONG]) == [MANY, 1, 1]
    assert rows_with(iceberg, iceberg.quarantine, "raw", ["a", '"b"', f'"{LONG}"']) == [MANY, 1, 1]
    iceberg.transact("deleting", lambda tables: tables[iceberg.events].delete(OneOf("event_id", ["7"])), writes=True)
    assert rows_with(iceberg, iceberg.events, "user_agent", ["a", "b", LONG]) == [MANY - 1, 1, 1]


@pytest.mark.parametrize(
    ("column", "transform", "by_day"),
    [
        pytest.param("event_time", "day", False, id="by day anew"),
        pytest.param("event_time", "month", False, id="by month"),
        pytest.param("aws_region", "identity", True, id="by day and Region"),
        pytest.param("delivered_at", "day", False, id="by day of delivery"),
    ],
)
def test_every_event_is_found_in_the_partitions_that_a_user_has_made(
    iceberg: Warehouse, column: str, transform: str, by_day: bool
) -> None:
    from pyiceberg.transforms import parse_transform

    iceberg.write([file_rows("20260203T1000Z", event("a"))])
    with table_of(iceberg, iceberg.events).update_spec() as change:
        if not by_day:
            change.remove_field("event_time_day")
        change.add_field(column, parse_transform(transform), "parted_by_user")
    late = event("b", eventTime="2026-02-03T23:59:59Z", awsRegion="us-east-1")
    iceberg.write([file_rows("20260204T0000Z", late, event("c", eventTime="2026-02-04T00:00:00Z"), event("d"))])
    table = table_of(iceberg, iceberg.events)
    columns = ("event_id", "event_time", "delivered_at", "aws_region")
    rows = table.scan(selected_fields=columns).to_arrow().to_pylist()
    assert sorted(row["event_id"] for row in rows) == ["a", "b", "c", "d"]
    for name in columns[1:]:
        for row in rows:
            value = row[name] if name == "aws_region" else row[name].isoformat()
            found = table.scan(f"{name} = '{value}'", selected_fields=columns).to_arrow().to_pylist()
            alike = [one["event_id"] for one in rows if one[name] == row[name]]
            assert sorted(one["event_id"] for one in found) == sorted(alike)


def test_event_is_in_the_partition_of_its_day_in_utc(iceberg: Warehouse) -> None:
    file = file_rows("20260203T1000Z", event("a"))
    in_oslo = datetime(2026, 2, 4, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    file.events = [file.events[0]._replace(event_time=in_oslo)]
    iceberg.write([file])
    (day,) = table_of(iceberg, iceberg.events).inspect.partitions().to_pylist()
    assert f"{day['partition']['event_time_day']}" == "2026-02-03"


@pytest.mark.parametrize("codec", ["uncompressed", "gzip"])
def test_files_are_compressed_as_the_table_says(iceberg: Warehouse, codec: str) -> None:
    from pyarrow import parquet

    with table_of(iceberg, iceberg.events).transaction() as change:
        change.set_properties({"write.parquet.compression-codec": codec})
    iceberg.write([file_rows("20260203T1000Z", event("a"))])
    (file,) = table_of(iceberg, iceberg.events).inspect.files().to_pylist()
    metadata = parquet.read_metadata(file["file_path"].removeprefix("file://"))
    assert metadata.row_group(0).column(0).compression.lower() == codec
