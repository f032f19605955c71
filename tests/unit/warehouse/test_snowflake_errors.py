"""What errors of Snowflake are taken for, and what is said of them. Texts and numbers are those of Snowflake."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from airflow_provider_cloudtrail.warehouse.base import WarehouseError
from airflow_provider_cloudtrail.warehouse.snowflake import SnowflakeWarehouse
from tests.support.engines import SqliteHook


def test_snowflake_errors_name_the_query_and_no_value():
    hook = SqliteHook("never opened")
    hook.conn_type = "snowflake"
    error = type("ProgrammingError", (Exception,), {})("Numeric value 'secret' is not recognized")
    vars(error).update(errno=100038, sqlstate="22018", sfqid="01b2-3c")
    warehouse = SnowflakeWarehouse(hook, "t")
    assert warehouse._describe(error) == "ProgrammingError, SQLSTATE 22018, error 100038, query 01b2-3c"
    assert not warehouse._is_conflict(error)
    vars(error).update(errno=604, sqlstate="57014")
    assert re.search(r"error 604, query 01b2-3c\. The statement was cancelled, by somebody", warehouse._describe(error))
    vars(error).update(errno=390114, sqlstate="08001")
    assert re.search(
        r"error 390114, query 01b2-3c\. The connection was lost: run this again", warehouse._describe(error)
    )


@pytest.mark.parametrize(
    ("module", "number", "said"),
    [
        # A request that was tried again in vain, and one that is answered 503.
        (
            "snowflake.connector.errors",
            250003,
            "OperationalError, error 250003. The connection was lost: run this again",
        ),
        (
            "snowflake.connector.errors",
            290503,
            "OperationalError, error 290503. The connection was lost: run this again",
        ),
        ("requests.exceptions", None, "OperationalError. The connection was lost: run this again"),
        ("snowflake.connector.errors", 252004, "OperationalError, error 252004"),
        ("builtins", 28, "OperationalError, error 28"),
    ],
)
def test_snowflake_server_that_does_not_answer_is_called_so(module, number, said):
    hook = SqliteHook("never opened")
    hook.conn_type = "snowflake"
    error = type("OperationalError", (Exception,), {"__module__": module})("Failed to execute request: secret")
    # The connector's own errors have no SQLSTATE, and this word there.
    vars(error).update({} if number is None else {"errno": number, "sqlstate": "n/a", "sfqid": None})
    described = SnowflakeWarehouse(hook, "t")._describe(error)
    assert described.partition(", it goes on")[0] == said
    assert "secret" not in described


def test_snowflake_column_that_takes_no_null_is_no_lost_race():
    hook = SqliteHook("never opened")
    hook.conn_type = "snowflake"
    # Its connector raises this class for this error, and for no other.
    error = type("IntegrityError", (Exception,), {})("NULL result in a non-nullable column")
    vars(error).update(errno=100072, sqlstate="22000", sfqid="01b2-3c")
    warehouse = SnowflakeWarehouse(hook, "t", lock_timeout=timedelta(0))

    def refused() -> None:
        raise error

    with pytest.raises(WarehouseError, match=r"100072, query 01b2-3c\. A column of your own takes no null") as told:
        warehouse._again_and_again("writing t", refused)
    assert type(told.value) is WarehouseError


@pytest.mark.parametrize(
    ("number", "sqlstate", "text", "to_do"),
    [
        (606, "57P03", "No active warehouse selected in the current session.", "Name a warehouse in the extra of the"),
        (
            608,
            "n/a",
            "Warehouse 'W' is suspended. Use 'alter warehouse W resume;' command if you need to use it again.",
            "Let it resume by itself .ALTER WAREHOUSE",
        ),
        (
            630,
            "57014",
            "Statement reached its timeout of 300 second(s) and was canceled.",
            "Allow more .STATEMENT_TIMEOUT",
        ),
        (2002, "42710", "Object 'T' already exists.", "It is there and could not be read: the role .* needs SELECT"),
        (2003, "02000", "Schema 'AUDIT.X' does not exist or not authorized.", "Let the role of the connection use it"),
        (3001, "42501", "Insufficient privileges to operate on schema 'X'", "Let the role of the connection use it"),
        (
            90073,
            "22000",
            "Warehouse 'W' cannot be resumed because resource monitor 'M' has exceeded its quota.",
            "Wait for the next interval of the resource monitor",
        ),
        (90105, "22000", "This session does not have a current database.", "Name both in the connection"),
        (90106, "22000", "This session does not have a current schema.", "Name both in the connection"),
        (253003, "n/a", "Upload of 00000.json.gz failed: timed out", "Let the worker reach the storage of Snowflake's"),
    ],
)
def test_snowflake_says_what_is_lacking_and_what_to_do(number, sqlstate, text, to_do):
    hook = SqliteHook("never opened")
    hook.conn_type = "snowflake"
    # As its connector puts it: its own number and state before what the server said.
    said = f"SQL compilation error:\n{text}"
    error = type("ProgrammingError", (Exception,), {})(f"{number:06} ({sqlstate}): {said}")
    vars(error).update(errno=number, sqlstate=sqlstate, sfqid="01b2-3c", raw_msg=said)
    described = SnowflakeWarehouse(hook, "t")._describe(error)
    told = re.escape(f"ProgrammingError, error {number}, query 01b2-3c: SQL compilation error: {text.rstrip('.')}. ")
    assert re.match(f"{told}{to_do}", described)
    # SQLSTATE 57P03 is that of a server which is shut down, elsewhere.
    assert "connection was lost" not in described
