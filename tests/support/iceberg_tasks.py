"""Tasks that write one Iceberg table: as others see it, and disturbed at their commits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import FileRows
from airflow_provider_cloudtrail.warehouse import iceberg_tables
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from airflow_provider_cloudtrail.warehouse.iceberg import IcebergWarehouse
from tests.support.iceberg import OldIcebergHook, catalog
from tests.support.log_files import event, foreign
from tests.support.rows import MWAA, file_rows


def again(warehouse: Warehouse) -> IcebergWarehouse:
    """Return the same tables as another task sees them."""
    other = open_warehouse(OldIcebergHook(warehouse.hook.uri), warehouse.table)
    assert isinstance(other, IcebergWarehouse)
    return other


def table_of(warehouse: Warehouse, name: str) -> Any:
    return catalog(warehouse.hook.uri).load_table(name)


PARTED = {"identity": "aws_region", "bucket[1]": "event_id", "month": "event_time"}
"""How a user may part the audit table otherwise, by the transform: a column."""


def part_by(warehouse: Warehouse, transform: str | None) -> None:
    """Part the audit table in another way than by day; None: not at all."""
    from pyiceberg.transforms import parse_transform

    with table_of(warehouse, warehouse.events).update_spec() as change:
        change.remove_field("event_time_day")
        if transform is not None:
            change.add_field(PARTED[transform], parse_transform(transform), "parted")


class Killed(BaseException):
    """What a kill is in these tests: nothing catches it."""


@contextmanager
def at_commits(warehouse: Warehouse, do: Callable[[int, Callable[[], Any]], Any]) -> Iterator[None]:
    """Have the catalog of a warehouse do something at each commit, which is told its number and how to commit."""
    assert isinstance(warehouse, IcebergWarehouse)
    opened, numbers = warehouse._catalog.open(), count()
    commit_table = opened.commit_table
    opened.commit_table = lambda *args: do(next(numbers), lambda: commit_table(*args))  # type: ignore[method-assign]
    try:
        yield
    finally:
        opened.commit_table = commit_table  # type: ignore[method-assign]


def batch() -> list[FileRows]:
    return [
        file_rows("20260203T1000Z", event("a"), foreign("f"), event("b"), event("a"), 7, selection=MWAA),
        file_rows("20260203T1005Z", event("b"), event("c", eventTime="2026-02-02T23:59:59Z"), selection=MWAA),
        file_rows("20260203T1010Z", foreign(), selection=MWAA),
        file_rows("20260203T1015Z", body=b"no gzip", selection=MWAA),
    ]


def files_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    read: list[str] = []
    portions = iceberg_tables._portions

    def noted(tasks: Any) -> Any:
        for portion in portions(tasks):
            read.extend(task.file.file_path for task in portion)
            yield portion

    monkeypatch.setattr(iceberg_tables, "_portions", noted)
    return read
