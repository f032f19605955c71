"""
The audit table and its companions: columns, types and what each means.

This is the contract between the two wings of the house: ``trail`` produces these rows, ``warehouse``
stores them, neither knows the other. Every table is defined once, by the named tuple of its row; the
SQL type of a column follows from the type of its field, ``NOT NULL`` from the absence of ``None``.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Annotated, NamedTuple, NewType

JsonText = NewType("JsonText", str)
"""Text that is one valid JSON value."""

RawJson = NewType("RawJson", str)
"""Text that is one JSON value and is to be stored as it is, without re-ordering or re-formatting."""


class ColumnKind(Enum):
    """What a column holds; each warehouse maps these to the types of its engine."""

    KEY = "key"
    """Text that identifies the row, at most :data:`MAX_KEY_LENGTH` characters."""
    TEXT = "text"
    INTEGER = "integer"
    """Signed 64-bit integer."""
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    """A moment in UTC, microseconds."""
    JSON = "json"
    RAW_JSON = "raw_json"


MAX_KEY_LENGTH = 700
"""Longest key in characters: an S3 URI of a log file has fewer, and every engine can index as many."""


@dataclass(frozen=True)
class Column:
    """
    A column of one of the tables.

    :param name: name of the column, the same in every engine.
    :param kind: what it holds.
    :param required: whether it is never null.
    :param meaning: one sentence for documentation and users.
    """

    name: str
    kind: ColumnKind
    required: bool
    meaning: str


class AuditEvent(NamedTuple):
    """One row of ``<table>``: one CloudTrail event, whatever the number of files it was delivered in."""

    event_id: Annotated[str, "CloudTrail's eventID; for records without one derived-<hash of the record>"]
    event_time: Annotated[datetime, "when the request completed, by the clock of the service"]
    event_source: Annotated[str | None, "service that was called, such as airflow.amazonaws.com"]
    event_name: Annotated[str | None, "API action, such as CreateCliToken"]
    event_category: Annotated[str | None, "Management, Data, NetworkActivity or Insight"]
    event_type: Annotated[str | None, "AwsApiCall, AwsServiceEvent, AwsConsoleSignIn and others"]
    event_version: Annotated[str | None, "version of the record format; 1.10 is newer than 1.9"]
    aws_region: Annotated[str | None, "Region that the request was made to"]
    recipient_account_id: Annotated[str | None, "account that received the event"]
    environment_name: Annotated[str | None, "MWAA environment, or MWAA Serverless workflow, concerned"]
    environment_arn: Annotated[str | None, "its ARN, as recorded or put together from Region, account and name"]
    actor_kind: Annotated[
        str,
        "root, iam_user, temporary_credentials, aws_service, aws_account (of somebody else), directory, unknown",
    ]
    actor_arn: Annotated[str | None, "ARN of the caller"]
    actor_account_id: Annotated[str | None, "account of the caller"]
    actor_principal_id: Annotated[str | None, "unique id of the caller"]
    actor_user_name: Annotated[str | None, "name of the user, or of the role behind temporary credentials"]
    actor_session_name: Annotated[str | None, "role session or federated user name, often the person or the program"]
    session_issuer_arn: Annotated[str | None, "role or user that the temporary credentials came from"]
    access_key_id: Annotated[str | None, "access key that signed the request"]
    mfa_authenticated: Annotated[
        bool | None, "whether AWS itself asked for MFA, not an identity provider; null if not said"
    ]
    identity_center_user_id: Annotated[str | None, "IAM Identity Center user on whose behalf the call was made"]
    invoked_by: Annotated[str | None, "AWS service that made the call"]
    source_ip_address: Annotated[str | None, "IP address, or DNS name of an AWS service, as recorded"]
    user_agent: Annotated[str | None, "program that made the call"]
    outcome: Annotated[str, "success, denied or error"]
    error_code: Annotated[str | None, "error code of the service, as recorded (200 can be a success)"]
    error_message: Annotated[str | None, "error text, also where it was recorded in the response"]
    read_only: Annotated[bool | None, "whether the action changes nothing (InvokeRestApi is never marked so)"]
    management_event: Annotated[bool | None, "whether it is a management event; null in old records"]
    rest_method: Annotated[str | None, "HTTP method of a call to the Airflow REST API (InvokeRestApi)"]
    rest_path: Annotated[str | None, "path of that call"]
    rest_status_code: Annotated[int | None, "HTTP status that the Airflow REST API answered"]
    request_id: Annotated[str | None, "request id of the service"]
    shared_event_id: Annotated[str | None, "same in the copies of one action that several accounts received"]
    request_parameters: Annotated[JsonText | None, "parameters of the request"]
    response_elements: Annotated[JsonText | None, "answer of the service; null for most reads"]
    resources: Annotated[JsonText | None, "resources that the service named"]
    raw_event: Annotated[RawJson, "the record as delivered; secrets are replaced by ***, NUL is left out"]
    redacted: Annotated[int, "number of secret values that were replaced in this row"]
    log_file_uri: Annotated[str, "log file that the row was read from, or event-history://... for a lookup (no file)"]
    log_file_index: Annotated[int, "position of the record in that file or lookup, from 0"]
    delivered_at: Annotated[datetime, "stamp in the name of the log file; for a lookup, when it was answered"]
    loaded_at: Annotated[datetime, "when the row was loaded"]
    loaded_by: Annotated[str | None, "DAG, task and run that loaded it"]


class LedgerEntry(NamedTuple):
    """One row of ``<table>_files``: one log file that was read, and what became of its records."""

    log_file_uri: Annotated[str, "S3 URI of the log file"]
    etag: Annotated[str | None, "ETag of the object that was read"]
    size_bytes: Annotated[int | None, "size of the object in bytes, compressed"]
    sha256: Annotated[str | None, "SHA-256 (hex) of the uncompressed bytes that were read"]
    account_id: Annotated[str, "account in the key"]
    region: Annotated[str, "Region in the key"]
    delivered_at: Annotated[datetime, "stamp in the name of the log file"]
    records: Annotated[int | None, "records in the file; null if it was not parsed"]
    loaded: Annotated[int | None, "rows of the table that came from this file"]
    duplicate: Annotated[int | None, "selected events that another file, or an earlier record, brought already"]
    filtered: Annotated[int | None, "records that were not selected"]
    quarantined: Annotated[int | None, "records that could not be read and are in quarantine"]
    status: Annotated[str, "loaded, no_match (no wanted event source in its bytes: not parsed) or quarantined"]
    reason: Annotated[str | None, "why the whole file is in quarantine"]
    selection: Annotated[str, "what was selected; a run that wants more reads the file again"]
    loaded_at: Annotated[datetime, "when this entry was written"]
    loaded_by: Annotated[str | None, "DAG, task and run that wrote it"]
    digest_uri: Annotated[str | None, "signed digest that lists the file"]
    digest_status: Annotated[str | None, "verified, altered, deleted, unlisted or digest_invalid; null: not compared"]
    verified_at: Annotated[datetime | None, "when it was compared"]


class QuarantineEntry(NamedTuple):
    """One row of ``<table>_quarantine``: a record, or a whole file, that could not be read."""

    log_file_uri: Annotated[str, "S3 URI of the log file"]
    record_index: Annotated[int | None, "position of the record from 0; null: the whole file"]
    reason: Annotated[str, "what is wrong with it, without any value of the record"]
    raw: Annotated[
        str | None,
        "the record as text, secrets scrubbed; null for whole files, which stay in the bucket, and for a record that "
        "may hold secrets and is no JSON or nested too deeply",
    ]
    quarantined_at: Annotated[datetime, "when it was put here"]


class DigestEntry(NamedTuple):
    """One row of ``<table>_digests``: one signed digest, and what holding it and its files to account gave."""

    digest_uri: Annotated[str, "S3 URI of the digest"]
    account_id: Annotated[str, "account whose log files it lists"]
    region: Annotated[str, "Region whose log files it lists, and that signs it"]
    trail_name: Annotated[str, "trail that delivered it"]
    home_region: Annotated[str, "Region that the trail was made in"]
    backfill: Annotated[bool, "whether it lists what the ordinary digests missed"]
    covered_from: Annotated[datetime, "begin of the time of delivery that it covers"]
    covered_to: Annotated[datetime, "end of that time"]
    status: Annotated[str, "valid, invalid or missing (the next digest names it, and it is not in the bucket)"]
    reason: Annotated[str | None, "why it is not valid"]
    proof: Annotated[str | None, "own_signature, or next_digest where its metadata are lost"]
    sha256: Annotated[str | None, "SHA-256 (hex) of its uncompressed bytes"]
    public_key_fingerprint: Annotated[str | None, "key that it names as the one it is signed with"]
    previous_digest_uri: Annotated[str | None, "the digest before it; null in the first of a chain"]
    files_listed: Annotated[int | None, "log files that it lists; null unless it is valid"]
    files_verified: Annotated[int | None, "of these, what was read is what CloudTrail delivered"]
    files_altered: Annotated[int | None, "of these, it is not"]
    files_deleted: Annotated[int | None, "of these, not in the bucket any more"]
    files_not_loaded: Annotated[int | None, "of these, never loaded nor downloaded, so not compared"]
    verified_at: Annotated[datetime, "when this was found out"]
    verified_by: Annotated[str | None, "DAG, task and run that did"]


class FindingEntry(NamedTuple):
    """
    One row of ``<table>_findings``: something that a validation found wrong, from when until when.

    Evidence is kept: what is not wrong any more when its time is validated again gets ``resolved_at``, and
    is open again when it comes back. The same finding is one row, whatever the number of runs that see it.
    """

    finding_id: Annotated[str, "hash of what it is about: kind, and object, or chain and begin"]
    kind: Annotated[
        str,
        "invalid, missing (digests), gap (time without a digest), altered, deleted, unlisted, not_loaded (log files)",
    ]
    fails: Annotated[bool, "whether it made the run that saw it last fail, as fail_on says"]
    location: Annotated[str, "where the trail delivers to: URI of AWSLogs/, with the organization if one was given"]
    account_id: Annotated[str | None, "account that it is about; null: not known, or all"]
    region: Annotated[str | None, "Region that it is about; null: not known, or all"]
    trail_name: Annotated[str | None, "trail whose digests it is about; null: not known"]
    object_uri: Annotated[str | None, "digest or log file; null if it is about what is not there"]
    covered_from: Annotated[datetime, "begin of the time of delivery that it is about"]
    covered_to: Annotated[datetime, "end of that time"]
    objects: Annotated[int, "how many digests or log files this row stands for; 0 for a time without any"]
    message: Annotated[str, "what was found, for people"]
    first_seen_at: Annotated[datetime, "when a run saw it first"]
    last_seen_at: Annotated[datetime, "when a run saw it last"]
    last_seen_by: Annotated[str | None, "DAG, task and run that did"]
    resolved_at: Annotated[datetime | None, "when a run looked again and did not see it any more; null: it is open"]
    resolved_by: Annotated[str | None, "DAG, task and run that did"]


class HashEntry(NamedTuple):
    """
    One row of ``<table>_hashes``: a log file that was fetched only to be held against its digest.

    Not in the ledger, because nothing was loaded from it: an export that wants it reads it. Kept so that the
    next validation need not fetch it again.
    """

    log_file_uri: Annotated[str, "S3 URI of the log file"]
    etag: Annotated[str | None, "ETag of the object that was fetched"]
    sha256: Annotated[str | None, "SHA-256 (hex) of its uncompressed bytes; null if it cannot be unpacked"]
    fault: Annotated[str | None, "why it cannot be unpacked, in one word"]
    digest_uri: Annotated[str, "signed digest that lists the file"]
    digest_status: Annotated[str, "verified or altered"]
    verified_at: Annotated[datetime, "when it was fetched and compared"]
    verified_by: Annotated[str | None, "DAG, task and run that did"]


class LookupEntry(NamedTuple):
    """One row of ``<table>_lookups``: a span of Event history that was read, and what became of its events."""

    lookup_uri: Annotated[str, "event-history://ACCOUNT/REGION/FROM-TO/UNIQUE; log_file_uri of its rows"]
    account_id: Annotated[str, "account whose Event history was read"]
    region: Annotated[str, "Region that was looked in"]
    lookup_attribute: Annotated[str | None, "what the service looked for; null: all management events"]
    window_from: Annotated[datetime, "begin of the span of event time (included)"]
    window_to: Annotated[datetime, "end of the span (not included)"]
    events: Annotated[int, "events that the service gave; loaded + duplicate + filtered + quarantined"]
    loaded: Annotated[int, "rows of the table that came from this lookup"]
    duplicate: Annotated[int, "selected events that a log file or another lookup brought already"]
    filtered: Annotated[int, "events that were not selected"]
    quarantined: Annotated[int, "events that could not be read and are in quarantine"]
    status: Annotated[str, "complete; recent: events may still appear, so the next run reads this span again"]
    selection: Annotated[str, "what was selected; a run that wants more reads the span again"]
    loaded_at: Annotated[datetime, "when this entry was written"]
    loaded_by: Annotated[str | None, "DAG, task and run that wrote it"]


class KnownFile(NamedTuple):
    """
    What a run must know of a file that was read before; the fields are those of :class:`LedgerEntry`.

    Equal to the ledger's present state exactly if nobody has read the file again in between.
    """

    log_file_uri: str
    etag: str | None
    status: str
    reason: str | None
    selection: str
    loaded: int | None
    quarantined: int | None


@dataclass
class FileRows:
    """
    What one log file gives to the warehouse; it is stored as a whole or not at all.

    :param entry: its ledger entry; ``loaded`` and ``duplicate`` are filled in by the warehouse.
    :param events: its selected events, in the order of the file.
    :param quarantine: what of it could not be read.
    :param unpacked_bytes: size of the uncompressed file in bytes.
    :param previous: what the ledger said when it was decided to read it; None: nothing.
    :param rows_there: rows of it that were in the table before, filled in by a warehouse that knows it.
    :param getting: seconds that fetching it took.
    :param unpacking: seconds that unpacking, hashing and searching it took.
    :param parsing: seconds that making rows of it took.
    """

    entry: LedgerEntry
    events: list[AuditEvent]
    quarantine: list[QuarantineEntry]
    unpacked_bytes: int = 0
    previous: KnownFile | None = None
    rows_there: int | None = None
    getting: float = 0.0
    unpacking: float = 0.0
    parsing: float = 0.0


@dataclass
class LookupRows:
    """
    What one lookup gives to the warehouse; it is stored as a whole or not at all.

    :param entry: its ledger entry; ``loaded`` and ``duplicate`` are filled in by the warehouse.
    :param rows: its selected events, newest first.
    :param quarantine: what of it could not be read.
    """

    entry: LookupEntry
    rows: list[AuditEvent]
    quarantine: list[QuarantineEntry]


LOOKUP_SCHEME = "event-history://"
"""What the URI of a lookup begins with; it stands in ``log_file_uri`` where a log file has ``s3://``."""

# Kinds of findings.
INVALID = "invalid"
MISSING = "missing"
GAP = "gap"
NOT_LOADED = "not_loaded"

# Values of ``status`` in the ledger.
LOADED = "loaded"
NO_MATCH = "no_match"
QUARANTINED = "quarantined"

# Values of ``status`` of a lookup.
COMPLETE = "complete"
RECENT = "recent"

# Values of ``digest_status`` in the ledger; some are kinds of findings as well.
VERIFIED = "verified"
ALTERED = "altered"
DELETED = "deleted"
UNLISTED = "unlisted"
DIGEST_INVALID = "digest_invalid"

_KEYS = frozenset({"event_id", "log_file_uri", "digest_uri", "finding_id", "lookup_uri"})
_KINDS: dict[object, ColumnKind] = {
    str: ColumnKind.TEXT,
    int: ColumnKind.INTEGER,
    bool: ColumnKind.BOOLEAN,
    datetime: ColumnKind.TIMESTAMP,
    JsonText: ColumnKind.JSON,
    RawJson: ColumnKind.RAW_JSON,
}


@cache
def columns_of(
    row_type: (
        type[AuditEvent]
        | type[LedgerEntry]
        | type[QuarantineEntry]
        | type[DigestEntry]
        | type[FindingEntry]
        | type[HashEntry]
        | type[LookupEntry]
    ),
) -> tuple[Column, ...]:
    """
    Return the columns of a table, in the order of the fields of its row.

    :param row_type: the named tuple of a row, such as :class:`AuditEvent` or :class:`LedgerEntry`.
    """
    columns = []
    for name, annotation in typing.get_type_hints(row_type, include_extras=True).items():
        hint, meaning = typing.get_args(annotation)
        # ``NewType | None`` is a typing.Union, ``str | None`` a types.UnionType: both have arguments.
        alternatives = typing.get_args(hint) or (hint,)
        base = next(alternative for alternative in alternatives if alternative is not types.NoneType)
        required = types.NoneType not in alternatives
        kind = ColumnKind.KEY if name in _KEYS and required else _KINDS[base]
        columns.append(Column(name, kind, required, meaning))
    return tuple(columns)
