from __future__ import annotations

import errno
import json
import logging
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_provider_cloudtrail.audit_event import AuditEvent, LedgerEntry, columns_of
from airflow_provider_cloudtrail.warehouse import snowflake as snowflake_module
from airflow_provider_cloudtrail.warehouse.base import WarehouseError
from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from airflow_provider_cloudtrail.warehouse.snowflake import SnowflakeWarehouse, _json_line
from airflow_provider_cloudtrail.warehouse.staging import StagingFolder
from tests.support.engines import SNOWFLAKE, SqliteHook, installed
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.snowflake import INTEGRATION
from tests.support.tables import assert_balanced, execute, query, read_table

needs_emulator = pytest.mark.skipif(not SNOWFLAKE, reason="needs fakesnow: make test-engines")


@pytest.fixture
def warehouse(new_warehouse) -> SnowflakeWarehouse:
    warehouse = new_warehouse("snowflake")
    warehouse.prepare()
    return warehouse


@needs_emulator
def test_snowflake_batch_is_one_transaction_behind_the_lock(warehouse, snowflake):
    del snowflake[:]
    warehouse.write([file_rows("20260203T1000Z", *[event(str(number)) for number in range(50)], 7)])
    # What creates something would commit; after the lock nothing does.
    lock = next(number for number, text in enumerate(snowflake) if text.startswith("UPDATE"))
    assert [text.split()[0] for text in snowflake[:lock]] == ["ALTER", "CREATE", "CREATE"]
    assert not any(text.split()[0] in ("CREATE", "ALTER", "DROP", "TRUNCATE") for text in snowflake[lock:])
    assert snowflake[-1] == "COMMIT"
    assert sum(text.startswith("PUT") for text in snowflake) == 3
    assert_balanced(read_table(warehouse))


@needs_emulator
def test_snowflake_statements_parse_in_its_dialect(warehouse, snowflake):
    import sqlglot

    warehouse.write([file_rows("20260203T1000Z", event("a"), 7)])
    for text in snowflake:
        parsed = sqlglot.parse_one(text.replace("%s", "?"), dialect="snowflake")
        assert not isinstance(parsed, sqlglot.exp.Command), text


@needs_emulator
def test_snowflake_lock_without_its_row(warehouse):
    execute(warehouse, f"DELETE FROM {warehouse._writers}")
    with pytest.raises(WarehouseError, match=r"has no row .*: INSERT INTO audit_\d+_lock SELECT 0"):
        warehouse.write([file_rows("20260203T1000Z", event("a"))])
    assert query(warehouse, f"SELECT COUNT(*) FROM {warehouse.files}") == [(0,)]
    execute(warehouse, f"INSERT INTO {warehouse._writers} SELECT 0")
    assert len(warehouse.write([file_rows("20260203T1000Z", event("a"))])) == 1


@needs_emulator
def test_snowflake_stages_large_batches_in_several_files(warehouse, snowflake, monkeypatch):
    monkeypatch.setattr(snowflake_module, "_FILE_BYTES", 20_000)
    del snowflake[:]
    (entry,) = warehouse.write([file_rows("20260203T1000Z", *[event(str(number)) for number in range(100)])])
    assert entry.loaded == 100
    assert sum(text.startswith("PUT") for text in snowflake) > 5


@needs_emulator
def test_snowflake_keeps_large_records(warehouse, caplog):
    with caplog.at_level(logging.WARNING):
        warehouse.write([file_rows("20260203T1000Z", event("a", userAgent="x" * 2_000_000), event("b"))])
    assert "shortened" not in caplog.text
    (row, _) = read_table(warehouse).events
    assert json.loads(row["raw_event"])["userAgent"] == row["user_agent"] == "x" * 2_000_000


def test_snowflake_row_has_room_in_a_variant():
    (found,) = file_rows("20260203T1000Z", event("a", userAgent="é" * 6_000_000)).events
    line, cut = _json_line(columns_of(AuditEvent), found)
    assert len(line) <= 16_000_000
    assert cut == 2
    members = json.loads(line)
    assert members["user_agent"].endswith("... (shortened from 12000000 bytes)")
    assert members["event_id"] == "a"


@needs_emulator
def test_snowflake_waits_for_longer_than_the_lock_of_a_killed_task_lasts(warehouse, snowflake):
    del snowflake[:]
    warehouse.write([file_rows("20260203T1000Z", event("a"))])
    # Snowflake ends its transaction when that has kept another one waiting for 300 seconds.
    (seconds,) = (int(found[1]) for text in snowflake if (found := re.search(r"LOCK_TIMEOUT = (\d+)", text)))
    assert seconds > 300


@pytest.mark.skipif(not installed("sqlglot"), reason="needs sqlglot")
def test_snowflake_tables_parse_in_its_dialect():
    import sqlglot

    hook = SqliteHook("never opened")
    hook.conn_type = "snowflake"
    selected = SnowflakeWarehouse(hook, "t")._from_stage(columns_of(AuditEvent))
    (query_,) = sqlglot.parse(f"SELECT {selected} FROM x", dialect="snowflake")
    assert len(query_.selects) == len(AuditEvent._fields)


@pytest.mark.parametrize("role", ["default", "arn:aws:iam::111122223333:role/copy"])
def test_snowflake_staging_needs_an_integration(role):
    hook = SqliteHook("never opened")
    hook.conn_type = "snowflake"
    staging = StagingFolder("s3://example-stage/audit", role, lambda _: None)
    with pytest.raises(ValueError, match=r"staging_role='.*' is no storage integration; write the name of one"):
        open_warehouse(hook, "audit", None, staging)


@needs_emulator
@pytest.mark.skipif(len(SNOWFLAKE) < 2, reason="needs moto")
def test_snowflake_loads_from_s3_and_leaves_nothing_there(new_warehouse, snowflake, caplog):
    warehouse = new_warehouse("snowflake-s3")
    warehouse.prepare()
    del snowflake[:]
    (entry,) = warehouse.write([file_rows("20260203T1000Z", event("a"), event("a"), event("b"), 7)])
    assert (entry.loaded, entry.duplicate) == (2, 1)
    copies = [text for text in snowflake if text.startswith("COPY") and "s3://" in text]
    assert len(copies) == 3
    assert all(f"STORAGE_INTEGRATION = {INTEGRATION} " in text for text in copies)
    staging = warehouse._staging
    assert staging.connect().list_objects_v2(Bucket=staging.bucket)["KeyCount"] == 0
    warehouse._integration = "another"
    with pytest.raises(WarehouseError, match="error 2003"):
        warehouse.write([file_rows("20260203T1005Z", event("c"))])
    assert staging.connect().list_objects_v2(Bucket=staging.bucket)["KeyCount"] == 0
    assert read_table(warehouse).event_ids == ["a", "b"]


class KilledError(BaseException):
    """What nothing catches, as a kill."""


@needs_emulator
@pytest.mark.parametrize("engine", SNOWFLAKE)
def test_snowflake_killed_at_each_statement_and_run_again(new_warehouse, snowflake, monkeypatch, engine):
    from fakesnow.cursor import FakeSnowflakeCursor

    batch = [
        file_rows("20260203T1000Z", event("a"), event("b"), event("a"), 7),
        file_rows("20260203T1005Z", event("b"), event("c")),
        file_rows("20260203T1010Z", body=b"no gzip"),
    ]
    undisturbed = new_warehouse(engine)
    undisturbed.prepare()
    del snowflake[:]
    undisturbed.write(batch)
    statements, expected = len(snowflake), read_table(undisturbed)
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    empty = read_table(warehouse)
    execute_one = FakeSnowflakeCursor.execute
    for killed_at in range(statements - 1):
        left = [killed_at]

        def kill(cursor, command, *args, left=left, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                raise KilledError
            return execute_one(cursor, command, *args, **kwargs)

        with monkeypatch.context() as patched:
            patched.setattr(FakeSnowflakeCursor, "execute", kill)
            with pytest.raises(KilledError):
                warehouse.write(batch)
        assert read_table(warehouse) == empty, killed_at
    warehouse.write(batch)
    assert read_table(warehouse) == expected


@needs_emulator
def test_snowflake_transaction_that_was_aborted_is_not_committed_in_part(warehouse, snowflake, monkeypatch):
    from fakesnow.cursor import FakeSnowflakeCursor

    execute_one, aborted = FakeSnowflakeCursor.execute, []

    def aborting(cursor, command, *args, **kwargs):
        # The statement after that begins another transaction.
        if command.startswith(f"INSERT INTO {warehouse.files}") and not aborted:
            aborted.append(command)
            execute_one(cursor, "ROLLBACK")
        return execute_one(cursor, command, *args, **kwargs)

    monkeypatch.setattr(FakeSnowflakeCursor, "execute", aborting)
    (entry,) = warehouse.write([file_rows("20260203T1000Z", event("a"), event("b"))])
    assert aborted
    assert entry.loaded == 2
    assert read_table(warehouse).event_ids == ["a", "b"]
    assert_balanced(read_table(warehouse))


class ToldCursor:
    """A cursor that stores nothing, and keeps what it is told."""

    rowcount = 1

    def __init__(self) -> None:
        self.statements: list[str] = []

    def execute(self, command: str, parameters: object = None) -> None:
        self.statements.append(command)

    def fetchall(self) -> list[tuple[int]]:
        return [(1,)]


def told_warehouse() -> tuple[SnowflakeWarehouse, ToldCursor]:
    hook, cursor = SqliteHook("never opened"), ToldCursor()
    hook.conn_type = "snowflake"
    hook.get_conn = lambda: SimpleNamespace(cursor=lambda: cursor, commit=lambda: None, close=lambda: None)
    return SnowflakeWarehouse(hook, "t"), cursor


@pytest.mark.parametrize("row_type", [AuditEvent, LedgerEntry])
def test_snowflake_keys_differ_by_case_whatever_collation_others_have_set(row_type):
    warehouse, cursor = told_warehouse()
    warehouse._create("t", columns_of(row_type), has_key=True)
    assert cursor.statements[-1].endswith(") DEFAULT_DDL_COLLATION = ''")


def test_snowflake_worker_whose_disk_is_full(monkeypatch):
    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    warehouse, cursor = told_warehouse()
    warehouse._lock(cursor)
    rows = file_rows("20260203T1000Z", event("a")).events
    with pytest.raises(
        WarehouseError, match=r"cannot write .*/00000\.json\.gz, .*: No space left on device\. Make room"
    ):
        warehouse._copy_into_stage(cursor, columns_of(AuditEvent), rows)


@pytest.mark.parametrize("writes", [False, True])
def test_snowflake_session_does_not_depend_on_what_others_have_set(writes):
    warehouse, cursor = told_warehouse()
    warehouse.transact("doing", lambda cursor: cursor.execute("SELECT 1"), writes=writes)
    # A limit of rows, a format of times: https://docs.snowflake.com/en/sql-reference/parameters
    assert re.fullmatch(
        r"ALTER SESSION SET LOCK_TIMEOUT = \d+, ROWS_PER_RESULTSET = 0, TIMESTAMP_INPUT_FORMAT = 'AUTO'",
        cursor.statements[0],
    )
    assert "SELECT 1" in cursor.statements[1:]


@needs_emulator
@pytest.mark.parametrize("style", ["qmark", "numeric"])
def test_snowflake_placeholders_are_ours_whatever_a_dag_has_set(new_warehouse, monkeypatch, style):
    import snowflake.connector

    monkeypatch.setattr(snowflake.connector, "paramstyle", style)
    warehouse = new_warehouse("snowflake")
    warehouse.prepare()
    (entry,) = warehouse.write([file_rows("20260203T1000Z", event("a"), 7)])
    assert warehouse.known_files([entry.log_file_uri])[entry.log_file_uri].status == "loaded"
    assert_balanced(read_table(warehouse))


@pytest.mark.parametrize(("mark", "style"), [("%s", "pyformat"), ("?", "qmark")])
def test_snowflake_driver_is_told_what_placeholders_are(mark, style):
    warehouse, cursor = told_warehouse()
    warehouse.hook.placeholder = mark
    connection = SimpleNamespace(cursor=lambda: cursor, _paramstyle="numeric")
    warehouse._cursor(connection)
    assert connection._paramstyle == style


@pytest.mark.parametrize(
    ("region", "protocol"), [("eu-west-1", "s3"), ("us-gov-west-1", "s3gov"), ("cn-northwest-1", "s3china")]
)
def test_snowflake_address_of_staged_files_is_that_of_the_region(region, protocol):
    hook, cursor = SqliteHook("never opened"), ToldCursor()
    hook.conn_type = "snowflake"
    client = SimpleNamespace(put_object=lambda **_: None, delete_object=lambda **_: None)
    staging = StagingFolder("s3://example-stage/audit", INTEGRATION, lambda _: (client, region))
    warehouse = SnowflakeWarehouse(hook, "t", staging=staging)
    warehouse._lock(cursor)
    warehouse._copy_into_stage(cursor, columns_of(AuditEvent), file_rows("20260203T1000Z", event("a")).events)
    (copy,) = (text for text in cursor.statements if text.startswith("COPY"))
    assert re.search(rf" FROM '{protocol}://example-stage/audit/cloudtrail-\w+/' STORAGE_INTEGRATION = ", copy)
