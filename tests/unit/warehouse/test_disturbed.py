"""One statement or commit fails, before or after it took effect, and the batch is written again: the same tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import FileRows
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from tests.support.engines import POSTGRES, REDSHIFT, SNOWFLAKE
from tests.support.log_files import event, foreign
from tests.support.rows import ALL, MWAA, file_rows, reread
from tests.support.tables import Tables, assert_balanced, query, read_table

NewWarehouse = Callable[[str], Warehouse]


class Disturbance:
    """Counts statements and commits, and has one of them fail."""

    def __init__(self, number: int, *, ran: bool) -> None:
        self._left = number
        self._ran = ran

    @property
    def happened(self) -> bool:
        return self._left < 0

    def __call__(self, work: Callable[[], Any]) -> Any:
        self._left -= 1
        if self._left != -1:
            return work()
        if self._ran:
            work()
        raise ConnectionError("the connection is gone")


class Cursor:
    def __init__(self, cursor: Any, disturbance: Disturbance) -> None:
        self._cursor = cursor
        self._disturbance = disturbance

    def execute(self, *statement: Any) -> Any:
        return self._disturbance(lambda: self._cursor.execute(*statement))

    def executemany(self, *statement: Any) -> Any:
        return self._disturbance(lambda: self._cursor.executemany(*statement))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


class Connection:
    def __init__(self, connection: Any, disturbance: Disturbance) -> None:
        self.connection = connection
        self._disturbance = disturbance

    def cursor(self) -> Cursor:
        return Cursor(self.connection.cursor(), self._disturbance)

    def commit(self) -> None:
        self._disturbance(self.connection.commit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


def disturb(warehouse: Warehouse, disturbance: Disturbance, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = warehouse.hook
    connect = hook.get_conn
    monkeypatch.setattr(hook, "get_conn", lambda: Connection(connect(), disturbance))
    if getattr(hook, "supports_autocommit", False):
        set_autocommit = hook.set_autocommit
        monkeypatch.setattr(hook, "set_autocommit", lambda wrapped, on: set_autocommit(wrapped.connection, on))


def batch(*, wider: bool) -> list[FileRows]:
    selection = ALL if wider else MWAA
    return [
        file_rows("20260203T1000Z", event("a"), foreign("f"), event("b"), event("a"), 7, selection=selection),
        file_rows("20260203T1005Z", event("b"), event("c"), foreign("g"), selection=selection),
        file_rows("20260203T1010Z", foreign(), selection=selection),
        file_rows("20260203T1015Z", body=b"no gzip", selection=selection),
    ]


def written(warehouse: Warehouse, *, wider: bool) -> Tables:
    warehouse.write(reread(warehouse, *batch(wider=wider)))
    tables = read_table(warehouse)
    assert_balanced(tables)
    return tables


@pytest.mark.parametrize("ran", [False, True], ids=["before it ran", "after it ran"])
@pytest.mark.parametrize(
    ("engine", "step"),
    # What stands in for Redshift and for Snowflake takes its time: of some in a row one.
    [
        *((engine, 1) for engine in [*POSTGRES[:1], "sqlite"]),
        *((engine, 8) for engine in [*REDSHIFT[:1], *SNOWFLAKE]),
    ],
)
def test_a_statement_fails_once(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch, engine: str, step: int, ran: bool
) -> None:
    undisturbed = new_warehouse(engine)
    undisturbed.prepare()
    expected = [written(undisturbed, wider=wider) for wider in (False, True)]
    for number in range(step // 2, 100, step):
        warehouse = new_warehouse(engine)
        warehouse.prepare()
        happened = False
        for wider in (False, True):
            disturbance, files = Disturbance(number, ran=ran), reread(warehouse, *batch(wider=wider))
            with monkeypatch.context() as disturbed:
                disturb(warehouse, disturbance, disturbed)
                with suppress(WarehouseError):
                    warehouse.write(files)
            happened |= disturbance.happened
            assert written(warehouse, wider=wider) == expected[wider]
        if not happened:
            break
    # Lock, ledger, rows, quarantine, ledger, commit at least.
    assert 5 < number < 99


@pytest.mark.parametrize("engine", [*POSTGRES, *REDSHIFT[:1]])
def test_connection_that_is_lost_is_called_so(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    known_files = warehouse._known_files  # type: ignore[attr-defined]

    def end_its_session(*asked: Any) -> Any:
        others = "pid <> pg_backend_pid() AND datname = current_database()"
        query(warehouse, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
        return known_files(*asked)

    with monkeypatch.context() as disturbed:
        disturbed.setattr(warehouse, "_known_files", end_its_session)
        with pytest.raises(WarehouseError, match=r", writing .*\. The connection was lost: run this again"):
            warehouse.write(batch(wider=False))
    assert len(warehouse.write(batch(wider=False))) == 4


@pytest.mark.parametrize("engine", POSTGRES)
def test_connection_that_is_lost_in_a_copy_is_called_so(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()

    def texts() -> Iterator[str]:
        yield "a\n"
        others = "pid <> pg_backend_pid() AND query LIKE 'COPY%'"
        query(warehouse, f"SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE {others}")
        for _ in range(1_000):
            yield "b\n" * 10_000

    def copy(cursor: Any) -> None:
        cursor.execute("CREATE TEMPORARY TABLE copied (text TEXT)")
        cursor.copy_from("COPY copied FROM STDIN", texts())

    with pytest.raises(WarehouseError, match=r", copying: .*\. The connection was lost: run this again"):
        warehouse.transact("copying", copy)


@pytest.mark.parametrize("engine", REDSHIFT[:1])
def test_connection_that_a_firewall_has_forgotten_is_called_lost(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    import redshift_connector

    warehouse = new_warehouse(engine)
    warehouse.prepare()
    connect = redshift_connector.connect

    def impatient(**arguments: Any) -> Any:
        connection = connect(**arguments)
        # No answer is what such a connection gives, too; the system waits for longer.
        connection._usock.settimeout(1)
        return connection

    with closing(warehouse.hook.get_conn()) as other, monkeypatch.context() as disturbed:
        other.cursor().execute(f"LOCK {warehouse.files}")
        disturbed.setattr(redshift_connector, "connect", impatient)
        with pytest.raises(WarehouseError, match=r", writing .*: TimeoutError.*\. The connection was lost: run this"):
            warehouse.write(batch(wider=False))
    assert len(warehouse.write(batch(wider=False))) == 4
