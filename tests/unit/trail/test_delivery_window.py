from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow


def utc(*moment: int) -> datetime:
    return datetime(*moment, tzinfo=timezone.utc)  # type: ignore[misc,arg-type]


STAMP = utc(2026, 2, 3, 10, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param((STAMP, STAMP), "is empty", id="empty"),
        pytest.param((STAMP, STAMP - timedelta(minutes=1)), "the end must be later", id="reversed"),
        pytest.param((datetime(2026, 2, 3), utc(2026, 2, 4)), "time zone", id="no zone"),
        pytest.param((utc(2026, 2, 3), datetime(2026, 2, 4)), "time zone", id="no zone at the end"),
        pytest.param(
            (STAMP, utc(2026, 2, 4), timedelta(seconds=-1)), "^lookback=.*zero or more", id="negative lookback"
        ),
        pytest.param(
            (STAMP, utc(2026, 2, 4), timedelta(0), timedelta(seconds=-1)),
            "^settle=.*zero or more",
            id="negative settle",
        ),
        pytest.param((STAMP, utc(2026, 2, 4), 86_400), "^lookback=86400 is no duration", id="lookback is a number"),
        pytest.param((STAMP, utc(2026, 2, 4), timedelta(0), None), "^settle=None is no duration", id="no settle"),
        pytest.param(("2026-02-03", "2026-02-04"), "two datetimes, not '2026-02-03' and '2026-02-04'", id="texts"),
        pytest.param(("2026-02-03", utc(2026, 2, 4)), "two datetimes", id="start is a text"),
        pytest.param((STAMP, "2026-02-04"), "two datetimes.*; write for instance datetime", id="end is a text"),
    ],
)
def test_windows_that_are_refused(arguments: tuple[datetime, datetime], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DeliveryWindow(*arguments)


def test_window_and_its_margins() -> None:
    window = DeliveryWindow(utc(2026, 2, 3), utc(2026, 2, 4), timedelta(days=1), timedelta(hours=1))
    assert [
        (window.reads(moment), window.covers(moment))
        for moment in (
            utc(2026, 2, 1, 23, 59),
            utc(2026, 2, 2),
            utc(2026, 2, 2, 23, 59),
            utc(2026, 2, 3),
            utc(2026, 2, 3, 23, 59),
            utc(2026, 2, 4),
            utc(2026, 2, 4, 0, 59),
            utc(2026, 2, 4, 1, 0),
        )
    ] == [
        (False, False),
        (True, False),
        (True, False),
        (True, True),
        (True, True),
        (True, False),
        (True, False),
        (False, False),
    ]


def test_window_within_a_minute_reads_the_stamp_of_that_minute() -> None:
    window = DeliveryWindow(utc(2026, 2, 3, 10, 0, 30, 500), utc(2026, 2, 3, 10, 0, 40))
    assert window.reads(STAMP)
    assert not window.reads(STAMP - timedelta(minutes=1))


def test_window_in_another_zone() -> None:
    zone = timezone(timedelta(hours=9))
    window = DeliveryWindow(datetime(2026, 2, 3, tzinfo=zone), datetime(2026, 2, 4, tzinfo=zone))
    assert (window.floor, window.ceiling) == (utc(2026, 2, 2, 15), utc(2026, 2, 3, 15))
