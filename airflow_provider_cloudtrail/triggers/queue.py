"""An SQS queue as the triggerer reads it: without a thread that waits, and for as long as it takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

from airflow_provider_cloudtrail.exceptions import CloudTrailQueueError
from airflow_provider_cloudtrail.hooks.queues import (
    QueueMessage,
    deletions,
    messages_in,
    note_failures,
    queue_region,
    reception,
)
from airflow_provider_cloudtrail.triggers.looking import AwsParameters, in_thread, pause_after, threads_of

log = logging.getLogger(__name__)

_LONGEST_PAUSE = 300.0
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
