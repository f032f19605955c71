"""
What stands in for Snowflake: fakesnow, which runs the statements of the real connector on DuckDB.

Keys, which Snowflake declares and does not enforce, and that there is no collation are left out of what it runs. It
has no locks: of two transactions that change a row, the second fails at once where Snowflake's waits. That is put into
the words in which Snowflake says that it has waited for too long. What is loaded from S3 is fetched from moto's and
put into a stage of fakesnow's, which cannot reach S3 itself. A MERGE that only inserts becomes the INSERT that it
means: fakesnow makes several statements of it, one of which creates a table and so ends the transaction. The id of a
transaction is DuckDB's.
"""

from __future__ import annotations

import re
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DATABASE, SCHEMA = "audit", "public"
INTEGRATION = "audit_staging"
"""The storage integration that may read every bucket."""
_FROM_S3 = re.compile(
    r"COPY INTO (?P<table>\w+) FROM 's3://(?P<bucket>[^/']+)/(?P<prefix>[^']*)' "
    r"STORAGE_INTEGRATION = (?P<integration>\w+) (?P<format>FILE_FORMAT = .*)"
)
_STAGED = re.compile(r"CREATE TEMPORARY TABLE (\w+) \(staged VARIANT\)")
_MERGE = re.compile(
    r"MERGE INTO (?P<table>\S+) AS present USING (?P<source>\(.*\) AS fresh) ON (?P<on>(?P<key>present\.\w+) = \S+) "
    r"WHEN NOT MATCHED THEN INSERT (?P<columns>\([^)]*\)) VALUES \((?P<values>[^)]*)\)",
    re.DOTALL,
)
_INSERT = (
    r"INSERT INTO \g<table> \g<columns> SELECT \g<values> FROM \g<source> "
    r"LEFT JOIN \g<table> AS present ON \g<on> WHERE \g<key> IS NULL"
)
_DECLARED = re.compile(r"(?:, PRIMARY KEY \(\w+\))?\) DEFAULT_DDL_COLLATION = ''$")
STATEMENTS: list[str] = []
"""All that was executed, for tests that look at the text."""


@contextmanager
def snowflake_emulator(s3: str | None = None) -> Iterator[list[str]]:
    """
    Run it in this process, and yield all that is executed.

    :param s3: endpoint of an S3 server.
    """
    import duckdb
    import fakesnow
    import snowflake.connector
    from fakesnow.cursor import FakeSnowflakeCursor
    from snowflake.connector.errors import ProgrammingError

    execute = FakeSnowflakeCursor.execute

    def told(cursor: Any, command: str, *args: Any, **kwargs: Any) -> Any:
        STATEMENTS.append(command)
        if found := _FROM_S3.fullmatch(command):
            if found["integration"] != INTEGRATION:
                raise ProgrammingError(
                    f"Integration '{found['integration'].upper()}' does not exist or not authorized.",
                    errno=2003,
                    sqlstate="02000",
                )
            stage = f"{found['table']}_s3/{uuid.uuid4().hex}"
            with tempfile.TemporaryDirectory() as folder:
                for path in _fetched(str(s3), found["bucket"], found["prefix"], Path(folder)):
                    execute(cursor, f"PUT 'file://{path}' @{stage} AUTO_COMPRESS = FALSE SOURCE_COMPRESSION = GZIP")
            command = f"COPY INTO {found['table']} FROM @{stage} {found['format']}"
        if found := _STAGED.fullmatch(command):
            # Here, because it would end the transaction later.
            execute(cursor, f"CREATE TEMPORARY STAGE {found[1]}_s3")
        command = command.replace("CURRENT_TRANSACTION()", "txid_current()")
        try:
            return execute(cursor, _MERGE.sub(_INSERT, _DECLARED.sub(")", command)), *args, **kwargs)
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
            # Whoever connects first makes the database; the second of two threads that do so at once fails.
            snowflake.connector.connect(database=DATABASE, schema=SCHEMA).close()
            yield STATEMENTS
    finally:
        FakeSnowflakeCursor.execute = execute


def _fetched(s3: str, bucket: str, prefix: str, folder: Path) -> Iterator[Path]:
    from tests.support.s3 import client_of

    client = client_of(s3)
    for entry in client.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
        path = folder / entry["Key"].rpartition("/")[2]
        path.write_bytes(client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read())
        yield path
