"""A task that ends while its threads are at work, such as while S3 takes minutes to answer."""

from __future__ import annotations

import threading
import time

import pytest

from airflow_provider_cloudtrail.trail.log_file import Folder
from airflow_provider_cloudtrail.validation import validate
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


def test_what_a_validation_does_ahead_is_waited_for_behind_an_error(world, trail, monkeypatch):
    """It may be asking Airflow 3.0 for a connection, as the error makes others do: that is not for two threads."""
    begun, ended = threading.Event(), threading.Event()

    def in_batches(_):
        yield []
        begun.set()
        time.sleep(0.3)
        ended.set()

    def ask(*_):
        assert begun.wait(60)
        raise LookupError

    monkeypatch.setattr(validate, "in_batches", in_batches)
    monkeypatch.setattr(validate.Comparison, "ask", ask)
    with pytest.raises(LookupError):
        world.validate()
    assert ended.is_set()
