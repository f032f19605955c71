from __future__ import annotations

import time
from datetime import timedelta

import pytest

from airflow_provider_cloudtrail.exceptions import CloudTrailEventHistoryError
from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.trail.lookup import Attribute
from tests.support.event_history import NOW, EventHistoryStandIn, RefusalError, management_events, served
from tests.support.event_history_face import connect
from tests.support.log_files import MWAA

DAY = timedelta(days=1)
REGION = "eu-west-1"


@pytest.fixture
def stand_in(monkeypatch):
    with served(EventHistoryStandIn()) as running:
        # There is no warehouse.
        connect(monkeypatch, running, hook=None)
        yield running


def test_finds_records_and_says_what_to_allow(stand_in):
    stand_in.record(REGION, management_events(60, REGION))
    stand_in.quota = None
    hook = CloudTrailHook(region_name=REGION)
    attribute = Attribute("EventSource", MWAA)
    found = list(hook.lookup_events(NOW - 89 * DAY, NOW, regions=[REGION], attribute=attribute))
    assert [record["eventID"] for record in found[:2]] == [f"{REGION}-000000", f"{REGION}-000001"]
    assert len(found) == 60

    stand_in.closed = {REGION: RefusalError("AccessDeniedException")}
    with pytest.raises(CloudTrailEventHistoryError, match="allow cloudtrail:LookupEvents"):
        list(hook.lookup_events(NOW - DAY, NOW, regions=[REGION]))


def test_takes_one_region_and_times_without_a_zone_as_utc(stand_in):
    stand_in.record(REGION, management_events(60, REGION))
    stand_in.quota = None
    hook = CloudTrailHook(region_name=REGION)
    expected = list(hook.lookup_events(NOW - DAY, NOW, regions=[REGION]))
    assert expected
    start, end = (moment.replace(tzinfo=None) for moment in (NOW - DAY, NOW))
    with pytest.MonkeyPatch.context() as elsewhere:
        elsewhere.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        found = list(hook.lookup_events(start, end, regions=REGION))
    time.tzset()
    assert found == expected


def test_refuses_what_can_find_nothing(stand_in):
    hook = CloudTrailHook(region_name=REGION)
    with pytest.raises(ValueError, match="is not before end="):
        list(hook.lookup_events(NOW, NOW - DAY, regions=REGION))
    with pytest.raises(ValueError, match="regions is not set"):
        list(hook.lookup_events(NOW - DAY, NOW, regions=None))
    with pytest.raises(ValueError, match="is no Region"):
        list(hook.lookup_events(NOW - DAY, NOW, regions="eu-west1"))
    with pytest.raises(ValueError, match=r"attribute='EventSource=x' is no Attribute; write Attribute\("):
        list(hook.lookup_events(NOW - DAY, NOW, regions=REGION, attribute="EventSource=x"))
