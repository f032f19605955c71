"""
What is waited for: one function for each question, which sensors and triggers of every mode ask.

They know no task and no triggerer: a hook reads bucket or queue, and the answer says what a log line shall say.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_cloudtrail import parameters, windows
from airflow_provider_cloudtrail.exceptions import (
    CloudTrailBucketError,
    CloudTrailQueueError,
    CloudTrailTrailNotFoundError,
)
from airflow_provider_cloudtrail.trail.listing import names_without_folder, new_log_files
from airflow_provider_cloudtrail.trail.log_file import is_of
from airflow_provider_cloudtrail.trail.store import StoreError

if TYPE_CHECKING:
    from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook

log = logging.getLogger(__name__)

# As many accounts and Regions are named in a log line.
_NAMED = 10
# A look at a queue receives so often, ten messages at most each time: a thread of the triggerer is not held for ever.
_MOST_RECEPTIONS = 200
# Where a reception brings so many useless messages on average there is a backlog: in a queue that keeps up they are
# fewer, and what comes again because nobody can read it is none.
_OF_A_BACKLOG = 5


@dataclass(frozen=True, kw_only=True)
class TrailParameters:
    """What sensors and triggers are told about where a trail lies; the meaning is that of the sensors' parameters."""

    bucket: Any = None
    prefix: Any = ""
    organization_id: Any = None
    trail_name: Any = None
    account_ids: Any = None
    regions: Any = None


class Answer(NamedTuple):
    """
    What one look has found.

    :param done: whether what is waited for is there.
    :param files: URIs of the log files that were found; empty for questions that are not about files.
    :param said: the answer as a log line.
    :param not_before: no look before this moment can find it, UTC; None: the next one may.
    :param receipts: of the queue's messages that told of the files; to be deleted when the files are noted down.
    :param more: whether the look was broken off in a backlog, so that the next one shall follow at once.
    """

    done: bool
    files: list[str]
    said: str
    not_before: datetime | None = None
    receipts: tuple[str, ...] = ()
    more: bool = False


def log_files_delivered(
    hook: CloudTrailHook,
    trail: TrailParameters,
    *,
    delivered_from: Any,
    delivered_to: Any,
    settle: timedelta | None,
    max_files: int,
    ahead: bool = True,
) -> Answer:
    """
    Tell whether log files were delivered in a window.

    Costs no request before the window has settled, then one listing for each account and Region.

    :param settle: None: one file is enough. A duration: the window must have ended that long ago as well.
    :param max_files: most URIs to return; the listing stops there.
    :param ahead: whether threads list the next accounts and Regions meanwhile.
    :raises ValueError: for wrong parameters.
    :raises CloudTrailBucketError: if the bucket cannot be listed.
    """
    window = windows.window(delivered_from, delivered_to, timedelta(0), timedelta(0))
    settled_at = None if settle is None else window.end + windows.duration("settle", settle)
    regions = parameters.regions("regions", trail.regions)
    location, account_ids = hook.locate(
        trail.bucket, trail.prefix, trail.organization_id, trail.trail_name, trail.account_ids
    )
    if settled_at is not None and datetime.now(timezone.utc) < settled_at:
        return _not_before(settled_at)
    try:
        # What is missed is found by the next look, or by the export.
        listed = hook.list_log_files(location, window, account_ids, regions, ahead=ahead, make_sure=False)
        found = new_log_files(listed, (), max_files)
    except CloudTrailTrailNotFoundError as error:
        # A new trail has no folder before its first delivery.
        return Answer(False, [], f"Nothing yet: {error}")
    more = " at least" if len(found) == max_files else ""
    said = f"{len(found)} log files delivered from {window.start.isoformat()} to {window.end.isoformat()}{more}"
    return Answer(bool(found), [file.uri for file in found], said)


def never_delivered(hook: CloudTrailHook, trail: TrailParameters) -> str:
    """
    Return what is to be said of named accounts and Regions that have no folder, such as misspelt ones; or nothing.

    A look cannot tell: where Regions are named, it asks for their log files alone. Nothing is raised here: the looks
    go on, and meet the same error if it is more than a passing one.
    """
    try:
        regions = parameters.regions("regions", trail.regions)
        if regions is None and parameters.text(trail.account_ids) is None:
            return ""
        location, account_ids = hook.locate(
            trail.bucket, trail.prefix, trail.organization_id, trail.trail_name, trail.account_ids
        )
        missing = names_without_folder(hook.get_store(location.bucket), location, account_ids, regions)
    except Exception:
        log.debug("Could not look for the folders of what is named", exc_info=True)
        return ""
    if not missing:
        return ""
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    return (
        f"nothing was ever delivered of {', '.join(missing[:_NAMED])}{more}: there is no such folder below "
        f"{location.root} in {location.bucket}. Check the names in account_ids and regions, bucket, prefix and "
        "organization_id; where nothing has happened yet, there is none either"
    )


def delivery_is_proven(
    hook: CloudTrailHook, trail: TrailParameters, *, until: Any, seen_within: timedelta, ahead: bool = True
) -> Answer:
    """
    Tell whether signed digests prove that delivery is complete up to a moment.

    :param until: the moment; no request is made before it.
    :param seen_within: an account and Region that had a digest so long before it is waited for.
    :param ahead: whether threads look at the next accounts and Regions meanwhile.
    :raises ValueError: for wrong parameters.
    :raises CloudTrailError: if bucket or API refuse.
    """
    # Here, because most DAG files are parsed for sensors of log files.
    from airflow_provider_cloudtrail.trail.proven_delivery import waiting_for
    from airflow_provider_cloudtrail.trail.public_keys import KeyRing

    moment = windows.proven_until(until, seen_within)
    regions = parameters.regions("regions", trail.regions)
    location, account_ids = hook.locate(
        trail.bucket, trail.prefix, trail.organization_id, trail.trail_name, trail.account_ids
    )
    if datetime.now(timezone.utc) < moment:
        return _not_before(moment)
    try:
        waiting = waiting_for(
            hook.get_store(location.bucket),
            location,
            moment,
            KeyRing(hook.list_public_keys, moment, moment),
            seen_within=seen_within,
            account_ids=account_ids,
            regions=regions,
            ahead=ahead,
        )
    except StoreError as error:
        raise CloudTrailBucketError(str(error)) from None
    if not waiting:
        return Answer(True, [], f"Delivery is proven complete up to {moment.isoformat()}")
    named = "; ".join(waiting[:_NAMED])
    more = f"; and {len(waiting) - _NAMED} more" if len(waiting) > _NAMED else ""
    return Answer(False, [], f"Waiting for {len(waiting)} of them: {named}{more}")


def queue_told(hook: CloudTrailHook, trail: TrailParameters, *, queue_url: str, max_files: int) -> Answer:
    """
    Tell whether an SQS queue has been told of new log files.

    Messages that tell of no wanted log file are deleted at once, before they can come again; those that nobody can
    read are left for the queue's dead-letter queue. The others stay until the caller deletes them by their
    ``receipts``. What one look does not receive of a backlog is left for the next, which then shall not wait: an
    organization's trail can tell of more files between two looks than one receives.

    :param trail: its accounts and Regions are those that are wanted.
    :param queue_url: URL of the queue.
    :param max_files: no further messages are received once so many files are known; a message is never divided.
    :raises ValueError: for wrong parameters.
    :raises CloudTrailError: if the queue refuses; not if it does so after files were found.
    """
    from airflow_provider_cloudtrail.trail.notification import read_notification

    account_ids = parameters.account_ids("account_ids", trail.account_ids)
    regions = parameters.regions("regions", trail.regions)
    files: dict[str, None] = {}
    # Only the last receipt of a message that came again is sure to delete it.
    receipts: dict[str, str] = {}
    said: list[str] = []
    deleted, more = 0, False
    for _ in range(_MOST_RECEPTIONS):
        if len(files) >= max_files:
            break
        useless: list[str] = []
        try:
            if not (messages := hook.receive_messages(queue_url)):
                break
            for message in messages:
                notification = read_notification(message.body)
                if notification.poison is not None:
                    said.append(f"message {message.id} is left for the dead-letter queue: {notification.poison}")
                    continue
                said += [f"message {message.id}: {reason}" for reason in notification.dropped]
                wanted = [file.uri for file in notification.files if is_of(file, account_ids, regions)]
                files.update(dict.fromkeys(wanted))
                if wanted:
                    receipts[message.id] = message.receipt
                else:
                    useless.append(message.receipt)
            hook.delete_messages(queue_url, useless)
        except CloudTrailQueueError as error:
            if not files:
                raise
            # What was found is told, else it would come again later, and sooner be a dead letter; the queue can be
            # asked again.
            what = f"{len(useless)} messages about other files could not be deleted and come again"
            said.insert(0, f"{what if useless else 'what else it has is left for the next look'}: {error}")
            break
        deleted += len(useless)
    else:
        more = not files and deleted >= _OF_A_BACKLOG * _MOST_RECEPTIONS
        said.insert(0, f"after {_MOST_RECEPTIONS} receptions the rest is left for the next look")
    notes = f" ({'; '.join(said[:_NAMED])})" if said else ""
    whole = f"The queue told of {len(files)} log files{notes}"
    return Answer(bool(files), list(files), whole, receipts=tuple(receipts.values()), more=more)


def _not_before(moment: datetime) -> Answer:
    return Answer(False, [], f"Not before {moment.isoformat()}", moment)
