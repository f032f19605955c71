from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_cloudtrail.trail import search
from airflow_provider_cloudtrail.trail.search import SHORTEST_FOR_MEMMEM, places

LONG = b"." * SHORTEST_FOR_MEMMEM


@pytest.mark.parametrize("filling", [pytest.param(b"", id="short"), pytest.param(LONG, id="long")])
@pytest.mark.parametrize(
    ("wanted", "around", "expected"),
    [
        pytest.param(b"abc", lambda dots: dots + b"ab", [], id="nowhere"),
        pytest.param(b"abc", lambda dots: b"abc" + dots + b"abc", [0, -3], id="at both ends"),
        pytest.param(b"aa", lambda dots: b"aaaaa" + dots, [0, 2], id="without overlap"),
        pytest.param(b"a\x00b", lambda dots: b"\x00a\x00b" + dots + b"\x00\x00a\x00b", [1, -3], id="NUL"),
        pytest.param(b"\\", lambda dots: dots + b"\\\\", [-2, -1], id="one byte"),
        pytest.param(b"a" * 50, lambda dots: b"a" * 49, [], id="longer than the data"),
    ],
)
def test_places(wanted: bytes, around: Callable[[bytes], bytes], expected: list[int], filling: bytes) -> None:
    data = around(filling)
    assert list(places(wanted, data)) == [place if place >= 0 else len(data) + place for place in expected]


def test_it_says_the_same_as_bytes_find() -> None:
    data = bytes(range(256)) * 1024
    for wanted in (b"\x00", b"\xff\x00", b"\x7f\x80\x81", data[-300:]):
        expected = []
        place = data.find(wanted)
        while place >= 0:
            expected.append(place)
            place = data.find(wanted, place + len(wanted))
        assert list(places(wanted, data)) == expected


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_without_the_function_python_searches(error: type[Exception]) -> None:
    class Nothing(ctypes.CDLL):
        def __init__(self, *arguments: Any) -> None:
            raise error

    assert search._with_memmem(Nothing) is bytes.find
