"""A queue that is told of new log files, as a source of events: seconds behind the delivery, without listings."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Hashable, Sequence
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from airflow_provider_cloudtrail import parameters
from airflow_provider_cloudtrail._compat import BaseEventTrigger
from airflow_provider_cloudtrail.hooks.queues import QueueMessage
from airflow_provider_cloudtrail.trail.log_file import LogFile, is_of
from airflow_provider_cloudtrail.trail.notification import read_notification
from airflow_provider_cloudtrail.triggers.classpath import classpath_of
from airflow_provider_cloudtrail.triggers.looking import AwsParameters
from airflow_provider_cloudtrail.triggers.queue import Queue
from airflow_provider_cloudtrail.triggers.watching import NewLogFiles

if TYPE_CHECKING:
    from airflow.triggers.shared_stream import SharedStreamProducer


log = logging.getLogger(__name__)

# The triggerer hands events on about once a second.
_PERSISTED_AFTER = 10.0


class CloudTrailNotificationTrigger(BaseEventTrigger):
    """
    Fire for the log files that an SQS queue is told of: for ``AssetWatcher`` (Airflow 3).

    The queue may be fed by the trail's own SNS topic, by S3 event notifications, or by EventBridge. What is
    no log file (digests, Insights, test messages) is deleted. What cannot be read is left, so that the
    queue's redrive policy moves it to its dead-letter queue.

    Messages are delivered at least once. On Airflow 3.3 and later one is deleted when its event is in the
    metadata database. Before that it is deleted ten seconds after the event was handed on: an event that
    Airflow fails to store in this time is lost, and the daily export, driven by the ledger, loads its files.

    Watchers of the same queue share its messages where Airflow can (3.3); elsewhere each message goes to one
    of them, so that a queue should have one watcher there.

    :param queue_url: URL of the queue.
    :param account_ids: accounts that are wanted; messages about others are deleted. None: all.
    :param regions: Regions that are wanted. None: all.
    :param wait_seconds: how long a request waits for a message, 1 to 20; a stopping triggerer does not wait.
    :param aws_conn_id: AWS connection that reads the queue.
    :param region_name: Region of the queue. None: the one in its URL.
    :param verify: whether to verify TLS certificates, or the path of a CA bundle.
    :param botocore_config: configuration of the botocore client.
    :raises ValueError: for parameters that cannot work.
    """

    def __init__(
        self,
        *,
        queue_url: str,
        account_ids: Sequence[str] | str | None = None,
        regions: Sequence[str] | str | None = None,
        wait_seconds: int = 20,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if not 1 <= parameters.whole_number("wait_seconds", wait_seconds) <= 20:
            raise ValueError(f"wait_seconds={wait_seconds} is not between 1 and 20, which SQS allows")
        if (found := parameters.queue_url("queue_url", queue_url)) is None:
            raise ValueError("queue_url is not set; give the URL of the queue that is told of new log files")
        self.queue_url = found
        self.account_ids = parameters.account_ids("account_ids", account_ids)
        self.regions = parameters.regions("regions", regions)
        self.wait_seconds = wait_seconds
        self.aws = AwsParameters.checked(aws_conn_id, region_name, verify, botocore_config)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow makes this trigger from again."""
        return (
            classpath_of(self),
            {
                "queue_url": self.queue_url,
                "account_ids": self.account_ids,
                "regions": self.regions,
                "wait_seconds": self.wait_seconds,
                **self.aws._asdict(),
            },
        )

    def shared_stream_key(self) -> Hashable:
        """Name the queue that this trigger shares (Airflow 3.3)."""
        return ("cloudtrail-queue", self.queue_url, self.wait_seconds, self.aws.key)

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> SharedStreamProducer:
        """Return what receives for all triggers of the queue, and deletes what is persisted (Airflow 3.3)."""
        from airflow_provider_cloudtrail.triggers.acknowledged import QueueProducer

        trigger = cls(**kwargs)
        return QueueProducer(trigger.queue)

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Yield this trigger's events; Airflow sees which message each comes from."""
        from airflow.triggers.shared_stream import reject_shared_stream_event

        async for message in shared_stream:
            files = self.read(message)
            if files is None:
                reject_shared_stream_event()
            elif files:
                yield _event(files)

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield events where Airflow cannot confirm them: messages are deleted some time later."""
        queue = self.queue
        handed_on: deque[tuple[float, str]] = deque()
        try:
            async for message in queue.messages():
                if message is not None and (files := self.read(message)) is not None:
                    if files:
                        yield _event(files)
                    handed_on.append((time.monotonic() + (_PERSISTED_AFTER if files else 0), message.receipt))
                now = time.monotonic()
                due = []
                while handed_on and handed_on[0][0] <= now:
                    due.append(handed_on.popleft()[1])
                if due:
                    await queue.delete(due)
        finally:
            await queue.close()

    @property
    def queue(self) -> Queue:
        """The queue, not connected yet."""
        return Queue(self.queue_url, self.aws, self.wait_seconds)

    def read(self, message: QueueMessage) -> list[LogFile] | None:
        """Return the log files that a message is about and that are wanted, or None if nobody can read it."""
        notification = read_notification(message.body)
        if notification.poison is not None:
            log.error(
                "Message %s cannot be read and is left for the dead-letter queue: %s", message.id, notification.poison
            )
            return None
        for reason in notification.dropped:
            log.info("Dropped from message %s: %s", message.id, reason)
        return [file for file in notification.files if is_of(file, self.account_ids, self.regions)]


def _event(files: Sequence[LogFile]) -> TriggerEvent:
    return TriggerEvent(dict(NewLogFiles(files=[file.uri for file in files])))  # type: ignore[no-untyped-call]
