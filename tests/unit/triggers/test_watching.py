from __future__ import annotations

import asyncio
import importlib
import json
import math
from datetime import timedelta

import pytest

from airflow_provider_cloudtrail.triggers import watching
from tests.support.log_files import event as record
from tests.support.watchers import BlockingStore, Store, nothing_for, now, take, trigger

try:
    from airflow.triggers.shared_stream import SharedStreamManager
except ImportError:
    SharedStreamManager = None

pytestmark = pytest.mark.usefixtures("impatient")
needs_shared_streams = pytest.mark.skipif(SharedStreamManager is None, reason="needs Airflow 3.3")


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
        pytest.param({"lookback": math.nan}, "lookback=nan is no number of seconds within", id="lookback-is-nan"),
        pytest.param({"poke_interval": math.nan}, "poke_interval=nan is no number of", id="interval-is-nan"),
        pytest.param({"poke_interval": math.inf}, "poke_interval=inf is no number of", id="interval-is-infinite"),
        pytest.param({"lookback": 1e12}, "lookback=1000000000000.0 is no number of", id="lookback-before-time"),
        pytest.param({"max_files": 0}, "max_files=0", id="no-files"),
        pytest.param({"max_files": "5"}, "max_files='5' is no whole number", id="files-is-text"),
        # Sensors and operators take durations.
        pytest.param({"lookback": timedelta(hours=1)}, "is no number of seconds", id="lookback-is-duration"),
        pytest.param({"poke_interval": timedelta(minutes=1)}, "is no number of seconds", id="interval-is-duration"),
        pytest.param({"regions": []}, "regions is empty", id="regions"),
        pytest.param({"botocore_config": [3]}, "botocore_config is no dictionary but of type list", id="no-config"),
        pytest.param({"botocore_config": {"timeout": 3}}, "not taken by botocore: .*'timeout'", id="config"),
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
