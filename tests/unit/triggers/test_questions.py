from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest

from airflow_provider_cloudtrail.exceptions import CloudTrailBucketError, CloudTrailQueueError
from airflow_provider_cloudtrail.trail.log_file import TrailLocation
from airflow_provider_cloudtrail.trail.store import StoreError
from airflow_provider_cloudtrail.triggers import questions
from airflow_provider_cloudtrail.triggers.questions import (
    TrailParameters,
    delivery_is_proven,
    log_files_delivered,
    never_delivered,
    queue_told,
)
from tests.support.log_files import REGION, key_of
from tests.support.signed_trail import BUCKET, WINDOW, MemoryStore, SignedTrail
from tests.support.told_queue import ToldQueue, told

WANTED = [key_of(f"20260203T10{minute:02}Z") for minute in range(60)]
OTHER = [key_of(f"20260203T10{minute:02}Z", region="us-east-1") for minute in range(60)]


def look(queue, **arguments):
    return queue_told(queue, TrailParameters(regions=[REGION]), **{"queue_url": "q", "max_files": 100, **arguments})


def test_a_backlog_of_other_regions_is_deleted_before_it_comes_again():
    queue = ToldQueue(told(*OTHER), hidden_for=3)
    assert not look(queue).done
    assert queue.left == {}
    # The last one is told that the queue is empty.
    assert (queue.receptions, queue.deletions) == (7, 6)


@pytest.mark.parametrize(
    ("bodies", "receipts"),
    [
        pytest.param(["poison"] * 20, (), id="poison"),
        pytest.param(told(*WANTED[:5]), tuple(f"{number}/200" for number in range(5)), id="wanted"),
    ],
)
def test_a_look_ends_though_messages_come_again(bodies, receipts):
    queue = ToldQueue(bodies, hidden_for=0)
    answer = look(queue)
    assert "receptions the rest is left for the next look" in answer.said
    assert ("message 0 is left for the dead-letter queue: " in answer.said) is (not receipts)
    assert queue.receptions == questions._MOST_RECEPTIONS
    assert answer.receipts == receipts
    assert len(queue.left) == len(bodies)
    # It brings nothing to look at them again at once.
    assert not answer.more


@pytest.mark.parametrize(
    ("others", "more"),
    [
        pytest.param(40, True, id="backlog"),
        pytest.param(10, True, id="the least of a backlog"),
        pytest.param(9, False, id="trickle"),
    ],
)
def test_a_look_that_is_broken_off_in_a_backlog_says_so(monkeypatch, others, more):
    monkeypatch.setattr(questions, "_MOST_RECEPTIONS", 2)
    queue = ToldQueue([*told(*OTHER[:others]), *["poison"] * 11], hidden_for=10_000)
    assert look(queue).more is more


def test_what_one_look_leaves_the_next_looks_find(monkeypatch):
    monkeypatch.setattr(questions, "_MOST_RECEPTIONS", 2)
    queue = ToldQueue(told(*OTHER[:25], *WANTED[:25]))
    found = []
    for done, left in ((False, 30), (True, 25), (True, 25)):
        answer = look(queue)
        assert (answer.done, len(queue.left)) == (done, left)
        found += answer.files
    assert found == [f"s3://trail/{key}" for key in WANTED[:25]]


@pytest.mark.parametrize("max_files", [15, 20])
def test_messages_are_left_once_enough_files_are_known(max_files):
    queue = ToldQueue(told(*WANTED))
    answer = look(queue, max_files=max_files)
    assert len(answer.files) == len(answer.receipts) == 20
    assert (queue.receptions, queue.deletions) == (2, 0)


def test_what_is_found_is_told_though_other_messages_cannot_be_deleted():
    queue = ToldQueue(told(*OTHER[:10], *WANTED[:5], *OTHER[10:30]), refuses={2})
    answer = look(queue)
    assert answer.files == [f"s3://trail/{key}" for key in WANTED[:5]]
    assert len(answer.receipts) == 5
    assert "5 messages about other files could not be deleted and come again: queue q: Could not connect" in answer.said
    assert (queue.receptions, len(queue.left)) == (2, 25)


def test_what_is_found_is_told_though_nothing_more_can_be_received():
    queue = ToldQueue(told(*WANTED[:10], *OTHER[:10]), gives_nothing={2})
    answer = look(queue)
    assert answer.done
    assert answer.files == [f"s3://trail/{key}" for key in WANTED[:10]]
    assert len(answer.receipts) == 10
    assert "what else it has is left for the next look: queue q: RequestThrottled" in answer.said


def test_a_queue_that_gives_nothing_is_an_error_where_nothing_is_found():
    with pytest.raises(CloudTrailQueueError, match="queue q: RequestThrottled"):
        look(ToldQueue(told(*OTHER[:10], *WANTED[:1]), gives_nothing={2}))


def test_a_queue_that_deletes_nothing_is_an_error_where_nothing_is_found():
    with pytest.raises(CloudTrailQueueError, match="queue q: Could not connect"):
        look(ToldQueue(told(*OTHER[:20]), refuses={1}))


def hook_of(store, *trails):
    """Return what a hook is asked for, of a bucket and of the keys that its digests are signed with."""
    return SimpleNamespace(
        locate=lambda *given: (TrailLocation(BUCKET), given[-1]),
        get_store=lambda _: store,
        list_public_keys=lambda region, *_: [
            key for trail in trails if trail.region == region for key in trail.public_keys()
        ],
    )


def proven(hook, until="2026-02-03T00:00:00Z", seen_within=timedelta(days=1), **trail):
    return delivery_is_proven(hook, TrailParameters(**trail), until=until, seen_within=seen_within)


@pytest.mark.parametrize(
    ("number", "end"),
    [
        pytest.param(10, "000000000009: no digest yet", id="all"),
        pytest.param(12, "000000000009: no digest yet; and 2 more", id="the first"),
    ],
)
def test_of_many_that_are_waited_for_some_are_named(number, end):
    answer = proven(hook_of(MemoryStore()), account_ids=[f"{account:012d}" for account in range(number)])
    assert not answer.done
    assert answer.said.startswith(f"Waiting for {number} of them: 000000000000: no digest yet; ")
    assert answer.said.endswith(end)


def test_delivery_is_waited_for_where_it_was_seen_lately_and_is_wanted():
    trail, other = SignedTrail().build(), SignedTrail(region="us-east-1").build()
    other.delete(*other.digests[5:])
    hook = hook_of(MemoryStore(trail, other), trail, other)
    until = WINDOW[1].isoformat()
    assert "us-east-1" in proven(hook, until).said
    assert proven(hook, until, regions=[REGION]).done
    assert proven(hook, until, timedelta(hours=3)).done


def test_a_bucket_that_refuses_is_an_error_of_ours():
    class Refusing(MemoryStore):
        def folders(self, prefix):
            raise StoreError("Access Denied")

    with pytest.raises(CloudTrailBucketError, match=r"^Access Denied$"):
        proven(hook_of(Refusing()))


def test_files_that_may_not_be_all_are_told_so(trail):
    hook = hook_of(trail.store)
    hook.list_log_files = lambda *_, **__: iter([trail.deliver(f"20260203T10{minute:02}Z") for minute in range(3)])
    said = [
        log_files_delivered(
            hook,
            TrailParameters(),
            delivered_from="2026-02-03T00:00:00Z",
            delivered_to="2026-02-04T00:00:00Z",
            settle=None,
            max_files=most,
        ).said
        for most in (3, 4)
    ]
    whole = "3 log files delivered from 2026-02-03T00:00:00+00:00 to 2026-02-04T00:00:00+00:00"
    assert said == [f"{whole} at least", whole]


@pytest.mark.parametrize(("number", "end"), [(10, "000000000009: there"), (12, "000000000009 and 2 more: there")])
def test_of_many_names_without_a_folder_some_are_named(number, end):
    accounts = [f"{account:012d}" for account in range(number)]
    said = never_delivered(hook_of(MemoryStore()), TrailParameters(account_ids=accounts))
    assert said.startswith(f"nothing was ever delivered of 000000000000, {accounts[1]}, ")
    assert f", {end} is no such folder" in said
