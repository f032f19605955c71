from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import AuditEvent
from airflow_provider_cloudtrail.trail.codec import CODEC, MalformedError, StandardCodec
from airflow_provider_cloudtrail.trail.record import Provenance, audit_event
from tests.support.log_files import event
from tests.support.record_kinds import FILE, KINDS, NOW
from tests.support.record_values import TOKEN, VALUES

RECORDS = [*KINDS, *VALUES]


def row_of(record: dict[str, Any], codec: StandardCodec = CODEC) -> AuditEvent:
    raw = json.dumps(record).encode()
    return audit_event(codec.decode(raw), raw, 3, Provenance(FILE, NOW, "me"), codec)


@pytest.mark.parametrize(("record", "columns"), RECORDS)
def test_columns(record: dict[str, Any], columns: dict[str, Any]) -> None:
    row = row_of(record)._asdict()
    assert {name: row[name] for name in columns} == columns


@pytest.mark.parametrize(("record", "columns"), RECORDS)
def test_accelerated_and_standard_codec_give_the_same_row(record: dict[str, Any], columns: dict[str, Any]) -> None:
    assert row_of(record, StandardCodec()) == row_of(record)


@pytest.mark.parametrize("record", [kind.values[0] for kind in RECORDS], ids=[kind.id for kind in RECORDS])
def test_no_secret_nul_or_surrogate_is_left_in_any_column(record: dict[str, Any]) -> None:
    for value in row_of(record):
        if isinstance(value, str):
            assert TOKEN not in value
            assert "\0" not in value
            assert "\\u0000" not in value
            value.encode()


def test_raw_event_is_the_record_as_delivered() -> None:
    raw = b'{ "eventTime" : "2026-02-03T09:58:00Z","newField":{"b":1.10,"a":1e2},"x":1,"x":2, "\\u00e9":"\\/" }'
    row = audit_event(CODEC.decode(raw), raw, 0, Provenance(FILE, NOW, None), CODEC)
    assert row.raw_event == raw.decode()


def test_unknown_members_are_kept_where_a_secret_was_replaced() -> None:
    row = row_of(event(responseElements={"WebToken": TOKEN}, newField={"deep": [1, None]}))
    assert json.loads(row.raw_event)["newField"] == {"deep": [1, None]}


@pytest.mark.parametrize("parameters", [
    pytest.param({"Name": "orders-of-the-shop"}, id="name"),
    pytest.param({"ResourceArn": "arn:aws:airflow:eu-west-1:111122223333:environment/orders-of-the-shop"}, id="ARN"),
])  # fmt: skip
def test_environment_is_told_even_if_it_is_called_a_secret(parameters: dict[str, str]) -> None:
    (called,) = parameters.values()
    parameters |= {"CliToken": called, "note": "a\0b"}
    row = row_of(event(requestParameters=parameters, awsRegion="eu-west-1", recipientAccountId="111122223333"))
    assert (row.redacted, row.environment_name) == (1, "orders-of-the-shop")
    assert row.environment_arn == "arn:aws:airflow:eu-west-1:111122223333:environment/orders-of-the-shop"
    assert called not in row.raw_event


def test_denied_call_is_told_even_if_its_code_is_called_a_secret() -> None:
    row = row_of(event(errorCode="AccessDeniedException", requestParameters={"WebToken": "AccessDeniedException"}))
    assert (row.redacted, row.error_code, row.outcome) == (1, "AccessDeniedException", "denied")


@pytest.mark.parametrize("codec", [CODEC, StandardCodec()], ids=["installed", "standard"])
@pytest.mark.parametrize(
    ("before", "behind", "redacted"),
    [
        pytest.param(f'{{"CliToken":"{TOKEN}","CliToken":"***"}}', {"CliToken": "***"}, 1, id="secret"),
        pytest.param(f'{{"CliToken":"{TOKEN}","CliToken":"","a":"{TOKEN}"}}', {"CliToken": "", "a": "***"}, 1, id="2"),
        pytest.param(f'{{"a":{{"CliToken":"{TOKEN}"}},"a":[1]}}', {"a": [1]}, 1, id="secret in an object"),
        pytest.param('{"a":"x\\u0000y","a":2}', {"a": 2}, 0, id="NUL"),
        pytest.param('{"a":"\\ud83d","a":2}', {"a": 2}, 0, id="half a surrogate pair"),
    ],
)  # fmt: skip
def test_member_that_another_of_its_name_hides_is_scrubbed(
    codec: StandardCodec, before: str, behind: dict[str, Any], redacted: int
) -> None:
    raw = json.dumps(event(responseElements="@")).replace('"@"', before).encode()
    row = audit_event(codec.decode(raw), raw, 3, Provenance(FILE, NOW, "me"), codec)
    assert row.redacted == redacted
    assert json.loads(row.raw_event) == event(responseElements=behind)
    assert TOKEN not in row.raw_event
    assert "\\u" not in row.raw_event


def test_body_of_a_rest_call_that_another_one_hides_is_scrubbed() -> None:
    raw = json.dumps(event(eventName="InvokeRestApi", requestParameters={"Body": "@"})).encode()
    raw = raw.replace(b'"@"', json.dumps({"value": TOKEN}).encode() + b', "Body": ""')
    row = audit_event(CODEC.decode(raw), raw, 3, Provenance(FILE, NOW, "me"), CODEC)
    assert row.redacted == 1
    assert json.loads(row.raw_event)["requestParameters"] == {"Body": ""}
    assert TOKEN not in row.raw_event


def test_member_that_another_of_its_name_hides_is_kept_where_it_holds_no_secret() -> None:
    raw = b'{"eventTime":"2026-02-03T09:58:00Z","a":1E5,"a":2,"CliToken":"***","b":"\\u00e9"}'
    assert audit_event(CODEC.decode(raw), raw, 0, Provenance(FILE, NOW, None), CODEC).raw_event == raw.decode()


@pytest.mark.parametrize(
    "event_id",
    [
        pytest.param(..., id="missing"),
        pytest.param(None, id="null"),
        pytest.param("", id="empty"),
        pytest.param(7, id="number"),
        pytest.param(["x"], id="list"),
        pytest.param("x" * 256, id="too long"),
        pytest.param("a\0b", id="NUL"),
        pytest.param("a\nb", id="line end"),
        pytest.param("\ud83d", id="lone surrogate"),
    ],
)
def test_derived_event_id(event_id: Any) -> None:
    record = event(eventID=event_id)
    one, same, other = (
        row_of(changed).event_id
        for changed in (record, dict(reversed(record.items())), {**record, "eventName": "another"})
    )
    assert one.startswith("derived-")
    assert len(one) == len("derived-") + 40
    assert one == same
    assert one != other
    assert row_of(record, StandardCodec()).event_id == one


def test_derived_event_id_is_the_same_in_every_version() -> None:
    record = {"eventTime": "2013-11-02T01:06:28Z", "eventVersion": "1.0", "eventName": "é"}
    assert row_of(record).event_id == "derived-dbf2df5f4139cfb28449e3d2f59c4a6ad95f7a5b"


@pytest.mark.parametrize(
    "event_time",
    [
        pytest.param(..., id="missing"),
        pytest.param(None, id="null"),
        pytest.param("", id="empty"),
        pytest.param("yesterday", id="words"),
        pytest.param(1770112680, id="number"),
        pytest.param("9999-12-31T23:59:59-14:00", id="behind all times"),
    ],
)
def test_no_usable_event_time(event_time: Any) -> None:
    with pytest.raises(MalformedError, match="no usable eventTime") as caught:
        row_of(event(eventTime=event_time))
    assert caught.value.code == "no_event_time"
