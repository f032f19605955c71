from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_cloudtrail.trail import search
from airflow_provider_cloudtrail.trail.search import SHORTEST_FOR_C, SHORTEST_UNLOCKED, Searched

MIDDLING, LONG = b"." * SHORTEST_FOR_C, b"." * SHORTEST_UNLOCKED


@pytest.mark.parametrize(
    "filling",
    [pytest.param(b"", id="short"), pytest.param(MIDDLING, id="middling"), pytest.param(LONG, id="long")],
)
@pytest.mark.parametrize(
    ("wanted", "around", "expected"),
    [
        pytest.param(b"abc", lambda dots: dots + b"ab", [], id="nowhere"),
        pytest.param(b"abc", lambda dots: b"abc" + dots + b"abc", [0, -3], id="at both ends"),
        pytest.param(b"aa", lambda dots: b"aaaaa" + dots, [0, 2], id="without overlap"),
        pytest.param(b"ab", lambda dots: b"\x00ab" + dots + b"\x00\x00ab", [1, -2], id="behind NUL"),
        pytest.param(b"ab", lambda dots: dots + b"ab\x00", [-3], id="before NUL"),
        pytest.param(b"\\", lambda dots: dots + b"\\\\", [-2, -1], id="one byte"),
        pytest.param(b"a" * 50, lambda dots: b"a" * 49, [], id="longer than the data"),
    ],
)
def test_places(wanted: bytes, around: Callable[[bytes], bytes], expected: list[int], filling: bytes) -> None:
    data = around(filling)
    assert list(Searched(data).places(wanted)) == [place if place >= 0 else len(data) + place for place in expected]


@pytest.mark.parametrize("first", [pytest.param(1, id="without NUL"), pytest.param(0, id="with NUL")])
def test_it_says_the_same_as_bytes_find(first: int) -> None:
    data = bytes(range(first, 256)) * 1024
    for wanted in (b"\x01", b"\xff\x01", b"\x7f\x80\x81", data[-200:]):
        expected = []
        place = data.find(wanted)
        while place >= 0:
            expected.append(place)
            place = data.find(wanted, place + len(wanted))
        assert list(Searched(data).places(wanted)) == expected


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_without_the_functions_python_searches(error: type[Exception]) -> None:
    class Nothing(ctypes.CDLL):
        def __init__(self, *arguments: Any) -> None:
            raise error

    for finders in (search._with_memmem(Nothing), search._with_strstr(Nothing)):
        find = finders(b"a.a")
        assert [find(b"a", 0), find(b"a", 1), find(b"b", 0)] == [0, 2, -1]
    holds_nul = search._with_strlen(Nothing)
    assert [holds_nul(b"ab"), holds_nul(b"a\x00b")] == [False, True]
