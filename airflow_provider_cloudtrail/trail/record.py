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
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from airflow_provider_cloudtrail.audit_event import AuditEvent, JsonText, RawJson
from airflow_provider_cloudtrail.trail.actor import actor_of
from airflow_provider_cloudtrail.trail.codec import MalformedError, StandardCodec
from airflow_provider_cloudtrail.trail.environment import environment_of
from airflow_provider_cloudtrail.trail.fields import boolean, http_status, member, moment, text
from airflow_provider_cloudtrail.trail.scrub import may_need_scrubbing, scrub

LONGEST_EVENT_ID = 255
"""Longest eventID that is taken as it is; CloudTrail's have 36 characters."""

_DENIED = re.compile(r"access.?denied|unauthorized|not.?authorized|forbidden|auth.?failure", re.IGNORECASE)
_PLAIN_ID = re.compile(rf"[\x20-\x7e]{{1,{LONGEST_EVENT_ID}}}")


class Source(Protocol):
    """What a record was found in: a log file, or a lookup of Event history."""

    @property
    def uri(self) -> str:
        """What the rows have as ``log_file_uri``."""

    @property
    def delivered_at(self) -> datetime:
        """When CloudTrail handed it over, UTC."""


class Provenance(NamedTuple):
    """Where a record was found and who loads it."""

    source: Source
    loaded_at: datetime
    loaded_by: str | None


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
    response = member(record, "responseElements")
    error_code = text(record.get("errorCode"))
    environment = environment_of(record)
    is_rest_call = record.get("eventName") == "InvokeRestApi"
    parameters = member(record, "requestParameters") if is_rest_call else {}
    rest_status = http_status(response.get("RestApiStatusCode"))
    return AuditEvent(
        event_id=event_id,
        event_time=event_time,
        event_source=text(record.get("eventSource")),
        event_name=text(record.get("eventName")),
        event_category=text(record.get("eventCategory")),
        event_type=text(record.get("eventType")),
        event_version=text(record.get("eventVersion")),
        aws_region=text(record.get("awsRegion")),
        recipient_account_id=text(record.get("recipientAccountId")),
        environment_name=environment.name,
        environment_arn=environment.arn,
        **actor_of(record)._asdict(),
        source_ip_address=text(record.get("sourceIPAddress")),
        user_agent=text(record.get("userAgent")),
        outcome=_outcome(error_code, rest_status, response),
        error_code=error_code,
        # MWAA writes the text of a denial into the response.
        error_message=text(record.get("errorMessage"))
        or (text(response.get("message")) if error_code is not None else None),
        read_only=boolean(record.get("readOnly")),
        management_event=boolean(record.get("managementEvent")),
        rest_method=text(parameters.get("Method")),
        rest_path=text(parameters.get("Path")),
        rest_status_code=rest_status,
        request_id=text(record.get("requestID")),
        shared_event_id=text(record.get("sharedEventID")),
        request_parameters=_json(record.get("requestParameters"), codec),
        response_elements=_json(record.get("responseElements"), codec),
        resources=_json(record.get("resources"), codec),
        raw_event=RawJson(raw_text),
        redacted=redacted,
        log_file_uri=provenance.source.uri,
        log_file_index=index,
        delivered_at=provenance.source.delivered_at,
        loaded_at=provenance.loaded_at,
        loaded_by=provenance.loaded_by,
    )


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


def _json(value: Any, codec: StandardCodec) -> JsonText | None:
    return None if value is None else JsonText(_encode(value, codec))


def _encode(value: Any, codec: StandardCodec) -> str:
    try:
        return codec.encode(value)
    except ValueError:
        raise MalformedError(
            "number_out_of_range", "the record holds a number that JSON columns cannot store"
        ) from None
