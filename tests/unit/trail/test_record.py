"""Every documented kind of record, with the columns that it must give."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import AuditEvent
from airflow_provider_cloudtrail.trail.codec import CODEC, MalformedError, StandardCodec
from airflow_provider_cloudtrail.trail.record import Provenance, audit_event
from tests.support.log_files import ACCOUNT, event, listed

NOW = datetime(2026, 2, 4, tzinfo=timezone.utc)
FILE = listed()
ORDERS = f"arn:aws:airflow:eu-west-1:{ACCOUNT}:environment/orders"
TOKEN = "gAAAA-a-token-that-was-written-down"


def row_of(record: dict[str, Any], codec: StandardCodec = CODEC) -> AuditEvent:
    raw = json.dumps(record).encode()
    return audit_event(codec.decode(raw), raw, 3, Provenance(FILE, NOW, "me"), codec)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


CREATE_DENIED = {
    "eventVersion": "1.05",
    "userIdentity": {
        "type": "AssumedRole",
        "principalId": "AROAEXAMPLE1:dora",
        "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/Platform/dora",
        "accountId": ACCOUNT,
        "accessKeyId": "",
        "sessionContext": {
            "sessionIssuer": {
                "type": "Role",
                "principalId": "AROAEXAMPLE1",
                "arn": f"arn:aws:iam::{ACCOUNT}:role/Platform",
                "accountId": ACCOUNT,
                "userName": "Platform",
            },
            "webIdFederationData": {},
            "attributes": {"mfaAuthenticated": "false", "creationDate": "2020-11-05T07:00:10Z"},
        },
    },
    "eventTime": "2020-11-05T07:01:02Z",
    "eventSource": "airflow.amazonaws.com",
    "eventName": "CreateEnvironment",
    "awsRegion": "eu-west-1",
    "sourceIPAddress": "198.51.100.30",
    "userAgent": "Example/1.0",
    "errorCode": "AccessDenied",
    "requestParameters": {
        "SourceBucketArn": "arn:aws:s3:::example-dags",
        "ExecutionRoleArn": f"arn:aws:iam::{ACCOUNT}:role/orders-exec",
        "AirflowConfigurationOptions": "***",
        "DagS3Path": "dags",
        "NetworkConfiguration": {"SecurityGroupIds": ["sg-0b2"], "SubnetIds": ["subnet-0b2", "subnet-0b3"]},
        "Name": "orders",
    },
    "responseElements": {"message": "Access denied."},
    "requestID": "r-1",
    "eventID": "e-create-denied",
    "readOnly": False,
    "eventType": "AwsApiCall",
    "recipientAccountId": ACCOUNT,
}
MWAA_RESOURCE = [{"accountId": ACCOUNT, "type": "AWS::MWAA::Environment", "ARN": ORDERS}]
SERVICE = {"type": "AWSService", "invokedBy": "airflow.amazonaws.com"}
NOT_SAID: dict[str, Any] = dict.fromkeys((
    "error_code",
    "error_message",
    "rest_method",
    "rest_path",
    "rest_status_code",
))
WORKFLOW = f"arn:aws:airflow-serverless:us-east-1:{ACCOUNT}:workflow/bills-Ab3dE6gH9k"

KINDS = [
    pytest.param(
        CREATE_DENIED,
        {
            "event_id": "e-create-denied",
            "event_time": at("2020-11-05T07:01:02+00:00"),
            "event_source": "airflow.amazonaws.com",
            "event_name": "CreateEnvironment",
            "event_category": None,
            "event_type": "AwsApiCall",
            "event_version": "1.05",
            "aws_region": "eu-west-1",
            "recipient_account_id": ACCOUNT,
            "environment_name": "orders",
            "environment_arn": ORDERS,
            "actor_kind": "temporary_credentials",
            "actor_arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/Platform/dora",
            "actor_account_id": ACCOUNT,
            "actor_principal_id": "AROAEXAMPLE1:dora",
            "actor_user_name": "Platform",
            "actor_session_name": "dora",
            "session_issuer_arn": f"arn:aws:iam::{ACCOUNT}:role/Platform",
            "access_key_id": None,
            "mfa_authenticated": False,
            "identity_center_user_id": None,
            "invoked_by": None,
            "source_ip_address": "198.51.100.30",
            "user_agent": "Example/1.0",
            "outcome": "denied",
            "error_code": "AccessDenied",
            "error_message": "Access denied.",
            "read_only": False,
            "management_event": None,
            "rest_method": None,
            "rest_path": None,
            "rest_status_code": None,
            "request_id": "r-1",
            "shared_event_id": None,
            "request_parameters": json.dumps(CREATE_DENIED["requestParameters"], separators=(",", ":")),
            "response_elements": '{"message":"Access denied."}',
            "resources": None,
            "raw_event": json.dumps(CREATE_DENIED),
            "redacted": 0,
            "log_file_uri": FILE.uri,
            "log_file_index": 3,
            "delivered_at": at("2026-02-03T10:00:00+00:00"),
            "loaded_at": NOW,
            "loaded_by": "me",
        },
        id="CreateEnvironment denied",
    ),
    pytest.param(
        event(
            eventVersion="1.08",
            errorCode="AccessDenied",
            responseElements={
                "message": f"User: arn:aws:iam::{ACCOUNT}:user/ines is not authorized to perform: "
                f"airflow:CreateCliToken on resource: {ORDERS}"
            },
            managementEvent=True,
            eventCategory="Management",
        ),
        {
            "outcome": "denied",
            "actor_kind": "iam_user",
            "actor_user_name": "ines",
            "environment_name": "orders",
            "environment_arn": ORDERS,
            "error_code": "AccessDenied",
            "error_message": f"User: arn:aws:iam::{ACCOUNT}:user/ines is not authorized to perform: "
            f"airflow:CreateCliToken on resource: {ORDERS}",
            "management_event": True,
            "event_category": "Management",
        },
        id="CreateCliToken denied",
    ),
    pytest.param(
        event(
            eventName="CreateWebLoginToken",
            responseElements={
                "AirflowIdentity": "assumed-role/Analyst",
                "IamIdentity": "assumed-role/Analyst/lee",
                "WebServerHostname": "c1.eu-west-1.airflow.amazonaws.com",
            },
            resources=MWAA_RESOURCE,
        ),
        {
            **NOT_SAID,
            "event_name": "CreateWebLoginToken",
            "outcome": "success",
            "environment_name": "orders",
            "environment_arn": ORDERS,
            "event_category": "Data",
            "management_event": False,
            "redacted": 0,
            "resources": json.dumps(MWAA_RESOURCE, separators=(",", ":")),
        },
        id="CreateWebLoginToken",
    ),
    pytest.param(
        event(
            eventName="InvokeRestApi",
            requestParameters={"Name": "orders", "Path": "/dags/daily/dagRuns", "Method": "POST"},
            responseElements={"RestApiStatusCode": 200, "RestApiResponse": "***"},
            resources=MWAA_RESOURCE,
        ),
        {
            "outcome": "success",
            "rest_method": "POST",
            "rest_path": "/dags/daily/dagRuns",
            "rest_status_code": 200,
            "error_code": None,
            "environment_name": "orders",
            "redacted": 0,
        },
        id="InvokeRestApi",
    ),
    pytest.param(
        event(
            eventName="InvokeRestApi",
            requestParameters={"Name": "orders", "Path": "/dags", "Method": "GET"},
            responseElements={"RestApiStatusCode": "404", "RestApiResponse": "***"},
        ),
        {"outcome": "error", "rest_status_code": 404, "rest_method": "GET", "error_code": None},
        id="InvokeRestApi not found",
    ),
    pytest.param(
        event(
            eventName="InvokeRestApi",
            requestParameters={"Name": "orders", "Path": "/dags", "Method": "DELETE"},
            responseElements={"RestApiStatusCode": 403},
        ),
        {"outcome": "denied", "rest_status_code": 403, "rest_method": "DELETE"},
        id="InvokeRestApi forbidden by Airflow",
    ),
    pytest.param(
        event(
            eventName="UpdateEnvironment",
            requestParameters={"Name": "orders", "MaxWorkers": 9},
            responseElements={"Arn": ORDERS},
            eventCategory="Management",
            managementEvent=True,
        ),
        {**NOT_SAID, "outcome": "success", "environment_name": "orders", "environment_arn": ORDERS},
        id="UpdateEnvironment",
    ),
    pytest.param(
        event(eventName="DeleteEnvironment", errorCode="ResourceNotFoundException", errorMessage="no environment"),
        {"outcome": "error", "error_message": "no environment", "environment_name": "orders"},
        id="DeleteEnvironment that is not there",
    ),
    pytest.param(
        event(eventName="TagResource", requestParameters={"ResourceArn": ORDERS, "Tags": {"team": "x"}}),
        {"outcome": "success", "environment_name": "orders", "environment_arn": ORDERS},
        id="TagResource",
    ),
    pytest.param(
        event(
            eventVersion="1.11",
            eventSource="airflow-serverless.amazonaws.com",
            eventName="CreateWorkflow",
            awsRegion="us-east-1",
            requestParameters={"name": "bills", "definitionS3Location": {"bucket": "b", "objectKey": "bills.yaml"}},
            responseElements={"workflowArn": WORKFLOW, "workflowVersion": "0123456789abcdef"},
            readOnly="false",
            managementEvent="true",
            eventCategory="Management",
            resources=[{"accountId": ACCOUNT, "type": "AWS::MWAAServerless::Workflow", "ARN": WORKFLOW}],
        ),
        {
            "outcome": "success",
            "read_only": False,
            "management_event": True,
            "environment_name": "bills",
            "environment_arn": WORKFLOW,
            "event_version": "1.11",
        },
        id="MWAA Serverless CreateWorkflow",
    ),
    pytest.param(
        event(
            eventVersion="1.03",
            eventSource="logs.amazonaws.com",
            eventName="CreateExportTask",
            sourceIPAddress="",
            requestParameters={"to": 1770112680000, "from": 0, "logGroupName": "airflow-orders-Task"},
            responseElements={"taskId": "t-1"},
            readOnly=...,
            managementEvent=...,
            eventCategory=...,
            apiVersion="20140328",
        ),
        {
            **NOT_SAID,
            "event_source": "logs.amazonaws.com",
            "outcome": "success",
            "read_only": None,
            "management_event": None,
            "event_category": None,
            "source_ip_address": None,
            "environment_name": None,
            "environment_arn": None,
            "request_parameters": '{"to":1770112680000,"from":0,"logGroupName":"airflow-orders-Task"}',
        },
        id="CloudWatch Logs CreateExportTask",
    ),
    pytest.param(
        event(
            eventSource="monitoring.amazonaws.com",
            eventName="GenerateQuery",
            userIdentity={
                "type": "AssumedRole",
                "principalId": "EXAMPLE",
                "arn": f"arn:aws:iam::{ACCOUNT}:assumed-role/reader",
                "sessionContext": {"sessionIssuer": {"userName": "reader"}},
            },
            requestParameters={"query_ask": "***", "query_type": "LogsInsights", "include_description": True},
            readOnly=True,
        ),
        {
            "event_source": "monitoring.amazonaws.com",
            "outcome": "success",
            "read_only": True,
            "actor_kind": "temporary_credentials",
            "actor_user_name": "reader",
            "actor_session_name": None,
            "environment_name": None,
        },
        id="GenerateQuery",
    ),
    pytest.param(
        event(
            eventVersion="1.04",
            eventSource="rds.amazonaws.com",
            eventName="CreateDBInstance",
            requestParameters={"dBInstanceIdentifier": "orders", "masterUserPassword": "****"},
            responseElements={"dBInstanceIdentifier": "orders", "multiAZ": False, "dBSubnetGroup": {"subnets": []}},
        ),
        {"event_source": "rds.amazonaws.com", "outcome": "success", "environment_name": None, "redacted": 0},
        id="CreateDBInstance",
    ),
    pytest.param(
        event(
            eventSource="kms.amazonaws.com",
            eventName="Decrypt",
            userIdentity={
                "type": "AssumedRole",
                "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/orders-exec/AmazonMWAA-airflow",
                "invokedBy": "airflow.amazonaws.com",
            },
            sourceIPAddress="airflow.amazonaws.com",
            userAgent="airflow.amazonaws.com",
            errorCode="AccessDenied",
            errorMessage="The ciphertext refers to a key that may not be used",
            requestParameters=None,
        ),
        {
            "outcome": "denied",
            "actor_session_name": "AmazonMWAA-airflow",
            "invoked_by": "airflow.amazonaws.com",
            "source_ip_address": "airflow.amazonaws.com",
            "environment_name": None,
            "request_parameters": None,
        },
        id="what an environment did itself",
    ),
    pytest.param(
        event(eventSource="sts.amazonaws.com", eventName="AssumeRole", userIdentity=SERVICE, sharedEventID="s-1"),
        {"actor_kind": "aws_service", "invoked_by": "airflow.amazonaws.com", "shared_event_id": "s-1"},
        id="AssumeRole by MWAA",
    ),
    pytest.param(
        event(
            eventSource="signin.amazonaws.com",
            eventName="ConsoleLogin",
            eventType="AwsConsoleSignIn",
            userIdentity={"type": "IAMUser", "userName": "HIDDEN_DUE_TO_SECURITY_REASONS"},
            responseElements={"ConsoleLogin": "Failure"},
            errorMessage="No username found in supplied account",
        ),
        {
            "outcome": "denied",
            "error_message": "No username found in supplied account",
            "error_code": None,
            "actor_user_name": "HIDDEN_DUE_TO_SECURITY_REASONS",
        },
        id="sign-in that failed",
    ),
    pytest.param(event(userIdentity=None), {"actor_kind": "unknown", "actor_arn": None}, id="userIdentity null"),
    pytest.param(
        event(userIdentity={"invokedBy": "x.amazonaws.com"}),
        {"actor_kind": "aws_service", "invoked_by": "x.amazonaws.com"},
        id="userIdentity without type",
    ),
    pytest.param(
        event(sourceIPAddress="192.0.2.1, 10.0.0.5"),
        {"source_ip_address": "192.0.2.1, 10.0.0.5"},
        id="two addresses",
    ),
    pytest.param(event(eventVersion="1.10"), {"event_version": "1.10"}, id="version 1.10"),
    pytest.param(event(eventVersion=1.1), {"event_version": "1.1"}, id="version is a number"),
    pytest.param(event(errorCode="200"), {"outcome": "success", "error_code": "200"}, id="errorCode 200"),
    pytest.param(event(errorCode=""), {"outcome": "success", "error_code": None}, id="errorCode empty"),
    pytest.param(
        event(errorCode="Client.UnauthorizedOperation"), {"outcome": "denied"}, id="denial by another name"
    ),
    pytest.param(event(errorCode="AccessDeniedException"), {"outcome": "denied"}, id="AccessDeniedException"),
    pytest.param(event(errorCode="ThrottlingException"), {"outcome": "error"}, id="throttled"),
    pytest.param(event(requestParameters="text"), {"request_parameters": '"text"'}, id="parameters are text"),
    pytest.param(event(requestParameters=["a", 1]), {"request_parameters": '["a",1]'}, id="parameters are a list"),
    pytest.param(
        event(requestParameters={"Name": "o", "name": "p", "a.b": 1, "*": 2, ":uid": 3, "aRN": 4, "arn": 5}),
        {
            "request_parameters": '{"Name":"o","name":"p","a.b":1,"*":2,":uid":3,"aRN":4,"arn":5}',
            "environment_name": "o",
        },
        id="names that differ only in case",
    ),
    pytest.param(
        event(requestParameters={"n": 9007199254740993, "m": -(2**63), "x": 2**70}),
        {"request_parameters": f'{{"n":9007199254740993,"m":{-(2**63)},"x":{2**70}}}'},
        id="integers above 2^53",
    ),
    pytest.param(
        event(userAgent="a\0b", requestParameters={"Name": "or\0ders"}),
        {"user_agent": "ab", "environment_name": "orders", "request_parameters": '{"Name":"orders"}', "redacted": 0},
        id="NUL",
    ),
    pytest.param(
        event(userAgent="a\ud83db", requestParameters={"x\ud83d": "\udf0a"}),
        {"user_agent": "a\ufffdb", "request_parameters": '{"x\ufffd":"\ufffd"}', "redacted": 0},
        id="lone surrogates",
    ),
    pytest.param(
        event(eventTime="2026-02-03T09:58:00.123456Z"),
        {"event_time": at("2026-02-03T09:58:00.123456+00:00")},
        id="time with a fraction",
    ),
    pytest.param(
        event(eventTime="2026-02-03T09:58:00"), {"event_time": at("2026-02-03T09:58:00+00:00")}, id="time without Z"
    ),
    pytest.param(event(requestID=..., readOnly=...), {"request_id": None, "read_only": None}, id="little said"),
    pytest.param(
        event(responseElements={"CliToken": TOKEN, "WebServerHostname": "h"}, userAgent=f"x {TOKEN}"),
        {
            "redacted": 1,
            "response_elements": '{"CliToken":"***","WebServerHostname":"h"}',
            "user_agent": "x ***",
            "outcome": "success",
        },
        id="CLI token in clear text",
    ),
    pytest.param(
        event(eventName="CreateWebLoginToken", responseElements={"WebToken": TOKEN}),
        {"redacted": 1, "response_elements": '{"WebToken":"***"}'},
        id="web token in clear text",
    ),
    pytest.param(
        event(
            eventName="InvokeRestApi",
            requestParameters={"Method": "POST", "Path": "/variables", "Body": {"value": TOKEN}},
            responseElements={"RestApiStatusCode": 200, "RestApiResponse": {"value": TOKEN}},
        ),
        {
            "redacted": 2,
            "request_parameters": '{"Method":"POST","Path":"/variables","Body":"***"}',
            "response_elements": '{"RestApiStatusCode":200,"RestApiResponse":"***"}',
            "rest_status_code": 200,
        },
        id="REST call in clear text",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("record", "columns"), KINDS)
def test_columns(record: dict[str, Any], columns: dict[str, Any]) -> None:
    row = row_of(record)._asdict()
    assert {name: row[name] for name in columns} == columns


@pytest.mark.parametrize(("record", "columns"), KINDS)
def test_accelerated_and_standard_codec_give_the_same_row(record: dict[str, Any], columns: dict[str, Any]) -> None:
    assert row_of(record, StandardCodec()) == row_of(record)


@pytest.mark.parametrize("record", [kind.values[0] for kind in KINDS], ids=[kind.id for kind in KINDS])
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
