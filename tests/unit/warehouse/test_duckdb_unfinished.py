"""A task that was killed, or a disk that was full, while DuckDB made its file."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_cloudtrail.warehouse import duckdb_unfinished
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from airflow_provider_cloudtrail.warehouse.duckdb_unfinished import discard_unfinished, is_being_made
from tests.support.engines import DUCKDB
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.tables import read_table

pytestmark = pytest.mark.skipif(not DUCKDB, reason="needs DuckDB and pyarrow")

NewWarehouse = Callable[[str], Warehouse]
CUTS = [pytest.param(cut, id=f"{cut} bytes") for cut in (0, 100, 4096, 8192, 12_287)]


def cut_short(warehouse: Warehouse, size: int, age: float = 3600) -> Path:
    """Make the file of a warehouse one that a killed task has left behind."""
    path = Path(warehouse.hook.get_database())
    warehouse.hook.get_conn().close()
    os.truncate(path, size)
    os.utime(path, (0, time.time() - age))
    return path


@pytest.mark.parametrize("size", CUTS)
def test_made_anew(new_warehouse: NewWarehouse, size: int) -> None:
    warehouse = new_warehouse("duckdb")
    cut_short(warehouse, size)
    warehouse.prepare()
    warehouse.write([file_rows("20260203T1000Z", event("a"))])
    assert read_table(warehouse).event_ids == ["a"]


def test_made_anew_where_a_link_leads(new_warehouse: NewWarehouse) -> None:
    warehouse = new_warehouse("duckdb")
    path = cut_short(warehouse, 4096)
    warehouse.hook.path = str(path.with_name("link.duckdb"))
    Path(warehouse.hook.path).symlink_to(path)
    warehouse.prepare()
    warehouse.write([file_rows("20260203T1000Z", event("a"))])
    assert Path(warehouse.hook.path).is_symlink()
    assert path.stat().st_size > 12_288


def test_waited_for_while_it_may_still_be_made(new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = new_warehouse("duckdb")
    monkeypatch.setattr(duckdb_unfinished, "_LONGEST_CREATION", 2.0)
    path = cut_short(warehouse, 4096, age=0)
    assert is_being_made(str(path))
    assert not discard_unfinished(str(path))
    warehouse.prepare()
    warehouse.write([file_rows("20260203T1000Z", event("a"))])


def test_left_alone_while_somebody_has_it_open(new_warehouse: NewWarehouse) -> None:
    path = cut_short(new_warehouse("duckdb"), 4096)
    locks = f"import fcntl; file = open({str(path)!r}, 'r+b'); fcntl.lockf(file, fcntl.LOCK_EX); print(flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{locks}; input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert not discard_unfinished(str(path))
        other.communicate(b"\n")
    assert discard_unfinished(str(path))


def test_what_took_its_place_meanwhile_is_left_alone(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = new_warehouse("duckdb")
    path = cut_short(warehouse, 4096)

    def lock(*_: object) -> None:
        path.unlink()
        warehouse.prepare()

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "lockf", lock)
        assert not discard_unfinished(str(path))
    warehouse.write([file_rows("20260203T1000Z", event("a"))])


@pytest.mark.parametrize("content", [b"host: example.com\n", b"x" * 9_000], ids=["short", "long"])
def test_what_is_no_database_is_left_alone(new_warehouse: NewWarehouse, content: bytes) -> None:
    warehouse = new_warehouse("duckdb")
    path = Path(warehouse.hook.get_database())
    path.write_bytes(content)
    os.utime(path, (0, 0))
    with pytest.raises(WarehouseError, match=r"not a valid DuckDB database file|Could not read enough bytes"):
        warehouse.prepare()
    assert path.read_bytes() == content


def test_what_a_copy_has_left_of_a_database_is_left_alone(new_warehouse: NewWarehouse) -> None:
    """Its log is beside it, with what was committed last."""
    path = cut_short(new_warehouse("duckdb"), 4096)
    beside = path.with_name(f"{path.name}.wal")
    beside.write_bytes(b"")
    assert discard_unfinished(str(path))
    path = cut_short(new_warehouse("duckdb"), 4096)
    path.with_name(f"{path.name}.wal").write_bytes(b"x" * 100)
    assert not discard_unfinished(str(path))


def test_a_file_that_is_being_made_is_not_opened(new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed again it would lose the locks that DuckDB has on it in this process."""
    path = cut_short(new_warehouse("duckdb"), 4096, age=0)
    monkeypatch.setattr(Path, "open", None)
    assert is_being_made(str(path))
    assert not discard_unfinished(str(path))


def test_a_whole_file_is_left_alone(new_warehouse: NewWarehouse) -> None:
    path = cut_short(new_warehouse("duckdb"), 12_288)
    assert not is_being_made(str(path))
    assert not discard_unfinished(str(path))


def test_no_file() -> None:
    assert not is_being_made("md:example")
    assert not discard_unfinished("/nowhere/audit.duckdb")
