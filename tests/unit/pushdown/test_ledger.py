"""What the pushdown writes into the ledger: nothing lost, nothing twice, whatever breaks off and whoever else loads."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

# Older ones know neither MERGE nor this form of lambdas.
pytest.importorskip("duckdb", minversion="1.4")
pytest.importorskip("pyarrow")
pytest.importorskip("sqlglot")

from airflow_provider_cloudtrail.audit_event import LedgerEntry, columns_of
from airflow_provider_cloudtrail.demo.plan import TrailPlan
from airflow_provider_cloudtrail.demo.trail import generate
from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
from airflow_provider_cloudtrail.trail.log_file import LogFile, log_file
from airflow_provider_cloudtrail.trail.selection import Selection
from tests.support.log_files import event, foreign, id_of
from tests.support.pushdown import AthenaOnDuckDB, BothPaths, assert_sound, deliver, ledger

UTC = timezone.utc
DAY = DeliveryWindow(datetime(2026, 2, 3, tzinfo=UTC), datetime(2026, 2, 4, tzinfo=UTC))
OF_THE_RUN = ("loaded_at", "loaded_by")
# What SQL cannot know; see the docstring of AthenaMwaaAuditEventsOperator.
UNKNOWN = ("etag", "size_bytes", "sha256")


def tables(athena: AthenaOnDuckDB) -> list[list[dict[str, Any]]]:
    """Return both tables without what differs from run to run."""
    return [
        [{name: value for name, value in row.items() if name not in OF_THE_RUN} for row in athena.rows(table)]
        for table in (athena.events, athena.files)
    ]


class TestDemoTrail:
    PLAN = TrailPlan(files_per_day=4, records_per_file=6, faults=frozenset())
    WINDOW = DeliveryWindow(PLAN.start, PLAN.end, timedelta(days=1), timedelta(hours=1))

    @pytest.fixture
    def demo(self) -> BothPaths:
        both = BothPaths()
        for written in generate(self.PLAN):
            found = log_file(self.PLAN.bucket, written.key, len(written.body), "etag")
            if found is not None:
                both.deliver(found, written.body)
        return both

    def test_the_ledger_is_that_of_the_worker_path(self, demo):
        summary = demo.push_down(self.WINDOW)
        assert_sound(demo.athena)
        worker = AthenaOnDuckDB()
        demo.export(worker, [file for file in demo.log_files if file.uri not in summary.left])
        found, expected = ledger(demo.athena), ledger(worker)
        without_records = {uri for uri in expected if uri not in {row[0] for row in _paths(demo)}}
        assert found.keys() == expected.keys() - without_records
        for uri, entry in found.items():
            theirs = expected[uri]
            compared = {column.name for column in columns_of(LedgerEntry)} - {*OF_THE_RUN, *UNKNOWN}
            if theirs["status"] == "no_match":
                # The worker path does not parse a file in whose bytes nothing wanted occurs; here it was parsed.
                assert (entry["status"], entry["records"]) == ("loaded", entry["filtered"])
                compared -= {"status", "records", "loaded", "duplicate", "filtered", "quarantined"}
            for name in compared:
                assert entry[name] == theirs[name], f"{name} of {uri}"
            assert all(entry[name] is None for name in UNKNOWN)
        for name in ("records", "loaded", "duplicate", "filtered"):
            assert getattr(summary, name) == sum(entry[name] for entry in found.values()), name

    def test_a_second_run_adds_nothing(self, demo):
        first = demo.push_down(self.WINDOW)
        before = [demo.athena.rows(table) for table in (demo.athena.events, demo.athena.files)]
        again = demo.push_down(self.WINDOW)
        assert [demo.athena.rows(table) for table in (demo.athena.events, demo.athena.files)] == before
        assert (again.files, again.loaded, again.files_known) == (0, 0, first.files)
        assert again.left == first.left

    def test_the_worker_path_reads_just_what_is_left(self, demo):
        summary = demo.push_down(self.WINDOW)
        empty = {file.uri for file in demo.log_files} - ledger(demo.athena).keys() - set(summary.left)
        demo.export(demo.athena)
        assert len(demo.store.gets) == len(summary.left) + len(empty)
        assert_sound(demo.athena)
        alone = AthenaOnDuckDB()
        demo.export(alone)
        assert [row["event_id"] for row in demo.athena.rows(demo.athena.events)] == [
            row["event_id"] for row in alone.rows(alone.events)
        ]

    def test_the_pushdown_reads_just_what_the_worker_path_has_not(self, demo):
        half = demo.log_files[::2]
        demo.export(demo.athena, half)
        before = ledger(demo.athena)
        summary = demo.push_down(self.WINDOW)
        after = ledger(demo.athena)
        assert all(after[uri] == entry for uri, entry in before.items())
        assert summary.files == len(after) - len(before)
        assert summary.files_known == len(half)
        demo.export(demo.athena)
        assert_sound(demo.athena)
        alone = AthenaOnDuckDB()
        demo.export(alone)
        assert [row["event_id"] for row in demo.athena.rows(demo.athena.events)] == [
            row["event_id"] for row in alone.rows(alone.events)
        ]


def _paths(both: BothPaths) -> list[tuple[Any, ...]]:
    return both.athena.connection.execute(f'SELECT DISTINCT "$path" FROM {both.athena.trail}').fetchall()


def test_the_first_file_by_delivery_keeps_an_event(caplog):
    caplog.set_level(logging.INFO)
    both = BothPaths()
    late = deliver(both, "20260203T1100Z", event(id_of(1)), event(id_of(2)), account="111122223333")
    early = deliver(both, "20260203T1000Z", event(id_of(1)), event(id_of(1)), foreign(), account="777788889999")
    summary = both.push_down(DAY)
    entries = ledger(both.athena)
    counts = ("records", "loaded", "duplicate", "filtered")
    assert [entries[early.uri][name] for name in counts] == [3, 1, 1, 1]
    assert [entries[late.uri][name] for name in counts] == [2, 1, 1, 0]
    assert (summary.records, summary.loaded, summary.duplicate, summary.filtered) == (5, 2, 2, 1)
    said = "2026-02-03T00:00Z to 2026-02-04T00:00Z: 2 files, 5 records = 2 loaded + 2 duplicate + 1 filtered"
    assert [record.getMessage() for record in caplog.records] == [f"Delivered {said}"]
    assert_sound(both.athena)


@pytest.mark.parametrize("statement", [pytest.param(0, id="rows"), pytest.param(1, id="ledger")])
def test_a_run_that_breaks_off_and_is_repeated_gives_the_same_tables(statement):
    def trail() -> BothPaths:
        both = BothPaths()
        deliver(both, "20260203T1000Z", event(id_of(1)), event(id_of(2)), foreign())
        deliver(both, "20260203T1100Z", event(id_of(2)), event(id_of(3)))
        return both

    unbroken, broken = trail(), trail()
    unbroken.push_down(DAY)
    broken.athena.fail_at = statement
    with pytest.raises(ConnectionError):
        broken.push_down(DAY)
    assert ledger(broken.athena) == {}
    assert len(broken.athena.rows(broken.athena.events)) == (3 if statement else 0)
    broken.athena.fail_at = None
    summary = broken.push_down(DAY)
    assert tables(broken.athena) == tables(unbroken.athena)
    assert summary.loaded == 3


@pytest.mark.parametrize(
    "selection",
    [
        pytest.param(Selection.of(), id="new files"),
        pytest.param(Selection.of(event_sources=["ec2.amazonaws.com"]), id="files that are read again"),
    ],
)
def test_files_of_a_statement_that_was_waited_for_are_known(selection, caplog):
    class Killed(AthenaOnDuckDB):
        """What it is to write is written later."""

        def write(self, doing, statements):
            del doing
            late.append(statements)

    class Waiting(AthenaOnDuckDB):
        """Waits for what the run before has sent, as one does that takes over its lock."""

        def write(self, doing, statements):
            super().write(doing, [*late.pop(0), *statements])

    def trail() -> BothPaths:
        both = BothPaths()
        deliver(both, "20260203T1000Z", event(id_of(1)), event(id_of(2)), foreign(id_of(4)))
        deliver(both, "20260203T1100Z", event(id_of(2)), event(id_of(3)))
        if selection != Selection.of():
            both.push_down(DAY)
        return both

    late: list[Any] = []
    undisturbed, both = trail(), trail()
    assert undisturbed.push_down(DAY, selection).files == 2
    both.athena.__class__ = Killed
    both.push_down(DAY, selection)
    both.athena.__class__ = Waiting
    caplog.set_level(logging.INFO)
    # Entries are told apart by the millisecond.
    time.sleep(0.002)
    summary = both.push_down(DAY, selection)
    assert late == []
    assert tables(both.athena) == tables(undisturbed.athena)
    assert (summary.files, summary.files_known, summary.records) == (0, 2, 0)
    assert "2 files were written into the ledger meanwhile" in caplog.text


def test_the_time_of_a_run_is_one_that_athena_keeps():
    # Milliseconds: by it a run finds its own entries, and counts them.
    both = BothPaths()
    deliver(both, "20260203T1000Z", event(id_of(1)))
    both.push_down(DAY)
    rows = [*both.athena.rows(both.athena.events), *both.athena.rows(both.athena.files)]
    assert [row["loaded_at"].microsecond % 1000 for row in rows] == [0, 0]


def test_a_file_that_arrives_behind_the_rows_is_left_to_the_next_run():
    class Later(AthenaOnDuckDB):
        """Delivers a log file between the rows and the ledger."""

        def write(self, doing, statements):
            *merges, last = statements
            super().write(doing, merges)
            deliver(both, "20260203T1030Z", event(id_of(2)))
            deliver(both, "20260203T1040Z", foreign())
            super().write(doing, [last])

    both = BothPaths()
    both.athena = Later()
    first = deliver(both, "20260203T1000Z", event(id_of(1)))
    summary = both.push_down(DAY)
    # The one without a wanted record needs no rows.
    assert (summary.files, len(ledger(both.athena))) == (2, 2)
    assert first.uri in ledger(both.athena)
    AthenaOnDuckDB.write, later = AthenaOnDuckDB.write, Later.write
    Later.write = AthenaOnDuckDB.write  # type: ignore[method-assign]
    try:
        assert both.push_down(DAY).loaded == 1
    finally:
        Later.write = later  # type: ignore[method-assign]
    assert len(both.athena.rows(both.athena.events)) == 2
    assert_sound(both.athena)


class TestSelections:
    MORE = Selection.of(include_environment_activity=True)
    OTHER = Selection.of(event_sources=["ec2.amazonaws.com"])

    def test_a_wider_selection_reads_again_and_the_balance_holds(self):
        both = BothPaths()
        file = deliver(both, "20260203T1000Z", event(id_of(1)), foreign(id_of(2)), foreign(id_of(3)))
        both.push_down(DAY)
        assert ledger(both.athena)[file.uri]["filtered"] == 2
        summary = both.push_down(DAY, self.OTHER)
        entry = ledger(both.athena)[file.uri]
        assert [entry[name] for name in ("records", "loaded", "duplicate", "filtered")] == [3, 3, 0, 0]
        assert Selection.from_text(entry["selection"]) == Selection.of() | self.OTHER
        assert summary.files == 1
        assert_sound(both.athena)
        # Now either is covered.
        assert both.push_down(DAY).files == both.push_down(DAY, self.OTHER).files == 0

    def test_what_the_worker_path_did_not_parse_is_read_for_a_wider_selection(self):
        both = BothPaths()
        file = deliver(both, "20260203T1000Z", foreign(id_of(2)))
        both.export(both.athena)
        assert ledger(both.athena)[file.uri]["status"] == "no_match"
        sha256 = ledger(both.athena)[file.uri]["sha256"]
        both.push_down(DAY, self.OTHER)
        entry = ledger(both.athena)[file.uri]
        assert (entry["status"], entry["loaded"], entry["filtered"]) == ("loaded", 1, 0)
        assert entry["loaded_by"] == "pushdown"
        # The object is the same: what was found out about it holds.
        assert entry["sha256"] == sha256 is not None
        assert_sound(both.athena)

    def test_files_with_quarantined_records_are_left(self):
        both = BothPaths()
        deliver(both, "20260203T1000Z", event(id_of(1)), event(id_of(2), eventTime="soon"), foreign(id_of(3)))
        both.export(both.athena)
        before = ledger(both.athena)
        summary = both.push_down(DAY, self.OTHER)
        assert ledger(both.athena) == before
        assert (summary.files, summary.files_known, summary.reasons) == (0, 0, {"quarantined_records": 1})

    def test_a_selection_of_a_later_version_is_left(self):
        both = BothPaths()
        for hour in (10, 11):
            deliver(both, f"20260203T{hour}00Z", event(id_of(hour)))
        both.push_down(DAY)
        both.athena.connection.execute(f"UPDATE {both.athena.files} SET selection = '[{{\"new\": 1}}]'")
        before = ledger(both.athena)
        summary = both.push_down(DAY, self.OTHER)
        assert (summary.files_left, summary.reasons, summary.files_known) == (2, {"selection": 2}, 0)
        assert ledger(both.athena) == before


class TestQuarantine:
    """Files in quarantine, which Athena is not to open: it cannot read them, and fails."""

    def damage(self, both: BothPaths, *files: LogFile) -> None:
        """Have the ledger say that files are in quarantine, as the worker path puts them there."""
        both.export(both.athena, files)
        both.athena.connection.execute(
            f"UPDATE {both.athena.files} SET status = 'quarantined', reason = 'too_large: x'"
        )
        both.athena.connection.execute(f"DELETE FROM {both.athena.events}")
        both.athena.statements.clear()

    def reading(self, both: BothPaths) -> list[str]:
        """Return the statements that read log files."""
        found = [text for text in both.athena.statements if both.athena.trail in text]
        assert found
        return found

    def test_they_are_not_opened(self):
        both = BothPaths()
        file = deliver(both, "20260203T1000Z", event(id_of(1)))
        self.damage(both, file)
        assert both.push_down(DAY).files_known == 1
        assert both.athena.rows(both.athena.events) == []
        assert all(f"NOT \"$path\" IN ('{file.uri}')" in text for text in self.reading(both))

    def test_nor_are_others_in_the_folders_of_the_span(self):
        # Which of the files of a day are of the span, is found out behind opening them.
        both = BothPaths()
        damaged = [
            deliver(both, stamp, event(id_of(number)))
            for number, stamp in enumerate(("20260201T2300Z", "20260202T1000Z", "20260204T1000Z", "20260205T0059Z"))
        ]
        elsewhere = [
            deliver(both, "20260201T2259Z", event(id_of(5))),
            deliver(both, "20260205T0100Z", event(id_of(6))),
            deliver(both, "20260203T1000Z", event(id_of(7)), account="999900001111"),
            deliver(both, "20260203T1000Z", event(id_of(8)), region="us-east-1"),
        ]
        self.damage(both, *damaged, *elsewhere)
        margins = timedelta(hours=1)
        window = DeliveryWindow(DAY.start, DAY.end, margins, margins)
        summary = both.push_down(window, account_ids=["111122223333"], regions=["eu-west-1"])
        assert (summary.files, summary.files_known, summary.left) == (0, 0, [])
        for text in self.reading(both):
            assert all(file.uri in text for file in damaged)
            assert not any(file.uri in text for file in elsewhere)

    def test_a_span_with_many_is_parted_at_midnights(self, monkeypatch):
        monkeypatch.setattr("airflow_provider_cloudtrail.pushdown.fill._MOST_UNREADABLE", 1)
        both = BothPaths()
        damaged = [
            deliver(both, f"202602{stamp}Z", event(id_of(number)))
            for number, stamp in enumerate(("03T1000", "04T1000", "06T1000", "06T1200"), 1)
        ]
        self.damage(both, *damaged)
        for number, day in enumerate(("03", "04", "05", "06", "07"), 10):
            deliver(both, f"202602{day}T1100Z", event(id_of(number)))
        summary = both.push_down(DeliveryWindow(DAY.start, DAY.start + timedelta(days=5, hours=2)))
        assert (summary.files, summary.files_known, summary.loaded) == (5, len(damaged), 5)
        # No fewer than those of a day.
        assert max(sum(file.uri in text for file in damaged) for text in self.reading(both)) == 2

    def test_more_than_a_statement_can_name_are_told_of(self, monkeypatch):
        monkeypatch.setattr("airflow_provider_cloudtrail.pushdown.sql.LONGEST_STATEMENT", 43_000)
        both = BothPaths()
        self.damage(both, *(deliver(both, f"20260203T10{minute}Z", event(id_of(minute))) for minute in range(10, 60)))
        for number in range(100, 110):
            deliver(both, "20260203T1100Z", event(id_of(number)), account=f"{number:012}")
        message = "delivered 2026-02-03T00:00Z to 2026-02-04T00:00Z: 50 log files are in quarantine.*of regions"
        with pytest.raises(ValueError, match=message):
            both.push_down(DAY)
        others = [f"{number:012}" for number in range(100, 110)]
        assert both.push_down(DAY, account_ids=others).loaded == len(others)
