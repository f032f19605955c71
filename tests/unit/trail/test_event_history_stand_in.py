"""The stand-in for Event history refuses what the service refuses, or the tests over it would show nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from botocore.exceptions import ClientError

from tests.support.event_history import NOW, EventHistoryStandIn, client_of, management_events, served

REGION = "eu-west-1"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def stand_in():
    with served(EventHistoryStandIn()) as running:
        yield running


@pytest.fixture
def client(stand_in):
    stand_in.record(REGION, management_events(120, REGION))
    return client_of(stand_in, REGION)


def refused(client, **parameters):
    with pytest.raises(ClientError) as raised:
        client.lookup_events(**parameters)
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    return raised.value.response["Error"]["Code"]


def test_a_token_with_other_parameters(client, stand_in):
    stand_in.quota = None
    first = {"StartTime": NOW - 80 * DAY, "EndTime": NOW}
    token = client.lookup_events(**first)["NextToken"]
    assert refused(client, **{**first, "EndTime": NOW - HOUR}, NextToken=token) == "InvalidNextTokenException"
    assert refused(client, **first, NextToken="token-99") == "InvalidNextTokenException"


def test_the_third_request_of_a_second(client, stand_in):
    stand_in.latency = 0
    for _ in range(2):
        client.lookup_events()
    assert refused(client) == "ThrottlingException"
    stand_in.clock.sleep(1)
    client.lookup_events()


def test_an_expired_token(client, stand_in):
    token = client.lookup_events(StartTime=NOW - 80 * DAY, EndTime=NOW)["NextToken"]
    stand_in.clock.sleep(61)
    window = {"StartTime": NOW - 80 * DAY, "EndTime": NOW}
    assert refused(client, **window, NextToken=token) == "InvalidNextTokenException"


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        pytest.param({"StartTime": NOW, "EndTime": NOW - HOUR}, "InvalidTimeRangeException", id="reversed"),
        pytest.param({"StartTime": NOW - 91 * DAY, "EndTime": NOW}, "InvalidTimeRangeException", id="too-old"),
        pytest.param(
            {"LookupAttributes": [{"AttributeKey": "EventName", "AttributeValue": "x"}] * 2},
            "InvalidLookupAttributesException",
            id="two-attributes",
        ),
        pytest.param(
            {"LookupAttributes": [{"AttributeKey": "AwsRegion", "AttributeValue": "x"}]},
            "ValidationException",
            id="no-such-attribute",
        ),
    ],
)
def test_parameters(client, parameters, code):
    assert refused(client, **parameters) == code


def test_events_appear_late(client, stand_in):
    stand_in.record(REGION, management_events(1, REGION, newest=NOW - timedelta(minutes=9), prefix="new-"))
    newest = lambda: client.lookup_events(StartTime=NOW - DAY, EndTime=NOW)["Events"][0]["EventId"]  # noqa: E731
    assert not newest().startswith("new-")
    stand_in.clock.sleep(60)
    assert newest().startswith("new-")
