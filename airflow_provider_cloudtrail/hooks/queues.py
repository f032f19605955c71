"""The SQS queues that are told of new log files: what is asked of them, by tasks and by the triggerer alike."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_cloudtrail.exceptions import CloudTrailQueueError
from airflow_provider_cloudtrail.hooks.api_errors import api_errors, said_by
from airflow_provider_cloudtrail.parameters import REGION

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.sqs import SqsHook

log = logging.getLogger(__name__)

_BATCH = 10  # most messages that SQS takes or gives at once
# Endpoints of FIPS, dual stack and a VPC, and the old ones, which older versions of boto3 gave out.
_QUEUE_REGION = re.compile(
    rf"https?://(?:(?:vpce-[a-z0-9-]+\.)?sqs(?:-fips)?\.(?P<region>{REGION})|(?P<old>{REGION})\.queue)\.|"
    r"https?://(?P<first>queue\.amazonaws\.com)/"
)


class QueueMessage(NamedTuple):
    """
    A message of an SQS queue.

    :param id: SQS's id of it.
    :param receipt: what deletes it.
    :param body: its text.
    """

    id: str
    receipt: str
    body: str


def queue_region(queue_url: str) -> str | None:
    """Return the Region in the URL of a queue, whichever endpoint of SQS that names; None: it names another server."""
    found = _QUEUE_REGION.match(queue_url)
    if found is None:
        return None
    return "us-east-1" if found["first"] else found["region"] or found["old"]


def reception(queue_url: str, wait_seconds: int) -> dict[str, Any]:
    """Return the arguments of ``receive_message`` for as many messages as SQS gives at once."""
    return {"QueueUrl": queue_url, "MaxNumberOfMessages": _BATCH, "WaitTimeSeconds": wait_seconds}


def messages_in(answer: Mapping[str, Any]) -> list[QueueMessage]:
    """
    Return the messages in an answer of ``receive_message``.

    :raises botocore.parsers.ResponseParserError: if it is none of SQS, such as a proxy's page: the clients take it for
        an answer without messages, which a queue that is asked again would give at once, and for ever.
    """
    content_type = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("content-type", "")
    # What stands in for SQS may answer with other types than JSON.
    if "Messages" not in answer and (not content_type or "html" in content_type):
        from botocore.parsers import ResponseParserError

        raise ResponseParserError(f"ReceiveMessage is answered with the type {content_type!r}, which SQS does not give")
    return [
        QueueMessage(message["MessageId"], message["ReceiptHandle"], message["Body"])
        for message in answer.get("Messages", ())
    ]


def deletions(queue_url: str, receipts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the arguments of each ``delete_message_batch`` that deletes messages."""
    for start in range(0, len(receipts), _BATCH):
        entries = [
            {"Id": str(number), "ReceiptHandle": receipt}
            for number, receipt in enumerate(receipts[start : start + _BATCH])
        ]
        yield {"QueueUrl": queue_url, "Entries": entries}


def note_failures(answer: Mapping[str, Any]) -> None:
    """Say in the log which messages ``delete_message_batch`` did not delete; they come again, which harms nothing."""
    for failure in answer.get("Failed", ()):
        log.warning("A message was not deleted and comes again: %s", failure.get("Message", failure))


@contextmanager
def _refusals_of(queue_url: str) -> Iterator[None]:
    try:
        yield
    except api_errors() as error:
        raise CloudTrailQueueError(f"queue {queue_url}: {said_by(error)}") from None


class Queues:
    """
    Queues as tasks read them; safe to be used by several threads.

    :param sqs_hook: returns a hook of the connection for the Region of a queue; None: the connection's own.
    """

    def __init__(self, sqs_hook: Callable[[str | None], SqsHook]) -> None:
        self._sqs_hook = sqs_hook
        self._lock = threading.Lock()
        self._clients: dict[str | None, Any] = {}

    def receive(self, queue_url: str) -> list[QueueMessage]:
        """
        Return up to ten messages; waits a second for the first.

        :raises CloudTrailQueueError: if the queue refuses.
        """
        with _refusals_of(queue_url):
            return messages_in(self._client_of(queue_url).receive_message(**reception(queue_url, wait_seconds=1)))

    def delete(self, queue_url: str, receipts: Sequence[str]) -> None:
        """
        Delete messages.

        :raises CloudTrailQueueError: if the queue refuses.
        """
        for deletion in deletions(queue_url, receipts):
            with _refusals_of(queue_url):
                note_failures(self._client_of(queue_url).delete_message_batch(**deletion))

    def _client_of(self, queue_url: str) -> Any:
        region = queue_region(queue_url)
        with self._lock:
            if region not in self._clients:
                self._clients[region] = self._sqs_hook(region).conn
            return self._clients[region]
