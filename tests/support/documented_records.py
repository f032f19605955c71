"""A record with every documented member, changes to it, and both ways to read it."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from airflow_provider_cloudtrail.audit_event import AuditEvent, QuarantineEntry
from airflow_provider_cloudtrail.trail.codec import CODEC, StandardCodec
from airflow_provider_cloudtrail.trail.reader import read_record
from airflow_provider_cloudtrail.trail.record import Provenance
from airflow_provider_cloudtrail.trail.selection import Selection
from tests.support.log_files import ACCOUNT, event, listed

ALL = Selection.of(event_sources=None)
STANDARD = StandardCodec()
PROVENANCE = Provenance(listed(), datetime(2026, 2, 4, tzinfo=timezone.utc), "me")
FULL = event(
    "6e1a3a5e-0000-4000-8000-000000000001",
    eventSource="s3.amazonaws.com",
    # Neither this nor an escape may make it one that could hold a secret: those are always read leniently.
    eventName="GetBucketAcl",
    userIdentity={
        "type": "AssumedRole",
        "principalId": "AROAEXAMPLE1:dora",
        "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/Platform/dora",
        "accountId": ACCOUNT,
        "accessKeyId": "ASIAEXAMPLE",
        "invokedBy": "cloudformation.amazonaws.com",
        "sessionContext": {
            "sessionIssuer": {"type": "Role", "arn": f"arn:aws:iam::{ACCOUNT}:role/Platform", "userName": "Platform"},
            "attributes": {"mfaAuthenticated": "true", "creationDate": "2020-11-05T07:00:10Z"},
            "assumedRoot": "false",
        },
        "onBehalfOf": {"userId": "u-1", "identityStoreArn": "arn:aws:identitystore::111122223333:identitystore/d-1"},
    },
    errorCode="AccessDenied",
    errorMessage="no",
    requestParameters={"a": [1, 2.5, "text"]},
    responseElements={"message": "no"},
    resources=[{"ARN": f"arn:aws:airflow:eu-west-1:{ACCOUNT}:environment/orders"}],
    readOnly=False,
    managementEvent=True,
    tlsDetails={"tlsVersion": "TLSv1.3"},
)


def paths(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (*path, name)
            yield from paths(inner, (*path, name))


def changed(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    record = copy.deepcopy(FULL)
    parent = record
    for name in path[:-1]:
        parent = parent[name]
    parent[path[-1]] = value
    return record


def without(path: tuple[str, ...]) -> dict[str, Any]:
    record = changed(path, None)
    parent = record
    for name in path[:-1]:
        parent = parent[name]
    del parent[path[-1]]
    return record


def both(
    raw: bytes, selection: Selection = ALL
) -> tuple[AuditEvent | QuarantineEntry | None, AuditEvent | QuarantineEntry | None]:
    fast, lenient = (read_record(raw, 0, selection, PROVENANCE, codec) for codec in (CODEC, STANDARD))
    return fast, lenient
