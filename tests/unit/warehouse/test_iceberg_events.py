from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse
from tests.support.engines import ICEBERG
from tests.support.iceberg_tasks import again, batch, files_read, table_of
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.tables import assert_balanced, read_table

pytestmark = pytest.mark.skipif(not ICEBERG, reason="needs pyiceberg")

NewWarehouse = Callable[[str], Warehouse]


@pytest.mark.parametrize("bound", ["_ROWS_COMPARED_WITH_ALL", "_FILES_COMPARED_WITH_ALL"])
def test_a_larger_table_is_asked_for_the_times_of_the_events_only(
    iceberg: Warehouse, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(f"airflow_provider_cloudtrail.warehouse.iceberg_events.{bound}", 9)
    days = [f"2026-02-{day:02}T10:00:00Z" for day in range(1, 11)]
    for number, day in enumerate(days):
        # Of ids that are spread as CloudTrail's are, the bounds of a file say nothing.
        spread = [event(f"{first}{number}", eventTime=day) for first in "az"]
        iceberg.write([file_rows(f"20260211T10{number:02}Z", *spread)])
    # One that has added none of them.
    iceberg = again(iceberg)
    read = files_read(monkeypatch)
    (entry,) = iceberg.write([
        file_rows(
            "20260211T1100Z",
            *(event("a3", eventTime=days[3]), event("new", eventTime=days[3]), event("z7", eventTime=days[7])),
        )
    ])
    assert (entry.loaded, entry.duplicate) == (1, 2)
    of_events = [path for path in read if "/audit/" in path or "event_time_day" in path]
    assert {path.rpartition("event_time_day=")[2].partition("/")[0] for path in of_events} == {
        "2026-02-04",
        "2026-02-08",
    }
    many = [
        event(f"{number}-{day}", eventTime=f"2025-{1 + day // 28:02}-{1 + day % 28:02}T00:00:00Z") for day in range(60)
    ]
    iceberg.write([file_rows("20260211T1105Z", *many)])
    (entry,) = iceberg.write([file_rows("20260211T1110Z", *many)])
    assert (entry.loaded, entry.duplicate) == (0, 60)


def test_table_that_the_user_has_parted_in_another_way(new_warehouse: NewWarehouse) -> None:
    warehouse = new_warehouse("iceberg")
    warehouse.prepare()
    with table_of(warehouse, warehouse.events).update_spec() as change:
        change.remove_field("event_time_day")
        change.add_identity("aws_region")
    warehouse.write(batch())
    assert read_table(warehouse).event_ids == ["a", "b", "c"]
    assert_balanced(read_table(warehouse))


def test_same_id_at_another_time(iceberg: Warehouse) -> None:
    file = file_rows("20260203T1000Z", event("a"), event("a", eventTime="2026-01-01T00:00:00Z"))
    other = file_rows("20260203T1005Z", event("a", eventTime="2025-01-01T00:00:00Z"))
    assert [entry.loaded for entry in iceberg.write([file]) + iceberg.write([other])] == [1, 0]
    assert read_table(iceberg).event_ids == ["a"]
