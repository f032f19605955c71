from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from itertools import permutations

import pytest

from airflow_provider_cloudtrail.audit_event import MAX_KEY_LENGTH
from airflow_provider_cloudtrail.trail.lookup import (
    SECOND,
    Span,
    lookup_uri,
    lookups_of,
    missing,
    names_only_data_events,
    span_of_uri,
)
from airflow_provider_cloudtrail.trail.selection import MWAA_EVENT_SOURCES, Selection

DAY = datetime(2026, 2, 3, tzinfo=timezone.utc)
RECORD = {"eventSource": "airflow.amazonaws.com", "eventName": "CreateEnvironment", "requestParameters": {"Name": "o"}}


def span(start: float, end: float) -> Span:
    return Span(DAY + start * SECOND, DAY + end * SECOND)


def test_spans_are_whole_seconds():
    found = Span(DAY + timedelta(milliseconds=300), DAY + timedelta(seconds=5, milliseconds=1))
    assert (found, found.last) == (span(0, 6), DAY + 5 * SECOND)
    assert Span(DAY, DAY + 5 * SECOND) == span(0, 5)
    assert not span(3, 3)
    assert str(span(0, 5)) == "2026-02-03T00:00:00Z to 2026-02-03T00:00:05Z"


def test_spans_are_in_utc_wherever_they_come_from():
    start = DAY.astimezone(timezone(timedelta(hours=9)))
    found = Span(start, start + 5 * SECOND)
    assert str(found) == "2026-02-03T00:00:00Z to 2026-02-03T00:00:05Z"
    assert "/20260203T000000Z-20260203T000005Z/" in lookup_uri("111122223333", "eu-west-1", found)


@pytest.mark.parametrize(
    ("known", "gaps"),
    [
        pytest.param([], [(10, 20)], id="nothing"),
        pytest.param([(10, 20)], [], id="everything"),
        pytest.param([(0, 30)], [], id="more"),
        pytest.param([(15, 20), (10, 15)], [], id="touching"),
        pytest.param([(12, 14), (16, 18)], [(10, 12), (14, 16), (18, 20)], id="holes"),
        pytest.param([(5, 12), (11, 13), (19, 25)], [(13, 19)], id="overlapping"),
        pytest.param([(11, 19), (12, 13)], [(10, 11), (19, 20)], id="nested"),
        pytest.param([(0, 10), (20, 30)], [(10, 20)], id="outside"),
        pytest.param([(0, 5), (25, 30)], [(10, 20)], id="far-outside"),
        pytest.param([(13, 13)], [(10, 20)], id="empty"),
    ],
)
def test_missing(known, gaps):
    assert missing(span(10, 20), [span(*bounds) for bounds in known]) == [span(*gap) for gap in gaps]


@pytest.mark.parametrize(
    ("selection", "attributes"),
    [
        pytest.param(Selection.of(), [f"EventSource={source}" for source in sorted(MWAA_EVENT_SOURCES)], id="sources"),
        pytest.param(Selection.of(event_sources=None), ["None"], id="everything"),
        pytest.param(
            Selection.of(event_names=["A", "B"]), ["EventName=A", "EventName=B"], id="as-many-names-as-sources"
        ),
        pytest.param(
            Selection.of(event_sources=["s"], event_names=["A", "B"]), ["EventSource=s"], id="fewer-sources-than-names"
        ),
        pytest.param(Selection.of(event_sources=None, event_names=["A"]), ["EventName=A"], id="names-alone"),
        # What an environment did elsewhere has any event source.
        pytest.param(Selection.of(include_environment_activity=True), ["None"], id="activity"),
        pytest.param(
            Selection.of(event_names=["A"], include_environment_activity=True), ["EventName=A"], id="activity-by-name"
        ),
    ],
)
def test_lookups(selection, attributes):
    lookups = lookups_of(selection)
    assert [str(lookup.attribute) for lookup in lookups] == attributes
    # Nothing that is wanted is left out, and each looks for no more than is wanted.
    assert all(selection.covers(lookup.selection) for lookup in lookups)
    # That one of them was answered says nothing of the others: a run may end between them.
    assert not any(one.selection.covers(other.selection) for one, other in permutations(lookups, 2))
    for name in ("A", "B", "CreateEnvironment"):
        for source in ("s", *MWAA_EVENT_SOURCES):
            record = {**RECORD, "eventName": name, "eventSource": source}
            assert selection.wants(record) == any(lookup.selection.wants(record) for lookup in lookups)


@pytest.mark.parametrize(
    ("selections", "attributes"),
    [
        pytest.param([(["s"], ["A"]), (["t"], ["B"])], {"EventName=A", "EventName=B"}, id="names"),
        pytest.param([(["s"], None, ["e"]), (["t"],)], {"EventSource=s", "EventSource=t"}, id="sources"),
        pytest.param([(None,), (["s"], None, ["e"])], {"None"}, id="what is covered by another"),
    ],
)
def test_lookups_of_several_selections(selections, attributes):
    one, other = (Selection.of(*selection) for selection in selections)
    assert {str(lookup.attribute) for lookup in lookups_of(one | other)} == attributes


@pytest.mark.parametrize(
    ("names", "only"),
    [
        pytest.param(None, False, id="all"),
        pytest.param(["CreateCliToken", "CreateWebLoginToken", "InvokeRestApi"], True, id="data"),
        pytest.param(["CreateCliToken", "CreateEnvironment"], False, id="both"),
    ],
)
def test_data_events(names, only):
    assert names_only_data_events(Selection.of(event_names=names)) is only


def test_uri_says_the_span():
    one, other = (lookup_uri("111122223333", "us-gov-east-1", span(10, 20)) for _ in range(2))
    assert one.startswith("event-history://111122223333/us-gov-east-1/20260203T000010Z-20260203T000020Z/")
    assert one != other
    assert len(one) < MAX_KEY_LENGTH
    assert span_of_uri(one) == span(10, 20)
    with pytest.raises(ValueError, match="no URI of a lookup"):
        span_of_uri("s3://bucket/key")


def test_uri_says_utc_whatever_the_zone_of_the_worker(monkeypatch):
    uri = lookup_uri("111122223333", "eu-west-1", span(10, 20))
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        found = span_of_uri(uri)
    time.tzset()
    assert found == span(10, 20)
