from __future__ import annotations

import json
import signal
import threading
import time
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.audit_event import (
    AuditEvent,
    FindingEntry,
    LookupEntry,
    LookupRows,
    QuarantineEntry,
    columns_of,
)
from airflow_provider_cloudtrail.warehouse.athena import AthenaWarehouse
from airflow_provider_cloudtrail.warehouse.athena_lock import WriterLock
from airflow_provider_cloudtrail.warehouse.athena_rows import source_of
from airflow_provider_cloudtrail.warehouse.athena_session import AthenaSession, literal, with_values
from airflow_provider_cloudtrail.warehouse.base import WarehouseError, WarehouseUnavailableError
from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from airflow_provider_cloudtrail.warehouse.conditions import Compare
from airflow_provider_cloudtrail.warehouse.evidence import Evidence
from airflow_provider_cloudtrail.warehouse.lookups import Lookups
from tests.support.athena import AthenaStandIn
from tests.support.engines import ATHENA, AthenaHook, airflow_athena_hook, athena_extra, staging_folder, warehouse_of
from tests.support.log_files import event
from tests.support.rows import file_rows, reread
from tests.support.s3 import client_of
from tests.support.tables import assert_balanced, query, read_table

pytestmark = pytest.mark.skipif(not ATHENA, reason="needs pyathena, duckdb, pyarrow, sqlglot and moto")

AT = datetime(2026, 2, 3, 10, tzinfo=timezone.utc)


@pytest.fixture
def warehouse(new_warehouse) -> AthenaWarehouse:
    prepared = new_warehouse("athena")
    prepared.prepare()
    return prepared


@pytest.fixture
def place(athena_address):
    return json.loads(athena_address)


@pytest.fixture
def keys(place, warehouse):
    """Return what lies in the staging bucket, but for locks of writers of other tables that were killed."""
    client = client_of(place["s3"])

    def listed() -> list[str]:
        found = [entry["Key"] for entry in client.list_objects_v2(Bucket=place["bucket"]).get("Contents", [])]
        return [key for key in found if "cloudtrail-locks" not in key or f".{warehouse.table}.json" in key]

    return listed


@pytest.fixture
def staged_tables(athena):
    """Return the external tables that are there, but for those of earlier tests that were killed."""

    def listed() -> set[str]:
        return {name for name, table in athena.catalog.items() if table.external}

    before = listed()
    return lambda: listed() - before


@pytest.fixture
def since(athena):
    """Return a function that gives the statements since the test began."""
    before = len(athena.statements)
    return lambda: [text.split()[0] for text in athena.statements[before:]]


def again(warehouse: AthenaWarehouse, place) -> AthenaWarehouse:
    """Return a warehouse of the same tables, as another task has it."""
    other = warehouse_of("athena", json.dumps(place), warehouse.table, airflow=False)
    assert isinstance(other, AthenaWarehouse)
    return other


def many(number: int, stamp: str = "20260203T1000Z", prefix: str = "many"):
    """Return a file of so many events that they do not fit into a statement."""
    return file_rows(stamp, *[event(f"{prefix}-{index:04}", userAgent="x" * 500) for index in range(number)])


# -- tables ----------------------------------------------------------------------------------------------


def test_staging_folder_is_needed_before_any_work():
    with pytest.raises(ValueError, match=r"Athena needs staging_uri: .* write s3://bucket/folder, the same for all"):
        open_warehouse(AthenaHook({}))


def test_tables_are_iceberg_tables_without_keys(warehouse, athena):
    table = athena.catalog[f"audit.{warehouse.table}"]
    assert (table.external, table.day) == (False, "event_time")
    assert table.location == f"s3://example-lake/audit/{warehouse.table}/"
    assert set(table.columns.values()) == {"STRING", "BIGINT", "BOOLEAN", "TIMESTAMP"}
    assert list(table.columns) == [column.name for column in columns_of(AuditEvent)]
    ledger = athena.catalog[f"audit.{warehouse.table}_files"]
    assert (ledger.day, ledger.location) == (None, f"s3://example-lake/audit/{warehouse.table}_files/")


def test_prepare_of_tables_that_are_there_runs_no_statement(warehouse, since):
    warehouse.prepare()
    assert since() == []


@pytest.mark.parametrize(
    ("location", "said"),
    [
        pytest.param(None, r"set table_location in the extra .* or give the Glue database audit a location", id="none"),
        pytest.param("s3://bucket/it's", r"is no folder of a bucket for tables", id="quote"),
        pytest.param("hdfs://x/y", r"is no folder of a bucket for tables", id="no bucket"),
    ],
)
def test_place_of_the_tables_must_be_known(s3_server, place, location, said):
    with AthenaStandIn(s3_server.endpoint, None).running() as stand_in:
        extra = athena_extra(place | {"athena": stand_in.endpoint}) | ({"table_location": location} if location else {})
        warehouse = open_warehouse(AthenaHook(extra), "t", None, staging_folder(place["s3"], place["bucket"]))
        with pytest.raises(WarehouseError, match=said):
            warehouse.prepare()
        assert stand_in.statements == []


def test_place_of_the_tables_in_the_connection_goes_first(place, athena):
    hook = AthenaHook(athena_extra(place) | {"table_location": "s3://example-other/lake/"})
    open_warehouse(hook, "placed", "audit", staging_folder(place["s3"], place["bucket"])).prepare()
    assert athena.catalog["audit.placed"].location == "s3://example-other/lake/placed/"
    assert "CREATE TABLE `audit`.`placed` (" in athena.statements[-3]


# -- statements ------------------------------------------------------------------------------------------


def test_small_batch_needs_four_statements(warehouse, since):
    warehouse.write([file_rows("20260203T1000Z", event("a")), file_rows("20260203T1005Z", event("b"))])
    assert since() == ["SELECT", "MERGE", "SELECT", "MERGE"]


def test_large_batch_goes_through_the_staging_folder(warehouse, since, keys, athena, staged_tables):
    warehouse.write([many(500), file_rows("20260203T1005Z", 7)])
    assert since() == ["SELECT", "CREATE", "MERGE", "SELECT", "DROP", "MERGE", "MERGE"]
    assert keys() == []
    assert staged_tables() == set()
    assert len(read_table(warehouse).events) == 500
    staged = [text for text in athena.statements if text.startswith("CREATE EXTERNAL")][-1]
    assert "`event_time` string" in staged


def test_staged_objects_and_table_are_removed_also_on_failure(warehouse, keys, athena, staged_tables):
    athena.catalog[f"audit.{warehouse.table}"].columns.pop("user_agent")
    with pytest.raises(
        WarehouseError, match=r"athena, writing .*: OperationalError, query [0-9a-f-]+, COLUMN_NOT_FOUND"
    ):
        warehouse.write([many(500)])
    assert keys() == []
    assert staged_tables() == set()


def test_more_days_than_a_statement_may_write_to(warehouse, since):
    start = datetime(2025, 1, 1, 12, tzinfo=timezone.utc)
    times = [(start + timedelta(days=number)).strftime("%Y-%m-%dT%H:%M:%SZ") for number in range(250)]
    batch = [file_rows("20260203T1000Z", *[event(str(number), eventTime=at) for number, at in enumerate(times)])]
    (entry,) = warehouse.write(batch)
    assert entry.loaded == 250
    assert since().count("MERGE") == 3 + 1
    assert len(read_table(warehouse).events) == 250
    assert warehouse.write(reread(warehouse, *batch)) == [entry]


def test_events_are_read_in_the_days_of_the_batch_only(warehouse, athena):
    warehouse.write([file_rows("20260203T1000Z", event("a", eventTime="2026-02-03T09:58:00Z"))])
    merge = next(text for text in reversed(athena.statements) if text.startswith(f'MERGE INTO "{warehouse.table}" '))
    assert (
        """AND t."event_time" >= TIMESTAMP '2026-02-02 00:00:00.000000' """
        """AND t."event_time" < TIMESTAMP '2026-02-05 00:00:00.000000'"""
    ) in merge


def test_long_keys_are_asked_for_by_bytes_and_many_through_the_folder(warehouse, since, keys):
    some = [f"s3://example-trail/{'é' * 300}{number}" for number in range(500)]
    assert warehouse.known_files(some) == {}
    assert since() == ["SELECT"] * 2
    assert warehouse.known_files([f"{uri}{number}" for uri in some for number in range(4)]) == {}
    assert since()[2:] == ["CREATE", "SELECT", "DROP"]
    assert keys() == []


def test_statement_that_is_too_long_is_not_sent(warehouse, since):
    where = Compare("reason", "=", "x" * 300_000)
    with pytest.raises(WarehouseError, match=r"a statement of 300\d+ bytes is longer than the 262144 of Athena"):
        warehouse.transact("asking", lambda session: warehouse.select(session, warehouse.files, ["etag"], where))
    assert since() == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("it's \\' %s", r"'it''s \'' %s'", id="text"),
        pytest.param(True, "TRUE", id="boolean"),
        pytest.param(2**63 - 1, "9223372036854775807", id="integer"),
        pytest.param(None, "NULL", id="null"),
        pytest.param(
            datetime(2026, 1, 1, 1, 0, 0, 7, timezone(timedelta(hours=1))),
            "TIMESTAMP '2026-01-01 00:00:00.000007'",
            id="moment",
        ),
    ],
)
def test_literals(value, text):
    assert literal(value) == text


def test_literal_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="no literal for float"):
        literal(0.5)
    with pytest.raises(ValueError, match="1 values for 2 placeholders"):
        with_values("a = %s AND b = %s", ["x"], "%s")


def test_row_that_looks_like_a_placeholder_is_none(warehouse):
    # Conditions and rows stand in one statement there.
    evidence = Evidence(warehouse)
    evidence.prepare()
    wanted = [column for column in columns_of(FindingEntry) if column.name in ("finding_id", "message")]
    rows = [("one", "%s' OR '1'='1"), ("two", "%(x)s ?")]
    entry = FindingEntry("one", "gap", True, "s3://x/", *[None] * 4, AT, AT, 0, "old", AT, AT, None, None, None)

    def work(session):
        warehouse.insert(
            session, evidence.findings, columns_of(FindingEntry), [entry, entry._replace(finding_id="two")]
        )
        warehouse.update(session, evidence.findings, wanted, rows, Compare("message", "=", "old"))

    warehouse.transact("updating", work, writes=True)
    assert sorted(query(warehouse, f"SELECT finding_id, message FROM {evidence.findings}")) == rows


# -- values ----------------------------------------------------------------------------------------------


def test_string_that_is_too_long_for_a_row_is_shortened(warehouse, caplog):
    text = "é" * 20_000_000
    row = QuarantineEntry("s3://example-trail/x", 0, "reason", text, AT)
    warehouse.transact(
        "inserting",
        lambda session: warehouse.insert(session, warehouse.quarantine, columns_of(QuarantineEntry), [row]),
        writes=True,
    )
    ((raw,),) = query(warehouse, f"SELECT raw FROM {warehouse.quarantine}")
    assert raw.startswith("é" * 1_000)
    assert raw.endswith("... (shortened from 40000000 bytes)")
    assert "1 values were too long for Athena and are shortened" in caplog.text


def test_rows_come_as_they_are_whichever_way_they_go(warehouse, place):
    columns = columns_of(QuarantineEntry)
    rows = [
        ("s3://x/1", None, "a'b\\n\n\r\u2028\U0001f30a", None, AT + timedelta(microseconds=1)),
        ("s3://x/2", 2**62, "NULL", "", AT.replace(year=1969)),
    ]
    staging = staging_folder(place["s3"], place["bucket"])
    session = AthenaSession(warehouse.hook.get_conn(), "%s")

    def read(copies: int) -> set:
        with source_of(session, staging, columns, rows * copies, warehouse.qualified) as source:
            session.execute(source)
            return set(session.fetchall())

    few, staged = read(1), read(1_000)
    assert few == staged == {(*row[:4], row[4].replace(tzinfo=None)) for row in rows}


# -- kill and re-run -------------------------------------------------------------------------------------


@pytest.fixture
def one_try(monkeypatch):
    # The service does not answer any more, which is not worth waiting for.
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(AthenaWarehouse, "lease", timedelta(seconds=1))


def batch():
    return [
        many(450),
        file_rows("20260203T1005Z", event("many-0001"), event("b"), 7),
        file_rows("20260203T1010Z", body=b"no gzip"),
    ]


@pytest.mark.parametrize("ran", [True, False], ids=["its last statement ran", "its last statement did not run"])
@pytest.mark.parametrize("statements", range(1, 8))
def test_killed_at_any_statement_and_run_again(new_warehouse, place, athena, one_try, statements, ran):
    warehouse = new_warehouse("athena")
    warehouse.prepare()
    expected = new_warehouse("sqlite")
    expected.prepare()
    expected.write(batch())
    athena.die_after(statements, ran=ran)
    try:
        with pytest.raises(WarehouseError, match="athena, writing"):
            again(warehouse, place).write(batch())
    finally:
        athena.revive()
    other = again(warehouse, place)
    other.write(reread(other, *batch()))
    tables = read_table(other)
    assert_balanced(tables)
    assert tables == read_table(expected)


def test_quarantine_of_a_run_that_was_killed_does_not_stay(warehouse, place, athena, one_try):
    athena.die_after(3, ran=False)
    with pytest.raises(WarehouseError):
        again(warehouse, place).write([file_rows("20260203T1000Z", body=b"no gzip")])
    athena.revive()
    other = again(warehouse, place)
    assert (len(read_table(other).quarantine), read_table(other).files) == (1, [])
    # It was in quarantine because of something that has passed.
    other.write([file_rows("20260203T1000Z", event("a"))])
    tables = read_table(other)
    assert_balanced(tables)
    assert tables.quarantine == []


def lookup(unique: str) -> LookupRows:
    uri = f"event-history://111122223333/eu-west-1/x/{unique}"
    rows = [row._replace(log_file_uri=uri) for row in file_rows("20260203T1000Z", event("a"), event("b")).events]
    entry = LookupEntry(
        *(uri, "111122223333", "eu-west-1", None, AT, AT + timedelta(days=1)),
        *(3, 0, 0, 0, 1, "complete", "{}", AT, None),
    )
    return LookupRows(entry, rows, [QuarantineEntry(uri, 2, "broken", "x", AT)])


@pytest.mark.parametrize("ran", [True, False], ids=["its last statement ran", "its last statement did not run"])
@pytest.mark.parametrize("statements", range(1, 6))
def test_lookup_that_was_killed_and_is_made_again(warehouse, place, athena, one_try, statements, ran):
    warehouse.write([file_rows("20260203T1000Z", event("b"))])
    Lookups(warehouse).prepare()
    athena.die_after(statements, ran=ran)
    try:
        with pytest.raises(WarehouseError):
            Lookups(again(warehouse, place)).write(lookup("one"))
    finally:
        athena.revive()
    lookups = Lookups(again(warehouse, place))
    known = {uri for (uri,) in query(warehouse, f"SELECT lookup_uri FROM {lookups.name}")}
    if not known:
        written = lookups.write(lookup("two"))
        assert (written.loaded, written.duplicate) == (1, 1)
        known = {written.lookup_uri}
    else:
        assert (statements, ran) == (5, True)
    rows = query(warehouse, f"SELECT event_id, log_file_uri FROM {warehouse.events} ORDER BY 1")
    assert [event_id for event_id, _ in rows] == ["a", "b"]
    assert {rows[0][1]} == known
    assert not rows[1][1].startswith("event-history")


# -- other writers ---------------------------------------------------------------------------------------


def test_second_writer_waits_for_the_first(warehouse, place):
    other = again(warehouse, place)
    other._lock_timeout = timedelta(0)

    def work(_):
        with pytest.raises(WarehouseUnavailableError, match=r"because of another writer \(the lock below s3://.*"):
            other.write([file_rows("20260203T1000Z", event("a"))])

    warehouse.transact("holding", work, writes=True)
    # In the same thread, with the same client.
    assert len(other.write([file_rows("20260203T1000Z", event("a"))])) == 1


def test_lock_is_removed_afterwards_also_on_failure(warehouse, keys):
    def work(_):
        assert [key.rpartition("/")[2] for key in keys()] == [f"audit.{warehouse.table}.json"]
        raise RuntimeError

    with pytest.raises(WarehouseError):
        warehouse.transact("failing", work, writes=True)
    assert keys() == []


def test_without_the_lock_two_writers_store_an_event_twice(warehouse, place, athena, monkeypatch):
    # What the stand-in lets happen, and what is noticed of it.
    monkeypatch.setattr(AthenaWarehouse, "_lock", lambda *_: None)
    monkeypatch.setattr(athena, "delay", 1.0)
    writers = [again(warehouse, place) for _ in range(2)]
    errors = []

    def write(number: int) -> None:
        try:
            writers[number].write([file_rows(f"20260203T100{number}Z", event("a"))])
        except WarehouseError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert query(warehouse, f"SELECT COUNT(*) FROM {warehouse.events}") == [(2,)]
    assert "1 events were merged and 2 rows of them found" in errors[0]


def test_expired_lock_is_taken_over_and_its_statement_stopped(warehouse, place, athena, monkeypatch):
    monkeypatch.setattr(AthenaWarehouse, "lease", timedelta(seconds=1))
    # As of a worker that is frozen, or gone.
    monkeypatch.setattr(WriterLock, "_keep_renewing", lambda _: None)
    held = threading.Event()
    monkeypatch.setattr(athena, "hold", held)
    errors = []

    def write() -> None:
        try:
            again(warehouse, place).write([file_rows("20260203T1000Z", event("a"))])
        except WarehouseError as error:
            errors.append(error)

    before = len(athena.statements)
    thread = threading.Thread(target=write)
    thread.start()
    while len(athena.statements) < before + 2:
        time.sleep(0.01)
    time.sleep(2.5)
    monkeypatch.setattr(athena, "hold", None)
    release = threading.Timer(1.0, held.set)
    release.start()
    other = again(warehouse, place)
    (entry,) = other.write([file_rows("20260203T1000Z", event("a"))])
    thread.join(60)
    assert entry.loaded == 1
    assert [query.state for query in list(athena.queries.values())[before:]][1] == "CANCELLED"
    tables = read_table(other)
    assert_balanced(tables)
    assert tables.event_ids == ["a"]
    assert "athena, writing" in str(errors[0])


def test_lock_that_was_lost_lets_nothing_be_written(warehouse, since, keys, staged_tables):
    rows = [QuarantineEntry(f"s3://x/{number}", None, "reason", None, AT) for number in range(2_000)]

    def work(session):
        session._lock._until = 0.0
        warehouse.insert(session, warehouse.quarantine, columns_of(QuarantineEntry), rows)

    warehouse._lock_timeout = timedelta(0)
    with pytest.raises(WarehouseUnavailableError, match="LostLockError"):
        warehouse.transact("writing late", work, writes=True)
    # What was staged is cleared away all the same; the lock is left to whoever has it.
    assert since() == ["CREATE", "DROP"]
    assert staged_tables() == set()
    assert [key.partition("/")[2].partition("/")[0] for key in keys()] == ["cloudtrail-locks"]


class EndedError(BaseException):
    """As Airflow's own of a task that has reached its timeout."""


def test_task_that_is_ended_stops_its_statement_and_releases_the_lock(warehouse, athena, keys, monkeypatch):
    held = threading.Event()
    monkeypatch.setattr(athena, "hold", held)

    def end(*_):
        # The statement goes on unless it is stopped.
        threading.Timer(0.5, held.set).start()
        raise EndedError

    before = signal.signal(signal.SIGALRM, end)
    try:
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        with pytest.raises(EndedError):
            warehouse.write([file_rows("20260203T1000Z", event("a"))])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        held.set()
    assert list(athena.queries.values())[-1].state == "CANCELLED"
    assert keys() == []
    monkeypatch.setattr(athena, "hold", None)
    assert read_table(warehouse).events == []


def test_lost_commit_is_tried_again(warehouse, athena):
    athena.commit_errors = 2
    (entry,) = warehouse.write([file_rows("20260203T1000Z", event("a"))])
    assert (entry.loaded, athena.commit_errors) == (1, 0)
    assert_balanced(read_table(warehouse))


def test_too_many_queries_are_waited_for(warehouse, athena, monkeypatch):
    monkeypatch.setattr(athena, "throttle_every", 2)
    (entry,) = warehouse.write([file_rows("20260203T1000Z", event("a"))])
    assert entry.loaded == 1


# -- errors ----------------------------------------------------------------------------------------------


def test_errors_say_what_is_wrong_with_the_connection(place, s3_server):
    staging = staging_folder(place["s3"], place["bucket"])
    for changed, said in (
        ({"work_group": "other"}, r"InvalidRequestException, WorkGroup other is not found"),
        ({"endpoint_url": "http://127.0.0.1:1"}, r"EndpointConnectionError|OperationalError"),
    ):
        warehouse = open_warehouse(AthenaHook(athena_extra(place) | changed), "nowhere", None, staging)
        with pytest.raises(WarehouseError, match=said):
            warehouse.prepare()


def test_bucket_of_the_staging_folder_that_is_not_there(place, athena):
    warehouse = open_warehouse(
        AthenaHook(athena_extra(place)), "lost", None, staging_folder(place["s3"], "no-such-bucket")
    )
    warehouse.prepare()
    with pytest.raises(WarehouseError, match=r"cannot lock with s3://no-such-bucket/.*NoSuchBucket"):
        warehouse.write([file_rows("20260203T1000Z", event("a"))])


def test_connection_without_a_schema_means_the_default_one(place, athena):
    warehouse = open_warehouse(AthenaHook(athena_extra(place)), "nowhere", None, staging_folder(place["s3"], "x-y"))
    hook = warehouse.hook
    connect = hook.get_conn

    def without() -> object:
        connection = connect()
        connection.schema_name = None
        return connection

    hook.get_conn = without
    assert warehouse._connect().connection.schema_name == "default"


def test_hook_of_airflow_is_used_as_it_is(place, warehouse):
    assert type(airflow_athena_hook(place)) is type(warehouse.hook)
