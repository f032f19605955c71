"""
One CloudTrail record to one row of the audit table.

Source: AWS CloudTrail user guide, "CloudTrail record contents". A record becomes a row whenever it is
a JSON object with a usable ``eventTime``; everything else is read leniently, see ``fields``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol

from airflow_provider_cloudtrail.audit_event import AuditEvent
from airflow_provider_cloudtrail.trail.actor import actor_of
from airflow_provider_cloudtrail.trail.codec import MalformedError, StandardCodec
from airflow_provider_cloudtrail.trail.environment import environment_of
from airflow_provider_cloudtrail.trail.fields import boolean, http_status, member, moment, text, texts
from airflow_provider_cloudtrail.trail.scrub import may_need_scrubbing, scrub

LONGEST_EVENT_ID = 255
"""Longest eventID that is taken as it is; CloudTrail's have 36 characters."""

_DENIED = re.compile(r"access.?denied|unauthorized|not.?authorized|forbidden|auth.?failure", re.IGNORECASE)
_REPEATED = (
    "eventSource",
    "eventName",
    "eventCategory",
    "eventType",
    "eventVersion",
    "awsRegion",
    "recipientAccountId",
    "sourceIPAddress",
    "userAgent",
)
_OTHERS = ("errorCode", "errorMessage", "requestID", "sharedEventID")
_CALL = ("Method", "Path")
_PLAIN_ID = re.compile(rf"[\x20-\x7e]{{1,{LONGEST_EVENT_ID}}}")


class Source(Protocol):
    """What a record was found in: a log file, or a lookup of Event history."""

    @property
    def uri(self) -> str:
        """What the rows have as ``log_file_uri``."""

    @property
    def delivered_at(self) -> datetime:
        """When CloudTrail handed it over, UTC."""


@dataclass(frozen=True)
class Provenance:
    """
    Where a record was found and who loads it: one for all records of a file.

    :param shared: texts that records of the file have in common.
    """

    source: Source
    loaded_at: datetime
    loaded_by: str | None
    shared: dict[str, str] = field(default_factory=dict)

    @cached_property
    def uri(self) -> str:
        """What the rows have as ``log_file_uri``."""
        return self.source.uri


def audit_event(
    record: Mapping[str, Any], raw: bytes, index: int, provenance: Provenance, codec: StandardCodec
) -> AuditEvent:
    """
    Return the row of a record.

    :param record: the decoded record.
    :param raw: its bytes, as they stand in the log file; valid UTF-8.
    :param index: its position in the log file, from 0.
    :param provenance: where it was found.
    :param codec: encodes the semi-structured columns.
    :raises MalformedError: ``no_event_time``, or ``number_out_of_range`` for a number that no engine stores.
    """
    event_time = moment(record.get("eventTime"))
    if event_time is None:
        raise MalformedError("no_event_time", "the record has no usable eventTime")
    event_id = _event_id(record)
    redacted = 0
    raw_text = raw.decode("utf-8")
    if may_need_scrubbing(raw):
        cleaned, redacted = scrub(record)
        if cleaned != record:
            record, raw_text = cleaned, _encode(cleaned, codec)
    shared = provenance.shared
    source, name, category, kind, version, region, account, address, agent = [
        # What most records of a file have in common is kept once.
        None if value is None else shared.setdefault(value, value)
        for value in texts(record, _REPEATED)
    ]
    error_code, error_message, request_id, shared_event_id = texts(record, _OTHERS)
    response = member(record, "responseElements")
    environment = environment_of(record)
    method = path = rest_status = None
    if "RestApiStatusCode" in response:
        rest_status = http_status(response["RestApiStatusCode"])
    if name == "InvokeRestApi":
        method, path = texts(member(record, "requestParameters"), _CALL)
    if error_message is None and error_code is not None:
        # MWAA writes the text of a denial into the response.
        error_message = text(response.get("message"))
    actor = [shared.setdefault(value, value) if value.__class__ is str else value for value in actor_of(record)]
    # By position, in the order of the columns: names would take longer than all of the above.
    return AuditEvent._make((
        event_id,
        event_time,
        source,
        name,
        category,
        kind,
        version,
        region,
        account,
        environment.name,
        environment.arn,
        *actor,
        address,
        agent,
        _outcome(error_code, rest_status, response),
        error_code,
        error_message,
        boolean(record.get("readOnly")),
        boolean(record.get("managementEvent")),
        method,
        path,
        rest_status,
        request_id,
        shared_event_id,
        _json(record.get("requestParameters"), codec),
        _json(record.get("responseElements"), codec),
        _json(record.get("resources"), codec),
        raw_text,
        redacted,
        provenance.uri,
        index,
        provenance.source.delivered_at,
        provenance.loaded_at,
        provenance.loaded_by,
    ))


def _event_id(record: Mapping[str, Any]) -> str:
    """Return eventID, or for records without a usable one (before eventVersion 1.01) a hash of the content."""
    event_id = record.get("eventID")
    if isinstance(event_id, str) and _PLAIN_ID.fullmatch(event_id):
        return event_id
    # The standard library's encoder, whatever is installed: the id must be the same everywhere.
    content = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return f"derived-{hashlib.sha256(content.encode()).hexdigest()[:40]}"


def _outcome(error_code: str | None, rest_status: int | None, response: Mapping[str, Any]) -> str:
    if error_code is not None and error_code != "200":
        return "denied" if _DENIED.search(error_code) else "error"
    if rest_status is not None and rest_status >= 400:
        return "denied" if rest_status in (401, 403) else "error"
    # A failed console sign-in has no error code.
    return "denied" if response.get("ConsoleLogin") == "Failure" else "success"


def _json(value: Any, codec: StandardCodec) -> str | None:
    return None if value is None else _encode(value, codec)


def _encode(value: Any, codec: StandardCodec) -> str:
    try:
        return codec.encode(value)
    except ValueError:
        raise MalformedError(
            "number_out_of_range", "the record holds a number that JSON columns cannot store"
        ) from None
