"""A disk that is full, wherever it is noticed: the task says so, and what is done again gives the same tables."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from tests.support.engines import ICEBERG
from tests.support.iceberg_tasks import again, at_commits, batch
from tests.support.rows import reread
from tests.support.tables import assert_balanced, read_table

pytestmark = pytest.mark.skipif(not ICEBERG, reason="needs pyiceberg")

NewWarehouse = Callable[[str], Warehouse]
AGAIN = "Then run this again, it goes on from what is stored"


class _CutShort:
    """A stream to a file for which there is no room, as is noticed when it is closed."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> _CutShort:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        if not self._stream.closed:
            self._stream.close()
            raise OSError(errno.ENOSPC, "Error writing bytes to file. Detail: [errno 28] No space left on device")


@contextmanager
def room_for(files: int) -> Iterator[None]:
    """Have a disk that takes no more than some files."""
    from pyiceberg.io.pyarrow import PyArrowFile

    create, numbers = PyArrowFile.create, count()

    def create_if_there_is_room(self: Any, overwrite: bool = False) -> Any:
        stream = create(self, overwrite)
        return stream if next(numbers) < files else _CutShort(stream)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PyArrowFile, "create", create_if_there_is_room)
        yield


def assert_goes_on(warehouse: Warehouse) -> None:
    other = again(warehouse)
    other.write(reread(other, *batch()))
    tables = read_table(other)
    assert_balanced(tables)
    assert (tables.event_ids, len(tables.files), len(tables.quarantine)) == (["a", "b", "c"], 4, 2)


def test_disk_of_the_tables_is_full(new_warehouse: NewWarehouse) -> None:
    for files in range(20):
        warehouse = new_warehouse("iceberg")
        warehouse.prepare()
        said = ""
        try:
            with room_for(files):
                warehouse.write(batch())
        except WarehouseError as error:
            said = str(error)
        if not said:
            break
        assert "iceberg, writing audit." in said
        assert f"No space left on device. The disk of the worker is full: make room there. {AGAIN}" in said
        assert_goes_on(warehouse)
    # Data of two days and of two tables besides; manifests and metadata for each, which versions of pyiceberg count
    # differently.
    assert files > 10


def test_disk_is_full_when_tables_are_created(new_warehouse: NewWarehouse) -> None:
    warehouse = new_warehouse("iceberg")
    with room_for(1), pytest.raises(WarehouseError, match=r"iceberg, preparing audit\..*make room there\. Then run"):
        warehouse.prepare()
    warehouse.prepare()
    assert_goes_on(warehouse)


@pytest.mark.parametrize(
    ("said", "to_do"),
    [
        ("database or disk is full", rf" is full\. Make room where the file of the catalog lies\. {AGAIN}"),
        ("attempt to write a readonly database", " readonly database$"),
    ],
)
def test_database_of_the_catalog_refuses(new_warehouse: NewWarehouse, said: str, to_do: str) -> None:
    from sqlalchemy.exc import OperationalError

    # Rows, announcement, quarantine, ledger.
    for refused in range(4):
        warehouse = new_warehouse("iceberg")
        warehouse.prepare()

        def refuse(number: int, commit: Callable[[], Any], refused: int = refused) -> Any:
            if number == refused:
                raise OperationalError("UPDATE iceberg_tables", {}, sqlite3.OperationalError(said))
            return commit()

        with at_commits(warehouse, refuse), pytest.raises(WarehouseError, match=to_do):
            warehouse.write(batch())
        assert_goes_on(warehouse)
