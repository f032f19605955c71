from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from airflow_provider_cloudtrail.warehouse.mysql_errors import describe_error, refusing_key
from tests.support.engines import MySqlHook


@pytest.mark.parametrize(
    ("number", "text", "expected"),
    [
        pytest.param(1020, "Record has changed since last read in table 'audit'", True, id="changed"),
        pytest.param(1205, "Lock wait timeout exceeded; try restarting transaction", True, id="waited"),
        pytest.param(1213, "Deadlock found when trying to get lock", True, id="deadlock"),
        pytest.param(1062, "Duplicate entry 'x' for key 'PRIMARY'", True, id="a key of ours"),
        pytest.param(1062, "Duplicate entry 'x' for key 'audit.PRIMARY'", True, id="a key of ours, MySQL 8"),
        pytest.param(1062, "Duplicate entry 'x' for key 'of_users'", True, id="a key that nobody can be asked about"),
        pytest.param(1146, "Table does not exist", False, id="no race"),
    ],
)
def test_lost_races_are_known_by_their_number(number: int, text: str, expected: bool) -> None:
    warehouse = open_warehouse(MySqlHook("never opened"), "audit")
    # Of which class it is depends on the driver.
    for kind in (Exception, type("OperationalError", (Exception,), {}), type("IntegrityError", (Exception,), {})):
        assert warehouse._is_conflict(kind(number, text)) is expected


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("Duplicate entry 'x' for key 'of_users'", "of_users", id="MariaDB"),
        pytest.param("Duplicate entry 'x' for key 'audit.of_users'", "of_users", id="MySQL 8"),
        pytest.param("Duplicate entry ' for key 'PRIMARY'' for key 'of_users'", "of_users", id="in the value"),
        pytest.param("Duplicate entry 'x' for key 'it's'", "", id="a name that cannot be read"),
    ],
)
def test_key_that_refuses_a_row_is_named(text: str, key: str) -> None:
    assert refusing_key(Exception(1062, text)) == key
    assert refusing_key(Exception(1146, text)) is None


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        pytest.param(["actor_arn"], False, id="columns of others"),
        pytest.param(["owner", "EVENT_ID"], True, id="with one that tells events apart"),
        pytest.param([], True, id="a key that is not found"),
    ],
)
def test_key_of_the_users_own_name_is_told_by_its_columns(
    monkeypatch: pytest.MonkeyPatch, columns: list[str], expected: bool
) -> None:
    warehouse = open_warehouse(MySqlHook("never opened"), "audit")
    cursor = SimpleNamespace(execute=lambda *_: None, fetchall=lambda: [(column,) for column in columns])
    monkeypatch.setattr(warehouse, "transact", lambda _, work: work(cursor))
    error = Exception(1062, "Duplicate entry 'x' for key 'of_users'")
    assert warehouse._is_conflict(error) is expected
    assert ("drop this constraint" in warehouse._describe(error)) is not expected


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(Exception(1146, "Table 'secret' doesn't exist"), "Exception, code 1146", id="a code"),
        pytest.param(Exception("secret"), "Exception", id="none of the server"),
        pytest.param(Exception(), "Exception", id="nothing"),
        pytest.param(
            Exception(1062, "Duplicate entry 'secret' for key 'audit.of_users'"),
            "Exception, code 1062. The table has a unique key of_users of its own, which events need not keep to: drop "
            "this constraint",
            id="a unique key, MySQL 8",
        ),
        pytest.param(
            Exception(3819, "Check constraint 'audit_chk_1' is violated."),
            "Exception, code 3819. The table has a CHECK of its own, which events need not keep to: drop this "
            "constraint",
            id="a check, MySQL 8",
        ),
        pytest.param(
            Exception(2013, "Lost connection to MySQL server during query"),
            "Exception, code 2013. The connection was lost: run this again, it goes on from what is stored",
            id="a server that is gone",
        ),
        pytest.param(
            Exception(1153, "Got a packet bigger than 'max_allowed_packet' bytes"),
            "Exception, code 1153. That is more than the server takes at once: set its max_allowed_packet higher, to 1 "
            "GiB at most (in Amazon RDS in the parameter group)",
            id="more than the server takes",
        ),
        pytest.param(
            Exception(1216, "Cannot add or update a child row"),
            "Exception, code 1216. The table has a FOREIGN KEY of its own, which events need not keep to: drop this "
            "constraint",
            id="a foreign key to a table of others",
        ),
        pytest.param(
            Exception(1406, "Data too long for column 'user_agent' at row 1"),
            "Exception, code 1406. A column of the table is too short for a value: make it longer (ALTER TABLE)",
            id="too short, mysqlclient",
        ),
        pytest.param(
            Exception(1836, "Running in read-only mode"),
            "Exception, code 1836. The server takes no writes: it is a replica, or read_only is on. Let the connection "
            "lead to the primary (in Aurora to the writer's endpoint), or have writes allowed there",
            id="a replica",
        ),
        pytest.param(
            Exception(2055, "2055: Lost connection to MySQL server at 'secret'", None),
            "Exception, code 2055. The connection was lost: run this again, it goes on from what is stored",
            id="a server that is gone, mysql-connector-python",
        ),
        pytest.param(
            Exception(1364, "1364 (HY000): Field 'owner' doesn't have a default value", "HY000"),
            "Exception, code 1364. The column owner takes no null and has no default, so that no row can be added: "
            "give it a default, or let it take null (ALTER TABLE)",
            id="a column without a default, mysql-connector-python",
        ),
        pytest.param(
            Exception(1049, "Unknown database 'secret'"),
            "Exception, code 1049. There is no such schema: create it, or leave schema out to use the connection's "
            "default",
            id="no schema",
        ),
    ],
)
def test_description_of_an_error(error: Exception, text: str) -> None:
    assert describe_error(error) == text
