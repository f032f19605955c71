"""When the file of a DuckDB warehouse is open, and that nothing of a batch depends on its being closed."""

from __future__ import annotations

import math
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from airflow_provider_cloudtrail.warehouse.duckdb_settings import in_bytes
from tests.support.engines import DUCKDB, DuckDBHook
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.tables import read_table

pytestmark = pytest.mark.skipif(not DUCKDB, reason="needs DuckDB and pyarrow")

NewWarehouse = Callable[[str], Warehouse]


@pytest.fixture
def module() -> Any:
    from airflow_provider_cloudtrail.warehouse import duckdb_file

    return duckdb_file


@pytest.fixture(autouse=True)
def no_hurry(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the file be kept for as long as a busy machine takes."""
    monkeypatch.setattr(module, "_LONGEST_SECONDS", math.inf)


@pytest.fixture
def warehouse(new_warehouse: NewWarehouse) -> Warehouse:
    warehouse = new_warehouse("duckdb")
    warehouse.prepare()
    return warehouse


@pytest.fixture
def connections(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was opened; what is closed again takes no statements."""
    opened: list[Any] = []
    connect = warehouse.hook.get_conn

    def get_conn() -> Any:
        opened.append(connect())
        return opened[-1]

    monkeypatch.setattr(warehouse.hook, "get_conn", get_conn)
    return opened


def is_open(connection: Any) -> bool:
    import duckdb

    try:
        connection.execute("SELECT 1")
    except duckdb.ConnectionException:
        return False
    return True


def batch(hour: int, events: int = 3) -> list[Any]:
    return [file_rows(f"20260203T{hour:02}00Z", *[event(f"{hour}-{number}") for number in range(events)])]


def events_after_a_crash(warehouse: Warehouse, left: Path) -> int:
    """Return how many events would be there if the machine went down now; ``left`` is where a copy is made."""
    path = Path(warehouse.hook.path)
    for one in path.parent.glob(f"{path.name}*"):
        if one.is_file():
            shutil.copy(one, left.parent / one.name.replace(path.name, left.name))
    with DuckDBHook(str(left)).get_conn() as connection:
        ((events,),) = connection.execute(f"SELECT COUNT(*) FROM {warehouse.events}").fetchall()
    return int(events)


def test_outside_of_a_session_the_file_is_closed_behind_each_transaction(
    warehouse: Warehouse, connections: list[Any], module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.DuckDBFile, "rows_worth_keeping", 1)
    warehouse.write(batch(1))
    warehouse.write(batch(2))
    assert [is_open(one) for one in connections] == [False, False]


def test_a_session_that_stores_little_lets_others_in_between(warehouse: Warehouse, connections: list[Any]) -> None:
    with warehouse.session():
        warehouse.write(batch(1))
        assert [is_open(one) for one in connections] == [False]
        warehouse.known_files(["s3://b/k"])
    assert [is_open(one) for one in connections] == [False, False]


def test_a_session_that_stores_much_opens_the_file_once(
    warehouse: Warehouse, connections: list[Any], module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.DuckDBFile, "rows_worth_keeping", 5)
    with warehouse.session():
        for hour in range(4):
            warehouse.known_files(["s3://b/k"])
            warehouse.write(batch(hour, 10))
        # The first question alone was not worth it.
        assert [is_open(one) for one in connections] == [False, True]
    assert [is_open(one) for one in connections] == [False, False]
    assert len(read_table(warehouse).events) == 40


def test_the_file_is_let_go_after_a_while(
    warehouse: Warehouse, connections: list[Any], module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.DuckDBFile, "rows_worth_keeping", 1)
    monkeypatch.setattr(module, "_LONGEST_SECONDS", 0)
    slept: list[float] = []
    # On a clock that stands still: what passes meanwhile would not be slept.
    clock = SimpleNamespace(monotonic=lambda: 1_000.0, sleep=slept.append)
    monkeypatch.setattr(module, "time", clock)
    with warehouse.session():
        warehouse.write(batch(1))
        assert [is_open(one) for one in connections] == [False]
        assert slept == []
        # Whoever waits looks every two seconds.
        warehouse.write(batch(2))
        assert slept == [pytest.approx(2.1)]


def test_an_error_closes_the_file(
    warehouse: Warehouse, connections: list[Any], module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.DuckDBFile, "rows_worth_keeping", 1)
    with warehouse.session():
        warehouse.write(batch(1))
        with pytest.raises(KeyboardInterrupt):
            warehouse.transact("stopping", _stop)
        assert [is_open(one) for one in connections] == [False]
        warehouse.write(batch(2))
    with pytest.raises(KeyboardInterrupt):
        _interrupted_session(warehouse)
    assert [is_open(one) for one in connections] == [False, False, False]
    assert len(read_table(warehouse).events) == 9


def test_a_kept_connection_that_is_broken_is_not_used_again(
    warehouse: Warehouse, connections: list[Any], module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.DuckDBFile, "rows_worth_keeping", 1)
    with warehouse.session():
        warehouse.write(batch(1))
        connections[0].close()
        with pytest.raises(WarehouseError):
            warehouse.write(batch(2))
        warehouse.write(batch(2))
        assert [is_open(one) for one in connections] == [False, True]
    assert len(read_table(warehouse).events) == 6


def _interrupted_session(warehouse: Warehouse) -> None:
    with warehouse.session():
        warehouse.write(batch(3))
        raise KeyboardInterrupt


def _stop(cursor: Any) -> None:
    raise KeyboardInterrupt


def test_each_batch_of_a_session_is_stored_for_good(
    warehouse: Warehouse,
    connections: list[Any],
    module: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(module.DuckDBFile, "rows_worth_keeping", 1)
    found = []
    with warehouse.session():
        for hour in range(3):
            warehouse.write(batch(hour))
            found.append(events_after_a_crash(warehouse, tmp_path / f"{hour}.duckdb"))
    assert found == [3, 6, 9]


def test_a_session_closes_the_file_when_much_has_to_be_read_again_after_a_crash(
    warehouse: Warehouse, connections: list[Any], module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.DuckDBFile, "rows_worth_keeping", 1)
    log = Path(f"{warehouse.hook.get_database()}.wal")
    with warehouse.session():
        warehouse.write(batch(1))
        assert is_open(connections[-1])
        # So much that this batch goes beyond it, and the next one does not.
        monkeypatch.setattr(module, "_MOST_WITHOUT_CHECKPOINT", log.stat().st_size + 1)
        warehouse.write(batch(2))
        assert not is_open(connections[-1])
        assert not log.exists()
        warehouse.write(batch(3))
        assert is_open(connections[-1])
    assert len(read_table(warehouse).events) == 9


def test_in_a_session_memory_grows_with_the_table_and_threads_are_left_to_readers(
    warehouse: Warehouse, connections: list[Any], module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.DuckDBFile, "rows_worth_keeping", 1)
    monkeypatch.setattr(module, "_INDEX_BYTES", 1_000_000)

    def setting(name: str) -> str:
        ((value,),) = connections[-1].execute(f"SELECT current_setting('{name}')").fetchall()
        return str(value)

    if module._version().startswith(module._VERSIONS_WITHOUT_BOUND):
        pytest.skip("no bound with the version that is installed")
    with warehouse.session():
        warehouse.write(batch(1, 20))
        first = in_bytes(setting("memory_limit"))
        warehouse.write(batch(2, 20))
        assert in_bytes(setting("memory_limit")) > first
        assert setting("threads") == "1"


@pytest.mark.parametrize(
    ("version", "bound"),
    [
        pytest.param("1.1.3", False, id="as on MWAA 2.10.3"),
        pytest.param("1.3.2", False, id="as on MWAA 3.0.6"),
        pytest.param("1.4.4", True, id="says that it has too little"),
        pytest.param("2.0.0", True, id="new"),
        pytest.param("10.0.0", True, id="a number that begins alike"),
    ],
)
def test_versions_that_hang_for_lack_of_memory_get_what_they_want(
    warehouse: Warehouse, module: Any, monkeypatch: pytest.MonkeyPatch, version: str, bound: bool
) -> None:
    if bound and module._version().startswith(module._VERSIONS_WITHOUT_BOUND):
        pytest.skip("would hang with the version that is installed")
    monkeypatch.setattr(module, "_version", lambda: version)
    limits = warehouse.transact(
        "asking", lambda cursor: cursor.execute("SELECT current_setting('memory_limit')").fetchall()
    )
    # A bound is far below what DuckDB takes of any machine.
    assert (in_bytes(limits[0][0]) < 128 * 2**20) is bound


def events_left_by_crashes(warehouse: Warehouse, tmp_path: Path, hours: range) -> list[int]:
    """Write batches that may share a transaction; return how many events a crash behind each would leave."""
    found = []
    with warehouse.session(together=True):
        for hour in hours:
            warehouse.write(batch(hour))
            found.append(events_after_a_crash(warehouse, tmp_path / f"{hour}.duckdb"))
            # Neither more nor less than what is said to be stored.
            assert warehouse.pending() == (found[-1] < 3 * (hour + 1))
    return found


@pytest.mark.parametrize(
    ("worth_keeping", "most_together", "longest_seconds", "seen"),
    [
        pytest.param(1, 500, math.inf, [0, 0, 0, 0], id="until the end"),
        # Three rows and one of the ledger each.
        pytest.param(1, 8, math.inf, [0, 6, 6, 12], id="until there are many rows"),
        pytest.param(1, 500, 0, [3, 6, 9, 12], id="not for long"),
        pytest.param(12, 500, math.inf, [3, 6, 9, 12], id="not while there are few"),
    ],
)
def test_batches_share_a_transaction_if_they_may(
    warehouse: Warehouse,
    module: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    worth_keeping: int,
    most_together: int,
    longest_seconds: float,
    seen: list[int],
) -> None:
    monkeypatch.setattr(module.DuckDBFile, "rows_worth_keeping", worth_keeping)
    monkeypatch.setattr(module.DuckDBFile, "most_rows_together", most_together)
    monkeypatch.setattr(module, "_LONGEST_SECONDS", longest_seconds)
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    assert events_left_by_crashes(warehouse, tmp_path, range(4)) == seen
    assert not warehouse.pending()
    assert len(read_table(warehouse).events) == 12


@pytest.mark.parametrize("together", [True, False])
def test_a_file_that_is_overdue_is_let_go(
    warehouse: Warehouse, connections: list[Any], module: Any, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    monkeypatch.setattr(module.DuckDBFile, "rows_worth_keeping", 1)
    monkeypatch.setattr(module.time, "sleep", lambda _: None)
    with warehouse.session(together=together):
        warehouse.write(batch(1))
        assert (warehouse.pending(), warehouse.overdue(), is_open(connections[-1])) == (together, False, True)
        if not together:
            # There is nothing to store, and no reason to let it go.
            warehouse.store()
            assert is_open(connections[-1])
        monkeypatch.setattr(module, "_LONGEST_SECONDS", 0)
        assert warehouse.overdue()
        warehouse.store()
        assert (warehouse.pending(), warehouse.overdue(), is_open(connections[-1])) == (False, False, False)
        assert len(read_table(warehouse).events) == 3
        warehouse.write(batch(2))
    assert len(read_table(warehouse).events) == 6


def test_batches_that_share_a_transaction_see_each_other(
    warehouse: Warehouse, module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.DuckDBFile, "rows_worth_keeping", 1)
    with warehouse.session(together=True):
        (first,) = warehouse.write(batch(1))
        assert warehouse.pending()
        again = file_rows("20260203T0200Z", event("1-1"), event("new"))
        (second,) = warehouse.write([again])
        assert (second.loaded, second.duplicate) == (1, 1)
        # As somebody else would find it: it was read in the meantime.
        assert warehouse.write(batch(1)) == []
        assert set(warehouse.known_files([first.log_file_uri, second.log_file_uri, "s3://b/k"])) == {
            first.log_file_uri,
            second.log_file_uri,
        }
        assert warehouse.pending()
        warehouse.store()
        # A question has nothing to store.
        assert set(warehouse.known_files([second.log_file_uri])) == {second.log_file_uri}
        assert not warehouse.pending()
    tables = read_table(warehouse)
    assert (len(tables.events), len(tables.files)) == (4, 2)


@pytest.mark.parametrize("together", [True, False])
def test_who_ends_the_task_before_the_file_is_let_go_is_heard(
    warehouse: Warehouse, module: Any, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    """Python looks for signals wherever a function begins: what their handler raises comes before its first line."""

    class TaskEndedError(BaseException):
        """What Airflow raises in the main thread, wherever it is."""

    end, raised = module.DuckDBFile.end, []

    def end_task(file: Any, connection: Any, *, failed: bool) -> None:
        monkeypatch.setattr(module.DuckDBFile, "end", end)
        raise TaskEndedError

    def store() -> None:
        try:
            with warehouse.session(together=together):
                monkeypatch.setattr(module.DuckDBFile, "end", end_task)
                warehouse.write(batch(1))
        except BaseException as error:
            raised.append(type(error))
        with suppress(RuntimeError):
            # The process would end now.
            module.ONE_AT_A_TIME.release()

    monkeypatch.setattr(module.DuckDBFile, "rows_worth_keeping", 1)
    thread = threading.Thread(target=store, daemon=True)
    thread.start()
    thread.join(60)
    assert raised == [TaskEndedError]
    assert len(read_table(warehouse).events) == 3
