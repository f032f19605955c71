from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import AuditEvent, columns_of
from airflow_provider_cloudtrail.warehouse import redshift as redshift_module
from airflow_provider_cloudtrail.warehouse.base import WarehouseError, WarehouseUnavailableError
from airflow_provider_cloudtrail.warehouse.evidence import Evidence
from airflow_provider_cloudtrail.warehouse.redshift import RedshiftWarehouse
from airflow_provider_cloudtrail.warehouse.staging import StagedFiles, StagingFolder
from tests.support.engines import REDSHIFT, hook_of
from tests.support.log_files import ACCOUNT, event
from tests.support.redshift import DATABASE, ROLE
from tests.support.redshift_sql import RefusedError, translated
from tests.support.rows import AT, HOUR, file_rows, reread
from tests.support.s3 import REGION, client_of
from tests.support.tables import assert_balanced, execute, query, read_table

pytestmark = pytest.mark.skipif(not REDSHIFT, reason="needs embedded PostgreSQL, redshift_connector, sqlglot and moto")


@pytest.fixture
def staged_keys(redshift_address: str) -> Callable[[], list[str]]:
    """Return what lists the staging bucket, but for what loads of earlier tests that were killed have left."""
    place = json.loads(redshift_address)

    def listed() -> list[str]:
        found = client_of(place["s3"]).list_objects_v2(Bucket=place["bucket"])
        return [entry["Key"] for entry in found.get("Contents", [])]

    before = set(listed())
    return lambda: [key for key in listed() if key not in before]


def with_staging(address: str, table: str, *, role: str = "default", region: str = REGION, bucket: str | None = None):
    place = json.loads(address)
    bucket = bucket or place["bucket"]
    staging = StagingFolder(f"s3://{bucket}/stage", role, lambda _: (client_of(place["s3"]), region))
    warehouse = RedshiftWarehouse(hook_of("redshift", address), table, staging=staging)
    warehouse.prepare()
    return warehouse


# -- the stand-in is as strict as Redshift -----------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param('INSERT INTO "t" ("a") VALUES (1) ON CONFLICT DO NOTHING', id="ON CONFLICT"),
        pytest.param('INSERT INTO "t" ("a") VALUES (1) RETURNING "a"', id="RETURNING"),
        pytest.param('CREATE INDEX "i" ON "t" ("a")', id="index"),
        pytest.param('CREATE TABLE "t" ("a" JSONB)', id="JSONB"),
        pytest.param('CREATE TABLE "t" ("a" JSON)', id="JSON"),
        pytest.param('CREATE TABLE "t" ("a" VARCHAR(65536))', id="VARCHAR above 65,535"),
        pytest.param('CREATE TABLE "t" ("a" BIGINT CHECK ("a" > 1))', id="CHECK"),
        pytest.param('CREATE TEMPORARY TABLE "t" ("a" BIGINT) ON COMMIT DROP', id="ON COMMIT"),
        pytest.param('CREATE TABLE "t" ("a" SUPER) SORTKEY ("a")', id="SUPER as sort key"),
        pytest.param('CREATE TABLE "t" ("a" BIGINT) SORTKEY ("b")', id="sort key that is no column"),
        pytest.param('ALTER TABLE "t" ADD COLUMN "a" BIGINT UNIQUE', id="constraint of an added column"),
        pytest.param(
            f'SELECT "a" FROM "t" WHERE "a" IN ({", ".join(f"${number}" for number in range(1, 11))})',
            id="array of bound values",
        ),
        pytest.param("VACUUMISH everything", id="no SQL"),
    ],
)
def test_what_redshift_lacks_is_refused(statement):
    with pytest.raises(RefusedError):
        translated(statement)


def test_what_redshift_declares_and_does_not_enforce_is_dropped():
    assert translated('CREATE TABLE "t" ("a" VARCHAR(MAX) NOT NULL, "b" SUPER, PRIMARY KEY ("a")) SORTKEY ("a")') == (
        'CREATE TABLE "t" ("a" TEXT CHECK (octet_length("a") <= 65535) NOT NULL, "b" super)'
    )


@pytest.mark.parametrize(
    "value",
    [
        pytest.param('{"a":1,"a":2}', id="repeated name"),
        pytest.param(json.dumps("x" * 65_536), id="string above 65,535 bytes"),
        pytest.param('{"a":"\\u0000"}', id="NUL"),
        pytest.param("{", id="no JSON"),
    ],
)
def test_json_that_redshift_refuses_is_refused(staged, value):
    with pytest.raises(Exception, match=r"violates check|too long|unsupported Unicode|invalid input syntax"):
        execute(staged, f"SELECT JSON_PARSE('{value}')")


# -- what else the process has set -------------------------------------------------------------------


@pytest.mark.parametrize("style", ["qmark", "numeric", "named"])
@pytest.mark.parametrize("engine", REDSHIFT)
def test_placeholders_are_ours_whatever_a_dag_has_set(new_warehouse, monkeypatch, engine, style):
    import redshift_connector

    monkeypatch.setattr(redshift_connector, "paramstyle", style)
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    (entry,) = warehouse.write([file_rows("20260203T1000Z", event("a"), 7)])
    assert (entry.loaded, entry.quarantined) == (1, 1)
    assert warehouse.known_files([entry.log_file_uri])[entry.log_file_uri].status == "loaded"


# -- loads -------------------------------------------------------------------------------------------


def test_a_batch_is_one_copy_and_leaves_nothing_behind(staged, redshift, staged_keys):
    del redshift.statements[:]
    before = redshift.copied
    staged.write([file_rows("20260203T1000Z", *[event(str(number)) for number in range(50)])])
    (copy,) = (statement for statement in redshift.statements if statement.startswith("COPY"))
    assert "IAM_ROLE DEFAULT" in copy
    assert f"REGION '{REGION}'" in copy
    assert "aws_secret" not in copy.lower()
    assert redshift.copied - before == 50
    assert staged_keys() == []
    # The lock is asked for before anything is read, else what others have written would not be seen.
    begin = redshift.statements.index("begin transaction")
    assert redshift.statements[begin + 2].startswith("LOCK ")
    assert staged._inserted_rows == 0


def test_large_batches_are_staged_in_several_files(staged, monkeypatch, redshift):
    monkeypatch.setattr(redshift_module, "_FILE_BYTES", 20_000)
    puts = []
    put = StagedFiles.put
    monkeypatch.setattr(StagedFiles, "put", lambda *call: (puts.append(call[1]), put(*call)))
    (entry,) = staged.write([file_rows("20260203T1000Z", *[event(str(number)) for number in range(100)])])
    assert entry.loaded == 100
    assert len(puts) > 3
    assert puts == [f"{number:05}.json.gz" for number in range(len(puts))]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        pytest.param({"role": "arn:aws:iam::111122223333:role/other"}, "not authorized to assume", id="role"),
        pytest.param({"region": "us-west-2"}, "S3ServiceException:The bucket is in another Region", id="Region"),
        pytest.param(
            {"bucket": "no-such-bucket"}, "cannot stage under s3://no-such-bucket/.*NoSuchBucket", id="bucket"
        ),
    ],
)
def test_failure_of_staging_says_why_and_stores_nothing(new_warehouse, redshift_address, staged_keys, place, message):
    plain = new_warehouse("redshift")
    warehouse = with_staging(redshift_address, plain.table, **place)
    with pytest.raises(WarehouseError, match=message):
        warehouse.write([file_rows("20260203T1000Z", event("a"))])
    assert staged_keys() == []
    assert query(plain, f"SELECT COUNT(*) FROM {plain.files}") == [(0,)]
    assert len(plain.write([file_rows("20260203T1000Z", event("a"))])) == 1


def test_named_role_is_in_the_statement(new_warehouse, redshift, redshift_address):
    warehouse = with_staging(redshift_address, new_warehouse("redshift").table, role=ROLE)
    warehouse.write([file_rows("20260203T1000Z", event("a"))])
    assert any(f"IAM_ROLE '{ROLE}'" in statement for statement in redshift.statements)


def test_copy_that_fails_names_the_system_table_and_no_value(staged, staged_keys):
    # A column of the user's own making, into which a text does not fit.
    real = staged._create_stage

    def with_short_column(cursor: Any, stage: str, columns: Any) -> None:
        real(cursor, stage, columns)
        cursor.execute(f'ALTER TABLE {stage} DROP COLUMN "user_agent"')
        cursor.execute(f'ALTER TABLE {stage} ADD COLUMN "user_agent" VARCHAR(3)')

    staged._create_stage = with_short_column  # type: ignore[method-assign]
    with pytest.raises(WarehouseError, match="Check 'stl_load_errors' system table") as caught:
        staged.write([file_rows("20260203T1000Z", event("a", userAgent="secret agent"))])
    assert "secret agent" not in str(caught.value)
    assert staged_keys() == []
    assert read_table(staged).files == []


def test_rows_that_copy_loses_are_noticed(staged, monkeypatch):
    monkeypatch.setattr(redshift_module, "_FILE_BYTES", 20_000)
    put = StagedFiles.put
    monkeypatch.setattr(StagedFiles, "put", lambda *call: put(*call) if call[1] == "00000.json.gz" else None)
    with pytest.raises(WarehouseError, match=r"redshift, writing .*: \d+ of 100 rows were staged"):
        staged.write([file_rows("20260203T1000Z", *[event(str(number)) for number in range(100)])])
    assert read_table(staged).files == []


@pytest.mark.parametrize(
    ("code", "said", "told"),
    [
        pytest.param(
            "57014", "Query (12) cancelled on user's request", "request. The statement was cancelled", id="cancelled"
        ),
        pytest.param("XX000", "Disk Full", "SQLSTATE XX000, Disk Full", id="full"),
    ],
)
def test_what_is_said_of_a_limit_is_passed_on(inserted, code, said, told):
    error = type("ProgrammingError", (Exception,), {})({"C": code, "M": said})
    assert told in inserted._describe(error)


# -- without staging ---------------------------------------------------------------------------------


def test_many_inserted_rows_are_warned_about_once(inserted, caplog, monkeypatch):
    monkeypatch.setattr(redshift_module, "_MANY_ROWS", 10)
    with caplog.at_level(logging.WARNING):
        for number, rows in enumerate((10, 1, 30)):
            inserted.write([file_rows(f"20260203T10{number:02}Z", *[event(f"{number}-{row}") for row in range(rows)])])
            assert caplog.text.count("set staging_uri to an S3 folder") == (1 if number else 0)


def test_statements_stay_small(inserted, redshift, monkeypatch):
    monkeypatch.setattr(redshift_module, "_STATEMENT_BYTES", 10_000)
    del redshift.statements[:]
    inserted.write([file_rows("20260203T1000Z", *[event(str(number)) for number in range(60)])])
    staged = [s for s in redshift.statements if s.startswith('INSERT INTO "cloudtrail_stage_')]
    # The driver sends a statement once, and after that only its values.
    assert max(statement.count("$") for statement in staged) < 20 * len(columns_of(AuditEvent))
    assert len(read_table(inserted).events) == 60


# -- many keys ---------------------------------------------------------------------------------------


def test_many_bound_values_are_no_array(staged, redshift):
    files = [file_rows(f"20260203T10{number:02}Z", event(str(number)), 7, event("x")) for number in range(12)]
    staged.write(files)
    del redshift.statements[:]
    # Read again: the ledger is asked, entries are updated, quarantine is deleted.
    with staged.session():
        for _ in range(2):
            staged.write(reread(staged, *files))
    made = [text.split("(")[0] for text in redshift.statements if text.startswith("CREATE TEMPORARY TABLE")]
    # No statement that the driver has prepared can be meant for one that was dropped.
    assert len(set(made)) == len(made) > 6
    tables = read_table(staged)
    assert_balanced(tables)
    assert len(tables.quarantine) == len(tables.files) == 12
    evidence = Evidence(staged)
    evidence.prepare()
    accounts = [f"{number:012}" for number in range(12)]
    of_all = ("s3://", AT, AT + HOUR)
    assert evidence.loaded_without_digest(*of_all, accounts, [REGION]) == []
    assert len(evidence.loaded_without_digest(*of_all, [*accounts, ACCOUNT], None)) == 12
    # Otherwise the stand-in would have refused them.
    assert any(statement.startswith("DELETE") and "IN (SELECT" in statement for statement in redshift.statements)
    assert not any("cloudtrail_stage" in name for (name,) in query(staged, "SELECT relname FROM pg_class"))


def test_few_keys_are_asked_for_in_one_statement(staged, redshift):
    staged.known_files(["s3://example-trail/0"])
    del redshift.statements[:]
    staged.known_files([f"s3://example-trail/{number}" for number in range(9)])
    assert [text.split()[0].upper() for text in redshift.statements] == ["BEGIN", "SELECT", "COMMIT"]


# -- other writers -----------------------------------------------------------------------------------


def test_lock_that_is_not_to_be_had(staged):
    staged._lock_timeout = timedelta(seconds=0.2)
    connection = staged.hook.get_conn()
    connection.cursor().execute(f"LOCK {staged.files}")
    try:
        with pytest.raises(WarehouseUnavailableError, match=r"because of another writer \(the lock of .*_files"):
            staged.write([file_rows("20260203T1000Z", event("a"))])
    finally:
        connection.rollback()
        connection.close()
    # It is to be had at once, but what is at once takes a busy machine its time.
    staged._lock_timeout = timedelta(seconds=60)
    assert len(staged.write([file_rows("20260203T1000Z", event("a"))])) == 1


class EndedError(BaseException):
    """As Airflow's own of a task that has reached its timeout."""


def test_task_that_is_ended_does_not_wait_for_its_statement(staged, postgres_uri):
    import psycopg

    staged._lock_timeout = timedelta(seconds=60)
    connection = staged.hook.get_conn()
    connection.cursor().execute(f"LOCK {staged.files}")

    def end(*_: Any) -> None:
        raise EndedError

    before = signal.signal(signal.SIGALRM, end)
    with psycopg.connect(postgres_uri, autocommit=True) as looking:

        def waits() -> bool:
            return looking.execute("SELECT COUNT(*) FROM pg_locks WHERE NOT granted").fetchone() == (1,)

        def end_when_it_waits() -> None:
            while not waits():
                time.sleep(0.05)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)

        ending = threading.Thread(target=end_when_it_waits, daemon=True)
        ending.start()
        try:
            with pytest.raises(EndedError):
                staged.write([file_rows("20260203T1000Z", event("a"))])
            ending.join()
            # The server has not answered yet.
            assert waits()
        finally:
            signal.signal(signal.SIGALRM, before)
            connection.rollback()
            connection.close()
    assert read_table(staged).events == []
    assert len(staged.write([file_rows("20260203T1000Z", event("a"))])) == 1


def test_serialization_failure_is_tried_again(staged, monkeypatch):
    """Two transactions that read what the other writes: PostgreSQL's failure, in Redshift's words."""
    failures = []
    is_conflict = staged._is_conflict

    def noticed(error: Exception) -> bool:
        failures.append(error.args[0].get("M") if error.args and isinstance(error.args[0], dict) else None)
        return is_conflict(error)

    monkeypatch.setattr(staged, "_is_conflict", noticed)
    monkeypatch.setattr(staged, "_lock", lambda cursor: cursor.execute(f"SELECT COUNT(*) FROM {staged.events}"))
    write, barrier, rounds = staged._write, threading.Barrier(2), []

    def meet(cursor: Any, files: Any) -> Any:
        rounds.append(threading.get_ident())
        if rounds.count(threading.get_ident()) == 1:
            barrier.wait(30)
        return write(cursor, files)

    monkeypatch.setattr(staged, "_write", meet)
    errors: list[BaseException] = []

    def load(stamp: str) -> None:
        try:
            staged.write([file_rows(stamp, event("same"), event(stamp))])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=load, args=(stamp,)) for stamp in ("20260203T1000Z", "20260203T1005Z")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    # One of them once; once more if the other has still not committed by then.
    assert set(failures) == {"1023"}
    tables = read_table(staged)
    assert_balanced(tables)
    assert len(tables.events) == 3


def test_database_that_ignores_case_is_refused(new_warehouse, redshift, postgres_uri):
    import psycopg

    collation = "CREATE OR REPLACE FUNCTION db_collation() RETURNS text LANGUAGE sql AS $$ SELECT '{}' $$"
    warehouse, there = new_warehouse("redshift"), new_warehouse("redshift")
    there.prepare()
    with psycopg.connect(postgres_uri, dbname=DATABASE, autocommit=True) as connection:
        connection.execute(collation.format("case_insensitive"))
        try:
            with pytest.raises(
                WarehouseError, match=r"creating .*: the database ignores case .* COLLATE CASE_SENSITIVE"
            ):
                warehouse.prepare()
            # Nothing is asked where nothing is to be created.
            there.prepare()
        finally:
            connection.execute(collation.format("case_sensitive"))
    warehouse.prepare()
    with psycopg.connect(postgres_uri, dbname=DATABASE, autocommit=True) as connection:
        connection.execute("ALTER FUNCTION db_collation() RENAME TO no_collation")
        try:
            new_warehouse("redshift").prepare()
        finally:
            connection.execute("ALTER FUNCTION no_collation() RENAME TO db_collation")


def test_sort_key_is_declared_where_rows_are_looked_for_by_time(new_warehouse, redshift):
    del redshift.statements[:]
    warehouse = new_warehouse("redshift")
    Evidence(warehouse).prepare()
    created = [statement for statement in redshift.statements if statement.startswith("CREATE TABLE")]
    keys = {
        statement.split('"')[1].removeprefix(warehouse.table): statement.partition(" SORTKEY ")[2]
        for statement in created
    }
    assert keys == {
        "": '("event_time")',
        "_files": '("delivered_at")',
        "_quarantine": "",
        "_digests": '("covered_to")',
        "_findings": "",
        "_hashes": "",
    }
    types = {kind.name: type_ for kind, type_ in warehouse.dialect.types.items()}
    assert (types["JSON"], types["RAW_JSON"], types["TIMESTAMP"]) == ("SUPER", "SUPER", "TIMESTAMPTZ")
    assert created[0].count("SUPER") == sum(column.kind.value.endswith("json") for column in columns_of(AuditEvent))
