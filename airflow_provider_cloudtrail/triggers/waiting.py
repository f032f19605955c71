"""The triggers of the deferrable sensors: they ask what the sensors ask, until it is there or time is over."""

from __future__ import annotations

import asyncio
import random
from abc import abstractmethod
from collections.abc import AsyncIterator, Hashable, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, NotRequired, TypedDict

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.triggers.classpath import classpath_of
from airflow_provider_cloudtrail.triggers.looking import AwsParameters, in_thread, threads_of
from airflow_provider_cloudtrail.triggers.questions import (
    Answer,
    TrailParameters,
    delivery_is_proven,
    log_files_delivered,
    queue_told,
)


class Seen(TypedDict):
    """
    What a trigger tells its sensor.

    ``done``: it is there. ``late``: the deadline was reached. ``failed``: the trigger could not look, for
    the reason in ``said``; the worker looks itself and so meets the error, if there is one, in its own type.
    ``looked`` says whether an earlier look of this trigger succeeded. Triggers of earlier versions say neither that nor
    ``receipts``.
    """

    status: Literal["done", "late", "failed"]
    files: list[str]
    said: str
    receipts: NotRequired[list[str]]
    looked: NotRequired[bool]


class WaitingTrigger(BaseTrigger):
    """
    Look every ``poke_interval`` seconds until something is there; fires once.

    The looks are not persisted: a restarted triggerer looks again, and finds the same.

    :param bucket: as for the sensor, and so are the other parameters that are not described here.
    :param deadline: when to give up, ISO 8601.
    :param poke_interval: seconds between two looks; varied by a tenth, so that sensors that began together
        do not ask together.
    :param exponential_backoff: whether to double the pause after each look.
    :param max_wait: longest pause, seconds.
    :param first_look: not to look before, ISO 8601; None: to look at once.
    """

    def __init__(
        self,
        *,
        bucket: str | None,
        prefix: str = "",
        organization_id: str | None = None,
        trail_name: str | None = None,
        account_ids: Sequence[str] | None = None,
        regions: Sequence[str] | None = None,
        deadline: str,
        poke_interval: float = 60.0,
        exponential_backoff: bool = False,
        max_wait: float | None = None,
        first_look: str | None = None,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.trail = TrailParameters(
            bucket=bucket,
            prefix=prefix,
            organization_id=organization_id,
            trail_name=trail_name,
            account_ids=account_ids,
            regions=regions,
        )
        self.deadline = deadline
        self.poke_interval = poke_interval
        self.exponential_backoff = exponential_backoff
        self.max_wait = max_wait
        self.first_look = first_look
        self.aws = AwsParameters(aws_conn_id, region_name, verify, botocore_config)

    @abstractmethod
    def look(self, hook: CloudTrailHook) -> Answer:
        """Look once; blocks."""

    def arguments(self) -> dict[str, Any]:
        """Return the parameters of the subclass."""
        return {}

    @property
    def place(self) -> Hashable:
        """What is asked: triggers that ask the same share its threads."""
        return (self.trail.bucket, self.trail.trail_name, self.aws.key)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow makes this trigger from again."""
        return (
            classpath_of(self),
            {
                **vars(self.trail),
                "deadline": self.deadline,
                "poke_interval": self.poke_interval,
                "exponential_backoff": self.exponential_backoff,
                "max_wait": self.max_wait,
                "first_look": self.first_look,
                **self.aws._asdict(),
                **self.arguments(),
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event: see :class:`Seen`."""
        deadline = datetime.fromisoformat(self.deadline)
        threads = threads_of(self.place)
        looks = 0
        if self.first_look is not None:
            await _sleep_until(min(datetime.fromisoformat(self.first_look), deadline))
        while True:
            hook = self.aws.hook()
            try:
                answer = await in_thread(threads, self.look, hook)
            except Exception as error:
                # Not swallowed: the worker repeats the look, and raises what it meets.
                self.log.warning("Could not look; the worker shall", exc_info=True)
                self.aws.forget(hook)
                yield _event("failed", Answer(False, [], f"{type(error).__name__}: {error}"), looked=looks > 0)
                return
            if answer.done:
                yield _event("done", answer, looked=True)
                return
            self.log.info("%s", answer.said)
            now = datetime.now(timezone.utc)
            pause = 0.0 if answer.more else self._pause(looks)
            next_look = max(now + timedelta(seconds=pause), answer.not_before or now)
            await _sleep_until(min(next_look, deadline))
            if next_look >= deadline:
                yield _event("late", answer, looked=True)
                return
            looks += not answer.more

    def _pause(self, looks: int) -> float:
        pause = self.poke_interval * (2 ** min(looks, 30) if self.exponential_backoff else 1)
        return min(pause, self.max_wait or pause) * random.uniform(0.9, 1.1)  # noqa: S311


class CloudTrailLogFilesDeliveredTrigger(WaitingTrigger):
    """
    Fire when log files were delivered in a window: ``CloudTrailLogFileSensor`` in deferrable mode.

    :param delivered_from: begin of the window of delivery, ISO 8601.
    :param delivered_to: its end, not included, ISO 8601.
    :param settle: seconds for which the window must have ended as well, or None.
    :param max_files: most URIs in the event.
    """

    def __init__(
        self,
        *,
        delivered_from: str,
        delivered_to: str,
        settle: float | None = None,
        max_files: int = 100,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.delivered_from = delivered_from
        self.delivered_to = delivered_to
        self.settle = settle
        self.max_files = max_files

    def look(self, hook: CloudTrailHook) -> Answer:
        """Look once; blocks."""
        return log_files_delivered(
            hook,
            self.trail,
            delivered_from=self.delivered_from,
            delivered_to=self.delivered_to,
            settle=None if self.settle is None else timedelta(seconds=self.settle),
            max_files=self.max_files,
            ahead=False,
        )

    def arguments(self) -> dict[str, Any]:
        """Return the parameters of this class."""
        return {
            "delivered_from": self.delivered_from,
            "delivered_to": self.delivered_to,
            "settle": self.settle,
            "max_files": self.max_files,
        }


class CloudTrailDeliveryProvenTrigger(WaitingTrigger):
    """
    Fire when digests prove delivery up to a moment: ``CloudTrailDigestSensor`` in deferrable mode.

    :param until: the moment, ISO 8601.
    :param seen_within: seconds before it within which what had a digest is waited for.
    """

    def __init__(self, *, until: str, seen_within: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.until = until
        self.seen_within = seen_within

    def look(self, hook: CloudTrailHook) -> Answer:
        """Look once; blocks."""
        seen_within = timedelta(seconds=self.seen_within)
        return delivery_is_proven(hook, self.trail, until=self.until, seen_within=seen_within, ahead=False)

    def arguments(self) -> dict[str, Any]:
        """Return the parameters of this class."""
        return {"until": self.until, "seen_within": self.seen_within}


class CloudTrailQueueToldTrigger(WaitingTrigger):
    """
    Fire when a queue was told of log files: ``CloudTrailLogFileSensor(queue_url=...)`` in deferrable mode.

    The messages are deleted by the worker, when it has noted the files down.

    :param queue_url: URL of the queue.
    :param max_files: no further messages are received once so many files are known.
    """

    def __init__(self, *, queue_url: str, max_files: int = 100, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.queue_url = queue_url
        self.max_files = max_files

    @property
    def place(self) -> Hashable:
        """The queue."""
        return (self.queue_url, self.aws.key)

    def look(self, hook: CloudTrailHook) -> Answer:
        """Look once; blocks."""
        return queue_told(hook, self.trail, queue_url=self.queue_url, max_files=self.max_files)

    def arguments(self) -> dict[str, Any]:
        """Return the parameters of this class."""
        return {"queue_url": self.queue_url, "max_files": self.max_files}


async def _sleep_until(moment: datetime) -> None:
    await asyncio.sleep(max((moment - datetime.now(timezone.utc)).total_seconds(), 0))


def _event(status: Literal["done", "late", "failed"], answer: Answer, *, looked: bool) -> TriggerEvent:
    seen = Seen(status=status, files=answer.files, said=answer.said, receipts=list(answer.receipts), looked=looked)
    return TriggerEvent(dict(seen))  # type: ignore[no-untyped-call]
