"""MySQL: sessions whose settings are ours, on MariaDB where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import AuditEvent, columns_of
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from tests.support.engines import MYSQL, MySqlHook, installed
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.tables import assert_balanced, execute, query, read_table

NewWarehouse = Callable[[str], Warehouse]
SECRET = "a-value-that-must-not-show-up"
needs_mariadb = pytest.mark.skipif(
    not MYSQL, reason="needs MariaDB (mariadbd on the PATH; Debian: mariadb-server) and pymysql"
)


@needs_mariadb
def test_mariadb_stores_and_waits(new_warehouse: NewWarehouse) -> None:
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


@needs_mariadb
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
def test_mariadb_stores_whatever_it_has_sessions_begin_with(new_warehouse: NewWarehouse, setting: str) -> None:
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


@needs_mariadb
def test_mariadb_shortens_nothing_where_the_server_would(new_warehouse: NewWarehouse) -> None:
    warehouse = new_warehouse("mysql")
    warehouse.prepare()
    execute(warehouse, f"ALTER TABLE {warehouse.events} MODIFY user_agent VARCHAR(5)")
    warehouse.hook.settings = {"init_command": "SET sql_mode = ''"}
    with pytest.raises(WarehouseError, match=r"code 1406\. A column of the table is too short for a value"):
        warehouse.write([file_rows("20260203T1000Z", event("a", userAgent="longer than five"))])


@needs_mariadb
@pytest.mark.parametrize(
    ("own", "advice"),
    [
        pytest.param(
            "ADD UNIQUE KEY of_users (user_agent(100))",
            r"1062\. The table has a unique key of_users of its own, which events need not keep to: drop",
            id="a unique key",
        ),
        pytest.param(
            f"ADD CHECK (user_agent <> '{SECRET}')", r"4025\. The table has a CHECK of its own, which", id="a check"
        ),
        pytest.param(
            "MODIFY environment_name VARCHAR(50) NOT NULL",
            r"1048\. The column environment_name must be allowed to be null",
            id="a column of ours that takes no null",
        ),
        pytest.param(
            "MODIFY event_name VARCHAR(99) CHARACTER SET utf8mb4, ADD FOREIGN KEY (event_name) REFERENCES names (name)",
            r"1452\. The table has a FOREIGN KEY of its own, which events need not",
            id="a foreign key",
        ),
    ],
)
def test_constraint_of_the_users_own_is_named_at_once(new_warehouse: NewWarehouse, own: str, advice: str) -> None:
    warehouse = new_warehouse("mysql")
    warehouse.prepare()
    execute(
        warehouse,
        "CREATE TABLE IF NOT EXISTS names (name VARCHAR(99) CHARACTER SET utf8mb4 PRIMARY KEY) ENGINE = InnoDB",
        f"ALTER TABLE {warehouse.events} {own}",
    )
    # It is no lost race, which would be tried again for minutes. Nor does the language of the server matter.
    warehouse._lock_timeout = timedelta(0)
    warehouse.hook.settings = {"init_command": "SET lc_messages = 'de_DE'"}
    events = [event(name, userAgent=SECRET, requestParameters=None) for name in "ab"]
    with pytest.raises(WarehouseError, match=advice) as caught:
        warehouse.write([file_rows("20260203T1000Z", *events)])
    assert type(caught.value) is WarehouseError
    assert SECRET not in str(caught.value)
    assert read_table(warehouse).events == []


@needs_mariadb
@pytest.mark.parametrize(
    "keys",
    [
        pytest.param([], id="our key"),
        pytest.param(["DROP PRIMARY KEY", "ADD UNIQUE KEY of_mine (event_id)"], id="one of the user's own name"),
        pytest.param(
            ["DROP PRIMARY KEY", "ADD number INT AUTO_INCREMENT PRIMARY KEY", "ADD UNIQUE KEY of_mine (event_id)"],
            id="beside one of the user's own",
        ),
        pytest.param(["DROP PRIMARY KEY", "ADD UNIQUE KEY `my.key` (event_id)"], id="a name with a dot"),
    ],
)
def test_event_that_another_writer_has_just_made_is_a_duplicate(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch, keys: list[str]
) -> None:
    warehouse = new_warehouse("mysql")
    warehouse.prepare()
    if keys:
        execute(warehouse, f"ALTER TABLE {warehouse.events} {', '.join(keys)}")
    rows = [file_rows("20260203T1000Z", event("a")), file_rows("20260203T1005Z", event("a"))]
    insert, columns, stored = warehouse._insert, columns_of(AuditEvent), []

    def late(*of_this_one: Any) -> None:
        if not stored:
            # Which ids are new has been asked before.
            stored.append("a")
            warehouse.transact("", lambda cursor: warehouse.insert(cursor, warehouse.events, columns, rows[1].events))
        insert(*of_this_one)

    monkeypatch.setattr(warehouse, "_insert", late)
    (entry,) = warehouse.write(rows[:1])
    assert (entry.loaded, entry.duplicate) == (0, 1)
    assert read_table(warehouse).event_ids == ["a"]


@needs_mariadb
@pytest.mark.parametrize(
    ("limit", "user_agent"),
    [
        pytest.param(16_777_216, "x" * 9_000_000, id="by what it is"),
        pytest.param(16_777_216, "'" * 4_500_000, id="by what the driver makes of it"),
        pytest.param(1_048_576, "x" * 600_000, id="where the server is set to take less"),
    ],
)
def test_row_that_is_longer_than_the_server_takes_is_called_so(
    new_warehouse: NewWarehouse, limit: int, user_agent: str
) -> None:
    warehouse = new_warehouse("mysql")
    warehouse.prepare()
    execute(warehouse, f"SET GLOBAL max_allowed_packet = {limit}")
    try:
        said = rf"code \d+, a statement of \d+ bytes where {limit} are taken\. .* max_allowed_packet"
        with pytest.raises(WarehouseError, match=said) as caught:
            # It stands in its column and in the record.
            warehouse.write([file_rows("20260203T1000Z", event("a", userAgent=user_agent))])
    finally:
        execute(warehouse, "SET GLOBAL max_allowed_packet = 16777216")
    assert type(caught.value) is WarehouseError
    assert read_table(warehouse).events == []


@needs_mariadb
@pytest.mark.parametrize("there", [True, False])
def test_connection_that_is_lost_is_called_so(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    warehouse = new_warehouse("mysql")
    warehouse.prepare()
    insert = warehouse._insert

    def killed(cursor: Any, *rows: Any) -> None:
        cursor.execute("SELECT CONNECTION_ID()")
        execute(warehouse, f"KILL {cursor.fetchall()[0][0]}")
        if not there:
            monkeypatch.setattr(warehouse.hook, "path", "nowhere")
        insert(cursor, *rows)

    monkeypatch.setattr(warehouse, "_insert", killed)
    with pytest.raises(WarehouseError, match=r"writing .*code 20\d\d\. The connection was lost: run this again"):
        warehouse.write([file_rows("20260203T1000Z", event("a"))])


@pytest.mark.skipif(not installed("pymysql"), reason="needs pymysql")
def test_cursors_of_mysql_give_tuples_whatever_the_connection_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow hands the extra ``cursor`` of a connection to the driver: "dictcursor", "ssdictcursor"."""
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor, SSDictCursor

    warehouse = open_warehouse(MySqlHook("never opened"), "audit")
    opened = Connection(cursorclass=SSDictCursor, defer_connect=True)
    monkeypatch.setattr(warehouse.hook, "supports_autocommit", False)
    monkeypatch.setattr(warehouse.hook, "get_conn", lambda: opened)
    monkeypatch.setattr(Cursor, "execute", lambda *_: None)
    assert type(warehouse._cursor(warehouse._connect())) is Cursor
