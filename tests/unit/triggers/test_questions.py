from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest

from airflow_provider_cloudtrail.exceptions import CloudTrailQueueError
from airflow_provider_cloudtrail.trail.log_file import TrailLocation
from airflow_provider_cloudtrail.triggers import questions
from airflow_provider_cloudtrail.triggers.questions import TrailParameters, delivery_is_proven, queue_told
from tests.support.log_files import REGION, key_of
from tests.support.signed_trail import BUCKET, MemoryStore
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
    assert queue.receptions == questions._MOST_RECEPTIONS
    assert answer.receipts == receipts
    assert len(queue.left) == len(bodies)
    # It brings nothing to look at them again at once.
    assert not answer.more


@pytest.mark.parametrize(
    ("others", "more"), [pytest.param(40, True, id="backlog"), pytest.param(9, False, id="trickle")]
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


def test_messages_are_left_once_enough_files_are_known():
    queue = ToldQueue(told(*WANTED))
    answer = look(queue, max_files=15)
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


@pytest.mark.parametrize(
    ("number", "end"),
    [
        pytest.param(10, "000000000009: no digest yet", id="all"),
        pytest.param(12, "000000000009: no digest yet; and 2 more", id="the first"),
    ],
)
def test_of_many_that_are_waited_for_some_are_named(number, end):
    hook = SimpleNamespace(
        locate=lambda *given: (TrailLocation(BUCKET), given[-1]),
        get_store=lambda _: MemoryStore(),
        list_public_keys=lambda *_: [],
    )
    trail = TrailParameters(account_ids=[f"{account:012d}" for account in range(number)])
    answer = delivery_is_proven(hook, trail, until="2026-02-03T00:00:00Z", seen_within=timedelta(days=1))
    assert not answer.done
    assert answer.said.startswith(f"Waiting for {number} of them: 000000000000: no digest yet; ")
    assert answer.said.endswith(end)
