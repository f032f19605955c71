"""A queue that is told of log files, as a hook shows it, without a server: time is counted in receptions."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from airflow_provider_cloudtrail.exceptions import CloudTrailQueueError
from airflow_provider_cloudtrail.hooks.queues import QueueMessage

# More than any test needs: one that never ends fails here.
_MOST_RECEPTIONS = 1_000


class ToldQueue:
    """
    A queue, in place of a ``CloudTrailHook``.

    :param bodies: text of each message.
    :param hidden_for: a received message that is not deleted is hidden from so many receptions.
    :param refuses: which calls of ``delete_message_batch`` fail, counted from one.
    :param gives_nothing: which receptions fail, counted from one.
    """

    def __init__(
        self,
        bodies: Sequence[str],
        hidden_for: int = 10_000,
        refuses: Collection[int] = (),
        gives_nothing: Collection[int] = (),
    ) -> None:
        self.left = {str(number): body for number, body in enumerate(bodies)}
        self.receptions = 0
        self.deletions = 0
        self._hidden_for = hidden_for
        self._refuses = refuses
        self._gives_nothing = gives_nothing
        self._hidden: dict[str, int] = {}

    def receive_messages(self, queue_url: str) -> list[QueueMessage]:
        self.receptions += 1
        if self.receptions in self._gives_nothing:
            raise CloudTrailQueueError(f"queue {queue_url}: RequestThrottled")
        assert self.receptions < _MOST_RECEPTIONS, "the look never ends"
        found = [name for name in self.left if self._hidden.get(name, 0) < self.receptions][:10]
        for name in found:
            self._hidden[name] = self.receptions + self._hidden_for
        return [QueueMessage(name, f"{name}/{self.receptions}", self.left[name]) for name in found]

    def delete_messages(self, queue_url: str, receipts: Sequence[str]) -> None:
        for start in range(0, len(receipts), 10):
            self.deletions += 1
            if self.deletions in self._refuses:
                raise CloudTrailQueueError(f"queue {queue_url}: Could not connect to the endpoint URL")
            for receipt in receipts[start : start + 10]:
                self.left.pop(receipt.partition("/")[0], None)

    def all_come_again(self) -> None:
        """Let the time pass that messages are hidden for."""
        self._hidden.clear()


def told(*keys: str) -> list[str]:
    """Return a message for each key."""
    return [json.dumps({"s3Bucket": "trail", "s3ObjectKey": [key]}) for key in keys]
