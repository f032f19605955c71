from __future__ import annotations

import pytest

from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from airflow_provider_cloudtrail.warehouse.mysql_errors import describe_error
from tests.support.engines import MySqlHook


@pytest.mark.parametrize("number", [1020, 1205, 1213])
def test_lost_races_are_known_by_their_number(number: int) -> None:
    warehouse = open_warehouse(MySqlHook("never opened"), "audit")
    error = type("OperationalError", (Exception,), {})
    assert warehouse._is_conflict(error(number, "Deadlock found when trying to get lock"))
    assert not warehouse._is_conflict(error(1146, "Table does not exist"))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        pytest.param(Exception(1062, "Duplicate entry 'secret'"), "Exception, code 1062", id="a code"),
        pytest.param(Exception(), "Exception", id="nothing"),
        pytest.param(
            Exception(2013, "Lost connection to MySQL server during query"),
            "Exception, code 2013. The connection was lost: run this again, it goes on from what is stored",
            id="a server that is gone",
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
