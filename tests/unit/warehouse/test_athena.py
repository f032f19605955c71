from __future__ import annotations

import threading
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.audit_event import (
    LookupEntry,
    LookupRows,
    QuarantineEntry,
)
from airflow_provider_cloudtrail.warehouse.base import WarehouseError
from airflow_provider_cloudtrail.warehouse.lookups import Lookups
from tests.support.athena_tasks import again, let_lock_expire, many
from tests.support.engines import ATHENA
from tests.support.log_files import event
from tests.support.rows import file_rows, reread
from tests.support.tables import assert_balanced, query, read_table

pytestmark = pytest.mark.skipif(not ATHENA, reason="needs pyathena, duckdb, pyarrow, sqlglot and moto")

AT = datetime(2026, 2, 3, 10, tzinfo=timezone.utc)


def test_small_batch_needs_four_statements(athena_warehouse, statements_since):
    athena_warehouse.write([file_rows("20260203T1000Z", event("a")), file_rows("20260203T1005Z", event("b"))])
    assert statements_since() == ["SELECT", "MERGE", "SELECT", "MERGE"]


def test_large_batch_goes_through_the_staging_folder(
    athena_warehouse, statements_since, staged_keys, athena, staged_tables
):
    athena_warehouse.write([many(500), file_rows("20260203T1005Z", 7)])
    assert statements_since() == ["SELECT", "CREATE", "MERGE", "SELECT", "DROP", "MERGE", "MERGE"]
    assert staged_keys() == []
    assert staged_tables() == set()
    assert len(read_table(athena_warehouse).events) == 500
    staged = [text for text in athena.statements if text.startswith("CREATE EXTERNAL")][-1]
    assert "`event_time` string" in staged


def test_staged_objects_and_table_are_removed_also_on_failure(athena_warehouse, staged_keys, athena, staged_tables):
    athena.catalog[f"audit.{athena_warehouse.table}"].columns.pop("user_agent")
    with pytest.raises(
        WarehouseError, match=r"athena, writing .*: OperationalError, query [0-9a-f-]+, COLUMN_NOT_FOUND"
    ):
        athena_warehouse.write([many(500)])
    assert staged_keys() == []
    assert staged_tables() == set()


def test_more_days_than_a_statement_may_write_to(athena_warehouse, statements_since):
    start = datetime(2025, 1, 1, 12, tzinfo=timezone.utc)
    times = [(start + timedelta(days=number)).strftime("%Y-%m-%dT%H:%M:%SZ") for number in range(250)]
    batch = [file_rows("20260203T1000Z", *[event(str(number), eventTime=at) for number, at in enumerate(times)])]
    (entry,) = athena_warehouse.write(batch)
    assert entry.loaded == 250
    assert statements_since().count("MERGE") == 3 + 1
    assert len(read_table(athena_warehouse).events) == 250
    assert athena_warehouse.write(reread(athena_warehouse, *batch)) == [entry]


def test_events_are_read_in_the_days_of_the_batch_only(athena_warehouse, athena):
    athena_warehouse.write([file_rows("20260203T1000Z", event("a", eventTime="2026-02-03T09:58:00Z"))])
    merge = next(
        text for text in reversed(athena.statements) if text.startswith(f'MERGE INTO "{athena_warehouse.table}" ')
    )
    assert (
        """AND t."event_time" >= TIMESTAMP '2026-02-02 00:00:00.000000' """
        """AND t."event_time" < TIMESTAMP '2026-02-05 00:00:00.000000'"""
    ) in merge


@pytest.fixture
def one_try(monkeypatch):
    # The service does not answer any more, which is not worth waiting for.
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


def batch():
    return [
        many(450),
        file_rows("20260203T1005Z", event("many-0001"), event("b"), 7),
        file_rows("20260203T1010Z", body=b"no gzip"),
    ]


@pytest.mark.parametrize("ran", [True, False], ids=["its last statement ran", "its last statement did not run"])
@pytest.mark.parametrize("statements", range(1, 8))
def test_killed_at_any_statement_and_run_again(new_warehouse, athena_place, athena, one_try, statements, ran):
    warehouse = new_warehouse("athena")
    warehouse.prepare()
    expected = new_warehouse("sqlite")
    expected.prepare()
    expected.write(batch())
    athena.die_after(statements, ran=ran)
    try:
        with pytest.raises(WarehouseError, match="athena, writing"):
            again(warehouse, athena_place).write(batch())
    finally:
        athena.revive()
    let_lock_expire(warehouse, athena_place)
    other = again(warehouse, athena_place)
    files = reread(other, *batch())
    # A statement that was sent in vain is sent once more, and stopped before it has done anything.
    athena.next_until = threading.Event()
    other.write(files)
    tables = read_table(other)
    assert_balanced(tables)
    assert tables == read_table(expected)


# A statement that was sent in vain is sent once more by who takes the lock over, and stopped at once. If it has been
# done before that, it is as if the run that was killed had got one statement further: nothing is lost or there twice.
FATES = pytest.mark.parametrize("done", [False, True], ids=["stopped", "done before it is stopped"])


@FATES
def test_quarantine_of_a_run_that_was_killed_does_not_stay(athena_warehouse, athena_place, athena, one_try, done):
    # Of the entry in the ledger.
    athena.die_after(3, ran=False)
    with pytest.raises(WarehouseError):
        again(athena_warehouse, athena_place).write([file_rows("20260203T1000Z", body=b"no gzip")])
    athena.revive()
    let_lock_expire(athena_warehouse, athena_place)
    other = again(athena_warehouse, athena_place)
    assert (len(read_table(other).quarantine), read_table(other).files) == (1, [])
    athena.next_until = None if done else threading.Event()
    # It was in quarantine because of something that has passed.
    written = other.write([file_rows("20260203T1000Z", event("a"))])
    tables = read_table(other)
    assert_balanced(tables)
    if done:
        # Whoever writes is told that the ledger has the file already.
        assert (written, len(tables.quarantine), tables.events) == ([], 1, [])
        assert [file["status"] for file in tables.files] == ["quarantined"]
    else:
        assert (tables.quarantine, tables.event_ids) == ([], ["a"])


def lookup(unique: str) -> LookupRows:
    uri = f"event-history://111122223333/eu-west-1/x/{unique}"
    rows = [row._replace(log_file_uri=uri) for row in file_rows("20260203T1000Z", event("a"), event("b")).events]
    entry = LookupEntry(
        *(uri, "111122223333", "eu-west-1", None, AT, AT + timedelta(days=1)),
        *(3, 0, 0, 0, 1, "complete", "{}", AT, None),
    )
    return LookupRows(entry, rows, [QuarantineEntry(uri, 2, "broken", "x", AT)])


@pytest.mark.parametrize(
    ("statements", "ran", "done"),
    [
        *(pytest.param(number, True, False, id=f"{number}, ran") for number in range(1, 6)),
        *(pytest.param(number, False, False, id=f"{number}, did not run") for number in range(1, 6)),
        pytest.param(5, False, True, id="5, done before it is stopped"),
    ],
)
def test_lookup_that_was_killed_and_is_made_again(
    athena_warehouse, athena_place, athena, one_try, statements, ran, done
):
    athena_warehouse.write([file_rows("20260203T1000Z", event("b"))])
    Lookups(athena_warehouse).prepare()
    athena.die_after(statements, ran=ran)
    try:
        with pytest.raises(WarehouseError):
            Lookups(again(athena_warehouse, athena_place)).write(lookup("one"))
    finally:
        athena.revive()
    let_lock_expire(athena_warehouse, athena_place)
    lookups = Lookups(again(athena_warehouse, athena_place))
    known = {uri for (uri,) in query(athena_warehouse, f"SELECT lookup_uri FROM {lookups.name}")}
    if known:
        assert (statements, ran) == (5, True)
    else:
        if not (ran or done or statements == 3):
            # The third one writes nothing: it is not sent once more.
            athena.next_until = threading.Event()
        written = lookups.write(lookup("two"))
        known = {written.lookup_uri}
        if done:
            # The first one is complete after all, and has brought what there is.
            assert (written.loaded, written.duplicate) == (0, 2)
            known = {lookup("one").entry.lookup_uri}
        else:
            assert (written.loaded, written.duplicate) == (1, 1)
    rows = query(athena_warehouse, f"SELECT event_id, log_file_uri FROM {athena_warehouse.events} ORDER BY 1")
    assert [event_id for event_id, _ in rows] == ["a", "b"]
    assert {rows[0][1]} == known
    assert not rows[1][1].startswith("event-history")
    counted = query(athena_warehouse, f"SELECT loaded, duplicate FROM {lookups.name} ORDER BY loaded")
    assert counted[-1] == (1, 1)
    assert all(row == (0, 2) for row in counted[:-1])
