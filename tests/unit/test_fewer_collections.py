from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

from airflow_provider_cloudtrail.fewer_collections import fewer_collections


@pytest.fixture(autouse=True)
def usual() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    gc.set_threshold(700, 12, 13)
    yield gc.get_threshold()
    gc.set_threshold(*before)


def test_the_collector_looks_less_often_within(usual):
    def fails() -> None:
        with fewer_collections():
            assert gc.get_threshold() == (10_000, *usual[1:])
            raise LookupError

    with pytest.raises(LookupError):
        fails()
    assert gc.get_threshold() == usual


@pytest.mark.parametrize(
    "threshold",
    [pytest.param((0, 12, 13), id="switched off"), pytest.param((50_000, 12, 13), id="looks less often still")],
)
def test_what_somebody_else_has_set_is_kept(threshold):
    gc.set_threshold(*threshold)
    with fewer_collections():
        assert gc.get_threshold() == threshold
    assert gc.get_threshold() == threshold


def test_the_last_of_several_threads_sets_it_back(usual):
    within, leave = threading.Event(), threading.Event()

    def other():
        with fewer_collections():
            within.set()
            assert leave.wait(60)

    thread = threading.Thread(target=other)
    with fewer_collections():
        thread.start()
        assert within.wait(60)
    assert gc.get_threshold()[0] == 10_000
    leave.set()
    thread.join(60)
    assert gc.get_threshold() == usual
