"""
One CloudTrail record to one row of the audit table.

Source: AWS CloudTrail user guide, "CloudTrail record contents". A record becomes a row whenever it is
a JSON object with a usable ``eventTime``; everything else is read leniently, see ``fields``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from airflow_provider_cloudtrail.audit_event import AuditEvent
from airflow_provider_cloudtrail.trail.actor import Actor, actor_of, documented_actor
from airflow_provider_cloudtrail.trail.codec import MalformedError, StandardCodec
from airflow_provider_cloudtrail.trail.environment import (
    MWAA,
    MWAA_SERVERLESS,
    NO_ENVIRONMENT,
    Environment,
    environment_of,
)
from airflow_provider_cloudtrail.trail.fields import boolean, http_status, moment, text, texts
from airflow_provider_cloudtrail.trail.outcome import SIGN_INS, outcome_of
from airflow_provider_cloudtrail.trail.scrub import hidden_members, may_need_scrubbing, readable, scrub_together

if TYPE_CHECKING:
    from airflow_provider_cloudtrail.trail.documented_record import DocumentedRecord

LONGEST_EVENT_ID = 255
"""Longest eventID that is taken as it is; CloudTrail's have 36 characters."""

_TEXTS = (
    *("eventSource", "eventName", "eventCategory", "eventType", "eventVersion", "awsRegion", "recipientAccountId"),
    *("sourceIPAddress", "userAgent", "errorCode", "errorMessage", "requestID", "sharedEventID"),
)
_DOCUMENTS = ("requestParameters", "responseElements", "resources", "serviceEventDetails")
_CALL = ("Method", "Path")
_EMPTY: Mapping[str, Any] = {}
_OF_MWAA = (MWAA, MWAA_SERVERLESS)
_IN_ARNS = b"airflow"


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
    shared: dict[str | None, str | None] = field(default_factory=dict)

    @cached_property
    def uri(self) -> str:
        """What the rows have as ``log_file_uri``."""
        return self.source.uri

    @cached_property
    def delivered_at(self) -> datetime:
        """What they have as ``delivered_at``, UTC."""
        return self.source.delivered_at


class _Members(NamedTuple):
    """What a row takes from a record that was read leniently, under the same names as a documented one has it."""

    event_id: str
    event_source: str | None
    event_name: str | None
    event_category: str | None
    event_type: str | None
    event_version: str | None
    aws_region: str | None
    recipient_account_id: str | None
    source_ip_address: str | None
    user_agent: str | None
    error_code: str | None
    error_message: str | None
    request_id: str | None
    shared_event_id: str | None
    read_only: bool | None
    management_event: bool | None
    request_parameters: Any
    response_elements: Any
    resources: Any
    service_event_details: Any


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
    environment: Environment | None = None
    if may_need_scrubbing(raw):
        # What is named twice stands in the text alone, where it could be read.
        values = [record, *hidden_members(raw_text)]
        cleaned, redacted = scrub_together(values)
        if cleaned != values:
            # As of TOLD_BY_AWS: the name of an environment can be called a secret by a tag.
            environment = environment_of(readable(record))
            record = cleaned[0]
            raw_text = _encode(record, codec)
    members = (
        event_id,
        *texts(record, _TEXTS),
        boolean(record.get("readOnly")),
        boolean(record.get("managementEvent")),
        *map(record.get, _DOCUMENTS),
    )
    return _row(
        _Members._make(members),
        event_time,
        actor_of(record),
        environment or environment_of(record),
        raw_text,
        redacted,
        index,
        provenance,
        codec,
    )


def documented_event(
    found: DocumentedRecord, raw: bytes, index: int, provenance: Provenance, codec: StandardCodec
) -> AuditEvent | None:
    """
    Return the row of a record that is written as documented, the same as :func:`audit_event` does.

    :param found: the record.
    :param raw: its bytes, which need no scrubbing.
    :param index: its position in the log file, from 0.
    :param provenance: where it was found.
    :param codec: decoded the record.
    :return: None if some of it is not usable as it is, and has to be read leniently.
    :raises MalformedError: ``number_out_of_range``.
    """
    event_time = moment(found.event_time)
    if event_time is None or not _is_plain_id(found.event_id):
        return None
    try:
        raw_text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    environment = NO_ENVIRONMENT
    # Most records of other services have resources, and none of MWAA.
    if found.event_source in _OF_MWAA or (found.resources and _IN_ARNS in raw):
        environment = environment_of({
            "eventSource": found.event_source,
            "awsRegion": found.aws_region,
            "recipientAccountId": found.recipient_account_id,
            "errorMessage": found.error_message,
            "requestParameters": found.request_parameters,
            "responseElements": found.response_elements,
            "resources": found.resources,
        })
    actor = documented_actor(found)
    return _row(found, event_time, actor, environment, raw_text, 0, index, provenance, codec)


def _row(
    found: DocumentedRecord | _Members,
    event_time: datetime,
    actor: Actor,
    environment: Environment,
    raw_text: str,
    redacted: int,
    index: int,
    provenance: Provenance,
    codec: StandardCodec,
) -> AuditEvent:
    # What most records of a file have in common is kept once.
    kept = provenance.shared.setdefault
    parameters, response = found.request_parameters, found.response_elements
    answer: Mapping[str, Any] = response if response.__class__ is dict else _EMPTY
    name, error_code, error_message = found.event_name or None, found.error_code or None, found.error_message or None
    method = path = rest_status = None
    if "RestApiStatusCode" in answer:
        rest_status = http_status(answer["RestApiStatusCode"])
    if name == "InvokeRestApi":
        method, path = texts(parameters if isinstance(parameters, dict) else _EMPTY, _CALL)
    if error_message is None and error_code is not None:
        # MWAA writes the text of a denial into the response.
        error_message = text(answer.get("message"))
    outcome = "success"
    if error_code is not None or answer or name in SIGN_INS:
        outcome = outcome_of(error_code, rest_status, name, (response, found.service_event_details))
    # By position, in the order of the columns: names would take longer than all of the above.
    return AuditEvent._make((
        found.event_id,
        event_time,
        kept(found.event_source, found.event_source) or None,
        kept(name, name),
        kept(found.event_category, found.event_category) or None,
        kept(found.event_type, found.event_type) or None,
        kept(found.event_version, found.event_version) or None,
        kept(found.aws_region, found.aws_region) or None,
        kept(found.recipient_account_id, found.recipient_account_id) or None,
        environment.name,
        environment.arn,
        *actor,
        kept(found.source_ip_address, found.source_ip_address) or None,
        kept(found.user_agent, found.user_agent) or None,
        outcome,
        error_code,
        error_message,
        found.read_only,
        found.management_event,
        method,
        path,
        rest_status,
        found.request_id or None,
        found.shared_event_id or None,
        None if parameters is None else _encode(parameters, codec),
        None if response is None else _encode(response, codec),
        None if found.resources is None else _encode(found.resources, codec),
        raw_text,
        redacted,
        provenance.uri,
        index,
        provenance.delivered_at,
        provenance.loaded_at,
        provenance.loaded_by,
    ))


def _event_id(record: Mapping[str, Any]) -> str:
    """Return eventID, or for records without a usable one (before eventVersion 1.01) a hash of the content."""
    event_id = record.get("eventID")
    if isinstance(event_id, str) and _is_plain_id(event_id):
        return event_id
    # The standard library's encoder, whatever is installed: the id must be the same everywhere.
    content = json.dumps(record, sort_keys=True, separators=(",", ":"))
    return f"derived-{hashlib.sha256(content.encode()).hexdigest()[:40]}"


def _is_plain_id(event_id: str) -> bool:
    return 0 < len(event_id) <= LONGEST_EVENT_ID and event_id.isascii() and event_id.isprintable()


def _encode(value: Any, codec: StandardCodec) -> str:
    try:
        return codec.encode(value)
    except ValueError:
        raise MalformedError(
            "number_out_of_range", "the record holds a number that JSON columns cannot store"
        ) from None
