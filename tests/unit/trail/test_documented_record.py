"""What is decoded straight into its members gives the same rows as what is read leniently."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import AuditEvent, QuarantineEntry
from airflow_provider_cloudtrail.demo.plan import TrailPlan
from airflow_provider_cloudtrail.demo.trail import generate
from airflow_provider_cloudtrail.pushdown.record_fields import RECORD_FIELDS, RecordField
from airflow_provider_cloudtrail.trail.codec import CODEC, MalformedError, StandardCodec
from airflow_provider_cloudtrail.trail.reader import read_record, read_records
from airflow_provider_cloudtrail.trail.record import Provenance
from airflow_provider_cloudtrail.trail.selection import Selection
from tests.support.log_files import ACCOUNT, event, listed

msgspec = pytest.importorskip("msgspec")

ALL = Selection.of(event_sources=None)
STANDARD = StandardCodec()
PROVENANCE = Provenance(listed(), datetime(2026, 2, 4, tzinfo=timezone.utc), "me")
FULL = event(
    "6e1a3a5e-0000-4000-8000-000000000001",
    eventSource="s3.amazonaws.com",
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
    requestParameters={"a": [1, 2.5, "\N{SNOWMAN}"]},
    responseElements={"message": "no"},
    resources=[{"ARN": f"arn:aws:airflow:eu-west-1:{ACCOUNT}:environment/orders"}],
    readOnly=False,
    managementEvent=True,
    tlsDetails={"tlsVersion": "TLSv1.3"},
)
ODD = [None, "", " ", "true", True, 0, 403, 2**70, 1.5, [], ["x"], {}, {"message": "x"}, "x\0", "\ud83d"]


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


def both(raw: bytes) -> tuple[AuditEvent | QuarantineEntry | None, AuditEvent | QuarantineEntry | None]:
    fast, lenient = (read_record(raw, 0, ALL, PROVENANCE, codec) for codec in (CODEC, STANDARD))
    return fast, lenient


def test_a_full_record_is_decoded_straight_into_its_members() -> None:
    raw = json.dumps(FULL).encode()
    assert CODEC.documented(raw) is not None
    assert STANDARD.documented(raw) is None
    fast, lenient = both(raw)
    assert isinstance(fast, AuditEvent)
    assert fast == lenient


@pytest.mark.parametrize("path", [pytest.param(path, id=".".join(path)) for path in paths(FULL)])
def test_whatever_a_member_holds_the_row_is_the_same(path: tuple[str, ...]) -> None:
    for record in (*(changed(path, value) for value in ODD), without(path)):
        fast, lenient = both(json.dumps(record).encode())
        assert fast == lenient, record


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b'{"a":1e999,' + json.dumps(FULL).encode()[1:], id="number out of range"),
        pytest.param(b'{"tlsDetails":{"a":1e999},"eventID":"a","eventTime":"2026-02-03T09:58:00Z"}', id="in a member"),
        pytest.param(b'{"eventID":"a","eventTime":"2026-02-03T09:58:00Z","userAgent":"\xff"}', id="no UTF-8"),
        pytest.param(b'{"eventID":"a","eventTime":"2026-02-03T09:58:00Z","userAgent":"\xed\xa0\x80"}', id="surrogate"),
        pytest.param(b'{"eventID":"a","eventID":"b","eventTime":"2026-02-03T09:58:00Z"}', id="a member twice"),
        pytest.param(b'{"eventID":"a","eventTime":"soon"}', id="no time"),
        pytest.param(b'{"eventID":"","eventTime":"2026-02-03T09:58:00Z"}', id="no id"),
        pytest.param(b'{"eventID":"\x7f","eventTime":"2026-02-03T09:58:00Z"}', id="no printable id"),
        pytest.param(b'["eventID"]', id="no object"),
        pytest.param(b"{", id="no JSON"),
    ],
)
def test_bad_records_are_told_alike(raw: bytes) -> None:
    fast, lenient = both(raw)
    assert fast == lenient


def test_members_are_those_that_are_documented() -> None:
    def members(struct: Any) -> set[str]:
        return {field.encode_name for field in msgspec.structs.fields(struct)}

    def documented(fields: tuple[RecordField, ...]) -> set[str]:
        return {field.name for field in fields}

    from airflow_provider_cloudtrail.trail import documented_record

    (identity,) = (field for field in RECORD_FIELDS if field.name == "userIdentity")
    (context,) = (field for field in identity.members if field.name == "sessionContext")
    within = {field.name: field.members for field in (*identity.members, *context.members)}
    # Insights have no members in the trail's table, but may lie in a bucket.
    assert members(documented_record.DocumentedRecord) == documented(RECORD_FIELDS) | {"insightDetails"}
    assert members(documented_record.UserIdentity) == documented(identity.members)
    assert members(documented_record.SessionContext) == documented(context.members)
    assert members(documented_record.SessionIssuer) == documented(within["sessionIssuer"])
    assert members(documented_record.SessionAttributes) == documented(within["attributes"])
    assert members(documented_record.OnBehalfOf) == documented(within["onBehalfOf"])


def test_nearly_all_records_of_a_trail_are_written_as_documented() -> None:
    straight = lenient = 0
    for written in generate(TrailPlan(days=1)):
        if "/CloudTrail/" not in written.key:
            continue
        try:
            records = list(read_records(written.body))
        except MalformedError:
            continue
        for record in records:
            if CODEC.documented(json.dumps(record).encode()) is not None:
                straight += 1
            else:
                lenient += 1
    assert straight > 20 * lenient
