"""Pages of Event history, over HTTP against the stand-in, on a simulated clock."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import pytest

from airflow_provider_cloudtrail.trail.event_history import EventHistory
from airflow_provider_cloudtrail.trail.lookup import Attribute, Span
from airflow_provider_cloudtrail.trail.lookup_errors import EventHistoryError, RegionRefusedError
from tests.support.event_history import (
    NOW,
    EventHistoryStandIn,
    RefusalError,
    SimulatedClock,
    client_of,
    management_events,
    served,
)
from tests.support.log_files import MWAA, event

REGION = "eu-west-1"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WHOLE = Span(NOW - 89 * DAY, NOW)


@pytest.fixture
def stand_in():
    with served(EventHistoryStandIn()) as running:
        yield running


def reader(stand_in, **arguments):
    return EventHistory(partial(client_of, stand_in), clock=stand_in.clock, chance=lambda: 1.0, **arguments)


def read(stand_in, history=None, span=WHOLE, attribute=None, region=REGION):
    history = history or reader(stand_in)
    return [
        json.loads(found.raw)["eventID"] for page in history.pages(region, attribute, span) for found in page.events
    ]


def ids(records):
    return sorted(record["eventID"] for record in records)


def test_every_page_once_newest_first(stand_in, caplog):
    records = management_events(333, REGION)
    stand_in.record(REGION, records)
    history = reader(stand_in)
    pages = list(history.pages(REGION, None, WHOLE))
    found = [found for page in pages for found in page.events]

    assert sorted(json.loads(one.raw)["eventID"] for one in found) == ids(records)
    assert [one.time for one in found] == sorted((one.time for one in found), reverse=True)
    assert [len(page.events) for page in pages] == [50] * 6 + [33]
    assert [page.is_last for page in pages] == [False] * 6 + [True]
    assert len(stand_in.asked) == history.requests == 7
    assert caplog.text == ""


def test_bounds_are_always_sent_and_belong_to_the_window(stand_in):
    at = NOW - DAY
    records = [event(f"{shift}", eventTime=f"{at + timedelta(seconds=shift):%Y-%m-%dT%H:%M:%SZ}") for shift in range(6)]
    stand_in.record(REGION, records)
    span = Span(at + timedelta(seconds=1), at + timedelta(seconds=4))

    assert read(stand_in, span=span) == ["3", "2", "1"]
    (asked,) = stand_in.asked
    assert (asked.parameters["StartTime"], asked.parameters["EndTime"]) == (at.timestamp() + 1, at.timestamp() + 3)


def test_window_of_one_second(stand_in):
    at = NOW - DAY
    stand_in.record(REGION, [event("a", eventTime=f"{at:%Y-%m-%dT%H:%M:%SZ}")])
    assert read(stand_in, span=Span(at, at + timedelta(seconds=1))) == ["a"]


def test_events_of_one_second_without_an_id_are_told_apart():
    described = [{"EventTime": NOW - HOUR, "CloudTrailEvent": f"[{number}]"} for number in range(4)]
    answers = [{"Events": described[:2], "NextToken": "t"}, {"Events": described[2:]}]
    client = SimpleNamespace(lookup_events=lambda **_: answers.pop(0))
    pages = EventHistory(lambda _: client, clock=SimulatedClock()).pages(REGION, None, WHOLE)
    assert [found.raw for page in pages for found in page.events] == ["[0]", "[1]", "[2]", "[3]"]


def test_the_service_selects_by_one_attribute(stand_in):
    stand_in.record(REGION, [event("a"), event("b", eventSource="s3.amazonaws.com")])
    stand_in.clock = SimulatedClock(NOW.replace(month=2, day=4))
    window = Span(stand_in.clock.now() - 80 * DAY, stand_in.clock.now())
    history = reader(stand_in)
    assert read(stand_in, history, window, Attribute("EventSource", MWAA)) == ["a"]
    assert read(stand_in, history, window, Attribute("EventName", "Nothing")) == []
    assert sorted(read(stand_in, history, window)) == ["a", "b"]


def test_an_empty_window_is_one_request(stand_in):
    (page,) = reader(stand_in).pages(REGION, None, WHOLE)
    assert (page.events, page.is_last, page.oldest, len(stand_in.asked)) == ([], True, WHOLE.end, 1)


@pytest.mark.parametrize("latency", [0.0, 0.12, 0.9])
def test_pace(stand_in, latency):
    """Never throttled when alone, and no slower than that needs."""
    stand_in.latency = latency
    stand_in.record(REGION, management_events(2_000, REGION))
    history = reader(stand_in)
    assert len(read(stand_in, history)) == 2_000
    assert history.throttled == 0
    assert stand_in.clock.passed <= max(0.5, latency) * 40 * 1.02 + latency


def test_one_pace_for_all_regions(stand_in):
    history = reader(stand_in)
    for region in ("eu-west-1", "us-east-1") * 20:
        assert read(stand_in, history, region=region) == []
    assert history.throttled == 0
    assert stand_in.clock.passed <= 40 * 0.5 * 1.02


def test_throttling_is_waited_out(stand_in):
    """Somebody at the console uses up the quota for three seconds."""
    stand_in.others = sorted([5 + index / 2 for index in range(6)] * 2)
    records = management_events(1_000, REGION)
    stand_in.record(REGION, records)
    history = reader(stand_in)

    assert sorted(read(stand_in, history)) == ids(records)
    assert 1 <= history.throttled <= 4
    assert history.requests == 20 + history.throttled
    assert stand_in.clock.passed <= 20 * 0.5 * 1.02 + 3 + 4


def test_back_off_grows_and_ends(stand_in):
    stand_in.quota = 0
    with pytest.raises(EventHistoryError, match=r"throttled for 600 seconds.*goes on from here") as raised:
        read(stand_in)
    assert not isinstance(raised.value, RegionRefusedError)
    assert len(stand_in.asked) < 30
    moments = [asked.at for asked in stand_in.asked]
    pauses = [round(after - before, 3) for before, after in pairwise(moments)]
    assert pauses == sorted(pauses)
    assert 600 < stand_in.clock.passed < 640


def test_expired_tokens_cost_one_request_each(stand_in):
    stand_in.tokens_lost = frozenset({2, 3, 7})
    records = management_events(600, REGION)
    stand_in.record(REGION, records)
    history = reader(stand_in)

    assert sorted(read(stand_in, history)) == ids(records)
    assert history.resumed == 3
    # Each goes on in the last second that was read, which can be two events.
    assert len(stand_in.asked) <= 12 + 2 * 3 + 1


def test_a_consumer_that_is_slower_than_the_tokens_live(stand_in):
    stand_in.token_lifetime = 30
    # More tokens than may expire without a page between them.
    records = management_events(400, REGION)
    stand_in.record(REGION, records)
    found = []
    for page in reader(stand_in).pages(REGION, None, WHOLE):
        found += [json.loads(one.raw)["eventID"] for one in page.events]
        stand_in.clock.sleep(31)
    assert sorted(found) == ids(records)


def test_window_that_drops_out_before_its_first_page(stand_in):
    stand_in.record(REGION, [event("a", eventTime=f"{NOW - DAY:%Y-%m-%dT%H:%M:%SZ}")])
    stand_in.refusals = {1: RefusalError("InvalidTimeRangeException")}
    assert read(stand_in) == ["a"]
    assert [asked.parameters["EndTime"] for asked in stand_in.asked] == [WHOLE.last.timestamp()] * 2


def test_more_events_in_one_second_than_a_page_holds(stand_in):
    at = f"{NOW - DAY:%Y-%m-%dT%H:%M:%SZ}"
    records = [event(f"{index:04}", eventTime=at) for index in range(180)]
    stand_in.record(REGION, records)
    stand_in.tokens_lost = frozenset({2})
    assert sorted(read(stand_in)) == ids(records)


def test_tokens_that_are_never_good_end_with_an_error(stand_in):
    at = f"{NOW - DAY:%Y-%m-%dT%H:%M:%SZ}"
    stand_in.record(REGION, [event(f"{index:04}", eventTime=at) for index in range(180)])
    stand_in.tokens_lost = frozenset(range(100))
    with pytest.raises(EventHistoryError, match=r"InvalidNextTokenException.*6 times in a row.*run this again"):
        read(stand_in)


def test_events_that_appear_while_it_reads(stand_in):
    """They are newer than the pages to come, and move none of them."""
    records = management_events(150, REGION)
    stand_in.record(REGION, records)
    found = []
    for page in reader(stand_in).pages(REGION, None, WHOLE):
        found += [json.loads(one.raw)["eventID"] for one in page.events]
        stand_in.record(REGION, management_events(10, REGION, days=0.01, prefix=f"late-{len(found)}-"))
    assert sorted(found) == ids(records)


def test_ninety_days_go_by_while_it_reads(stand_in):
    """A window that begins at the far end of Event history, read so slowly that its begin drops out."""
    stand_in.token_lifetime = 3_000
    old = management_events(200, REGION, newest=NOW - 89 * DAY, days=1)
    stand_in.record(REGION, old)
    history = reader(stand_in)
    pages = []
    for page in history.pages(REGION, None, Span(history.earliest(), NOW)):
        pages.append(page)
        stand_in.clock.sleep(1_800)

    assert [asked.code for asked in stand_in.asked].count("InvalidTimeRangeException") >= 1
    kept = {found.identity for page in pages for found in page.events}
    begin = pages[-1].since
    assert begin > NOW - 90 * DAY + timedelta(minutes=25)
    assert kept >= {record["eventID"] for record in old if record["eventTime"] >= f"{begin:%Y-%m-%dT%H:%M:%SZ}"}


def test_a_window_that_drops_out_altogether(stand_in):
    history = reader(stand_in)
    span = Span(history.earliest(), history.earliest() + timedelta(minutes=5))
    stand_in.clock.sleep(3_600)
    (page,) = history.pages(REGION, None, span)
    assert (page.events, page.is_last) == ([], True)
    assert stand_in.asked == []


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param(RefusalError("InternalFailure", status=500), id="500"),
        pytest.param(RefusalError("ServiceUnavailable", status=503), id="503"),
        pytest.param(RefusalError("SomethingNew", status=502), id="unknown-5xx"),
        pytest.param(RefusalError("RequestTimeout", status=400), id="timeout"),
        pytest.param(None, id="connection-closed"),
    ],
)
def test_no_answer_is_tried_again(stand_in, refusal):
    records = management_events(120, REGION)
    stand_in.record(REGION, records)
    stand_in.refusals = {2: refusal, 3: refusal}
    assert sorted(read(stand_in)) == ids(records)
    assert len(stand_in.asked) == 5


@pytest.mark.parametrize(
    "code",
    ["ThrottlingException", "Throttling", "ThrottledException", "RequestLimitExceeded", "TooManyRequestsException"],
)
def test_throttling_is_waited_out_whatever_it_is_called(stand_in, code):
    # More often than what is no answer is asked for again.
    stand_in.refusals = dict.fromkeys(range(1, 7), RefusalError(code))
    history = reader(stand_in)
    assert read(stand_in, history) == []
    assert history.throttled == 6


@pytest.mark.parametrize("headers", [{}, {"content-length": "2"}], ids=["length unknown", "nothing in it"])
def test_an_answer_without_events_is_one(headers):
    answer = {"ResponseMetadata": {"HTTPHeaders": headers}}
    history = EventHistory(
        lambda _: SimpleNamespace(lookup_events=lambda **_: answer), clock=SimulatedClock(), chance=lambda: 1.0
    )
    (page,) = history.pages(REGION, None, WHOLE)
    assert (page.events, page.is_last, history.requests) == ([], True, 1)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_answer_that_breaks_off_is_asked_for_again(stand_in, number):
    records = management_events(120, REGION)
    stand_in.record(REGION, records)
    stand_in.cut_off = frozenset((number,))
    assert sorted(read(stand_in)) == ids(records)
    assert len(stand_in.asked) == 4


def test_a_region_that_never_answers(stand_in):
    stand_in.closed = {REGION: RefusalError("InternalFailure", status=500)}
    with pytest.raises(RegionRefusedError, match="eu-west-1: LookupEvents: InternalFailure"):
        read(stand_in)
    assert len(stand_in.asked) == 4


@pytest.mark.parametrize(
    ("refusal", "kind", "message"),
    [
        pytest.param(
            RefusalError("AccessDeniedException", "User: x is not authorized"),
            RegionRefusedError,
            "User: x is not authorized; allow cloudtrail:LookupEvents",
            id="denied",
        ),
        *(
            pytest.param(RefusalError(code), kind, message, id=code)
            for code, kind, message in (
                ("AccessDenied", RegionRefusedError, "allow cloudtrail:LookupEvents"),
                ("OptInRequired", RegionRefusedError, "this Region is not enabled"),
                ("UnrecognizedClientException", RegionRefusedError, "this Region is not enabled"),
                ("InvalidClientTokenId", RegionRefusedError, "this Region is not enabled"),
                ("ExpiredToken", EventHistoryError, "credentials of aws_conn_id have expired"),
                ("RequestExpired", EventHistoryError, "credentials of aws_conn_id have expired"),
            )
        ),
        pytest.param(
            RefusalError("ExpiredTokenException"),
            EventHistoryError,
            "credentials of aws_conn_id have expired",
            id="old",
        ),
        pytest.param(
            RefusalError("SomethingNew"), EventHistoryError, "eu-west-1: LookupEvents: SomethingNew", id="new"
        ),
    ],
)
def test_refusals_are_not_tried_again(stand_in, refusal, kind, message):
    stand_in.refusals = {1: refusal}
    with pytest.raises(EventHistoryError, match=message) as raised:
        read(stand_in)
    assert type(raised.value) is kind
    assert len(stand_in.asked) == 1


def test_no_network():
    """Nobody listens on the port; tried four times, then the message names what to do."""
    stand_in = EventHistoryStandIn(endpoint="http://127.0.0.1:9")
    with pytest.raises(RegionRefusedError, match=r"does not answer .EndpointConnectionError.*VPC endpoint"):
        read(stand_in)


def test_no_credentials():
    from botocore.exceptions import NoCredentialsError

    def client_of(region):
        raise NoCredentialsError

    with pytest.raises(EventHistoryError, match="could not be called: NoCredentialsError"):
        list(EventHistory(client_of, clock=SimulatedClock()).pages(REGION, None, WHOLE))


def test_role_that_cannot_be_assumed_is_told_nothing_of_lookups():
    from botocore.exceptions import ClientError

    def client_of(region):
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no right to sts:AssumeRole"}}, "AssumeRole")

    with pytest.raises(RegionRefusedError, match=r"AssumeRole: AccessDenied: no right to sts:AssumeRole$"):
        list(EventHistory(client_of, clock=SimulatedClock()).pages(REGION, None, WHOLE))


def test_an_error_that_is_not_the_clients_is_passed_on():
    def client_of(region):
        raise KeyError(region)

    with pytest.raises(KeyError):
        list(EventHistory(client_of, clock=SimulatedClock()).pages(REGION, None, WHOLE))


def test_a_service_that_breaks_its_order_is_named(caplog):
    answers = [
        {"Events": [{"EventId": "a", "EventTime": NOW - HOUR, "CloudTrailEvent": "{}"}], "NextToken": "t"},
        {
            "Events": [{"EventId": "b", "EventTime": NOW - HOUR / 2, "CloudTrailEvent": "{}"}, {"EventId": "c"}],
            "NextToken": "",
        },
    ]

    class Client:
        def lookup_events(self, **_):
            return answers.pop(0)

    with caplog.at_level(logging.WARNING):
        history = EventHistory(lambda _: Client(), clock=SimulatedClock())
        found = [found for page in history.pages(REGION, None, WHOLE) for found in page.events]
    assert [one.identity for one in found] == ["a", "b", "c"]
    assert found[2].raw is None
    assert "newer events came behind" in caplog.text
