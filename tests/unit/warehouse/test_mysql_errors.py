from __future__ import annotations

import pytest

from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from airflow_provider_cloudtrail.warehouse.mysql_errors import describe_error
from tests.support.engines import MySqlHook


@pytest.mark.parametrize(
    ("number", "text", "expected"),
    [
        pytest.param(1020, "Record has changed since last read in table 'audit'", True, id="changed"),
        pytest.param(1205, "Lock wait timeout exceeded; try restarting transaction", True, id="waited"),
        pytest.param(1213, "Deadlock found when trying to get lock", True, id="deadlock"),
        pytest.param(1062, "Duplicate entry 'x' for key 'PRIMARY'", True, id="a key of ours"),
        pytest.param(1062, "Duplicate entry 'x' for key 'audit.PRIMARY'", True, id="a key of ours, MySQL 8"),
        pytest.param(1062, "Duplicate entry 'x' for key 'log_file_uri'", True, id="a unique column that is our key"),
        pytest.param(1062, "Duplicate entry ' for key 'PRIMARY'' for key 'of_users'", False, id="a key of the user's"),
        pytest.param(1146, "Table does not exist", False, id="no race"),
    ],
)
def test_lost_races_are_known_by_their_number(number: int, text: str, expected: bool) -> None:
    warehouse = open_warehouse(MySqlHook("never opened"), "audit")
    # Of which class it is depends on the driver.
    for kind in (Exception, type("OperationalError", (Exception,), {}), type("IntegrityError", (Exception,), {})):
        assert warehouse._is_conflict(kind(number, text)) is expected


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
