"""The queue's side of a shared stream whose events Airflow confirms. Needs Airflow 3.3."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from airflow.triggers.shared_stream import AdvanceItem, SharedStreamProducer

from airflow_provider_cloudtrail.hooks.queues import QueueMessage
from airflow_provider_cloudtrail.triggers.queue import Queue


class QueueProducer(SharedStreamProducer):
    """
    Receives for all triggers of a queue; a message is deleted when every event from it is in the metadata database.

    :param queue: the queue, not connected yet.
    """

    def __init__(self, queue: Queue) -> None:
        self.queue = queue

    async def open_stream(self) -> AsyncIterator[tuple[QueueMessage, str]]:
        """Yield each message and what deletes it."""
        async for message in self.queue.messages():
            if message is not None:
                yield message, message.receipt

    async def advance(self, batch: Sequence[AdvanceItem]) -> None:
        """Delete the messages that every trigger is done with; SQS delivers the others again."""
        await self.queue.delete([item.broker_payload for item in batch if item.outcome.is_clean])

    async def aclose(self) -> None:
        """Disconnect."""
        await self.queue.close()
