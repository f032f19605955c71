"""What the pushdown has Athena read and write: the window, and as little besides as it takes."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

# Older ones know neither MERGE nor this form of lambdas.
pytest.importorskip("duckdb", minversion="1.4")
pytest.importorskip("pyarrow")
pytest.importorskip("sqlglot")

from airflow_provider_cloudtrail.pushdown.records import Span, halves, spans
from airflow_provider_cloudtrail.pushdown.statements import MOST_DAYS
from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
from airflow_provider_cloudtrail.trail.log_file import LogFile
from tests.support.log_files import event, foreign, id_of, key_of, log_bytes
from tests.support.pushdown import BothPaths, assert_sound, deliver, ledger

UTC = timezone.utc
DAY = DeliveryWindow(datetime(2026, 2, 3, tzinfo=UTC), datetime(2026, 2, 4, tzinfo=UTC))


class TestWindow:
    def test_files_outside_of_the_margins_are_not_read(self):
        both = BothPaths()
        inside = [deliver(both, stamp, event(id_of(n))) for n, stamp in enumerate(("20260202T2300Z", "20260204T0059Z"))]
        for number, stamp in enumerate(("20260202T2259Z", "20260204T0100Z"), 10):
            deliver(both, stamp, event(id_of(number)))
        margins = timedelta(hours=1)
        both.push_down(DeliveryWindow(DAY.start, DAY.end, margins, margins))
        assert sorted(ledger(both.athena)) == sorted(file.uri for file in inside)

    def test_a_minute_that_has_begun_is_read(self):
        both = BothPaths()
        file = deliver(both, "20260203T1000Z", event(id_of(1)))
        start = datetime(2026, 2, 3, 10, 0, 20, tzinfo=UTC)
        both.push_down(DeliveryWindow(start, start + timedelta(seconds=20)))
        assert list(ledger(both.athena)) == [file.uri]

    @pytest.mark.parametrize(
        ("end", "last"),
        [
            pytest.param(timedelta(seconds=20), "10:01", id="seconds"),
            pytest.param(timedelta(microseconds=1), "10:01", id="microseconds"),
            pytest.param(timedelta(0), "10:00", id="on the minute"),
        ],
    )
    def test_spans_are_of_whole_minutes(self, end, last):
        start = datetime(2026, 2, 3, 9, 0, 20, tzinfo=UTC)
        (span,) = spans(DeliveryWindow(start, datetime(2026, 2, 3, 10, tzinfo=UTC) + end), 1)
        assert (f"{span.start:%H:%M:%S.%f}", f"{span.end:%H:%M:%S.%f}") == ("09:00:00.000000", f"{last}:00.000000")

    def test_strangers_in_the_folder_are_not_read(self):
        both = BothPaths()
        place = key_of("20260203T1000Z")
        for name in (
            place.replace("_CloudTrail_", "_CloudTrail-Insight_"),
            place.replace("T1000Z", "T1000"),
            place.replace("20260203T1000Z", "20260203T9900Z"),
            place.replace("/111122223333_", "/999900001111_"),
            f"{place}.bak",
        ):
            both.athena.deliver(LogFile("example-trail", name, "", "", DAY.start), log_bytes(event()))
        file = deliver(both, "20260203T1100Z", event(id_of(1)))
        both.push_down(DAY)
        assert list(ledger(both.athena)) == [file.uri]

    def test_in_the_folder_of_another_day_only_around_midnight(self):
        both = BothPaths()
        for number, stamp in enumerate(("20260203T2259Z", "20260203T2300Z", "20260205T0059Z", "20260205T0100Z")):
            name = key_of(stamp).replace("/2026/02/03/", "/2026/02/04/").replace("/2026/02/05/", "/2026/02/04/")
            at = datetime.strptime(stamp, "%Y%m%dT%H%MZ").replace(tzinfo=UTC)
            place = LogFile("example-trail", name, "111122223333", "eu-west-1", at)
            both.athena.deliver(place, log_bytes(event(id_of(number))))
        both.push_down(DeliveryWindow(DAY.start, DAY.end, timedelta(days=5), timedelta(days=5)), days=20)
        stamps = [row["delivered_at"] for row in ledger(both.athena).values()]
        assert sorted(f"{stamp:%dT%H%M}" for stamp in stamps) == ["03T2300", "05T0059"]

    def test_accounts_and_regions_are_chosen(self):
        both = BothPaths()
        file = deliver(both, "20260203T1000Z", event(id_of(1)))
        deliver(both, "20260203T1000Z", event(id_of(2)), account="999900001111")
        deliver(both, "20260203T1000Z", event(id_of(3)), region="us-east-1")
        both.push_down(DAY, account_ids=["111122223333"], regions=["eu-west-1"])
        assert list(ledger(both.athena)) == [file.uri]

    @pytest.mark.parametrize(
        ("days", "expected"),
        [
            pytest.param(1, ["02-01T20", "02-02T00", "02-03T00", "02-04T00"], id="each"),
            pytest.param(2, ["02-01T20", "02-03T00"], id="two"),
            pytest.param(9, ["02-01T20"], id="all"),
        ],
    )
    def test_spans_cover_the_window_without_overlap(self, days, expected):
        window = DeliveryWindow(
            datetime(2026, 2, 2, tzinfo=UTC), datetime(2026, 2, 4, tzinfo=UTC), timedelta(hours=4), timedelta(hours=1)
        )
        found = list(spans(window, days))
        assert [f"{span.start:%m-%dT%H}" for span in found] == expected
        assert [span.end for span in found[:-1]] == [span.start for span in found[1:]]
        assert found[-1] == Span(found[-1].start, window.ceiling)

    @pytest.mark.parametrize(
        ("start", "end", "middle"),
        [
            pytest.param("03T1000", "03T1200", None, id="part of a day"),
            pytest.param("03T0000", "04T0000", None, id="a day"),
            pytest.param("03T2359", "04T0001", "04T0000", id="of two days"),
            pytest.param("03T1000", "06T0000", "04T0000", id="three"),
            pytest.param("03T1000", "06T0001", "05T0000", id="of four"),
        ],
    )
    def test_halves_meet_at_a_midnight(self, start, end, middle):
        first, last, between = (
            stamp and datetime.strptime(f"202602{stamp}+0000", "%Y%m%dT%H%M%z") for stamp in (start, end, middle)
        )
        expected = between and (Span(first, between), Span(between, last))
        assert halves(Span(first, last)) == expected

    def test_a_span_that_ends_at_midnight_opens_no_partition_behind_it(self):
        both = BothPaths()
        both.push_down(DAY)
        assert any("\"day\" BETWEEN '2026/02/03' AND '2026/02/03'" in text for text in both.athena.statements)


def test_nothing_but_equality_is_asked_of_injected_accounts():
    # Athena refuses a statement that asks anything else of them.
    import sqlglot

    both = BothPaths()
    deliver(both, "20260203T1000Z", event(id_of(1)))
    assert both.push_down(DAY, account_ids=["111122223333"]).loaded == 1
    asked = 0
    for text in both.athena.statements:
        for where in sqlglot.parse_one(text, read="athena").find_all(sqlglot.exp.Where):
            columns = [column for column in where.find_all(sqlglot.exp.Column) if column.name == "account"]
            assert all(isinstance(column.parent, sqlglot.exp.In) for column in columns)
            asked += len(columns)
    assert asked == 3


def test_no_statement_writes_more_partitions_than_athena_allows():
    both = BothPaths()
    first = datetime(2025, 6, 1, 12, tzinfo=UTC)
    records = [
        event(id_of(number), eventTime=f"{first + timedelta(days=number):%Y-%m-%dT%H:%M:%SZ}")
        for number in range(2 * MOST_DAYS + 5)
    ]
    deliver(both, "20260203T1000Z", *records)
    summary = both.push_down(DAY)
    assert summary.loaded == len(records)
    merges = [text for text in both.athena.statements if text.startswith(f"MERGE INTO {both.athena.events}")]
    assert len(merges) == 3
    assert_sound(both.athena)


@pytest.mark.parametrize(
    ("records", "first", "last"),
    [
        pytest.param(
            [event(id_of(1), eventTime="2026-01-30T23:59:59Z"), event(id_of(2), eventTime="2026-02-03T00:00:00Z")],
            "2026-01-30",
            "2026-02-03",
            id="days of events",
        ),
        pytest.param([foreign()], "2026-02-03", "2026-02-03", id="nothing wanted"),
    ],
)
def test_of_the_audit_table_only_the_days_of_the_events_are_read(records, first, last):
    # It is partitioned by day, grows for years, and is paid for by what is read.
    both = BothPaths()
    file = deliver(both, "20260203T1000Z", *records)
    assert both.push_down(DAY).files == 1
    assert ledger(both.athena)[file.uri]["filtered"] == (len(records) if first == last else 0)
    reading = [text for text in both.athena.statements if f"{both.athena.events} AS" in text]
    assert reading
    within = f"BETWEEN CAST('{first}' AS timestamp(6)) AND CAST('{last} 23:59:59.999999' AS timestamp(6))"
    assert all(text.count(f".event_time {within}") == 1 for text in reading)


def test_nothing_wanted_writes_the_ledger_alone():
    both = BothPaths()
    deliver(both, "20260203T1000Z", foreign())
    summary = both.push_down(DAY)
    assert (summary.files, summary.filtered) == (1, 1)
    assert not [text for text in both.athena.statements if text.startswith(f"MERGE INTO {both.athena.events}")]
