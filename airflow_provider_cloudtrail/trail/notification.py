"""
What a queue says about new log files.

Three senders can feed an SQS queue: CloudTrail's own SNS topic (user guide, "Configuring Amazon SNS
notifications for CloudTrail"), S3 event notifications (S3 user guide, "Event message structure"), with an
SNS topic between or not, and EventBridge ("Object Created"). All deliver at least once and in no order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from airflow_provider_cloudtrail.trail.log_file import UNFIT, LogFile, log_file

# What CloudTrail sends, as text and not as JSON, when a topic is set.
_VALIDATION = "CloudTrail validation message."
_DEEPEST = 3
# Also those of before 2018 in us-east-1. A folder on the worker (file://...) is no bucket that a message may name.
_BUCKET = re.compile(r"[A-Za-z0-9._-]{3,255}")


class Notification(NamedTuple):
    """
    What a message says.

    :param files: the log files that it names; several, or none.
    :param dropped: why each of the other things in it is of no use, on purpose: digests, Insights, test
        messages, keys that are not CloudTrail's, other events than the creation of an object.
    :param poison: why nobody can read the message; None: it was read.
    """

    files: tuple[LogFile, ...] = ()
    dropped: tuple[str, ...] = ()
    poison: str | None = None


class _Named(NamedTuple):
    bucket: str
    key: str


class _UnreadableError(Exception):
    """Raised with the reason why a message cannot be read."""


def read_notification(body: str) -> Notification:
    """
    Read the body of an SQS message.

    :param body: as received; inside of SNS's envelope or raw.
    """
    try:
        found = list(_objects(body, 0))
    except _UnreadableError as error:
        return Notification(poison=str(error))
    files: list[LogFile] = []
    dropped: list[str] = []
    for named in found:
        if isinstance(named, str):
            dropped.append(named)
            continue
        file = log_file(named.bucket, named.key)
        if file is None:
            dropped.append(f"not a log file: s3://{named.bucket}/{named.key}")
        else:
            files.append(file)
    return Notification(tuple(dict.fromkeys(files)), tuple(dropped))


def _objects(body: Any, depth: int) -> Iterator[_Named | str]:
    """Yield the objects that a message names, and as text what is dropped on purpose."""
    if isinstance(body, str):
        if body.strip() == _VALIDATION:
            yield "CloudTrail's validation message"
            return
        try:
            message = json.loads(body)
        except (ValueError, RecursionError):
            raise _UnreadableError("the body is not JSON") from None
    else:
        message = body
    if not isinstance(message, dict):
        raise _UnreadableError(f"the body is {type(message).__name__}, not an object")
    if "s3ObjectKey" in message:
        yield from _of_cloudtrail(message)
    elif "Message" in message and isinstance(message["Message"], str) and depth < _DEEPEST:
        yield from _objects(message["Message"], depth + 1)
    elif message.get("Event") == "s3:TestEvent":
        yield "S3's test message"
    elif "Records" in message:
        yield from _of_s3(message["Records"])
    elif "detail-type" in message:
        yield _of_eventbridge(message)
    else:
        raise _UnreadableError(
            "neither CloudTrail's message (s3Bucket, s3ObjectKey), nor an S3 event (Records), nor one of EventBridge "
            "(detail-type)"
        )


def _of_cloudtrail(message: dict[str, Any]) -> Iterator[_Named | str]:
    keys = message["s3ObjectKey"]
    for key in [keys] if isinstance(keys, str) else keys if isinstance(keys, list) else [None]:
        yield _named(message.get("s3Bucket"), key)


def _of_s3(records: Any) -> Iterator[_Named | str]:
    if not isinstance(records, list):
        raise _UnreadableError("Records is not a list")
    for record in records:
        stored = record.get("s3") if isinstance(record, dict) else None
        if not isinstance(stored, dict):
            raise _UnreadableError("a record of the S3 event has no s3 member")
        name = str(record.get("eventName", ""))
        if not name.removeprefix("s3:").startswith("ObjectCreated:"):
            yield f"S3 event {name!a}"
            continue
        key = _member(stored, "object", "key")
        # Only S3 itself encodes keys, with + for a space.
        yield _named(_member(stored, "bucket", "name"), unquote_plus(key) if isinstance(key, str) else key)


def _of_eventbridge(message: dict[str, Any]) -> _Named | str:
    if message["detail-type"] != "Object Created":
        return f"EventBridge event {message['detail-type']!a}"
    detail = message.get("detail")
    detail = detail if isinstance(detail, dict) else {}
    return _named(_member(detail, "bucket", "name"), _member(detail, "object", "key"))


def _member(value: dict[str, Any], name: str, inner: str) -> Any:
    found = value.get(name)
    return found.get(inner) if isinstance(found, dict) else None


def _named(bucket: Any, key: Any) -> _Named | str:
    if not isinstance(bucket, str) or not bucket or not isinstance(key, str) or not key:
        raise _UnreadableError("the message names no bucket or no key")
    if _BUCKET.fullmatch(bucket) is None:
        raise _UnreadableError("what the message names as bucket cannot be the name of one")
    if UNFIT.search(key) is not None:
        # Not passed on as a file: what holds a half of a surrogate pair ends the triggerer, with all that runs in it.
        return f"not a log file: s3://{bucket}/{ascii(key)[1:-1]}"
    return _Named(bucket, key)
