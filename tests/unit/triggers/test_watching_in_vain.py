"""What a watcher of a bucket does where it cannot or may not list, and where nothing is."""

from __future__ import annotations

import asyncio

import pytest

from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.trail.local_store import LocalStore
from airflow_provider_cloudtrail.trail.store import ListingDeniedError
from airflow_provider_cloudtrail.triggers import watching
from tests.support.log_files import event as record
from tests.support.watchers import Store, nothing_for, now, take, trigger

pytestmark = pytest.mark.usefixtures("impatient")


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
