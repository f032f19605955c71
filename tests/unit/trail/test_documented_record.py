"""What is decoded straight into its members gives the same rows as what is read leniently."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import AuditEvent
from airflow_provider_cloudtrail.demo.plan import TrailPlan
from airflow_provider_cloudtrail.demo.trail import generate
from airflow_provider_cloudtrail.pushdown.record_fields import RECORD_FIELDS, RecordField
from airflow_provider_cloudtrail.trail.codec import CODEC, MalformedError
from airflow_provider_cloudtrail.trail.environment import ARN_MEMBERS
from airflow_provider_cloudtrail.trail.reader import MAX_FILE_BYTES, read_record
from airflow_provider_cloudtrail.trail.scrub import may_need_scrubbing
from airflow_provider_cloudtrail.trail.selection import Selection
from tests.support.documented_records import ALL, FULL, PROVENANCE, STANDARD, both, changed, paths, without
from tests.support.log_files import ACCOUNT, REGION, event
from tests.support.record_kinds import KINDS

msgspec = pytest.importorskip("msgspec")

ARN = f"arn:aws:airflow:{REGION}:{ACCOUNT}:environment/orders"
ODD = [None, "", " ", "true", True, 0, 403, 2**70, 1.5, [], ["x"], {}, {"message": "x"}, "x\0", "\ud83d"]


def test_a_full_record_is_decoded_straight_into_its_members() -> None:
    raw = json.dumps(FULL).encode()
    assert not may_need_scrubbing(raw)
    assert CODEC.documented(raw) is not None
    assert STANDARD.documented(raw) is None
    fast, lenient = both(raw)
    assert isinstance(fast, AuditEvent)
    assert fast == lenient


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(b":airflow:", id="as CloudTrail does"),
        pytest.param(b"\\u003aairflow\\u003a", id="colons as escapes"),
        pytest.param(b":\\u0061irflow:", id="a letter as an escape"),
    ],
)
def test_an_environment_among_the_resources_is_found_however_it_is_written(written: bytes) -> None:
    fast, lenient = both(json.dumps(FULL).encode().replace(b":airflow:", written))
    assert isinstance(fast, AuditEvent)
    assert fast == lenient
    assert fast.environment_name == "orders"


@pytest.mark.parametrize(
    "members",
    [
        *(pytest.param({document: {name: ARN}}, id=f"{document}.{name}") for document, name in ARN_MEMBERS),
        pytest.param({"responseElements": {"message": f"no right to {ARN}"}}, id="text of a denial"),
        pytest.param({"errorMessage": f"no right to {ARN}"}, id="text of an error"),
        pytest.param({"requestParameters": {"Name": "orders"}}, id="name"),
    ],
)
def test_an_environment_that_is_named_once_is_found(members: dict[str, Any]) -> None:
    raw = json.dumps(event(eventName="TagResource", requestParameters=None) | members).encode()
    assert CODEC.documented(raw) is not None
    fast, lenient = both(raw)
    assert isinstance(fast, AuditEvent)
    assert fast == lenient
    assert (fast.environment_name, fast.environment_arn) == ("orders", ARN)


def test_resources_without_an_environment_are_not_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_cloudtrail.trail.record.environment_of", None)
    record = changed(("resources",), [{"type": "AWS::S3::Object", "ARN": "arn:aws:s3:::lake/raw"}])
    row = read_record(json.dumps(record).encode(), 0, ALL, PROVENANCE)
    assert isinstance(row, AuditEvent)
    assert row.environment_name is None


@pytest.mark.parametrize("record", [kind.values[0] for kind in KINDS], ids=[kind.id for kind in KINDS])
def test_a_record_of_any_kind_gives_the_same_row(record: dict[str, Any]) -> None:
    fast, lenient = both(json.dumps(record).encode())
    assert isinstance(fast, AuditEvent)
    assert fast == lenient


@pytest.mark.parametrize("path", [pytest.param(path, id=".".join(path)) for path in paths(FULL)])
def test_whatever_a_member_holds_the_row_is_the_same(path: tuple[str, ...]) -> None:
    for record in (*(changed(path, value) for value in ODD), without(path)):
        fast, lenient = both(json.dumps(record).encode())
        assert fast == lenient, record


@pytest.mark.parametrize(
    "members",
    [
        pytest.param({}, id="MWAA"),
        pytest.param({"eventName": "GetEnvironment"}, id="another name"),
        pytest.param({"requestParameters": {"Name": "billing"}}, id="another environment"),
        pytest.param({"eventSource": "airflow-serverless.amazonaws.com"}, id="MWAA Serverless"),
        pytest.param({"eventSource": "s3.amazonaws.com", "userAgent": "airflow.amazonaws.com"}, id="activity"),
        pytest.param({"eventSource": "s3.amazonaws.com"}, id="another service"),
    ],
)
@pytest.mark.parametrize(
    "selection",
    [
        pytest.param(ALL, id="all"),
        pytest.param(Selection.of(), id="sources"),
        pytest.param(Selection.of(event_names=["UpdateEnvironment"]), id="names"),
        pytest.param(Selection.of(environment_names=["orders"]), id="environments"),
        pytest.param(Selection.of(include_environment_activity=True), id="with activity"),
    ],
)
def test_whatever_is_selected_the_same_records_are_wanted(selection: Selection, members: dict[str, Any]) -> None:
    record = event(eventName="UpdateEnvironment", requestParameters={"Name": "orders"}) | members
    raw = json.dumps(record).encode()
    assert CODEC.documented(raw) is not None
    assert not may_need_scrubbing(raw)
    fast, lenient = both(raw, selection)
    assert fast == lenient
    assert (fast is not None) is selection.wants(record)


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


def test_nearly_all_records_of_a_trail_are_read_straight() -> None:
    straight = lenient = 0
    for written in generate(TrailPlan(days=1)):
        if "/CloudTrail/" not in written.key:
            continue
        try:
            raws = CODEC.split_records(CODEC.gunzip(written.body, MAX_FILE_BYTES))
        except MalformedError:
            continue
        # As they stand in the file: what encoders write as escapes must not make them suspicious.
        for raw in map(bytes, raws):
            if not may_need_scrubbing(raw) and CODEC.documented(raw) is not None:
                straight += 1
            else:
                lenient += 1
    assert straight > 20 * lenient
