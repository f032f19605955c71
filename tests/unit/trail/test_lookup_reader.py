from __future__ import annotations

import json
import random
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.audit_event import COMPLETE, RECENT
from airflow_provider_cloudtrail.trail.event_history import HistoryEvent, Page
from airflow_provider_cloudtrail.trail.lookup import SECOND, Attribute, Lookup, Span, missing, span_of_uri
from airflow_provider_cloudtrail.trail.lookup_reader import BYTES_IN_A_PART, Part, Parts, read_part
from airflow_provider_cloudtrail.trail.selection import Selection
from tests.support.log_files import ACCOUNT, REGION, event

START = datetime(2026, 2, 3, tzinfo=timezone.utc)
WINDOW = Span(START, START + 1_000 * SECOND)
LATER = WINDOW.end + timedelta(days=1)


def at(second: int, raw: str | None = "{}") -> HistoryEvent:
    return HistoryEvent(START + second * SECOND, raw, f"{second}-{id(raw)}")


def pages(*groups, complete=True, since=START):
    oldest = WINDOW.end
    for number, group in enumerate(groups):
        events = [at(second) for second in group]
        oldest = min([oldest, *(found.time for found in events)])
        yield Page(events, oldest, LATER, since, complete and number == len(groups) - 1)


def parts_of(given, settled=LATER, size=4):
    parts = Parts(WINDOW, settled, size)
    found = [part for page in given for part in parts.add(page)]
    return found, parts


def described(parts):
    return [
        (
            int((part.span.start - START).total_seconds()),
            int((part.span.end - START).total_seconds()),
            [int((found.time - START).total_seconds()) for found in part.events],
            part.status,
        )
        for part in parts
    ]


def test_a_part_ends_where_nothing_newer_can_follow():
    found, _ = parts_of(pages([900, 800], [700, 700], [700, 600], [600, 500], [400]))
    assert described(found) == [
        # Of second 700, more comes on the next page.
        (701, 1000, [900, 800], COMPLETE),
        (601, 701, [700, 700, 700], COMPLETE),
        (0, 601, [600, 600, 500, 400], COMPLETE),
    ]


def test_more_events_in_one_second_than_a_part():
    found, _ = parts_of(pages([900], *([[500, 500]] * 6), [1]))
    # The second itself is never divided: it is stored when the page behind it is there.
    assert described(found) == [(501, 1000, [900], COMPLETE), (0, 501, [*([500] * 12), 1], COMPLETE)]


def test_a_part_is_ended_before_large_records_fill_the_memory():
    third = "x" * (BYTES_IN_A_PART // 3 + 1)
    seconds = (900, 800, 700, 600, 500)
    given = [
        Page([at(second, third), at(second, None)], START + second * SECOND, LATER, START, second == 500)
        for second in seconds
    ]
    found, _ = parts_of(given, size=100)
    assert described(found) == [
        (701, 1000, [900, 900, 800, 800], COMPLETE),
        (0, 701, [700, 700, 600, 600, 500, 500], COMPLETE),
    ]


def test_what_may_still_appear_is_not_complete():
    found, _ = parts_of(pages([900, 800, 700]), settled=START + 800 * SECOND)
    assert described(found) == [(800, 1000, [900, 800], RECENT), (0, 800, [700], COMPLETE)]


def test_an_empty_recent_end_needs_no_entry():
    found, _ = parts_of(pages([]), settled=START + 800 * SECOND)
    assert described(found) == [(0, 800, [], COMPLETE)]


@pytest.mark.parametrize("settled", [pytest.param(-10, id="before"), pytest.param(0, id="at-the-start")])
def test_all_of_it_is_recent(settled):
    found, _ = parts_of(pages([900, 800], [5]), settled=START + settled * SECOND)
    assert described(found) == [(0, 1000, [900, 800, 5], RECENT)]


def test_a_lookup_that_breaks_off():
    found, parts = parts_of(pages([900, 800], [700], complete=False))
    assert found == []
    assert described(parts.rest()) == [(701, 1000, [900, 800], COMPLETE)]
    assert described(parts.rest()) == []


def test_a_lookup_that_breaks_off_before_its_first_page():
    assert list(Parts(WINDOW, LATER).rest()) == []


def test_what_was_not_asked_for_is_not_complete():
    """Its begin had become older than 90 days."""
    found, _ = parts_of(pages([900], since=START + 300 * SECOND))
    assert described(found) == [(300, 1000, [900], COMPLETE)]


def test_what_was_read_of_a_begin_that_dropped_out_is_kept():
    found, _ = parts_of(pages([900, 800, 700, 200], [], since=START + 300 * SECOND))
    assert sum(len(part.events) for part in found) == 4


def test_events_outside_of_what_was_asked_are_kept():
    found, _ = parts_of(pages([1_200, 900], [800, 950], [-5, 10]))
    assert sorted(found for part in described(found) for found in part[2]) == [-5, 10, 800, 900, 950, 1_200]
    # What lies beyond was not asked for, and other events of it are not known.
    assert all(WINDOW.start <= part.span.start and part.span.end <= WINDOW.end for part in found)


@pytest.mark.parametrize("seed", range(50))
def test_every_event_is_in_one_part_and_every_second_too(seed):
    chance = random.Random(seed)
    seconds = sorted((chance.randrange(chance.choice([10, 1_000])) for _ in range(chance.randrange(60))), reverse=True)
    size = chance.randrange(1, 8)
    groups = [seconds[index : index + size] for index in range(0, len(seconds), size)] or [[]]
    settled = START + chance.randrange(-100, 1_200) * SECOND
    found, _ = parts_of(pages(*groups), settled, chance.randrange(1, 20))

    assert sorted(second for part in described(found) for second in part[2]) == sorted(seconds)
    for part in found:
        assert all(part.span.start <= one.time < part.span.end for one in part.events)
        assert (part.status == COMPLETE) == (part.span.end <= max(settled, START))
    spans = [part.span for part in found]
    assert sum((span.end - span.start for span in spans), timedelta()) <= WINDOW.end - WINDOW.start
    settled_part = Span(START, max(START, min(settled, WINDOW.end)))
    assert missing(settled_part, [part.span for part in found if part.status == COMPLETE]) == []


def test_rows_and_balance():
    records = [
        json.dumps(event("a", eventName="CreateEnvironment")),
        json.dumps(event("b", eventSource="s3.amazonaws.com")),
        json.dumps(event("c", eventTime=None)),
        "no json, secret-value",
        None,
        "[1]",
        '{"eventID": "\ud800"',
        json.dumps(event("d", responseElements={"CliToken": "secret-value"})),
    ]
    part = Part(WINDOW, [at(900 - index, raw) for index, raw in enumerate(records)], COMPLETE, LATER)
    lookup = Lookup(Attribute("EventName", "x"), Selection.of())
    result = read_part(part, lookup, ACCOUNT, REGION, loaded_by="me", now=LATER)
    entry = result.entry

    assert [row.event_id for row in result.rows] == ["a", "d"]
    assert (entry.events, entry.filtered, entry.quarantined, entry.status) == (8, 1, 5, COMPLETE)
    assert [(found.record_index, found.reason.partition(":")[0]) for found in result.quarantine] == [
        (2, "no_event_time"),
        (3, "not_an_object"),
        (4, "no_record"),
        (5, "not_an_object"),
        (6, "invalid_utf8"),
    ]
    assert {found.log_file_uri for found in result.quarantine} == {entry.lookup_uri}
    assert (result.quarantine[2].raw, result.quarantine[2].quarantined_at) == (None, LATER)
    assert entry.lookup_uri.startswith(f"event-history://{ACCOUNT}/{REGION}/")
    assert (entry.account_id, entry.region, entry.loaded_at, entry.loaded_by) == (ACCOUNT, REGION, LATER, "me")
    assert span_of_uri(entry.lookup_uri) == WINDOW
    assert (entry.window_from, entry.window_to, entry.lookup_attribute) == (WINDOW.start, WINDOW.end, "EventName=x")
    row = result.rows[0]
    assert (row.log_file_uri, row.log_file_index, row.delivered_at) == (entry.lookup_uri, 0, LATER)
    assert (row.loaded_by, row.raw_event) == ("me", records[0])
    assert result.rows[1].redacted == 1
    assert "secret-value" not in str(result.rows) + str([found.reason for found in result.quarantine])


def test_what_was_looked_up_without_an_attribute_has_none():
    lookup = Lookup(None, Selection.of(event_sources=None))
    result = read_part(Part(WINDOW, [], RECENT, LATER), lookup, ACCOUNT, REGION, loaded_by=None, now=LATER)
    assert (result.entry.lookup_attribute, result.entry.status) == (None, RECENT)
    assert result.entry.selection == lookup.selection.to_text()
