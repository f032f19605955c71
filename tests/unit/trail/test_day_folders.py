from __future__ import annotations

from datetime import datetime, timezone

import pytest

from airflow_provider_cloudtrail.trail.day_folders import first_key, is_behind
from tests.support.log_files import ACCOUNT, key_of

STAMP = datetime(2026, 2, 3, 10, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize("unique", ["_0000000000000000", "_zzzzzzzzzzzzzzzz", "0a", "zz"])
def test_first_key_misses_no_stamp_of_the_window(unique: str) -> None:
    folder = f"AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/"
    start = first_key(folder, ACCOUNT, "eu-west-1", STAMP)
    name = f"{folder}2026/02/03/{ACCOUNT}_CloudTrail_eu-west-1_20260203T{{}}Z{unique}.json.gz"
    assert name.format("1000") > start
    assert name.format("0959") < start


@pytest.mark.parametrize(
    ("clock", "day"), [("0000", "02"), ("0059", "02"), ("0100", "03"), ("1000", "03"), ("2359", "03")]
)
def test_listing_starts_in_the_folder_of_the_day_before_only_behind_midnight(clock: str, day: str) -> None:
    floor = STAMP.replace(hour=int(clock[:2]), minute=int(clock[2:]))
    name = f"{ACCOUNT}_CloudTrail_eu-west-1_20260203T{clock}Z"
    assert first_key("f/", ACCOUNT, "eu-west-1", floor) == f"f/2026/02/{day}/{name}"


@pytest.mark.parametrize(("clock", "behind"), [("1000", True), ("2300", True), ("2301", False), ("2359", False)])
def test_listing_goes_on_in_the_folder_of_the_next_day_only_before_midnight(clock: str, behind: bool) -> None:
    ceiling = STAMP.replace(hour=int(clock[:2]), minute=int(clock[2:]))
    assert is_behind("f/2026/02/04/x", "f/", ceiling) is behind
    assert is_behind("f/2026/02/05/x", "f/", ceiling)


@pytest.mark.parametrize(
    ("stamp", "behind"),
    [
        pytest.param("20260202T2359Z", False, id="day before the end"),
        pytest.param("20260203T2359Z", False, id="same day"),
        pytest.param("20260204T0000Z", True, id="next day"),
        pytest.param("20270101T0000Z", True, id="next year"),
    ],
)
def test_listing_ends_behind_the_day_of_the_ceiling(stamp: str, behind: bool) -> None:
    assert is_behind(key_of(stamp), f"AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/", STAMP) is behind
