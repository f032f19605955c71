from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_provider_cloudtrail.trail.fields import boolean, http_status, member, moment, text

AT = datetime(2026, 2, 3, 9, 58, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        pytest.param({"a": 1}, {"a": 1}, id="object"),
        pytest.param(None, {}, id="null"),
        pytest.param("HIDDEN", {}, id="text"),
        pytest.param([{"a": 1}], {}, id="list"),
        pytest.param(0, {}, id="number"),
    ],
)
def test_member(value: Any, found: dict[str, Any]) -> None:
    assert member({"x": value}, "x") == found
    assert member({}, "x") == {}


@pytest.mark.parametrize(
    ("value", "found"),
    [
        pytest.param("x", "x", id="text"),
        pytest.param(" ", " ", id="space is kept"),
        pytest.param("", None, id="empty"),
        pytest.param(None, None, id="null"),
        pytest.param(200, "200", id="number"),
        pytest.param(0, "0", id="zero"),
        pytest.param(False, "false", id="boolean"),
        pytest.param({"a": "é"}, '{"a": "é"}', id="object"),
        pytest.param([], "[]", id="list"),
    ],
)
def test_text(value: Any, found: str | None) -> None:
    assert text(value) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        pytest.param(True, True, id="true"),
        pytest.param(False, False, id="false"),
        pytest.param("true", True, id="as text"),
        pytest.param(" False ", False, id="as text, leniently"),
        pytest.param("yes", None, id="another word"),
        pytest.param(1, None, id="number"),
        pytest.param(None, None, id="null"),
        pytest.param([], None, id="list"),
    ],
)
def test_boolean(value: Any, found: bool | None) -> None:
    assert boolean(value) is found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        pytest.param(200, 200, id="number"),
        pytest.param("404", 404, id="as text"),
        pytest.param(100, 100, id="smallest"),
        pytest.param(999, 999, id="largest"),
        pytest.param(99, None, id="too small"),
        pytest.param(1000, None, id="too large"),
        pytest.param(True, None, id="boolean"),
        pytest.param(200.0, None, id="fraction"),
        pytest.param("\uff12\uff10\uff10", None, id="digits of another script"),
        pytest.param("2000", None, id="long text"),
        pytest.param("0200", None, id="text with a zero before it"),
        pytest.param("***", None, id="masked"),
        pytest.param(10**40, None, id="enormous"),
        pytest.param(None, None, id="null"),
    ],
)
def test_http_status(value: Any, found: int | None) -> None:
    assert http_status(value) == found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        pytest.param("2026-02-03T09:58:00Z", AT, id="as CloudTrail writes it"),
        pytest.param("2026-02-03T09:58:00", AT, id="no zone is UTC"),
        pytest.param("2026-02-03T10:58:00+01:00", AT, id="another zone"),
        pytest.param("2026-02-03t09:58:00z", AT, id="small letters"),
        pytest.param("2026-02-03T09:58:00.123456789z", AT.replace(microsecond=123_456), id="nanoseconds, a small z"),
        pytest.param(" 2026-02-03T09:58:00Z ", AT, id="spaces around"),
        pytest.param("20260203T095800Z", AT, id="basic format"),
        pytest.param("20260203T095800", AT, id="basic format, no zone"),
        pytest.param("2026-02-03 09:58:00", AT, id="space in place of T"),
        pytest.param("2026-02-03T09:58:00.25Z", AT.replace(microsecond=250_000), id="fraction"),
        pytest.param("2026-02-03T09:58:00.123456789Z", AT.replace(microsecond=123_456), id="nanoseconds"),
        pytest.param("2026-02-03", None, id="day alone"),
        pytest.param("2026-02-03T09:58", AT, id="no seconds"),
        pytest.param("2026-02-03T09", None, id="hour alone"),
        pytest.param("2026-02-30T09:58:00Z", None, id="no such day"),
        pytest.param("2026-02-03T24:58:00Z", None, id="no such hour"),
        pytest.param("Feb 3, 2026 9:58:00 AM", None, id="another format"),
        pytest.param("0001-01-01T00:00:00+14:00", None, id="before all times"),
        pytest.param("9999-12-31T23:59:59-14:00", None, id="behind all times"),
        pytest.param("", None, id="empty"),
        pytest.param(1770112680, None, id="number"),
        pytest.param(None, None, id="null"),
    ],
)
def test_moment(value: Any, found: datetime | None) -> None:
    assert moment(value) == found
    if found is not None:
        assert moment(value).tzinfo is timezone.utc  # type: ignore[union-attr]


def test_time_without_a_zone_is_utc_whatever_the_zone_of_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        found = moment("2026-02-03T09:58:00.0")
    time.tzset()
    assert found == AT
