"""
What stands in for Snowflake: fakesnow, which runs the statements of the real connector on DuckDB.

Keys, which Snowflake declares and does not enforce, are left out of what it runs. It has no locks: of two
transactions that change a row, the second fails at once where Snowflake's waits. That is put into the words in
which Snowflake says that it has waited for too long.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_KEY = re.compile(r", PRIMARY KEY \(\w+\)\)$")
STATEMENTS: list[str] = []
"""All that was executed, for tests that look at the text."""


@contextmanager
def snowflake_emulator() -> Iterator[list[str]]:
    import duckdb
    import fakesnow
    from fakesnow.cursor import FakeSnowflakeCursor
    from snowflake.connector.errors import ProgrammingError

    execute = FakeSnowflakeCursor.execute

    def told(cursor: Any, command: str, *args: Any, **kwargs: Any) -> Any:
        STATEMENTS.append(command)
        try:
            return execute(cursor, _KEY.sub(")", command), *args, **kwargs)
        except duckdb.TransactionException as error:
            if "conflict" not in str(error).lower():
                raise
            raise ProgrammingError(
                "Statement '01b' has locked table in transaction 1 and this lock has not yet been released.",
                errno=625,
                sqlstate="57014",
            ) from None

    FakeSnowflakeCursor.execute = told
    try:
        with fakesnow.patch(nop_regexes=["^ALTER SESSION SET LOCK_TIMEOUT"]):
            yield STATEMENTS
    finally:
        FakeSnowflakeCursor.execute = execute
