"""A task that is told to end while the bucket gives an object to nobody, as S3 that takes minutes to answer."""

from __future__ import annotations

import threading
import time

import pytest

from airflow_provider_cloudtrail.trail.log_file import Folder
from tests.support.ending import TaskEndedError, once

WAITED_FOR_ANSWER = 100.0


@pytest.fixture
def silence(world, monkeypatch):
    """Have objects of a folder not be given; returns those that are waited for, and what ends the wait."""
    answer = threading.Event()

    def begin(folder):
        asked, get = [], world.store.get

        def waiting(key, most_bytes=None):
            if f"/{folder}/" in key:
                asked.append(key)
                answer.wait(WAITED_FOR_ANSWER)
            return get(key, most_bytes)

        monkeypatch.setattr(world.store, "get", waiting)
        return asked, answer

    yield begin
    answer.set()


@pytest.mark.parametrize(
    ("task", "silent"),
    [
        pytest.param("load", Folder.LOG.value, id="log files"),
        pytest.param("validate", Folder.DIGEST.value, id="digests"),
    ],
)
def test_the_task_ends_and_the_next_one_does_all(world, trail, silence, end_task, task, silent):
    if task == "validate":
        world.load()
    asked, answer = silence(silent)
    before = time.monotonic()
    once(lambda: asked, end_task)
    with pytest.raises(TaskEndedError):
        getattr(world, task)()
    assert time.monotonic() - before < WAITED_FOR_ANSWER / 2
    answer.set()
    world.load()
    world.validate()
    assert set(world.statuses().values()) == {"verified"}
    assert len(world.statuses()) == len(trail.in_window())
