from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from airflow_provider_cloudtrail.audit_event import AuditEvent
from airflow_provider_cloudtrail.warehouse.base import WarehouseError
from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from tests.support.engines import installed
from tests.support.log_files import event
from tests.support.rows import file_rows


class Recorded:
    """A database that remembers what it was told, knows the tables it was told to create, and has no rows."""

    placeholder = "%s"

    def __init__(self, conn_type: str) -> None:
        self.conn_type = conn_type
        self.statements: list[str] = []
        self.description: list[Any] = []

    def get_conn(self) -> Any:
        return SimpleNamespace(cursor=lambda: self, commit=int, rollback=int, close=int)

    def execute(self, statement: str, values: Any = ()) -> None:
        assert statement.count("%s") == len(values)
        self.statements.append(statement)
        words = statement.split()
        if statement.endswith("WHERE 1 = 0") and not any(
            text.startswith(f"CREATE TABLE {words[3]} ") for text in self.statements
        ):
            raise LookupError("no such table")

    def fetchall(self) -> list[Any]:
        return []


@pytest.mark.skipif(not installed("sqlglot"), reason="needs sqlglot")
@pytest.mark.parametrize("conn_type", ["mysql", "sqlite", "exasol"])
def test_statements_parse_in_the_dialect(conn_type):
    import sqlglot

    dialect = {"exasol": None}.get(conn_type, conn_type)
    hook = Recorded(conn_type)
    warehouse = open_warehouse(hook, "audit", "security")
    warehouse.prepare()
    # Now the tables are there and lack all columns.
    warehouse.prepare()
    (entry,) = warehouse.write([file_rows("20260203T1000Z", *[event(str(number)) for number in range(30)], 7)])
    warehouse._delete(hook, warehouse.files, [entry.log_file_uri])
    kinds = set()
    for statement in hook.statements:
        (tree,) = sqlglot.parse(statement.replace("%s", "?"), dialect=dialect)
        assert not isinstance(tree, sqlglot.exp.Command), statement
        kinds.add(type(tree).__name__)
    settings = {"Set"} if conn_type == "mysql" else set()
    assert kinds == {"Select", "Create", "Alter", "Update", "Insert", "Delete"} | settings
    inserts = [text for text in hook.statements if text.startswith("INSERT")]
    assert max(text.count("%s") for text in inserts) <= warehouse.dialect.max_parameters
    quote = "`" if conn_type == "mysql" else '"'
    assert all(f"{quote}security{quote}.{quote}audit" in text for text in inserts)
    assert len(inserts) == -(-30 // (warehouse.dialect.max_parameters // len(AuditEvent._fields))) + 2


class Unforgiving:
    """A connection to SQLite, and its cursor, that refuse what comes before all rows of an answer were fetched."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.answer = None

    def cursor(self) -> Any:
        return self

    def execute(self, statement: str, values: Any = ()) -> None:
        assert self.answer is None
        answer = self.connection.execute(statement, values)
        self.description = answer.description
        self.answer = answer if answer.description else None

    def fetchall(self) -> list[Any]:
        answer, self.answer = self.answer, None
        return answer.fetchall()

    def commit(self) -> None:
        assert self.answer is None
        self.connection.commit()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


def test_all_answers_are_fetched(new_warehouse, monkeypatch):
    """A driver such as mysql-connector-python takes no statement before."""
    warehouse = new_warehouse("sqlite")
    connect = warehouse.hook.get_conn
    monkeypatch.setattr(warehouse.hook, "get_conn", lambda: Unforgiving(connect()))
    for stamp in ("20260203T1000Z", "20260203T1005Z"):
        warehouse.prepare()
        file = file_rows(stamp, event("a"), 7)
        (entry,) = warehouse.write([file])
        assert set(warehouse.known_files([file.entry.log_file_uri])) == {entry.log_file_uri}
    assert entry.duplicate == 1


@pytest.mark.parametrize(
    ("failing", "calls"),
    [
        pytest.param([], ["commit", "close"], id="nothing"),
        pytest.param(["execute"], ["rollback", "close"], id="a statement"),
        pytest.param(["commit"], ["commit", "rollback", "close"], id="its commit"),
        pytest.param(["execute", "rollback"], ["rollback", "close"], id="a statement, as the connection is lost"),
    ],
)
def test_whatever_fails_a_transaction_is_ended_and_its_connection_closed(monkeypatch, failing, calls):
    hook = Recorded("exasol")
    warehouse = open_warehouse(hook, "audit")
    warehouse.prepare()
    told = []

    def call(name):
        told.append(name)
        if name in failing:
            raise {"rollback": ConnectionError}.get(name, LookupError)("made up")

    def connect():
        call("open")
        ends = {name: partial(call, name) for name in ("commit", "rollback", "close")}
        return SimpleNamespace(cursor=lambda: hook, **ends)

    monkeypatch.setattr(hook, "get_conn", connect)
    if "execute" in failing:
        monkeypatch.setattr(hook, "execute", Mock(side_effect=LookupError("made up")))
    with pytest.raises(WarehouseError, match="LookupError") if failing else nullcontext():
        warehouse.write([file_rows("20260203T1000Z", event("a"))])
    # Another connection is opened to find out whether the tables are to blame.
    assert told[: len(calls) + 1] == ["open", *calls]
    assert told.count("open") == told.count("close")


@pytest.mark.parametrize(
    ("lengths", "portions"),
    [
        pytest.param([1] * 30, 2, id="as many as a statement has placeholders for"),
        pytest.param([300_000] * 4, 4, id="two of which are too long for one"),
        pytest.param([5_000_000, 1], 2, id="one that is too long on its own"),
    ],
)
def test_statements_are_as_long_as_servers_take_them(lengths, portions):
    hook = Recorded("exasol")
    warehouse = open_warehouse(hook, "audit")
    events = [event(str(number), userAgent="x" * length) for number, length in enumerate(lengths)]
    warehouse.write([file_rows("20260203T1000Z", *events)])
    inserts = [text for text in hook.statements if text.startswith('INSERT INTO "audit" ')]
    assert len(inserts) == portions
    assert sum(text.count("), (") + 1 for text in inserts) == len(events)
