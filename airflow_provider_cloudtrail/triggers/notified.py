"""A queue that is told of new log files, as a source of events: seconds behind the delivery, without listings."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent

from airflow_provider_cloudtrail import parameters
from airflow_provider_cloudtrail._compat import BaseEventTrigger
from airflow_provider_cloudtrail.exceptions import CloudTrailQueueError
from airflow_provider_cloudtrail.hooks.queues import (
    QueueMessage,
    deletions,
    messages_in,
    note_failures,
    queue_region,
    reception,
)
from airflow_provider_cloudtrail.trail.log_file import LogFile, is_of
from airflow_provider_cloudtrail.trail.notification import read_notification
from airflow_provider_cloudtrail.triggers.classpath import classpath_of
from airflow_provider_cloudtrail.triggers.looking import AwsParameters, in_thread, pause_after, threads_of
from airflow_provider_cloudtrail.triggers.watching import NewLogFiles

if TYPE_CHECKING:
    from airflow.triggers.shared_stream import SharedStreamProducer


log = logging.getLogger(__name__)

_LONGEST_PAUSE = 300.0
# The triggerer hands events on about once a second.
_PERSISTED_AFTER = 10.0
_MISSING = (
    "waiting for an SQS queue needs aiobotocore; install airflow-provider-cloudtrail[aiobotocore] where the triggerer "
    "runs, or watch the bucket itself: CloudTrailLogFileTrigger, and the sensors, do without it"
)


class Queue:
    """
    An SQS queue, polled by waiting for up to 20 seconds for a message.

    :param url: its URL.
    :param aws: the AWS settings.
    :param wait_seconds: how long one request waits, 1 to 20.
    """

    def __init__(self, url: str, aws: AwsParameters, wait_seconds: int) -> None:
        self.url = url
        self.aws = aws
        self.wait_seconds = wait_seconds
        self._client: Any = None
        self._opened = AsyncExitStack()

    async def open(self) -> None:
        """
        Connect.

        :raises CloudTrailQueueError: if aiobotocore is missing.
        """
        from airflow.providers.amazon.aws.hooks.sqs import SqsHook

        try:
            import aiobotocore  # noqa: F401
        except ImportError:
            raise CloudTrailQueueError(_MISSING) from None
        hook = SqsHook(
            aws_conn_id=self.aws.aws_conn_id,
            region_name=self.aws.region_name or queue_region(self.url),
            verify=self.aws.verify,
            config=self.aws.botocore_config,
        )
        # amazon 9.0 has only a property, which blocks.
        if hasattr(hook, "get_async_conn"):
            connection = await hook.get_async_conn()  # type: ignore[no-untyped-call]
        else:
            connection = await in_thread(threads_of((self.url, self.aws.key)), lambda: hook.async_conn)
        self._client = await self._opened.enter_async_context(connection)

    async def close(self) -> None:
        """Disconnect."""
        await self._opened.aclose()
        self._client, self._opened = None, AsyncExitStack()

    async def receive(self) -> list[QueueMessage]:
        """Return up to ten messages, after ``wait_seconds`` none; connects when necessary."""
        if self._client is None:
            await self.open()
        return messages_in(await self._client.receive_message(**reception(self.url, self.wait_seconds)))

    async def delete(self, receipts: Sequence[str]) -> None:
        """Delete messages; what SQS does not delete comes again, which is said in the log and harms nothing."""
        try:
            if self._client is None:
                await self.open()
            for deletion in deletions(self.url, receipts):
                note_failures(await self._client.delete_message_batch(**deletion))
        except Exception:
            # Not raised: it would end the watcher, and on Airflow 3.3 all watchers of the queue.
            log.warning(
                "Of %s messages of %s some were not deleted and come again", len(receipts), self.url, exc_info=True
            )

    async def messages(self) -> AsyncIterator[QueueMessage | None]:
        """Yield messages for ever, None when there are none; errors are waited out, with a new client."""
        failures = 0
        while True:
            try:
                received = await self.receive()
                failures = 0
            except CloudTrailQueueError as error:
                # Not raised: a watcher that ends is started again about once a second.
                log.error("%s", error)
                await asyncio.sleep(_LONGEST_PAUSE)
                continue
            except Exception:
                failures += 1
                pause = pause_after(failures, 1.0, _LONGEST_PAUSE)
                log.warning("Receiving from %s failed; trying again in %.0f s", self.url, pause, exc_info=True)
                await self.close()
                await asyncio.sleep(pause)
                continue
            for message in received:
                yield message
            if not received:
                yield None


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
        if not 1 <= wait_seconds <= 20:
            raise ValueError(f"wait_seconds={wait_seconds} is not between 1 and 20, which SQS allows")
        if (found := parameters.queue_url("queue_url", queue_url)) is None:
            raise ValueError("queue_url is not set; give the URL of the queue that is told of new log files")
        self.queue_url = found
        self.account_ids = parameters.account_ids("account_ids", account_ids)
        self.regions = parameters.regions("regions", regions)
        self.wait_seconds = wait_seconds
        self.aws = AwsParameters(aws_conn_id, region_name, verify, botocore_config)

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
