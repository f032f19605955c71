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
from tests.support.engines import MYSQL, MySqlHook, installed
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.tables import assert_balanced, execute, query, read_table


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


@pytest.mark.skipif(not MYSQL, reason="needs MariaDB (mariadbd on the PATH; Debian: mariadb-server) and pymysql")
def test_mariadb_stores_and_waits(new_warehouse):
    """The contract runs over MariaDB where it is installed; this one says so where it is not."""
    import pymysql

    warehouse = new_warehouse("mysql")
    assert isinstance(warehouse.hook, MySqlHook)
    # As an old driver is set, and a connection of Airflow may be.
    warehouse.hook.settings = {"charset": "latin1", "cursorclass": pymysql.cursors.SSDictCursor}
    warehouse.prepare()
    file = file_rows("20260203T1000Z", event("a", userAgent="\N{WATER WAVE}" * 20_000), 7)
    warehouse.write([file])
    assert len(warehouse.known_files([file.entry.log_file_uri])) == 1
    warehouse.hook.settings = {}
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables.events[0]["user_agent"] == "\N{WATER WAVE}" * 20_000


@pytest.mark.skipif(not MYSQL, reason="needs MariaDB (mariadbd on the PATH; Debian: mariadb-server) and pymysql")
@pytest.mark.parametrize(
    "setting",
    [
        "NAMES latin1",
        "sql_mode = 'EMPTY_STRING_IS_NULL,NO_BACKSLASH_ESCAPES,ANSI_QUOTES'",
        "sql_safe_updates = 1",
        "sql_select_limit = 1",
        "default_storage_engine = Aria",
        "GLOBAL innodb_default_row_format = compact",
    ],
)
def test_mariadb_stores_whatever_it_has_sessions_begin_with(new_warehouse, setting):
    warehouse = new_warehouse("mysql")
    warehouse.hook.settings = {"init_command": f"SET {setting}"}
    try:
        warehouse.prepare()
        text = "\N{WATER WAVE} it's \\"
        events = [event("a", userAgent=text), event("b"), event("c")]
        warehouse.write([file_rows("20260203T1000Z", *events)])
        (again,) = warehouse.write([file_rows("20260203T1005Z", *events)])
    finally:
        warehouse.hook.settings = {}
        execute(warehouse, "SET GLOBAL innodb_default_row_format = dynamic")
    assert (again.loaded, again.duplicate) == (0, 3)
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables.events[0]["user_agent"] == text
    engines = f"SELECT DISTINCT engine FROM information_schema.tables WHERE table_name LIKE '{warehouse.table}%'"
    assert query(warehouse, engines) == [("InnoDB",)]


@pytest.mark.skipif(not MYSQL, reason="needs MariaDB (mariadbd on the PATH; Debian: mariadb-server) and pymysql")
def test_mariadb_shortens_nothing_where_the_server_would(new_warehouse):
    warehouse = new_warehouse("mysql")
    warehouse.prepare()
    execute(warehouse, f"ALTER TABLE {warehouse.events} MODIFY user_agent VARCHAR(5)")
    warehouse.hook.settings = {"init_command": "SET sql_mode = ''"}
    with pytest.raises(WarehouseError, match="A column of the table is too short for a value"):
        warehouse.write([file_rows("20260203T1000Z", event("a", userAgent="longer than five"))])


@pytest.mark.parametrize(
    ("lengths", "portions"),
    [
        pytest.param([1] * 30, 2, id="as many as a statement has placeholders for"),
        pytest.param([300_000] * 4, 4, id="two of which are too long for one"),
        pytest.param([5_000_000, 1], 2, id="one that is too long on its own"),
    ],
)
def test_statements_are_as_long_as_servers_take_them(lengths, portions):
    hook = Recorded("mysql")
    warehouse = open_warehouse(hook, "audit")
    events = [event(str(number), userAgent="x" * length) for number, length in enumerate(lengths)]
    warehouse.write([file_rows("20260203T1000Z", *events)])
    inserts = [text for text in hook.statements if text.startswith("INSERT INTO `audit` ")]
    assert len(inserts) == portions
    assert sum(text.count("), (") + 1 for text in inserts) == len(events)


@pytest.mark.skipif(not installed("pymysql"), reason="needs pymysql")
def test_cursors_of_mysql_give_tuples_whatever_the_connection_names(monkeypatch):
    """Airflow hands the extra ``cursor`` of a connection to the driver: "dictcursor", "ssdictcursor"."""
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor, SSDictCursor

    warehouse = open_warehouse(Recorded("mysql"), "audit")
    opened = Connection(cursorclass=SSDictCursor, defer_connect=True)
    monkeypatch.setattr(warehouse.hook, "get_conn", lambda: opened)
    monkeypatch.setattr(Cursor, "execute", lambda *_: None)
    assert type(warehouse._cursor(warehouse._connect())) is Cursor


@pytest.mark.parametrize("number", [1020, 1205, 1213])
def test_lost_races_of_mysql_are_known_by_their_number(number):
    warehouse = open_warehouse(Recorded("mysql"), "audit")
    error = type("OperationalError", (Exception,), {})
    assert warehouse._is_conflict(error(number, "Deadlock found when trying to get lock"))
    assert not warehouse._is_conflict(error(1146, "Table does not exist"))
