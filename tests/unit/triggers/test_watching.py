from __future__ import annotations

import asyncio
import importlib
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.trail.local_store import LocalStore
from airflow_provider_cloudtrail.trail.store import ListingDeniedError
from airflow_provider_cloudtrail.triggers import watching
from airflow_provider_cloudtrail.triggers.cloudtrail import CloudTrailLogFileTrigger
from tests.support.log_files import event as record

try:
    from airflow.triggers.shared_stream import SharedStreamManager
except ImportError:
    SharedStreamManager = None

needs_shared_streams = pytest.mark.skipif(SharedStreamManager is None, reason="needs Airflow 3.3")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Let polls follow each other at once."""
    sleep = asyncio.sleep
    monkeypatch.setattr(watching.asyncio, "sleep", lambda seconds: sleep(0.01))


@pytest.fixture
def polls(monkeypatch):
    """Count the polls."""
    asked = []
    list_log_files = CloudTrailHook.list_log_files

    def counted(self, location, window, account_ids, regions, **ahead):
        asked.append((window.floor, account_ids, regions))
        yield from list_log_files(self, location, window, account_ids, regions, **ahead)

    monkeypatch.setattr(CloudTrailHook, "list_log_files", counted)
    return asked


def now(**ago):
    return f"{datetime.now(timezone.utc) - timedelta(**ago):%Y%m%dT%H%MZ}"


def trigger(trail, **arguments):
    return CloudTrailLogFileTrigger(**{"bucket": trail.bucket, **arguments})


class Store:
    """An asset state store, as Airflow 3.3.2 hands it to a trigger."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.history: list[Any] = []

    async def aget(self, key, default=None):
        return json.loads(self.values[key]) if key in self.values else default

    async def aset(self, key, value):
        self.values[key] = json.dumps(value)
        self.history.append(value)


class BlockingStore(Store):
    """One of Airflow 3.3.0 and 3.3.1."""

    aget = aset = property()

    def get(self, key, default=None):
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key, value):
        self.values[key] = json.dumps(value)


async def take(events, count, limit=60.0):
    """Return the files of the next events."""
    found = []
    for _ in range(count):
        event = await asyncio.wait_for(anext(events), limit)
        found.append(event.payload["files"])
    return found


async def nothing_for(events, polls, count=5):
    """Check that so many polls bring no event; the stream is at its end then."""
    before = len(polls)
    waiting = asyncio.ensure_future(anext(events))
    while len(polls) < before + count:
        await asyncio.sleep(0)
        assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


def test_new_files_are_told_once(trail, polls):
    first = trail.deliver(now(minutes=30), record("a")).uri
    old = trail.deliver(now(hours=3), record("b")).uri

    async def watch():
        events = trigger(trail).run()
        assert await take(events, 1) == [[first]]
        late = trail.deliver(now(minutes=50), record("c")).uri
        newest = trail.deliver(now(), record("d")).uri
        assert await take(events, 1) == [[late, newest]]
        await nothing_for(events, polls)

    asyncio.run(watch())
    assert old


def test_many_come_in_portions(trail):
    uris = [trail.deliver(now(minutes=minute), record("a")).uri for minute in range(7, 0, -1)]

    async def watch():
        return await take(trigger(trail, max_files=3).run(), 3)

    assert asyncio.run(watch()) == [uris[:3], uris[3:6], uris[6:]]


def test_names_that_have_no_folder_are_said_once(trail, polls, caplog):
    trail.deliver(now(hours=3), record("a"))

    async def watch():
        await nothing_for(trigger(trail, regions=["eu-west-1", "eu-wset-1"]).run(), polls)

    asyncio.run(watch())
    assert caplog.text.count("nothing was ever delivered of eu-wset-1: there is no such folder below AWSLogs/") == 1


def test_a_trail_without_a_delivery_and_a_bucket_that_fails_are_waited_for(trail, monkeypatch):
    failures = []
    list_log_files = CloudTrailHook.list_log_files

    def failing(self, *arguments, **ahead):
        if len(failures) < 3:
            failures.append(1)
            raise RuntimeError("no")
        trail.deliver(now(), record("a"))
        yield from list_log_files(self, *arguments, **ahead)

    monkeypatch.setattr(CloudTrailHook, "list_log_files", failing)

    async def watch():
        return await take(trigger(trail).run(), 1)

    assert len(asyncio.run(watch())[0]) == 1
    assert len(failures) == 3


def test_what_was_found_before_a_listing_breaks_off_is_told_once(trail, polls, monkeypatch):
    """A folder that can never be listed, behind others that can."""
    list_log_files = CloudTrailHook.list_log_files

    def breaking_off(self, *arguments, **ahead):
        yield from list_log_files(self, *arguments, **ahead)
        raise PermissionError("AccessDenied")

    monkeypatch.setattr(CloudTrailHook, "list_log_files", breaking_off)
    monkeypatch.setattr(watching, "_PORTION", 1)
    store = Store()
    first = trail.deliver(now(minutes=3), record("a")).uri

    async def watch():
        watcher = trigger(trail)
        watcher.asset_state_store = store
        events = watcher.run()
        assert await take(events, 1) == [[first]]
        newest = trail.deliver(now(), record("b")).uri
        assert await take(events, 1) == [[newest]]
        await nothing_for(events, polls)

    asyncio.run(watch())
    # Nothing counts as looked at.
    assert store.values == {}


@pytest.mark.parametrize("regions", [None, ["eu-west-1", "us-east-1"]], ids=["found", "named"])
def test_what_may_not_be_listed_keeps_nobody_behind_it_from_being_watched(trail, polls, monkeypatch, caplog, regions):
    refused = []
    of = {"objects": LocalStore.objects, "folders": LocalStore.folders}

    def listing(kind):
        def listed(self, prefix, *arguments, **named):
            if prefix.endswith(tuple(refused)):
                raise ListingDeniedError(f"listing {prefix}: AccessDenied")
            return of[kind](self, prefix, *arguments, **named)

        return listed

    for kind in of:
        monkeypatch.setattr(LocalStore, kind, listing(kind))
    refused += [f"111122223333/CloudTrail/{region}" for region in ("", "eu-west-1/", "us-east-1/")]
    refused.append("444455556666/CloudTrail/eu-west-1/")
    trail.deliver(now(minutes=30), record("a"))
    accounts = ["111122223333", "444455556666"]
    store = Store()

    async def watch():
        for minutes in (20, 10):
            trail.deliver(now(minutes=minutes), record("b"), account=accounts[1], region="eu-west-1")
        virginia = trail.deliver(now(minutes=5), record("c"), account=accounts[1], region="us-east-1").uri
        watcher = trigger(trail, account_ids=accounts, regions=regions)
        watcher.asset_state_store = store
        events = watcher.run()
        assert await take(events, 1) == [[virginia]]
        before = len(polls)
        newest = trail.deliver(now(), record("d"), account=accounts[1], region="us-east-1").uri
        assert await take(events, 1) == [[newest]]
        assert len(polls) > before
        refused.clear()
        assert len((await take(events, 1))[0]) == 3
        # It was no failure: what was seen then was remembered.
        assert store.history
        await events.aclose()

    asyncio.run(watch())
    (warning,) = [message for message in caplog.messages if "may not list them" in message]
    assert warning.count("AccessDenied") == (2 if regions is None else 3)
    assert "444455556666/CloudTrail/eu-west-1/" in warning


def test_a_bucket_that_fails_for_days_is_waited_for_on(trail, monkeypatch):
    """Every fifteen minutes, for eleven days."""
    monkeypatch.setattr(watching.log, "warning", lambda *_, **__: None)
    failures = []
    list_log_files = CloudTrailHook.list_log_files

    def failing(self, *arguments, **ahead):
        failures.append(1)
        if len(failures) <= 1_100:
            raise RuntimeError("no")
        return list_log_files(self, *arguments, **ahead)

    slept = []
    monkeypatch.setattr(watching.asyncio, "sleep", lambda seconds: slept.append(seconds) or asyncio.tasks.sleep(0))
    monkeypatch.setattr(CloudTrailHook, "list_log_files", failing)
    uri = trail.deliver(now(), record("a")).uri

    async def watch():
        return await take(trigger(trail).run(), 1)

    assert asyncio.run(watch()) == [[uri]]
    pauses = [seconds for seconds in slept if seconds > 1]
    assert pauses[:4] == [120.0, 240.0, 480.0, 900.0]
    assert set(pauses[4:]) == {900.0}


@pytest.mark.parametrize("store", [Store(), BlockingStore()], ids=["3.3.2", "3.3.1"])
def test_memory_survives_a_restart(trail, polls, store):
    first = trail.deliver(now(minutes=3), record("a")).uri

    async def watch():
        watcher = trigger(trail)
        watcher.asset_state_store = store
        events = watcher.run()
        assert await take(events, 1) == [[first]]
        await nothing_for(events, polls)

        newest = trail.deliver(now(), record("b")).uri
        again = trigger(trail)
        again.asset_state_store = store
        events = again.run()
        assert await take(events, 1) == [[newest]]

    asyncio.run(watch())


def test_memory_is_stored_behind_the_events(trail, polls):
    """What is stored knows only files of polls before the last: those of the last may not have left the triggerer."""
    store = Store()
    first = trail.deliver(now(minutes=3), record("a")).uri

    async def watch():
        watcher = trigger(trail)
        watcher.asset_state_store = store
        events = watcher.run()
        assert await take(events, 1) == [[first]]
        # Killed here: the event was yielded, nothing else happened.
        again = trigger(trail)
        again.asset_state_store = store
        assert await take(again.run(), 1) == [[first]]

    asyncio.run(watch())


def test_several_assets_have_no_common_memory(trail, caplog):
    class Several(Store):
        async def aget(self, key, default=None):
            raise ValueError("Task has 2 concrete inlets and outlets")

    uri = trail.deliver(now(), record("a")).uri

    async def watch():
        watcher = trigger(trail)
        watcher.asset_state_store = Several()
        return await take(watcher.run(), 1)

    assert asyncio.run(watch()) == [[uri]]
    assert "Several assets share this watcher" in caplog.text


@needs_shared_streams
def test_watchers_of_one_bucket_share_one_poll(trail, polls):
    ireland = trail.deliver(now(), record("a")).uri
    virginia = trail.deliver(now(), record("b"), region="us-east-1").uri

    async def watch():
        manager = SharedStreamManager()
        watchers = [trigger(trail, regions=["eu-west-1"]), trigger(trail, regions=["us-east-1"])]
        assert watchers[0].shared_stream_key() == watchers[1].shared_stream_key()
        streams = [
            watcher.filter_shared_stream(
                manager.subscribe(trigger_id=number, trigger=watcher, key=watcher.shared_stream_key())
            )
            for number, watcher in enumerate(watchers)
        ]
        found = await asyncio.gather(*(take(stream, 1) for stream in streams))
        assert found == [[[ireland]], [[virginia]]]
        # One that joins later gets what lies in its own look-back.
        third = trigger(trail, lookback=7200.0)
        stream = third.filter_shared_stream(
            manager.subscribe(trigger_id=3, trigger=third, key=third.shared_stream_key())
        )
        assert await take(stream, 1) == [[ireland, virginia]]
        # The poll in which it joined may have been under way, for the other two.
        while polls[-1][2] is not None:
            await asyncio.sleep(0)
        await manager.stop_all()

    asyncio.run(asyncio.wait_for(watch(), 60))
    assert [regions for _, _, regions in polls[:1]] == [["eu-west-1", "us-east-1"]]
    assert watching._shared[trigger(trail).shared_stream_key()] == {}


def test_a_watcher_that_is_closed_behind_an_event_leaves_the_shared_poll_at_once(trail):
    uri = trail.deliver(now(), record("a")).uri
    watcher = trigger(trail)
    shared = watching._shared.setdefault(watcher.shared_stream_key(), {})

    async def watch():
        polls = watcher.open_shared_stream(watcher.serialize()[1])
        events = watcher.filter_shared_stream(polls)
        assert await take(events, 1) == [[uri]]
        assert list(shared) == [id(watcher)]
        await events.aclose()
        assert shared == {}
        await polls.aclose()

    asyncio.run(watch())


def test_what_is_stored_makes_the_same_trigger_again(trail):
    watcher = trigger(
        trail,
        prefix="audit",
        account_ids="111122223333",
        regions=["eu-west-1"],
        lookback=7200.0,
        max_files=7,
        poke_interval=9.0,
        aws_conn_id="role",
        region_name="eu-central-1",
        verify=False,
        botocore_config={"read_timeout": 3},
    )
    path, arguments = watcher.serialize()
    module, _, name = path.rpartition(".")
    again = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (path, arguments)
    assert again.shared_stream_key() == watcher.shared_stream_key()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param({"lookback": 5}, "lookback=5 is less than 60", id="lookback"),
        pytest.param({"poke_interval": 0}, "poke_interval=0", id="hot"),
        pytest.param({"max_files": 0}, "max_files=0", id="no-files"),
        pytest.param({"max_files": "5"}, "max_files='5' is no whole number", id="files-is-text"),
        # Sensors and operators take durations.
        pytest.param({"lookback": timedelta(hours=1)}, "is no number of seconds", id="lookback-is-duration"),
        pytest.param({"poke_interval": timedelta(minutes=1)}, "is no number of seconds", id="interval-is-duration"),
        pytest.param({"regions": []}, "regions is empty", id="regions"),
        pytest.param({"regions": ["eu-west1"]}, "'eu-west1' is no Region", id="no-region"),
        pytest.param({"bucket": None}, "neither bucket nor trail_name is set", id="nothing"),
        pytest.param({"trail_name": "audit"}, "both bucket and trail_name are set", id="both"),
        pytest.param({"bucket": "s3://example-trail"}, "is no bucket name", id="uri"),
        pytest.param({"prefix": "audit/AWSLogs"}, "holds AWSLogs/", id="prefix"),
        pytest.param({"organization_id": "111122223333"}, "is no organization", id="organization"),
    ],
)
def test_parameters_that_cannot_work(trail, arguments, message):
    with pytest.raises(ValueError, match=message):
        trigger(trail, **arguments)
