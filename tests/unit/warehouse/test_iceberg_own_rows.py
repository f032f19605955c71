from __future__ import annotations

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse
from tests.support.engines import ICEBERG
from tests.support.iceberg_tasks import again, files_read, table_of
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.tables import assert_balanced, read_table

pytestmark = pytest.mark.skipif(not ICEBERG, reason="needs pyiceberg")


def test_rows_that_were_added_here_are_not_read_again(iceberg: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    iceberg.write([file_rows("20260203T1000Z", event("a"), event("b"))])
    (mine,) = table_of(iceberg, iceberg.events).inspect.files().to_pylist()
    again(iceberg).write([file_rows("20260203T1005Z", event("c"))])
    read = files_read(monkeypatch)
    (entry,) = iceberg.write([file_rows("20260203T1010Z", event("a"), event("c"), event("d"))])
    assert (entry.loaded, entry.duplicate) == (1, 2)
    of_events = {path for path in read if "event_time_day" in path}
    assert len(of_events - {mine["file_path"]}) == len(of_events) == 1
    assert read_table(iceberg).event_ids == ["a", "b", "c", "d"]


def test_rows_that_were_added_here_and_deleted_by_somebody(iceberg: Warehouse) -> None:
    iceberg.write([file_rows("20260203T1000Z", event("a"), event("b"))])
    table_of(iceberg, iceberg.events).delete("event_id = 'a'")
    (entry,) = iceberg.write([file_rows("20260203T1005Z", event("a"), event("b"))])
    assert (entry.loaded, entry.duplicate) == (1, 1)
    assert read_table(iceberg).event_ids == ["a", "b"]


@pytest.mark.parametrize("most", [0, 1, 3], ids=str)
def test_only_so_many_rows_that_were_added_here_are_kept(
    iceberg: Warehouse, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_cloudtrail.warehouse.iceberg_own_rows._MOST_ROWS", most)
    for number in range(6):
        iceberg.write([file_rows(f"20260203T10{number:02}Z", event("same"), event(f"{number}"))])
    tables = read_table(iceberg)
    assert_balanced(tables)
    assert len(tables.events) == 7
