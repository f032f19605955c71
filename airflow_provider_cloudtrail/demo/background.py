"""
What everybody else does in the accounts: most records of a trail, and none that names MWAA.

There are many of them, so each form is encoded once and then filled in: a time, two ids, a number.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any, NamedTuple

from airflow_provider_cloudtrail.demo.callers import (
    Caller,
    Json,
    cast,
    iam_user,
    other_identities,
    role_session,
    service,
)
from airflow_provider_cloudtrail.demo.records import FIELDS_SINCE_1_01, Stage, api_call

_TIME, _ID, _REQUEST, _NUMBER = "@time@", "@id@", "@request@", "@number@"
_EQUALS = "@equals@"
_TEMPLATES = 256


class Background(NamedTuple):
    """Records of a log file, with the times of its first and last event; None if it has none."""

    records: list[bytes]
    oldest: datetime | None
    newest: datetime | None


class _Call(NamedTuple):
    """A call that is made often: how often, by whom, and what the record says."""

    weight: int
    caller: str
    source: str
    name: str
    request: Any = None
    response: Any = None
    more: Json = {}  # noqa: RUF012


_READ = {"read_only": True}
_OBJECT = {"bucketName": "example-lake", "key": f"raw/2026/part-{_NUMBER}.parquet"}
_ROLE_ARN = "arn:aws:iam::111122223333:role/etl"
_ROLE = {"roleArn": _ROLE_ARN, "roleSessionName": f"etl-{_NUMBER}", "durationSeconds": 900}
# The padding of the token comes as escapes.
_TOKEN = f"invented+session/{_NUMBER}{_EQUALS}{_EQUALS}"
_CREDENTIALS = {"accessKeyId": "ASIAEXAMPLE", "sessionToken": _TOKEN, "expiration": _TIME}
# S3, KMS and STS name what they were asked about in nearly every record.
_OF_S3 = [
    {"type": "AWS::S3::Object", "ARN": f"arn:aws:s3:::example-lake/{_OBJECT['key']}"},
    {"accountId": "111122223333", "type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::example-lake"},
]
_OF_KMS = [{"accountId": "111122223333", "type": "AWS::KMS::Key", "ARN": "arn:aws:kms:eu-west-1:111122223333:key/0a1b"}]
_OF_STS = [{"accountId": "111122223333", "type": "AWS::IAM::Role", "ARN": _ROLE_ARN}]
_OF_A_KEY, _OF_A_ROLE = {**_READ, "resources": _OF_KMS}, {**_READ, "resources": _OF_STS}
_OBJECT_READ = {**_READ, "data_event": True, "resources": _OF_S3}
_OBJECT_WRITE = {"data_event": True, "resources": _OF_S3}
_OBJECT_MISSED = {"errorCode": "NoSuchKey", "data_event": True, "resources": _OF_S3}
# Policies are sent as text, so most files of a real trail hold a backslash.
_POLICY = json.dumps({"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}, indent=2)
_DENIED = {"errorCode": "AccessDenied", "errorMessage": "User is not authorized to perform this action"}
_CALLS = (
    _Call(30, "etl", "s3.amazonaws.com", "GetObject", _OBJECT, None, _OBJECT_READ),
    _Call(14, "etl", "s3.amazonaws.com", "PutObject", _OBJECT, {"x-amz-version-id": _NUMBER}, _OBJECT_WRITE),
    _Call(4, "app", "s3.amazonaws.com", "HeadObject", _OBJECT, None, _OBJECT_MISSED),
    _Call(3, "etl", "s3.amazonaws.com", "PutObjectTagging", {"Tagging": {"n": _NUMBER}, "tagging": ""}),
    _Call(34, "lambda", "sts.amazonaws.com", "AssumeRole", _ROLE, {"credentials": _CREDENTIALS}, _OF_A_ROLE),
    _Call(6, "saml", "sts.amazonaws.com", "AssumeRoleWithSAML", {"sAMLAssertionID": _NUMBER}, None, _READ),
    _Call(5, "web", "sts.amazonaws.com", "AssumeRoleWithWebIdentity", _ROLE, {"audience": "sts.example"}, _READ),
    _Call(
        5, "autoscaling", "ec2.amazonaws.com", "DescribeInstances", {"filterSet": {}, "maxResults": 1000}, None, _READ
    ),
    _Call(18, "app", "ec2.amazonaws.com", "DescribeNetworkInterfaces", {"nextToken": _NUMBER}, None, _READ),
    _Call(3, "autoscaling", "ec2.amazonaws.com", "RunInstances", {"clientToken": _NUMBER}, {"reservationId": "r-0a1b"}),
    _Call(2, "stranger", "ec2.amazonaws.com", "ModifyImageAttribute", {"imageId": f"ami-{_NUMBER}"}, None, _DENIED),
    _Call(6, "dana", "iam.amazonaws.com", "GetRole", {"roleName": f"role-{_NUMBER}"}, None, _READ),
    _Call(
        2,
        "dana",
        "iam.amazonaws.com",
        "PutRolePolicy",
        {"roleName": f"role-{_NUMBER}", "policyName": "lake", "policyDocument": _POLICY},
    ),
    _Call(1, "root", "iam.amazonaws.com", "CreateAccessKey", None, {"accessKey": {"userName": "sam", "n": _NUMBER}}),
    _Call(20, "app", "kms.amazonaws.com", "GenerateDataKey", {"keySpec": "AES_256", "n": _NUMBER}, None, _OF_A_KEY),
    _Call(16, "lambda", "logs.amazonaws.com", "CreateLogStream", {"logGroupName": "/aws/lambda/etl", "s": _NUMBER}),
    _Call(
        2,
        "sam",
        "logs.amazonaws.com",
        "CreateExportTask",
        {"destination": "example-exports", "logGroupName": "/app/orders", "from": 0, "to": 1770000000000},
        {"taskId": f"0f1e2d3c-{_NUMBER}"},
        {"apiVersion": "20140328"},
    ),
    _Call(
        2,
        "lee",
        "monitoring.amazonaws.com",
        "GenerateQuery",
        {"query_ask": "***", "query_type": "LogsInsights", "logs_insights": {"fields": "***"}, "n": _NUMBER},
        None,
        _READ,
    ),
    _Call(
        2,
        "kim",
        "rds.amazonaws.com",
        "CreateDBInstance",
        {"dBInstanceIdentifier": f"orders-{_NUMBER}", "engine": "postgres", "masterUserPassword": "****"},
        {"dBInstanceStatus": "creating", "publiclyAccessible": False, "allocatedStorage": 20},
    ),
    _Call(2, "kim", "signin.amazonaws.com", "ConsoleLogin", None, {"ConsoleLogin": "Success"}),
    _Call(1, "hidden", "signin.amazonaws.com", "ConsoleLogin", None, {"ConsoleLogin": "Failure"}),
    _Call(10, "app", "secretsmanager.amazonaws.com", "GetSecretValue", {"secretId": f"app/{_NUMBER}"}, None, _READ),
    _Call(14, "app", "dynamodb.amazonaws.com", "DescribeTable", {"tableName": f"orders-{_NUMBER}"}, None, _READ),
    _Call(6, "config", "config.amazonaws.com", "PutEvaluations", {"evaluations": [{"n": _NUMBER}], "testMode": False}),
    _Call(3, "unnamed", "elasticbeanstalk.amazonaws.com", "CreateEnvironment", {"environmentName": f"web-{_NUMBER}"}),
    _Call(1, "directory", "workspaces.amazonaws.com", "DescribeWorkspaces", {"n": _NUMBER}, None, _READ),
    _Call(2, "first", "ec2.amazonaws.com", "DescribeKeyPairs", {"n": _NUMBER}, None, _READ),
)


def background(account: str, region: str, rng: random.Random, stamp: datetime, count: int) -> Background:
    """
    Return the records of one log file.

    :param stamp: when the file is delivered: its events are one to ten minutes older.
    :param count: number of records.
    """
    if count == 0:
        return Background([], None, None)
    templates = _templates(account, region)
    epoch = int(stamp.timestamp())
    records = []
    delays = [60 + int(540 * rng.random() * rng.random()) for _ in range(count)]
    for delay in delays:
        digits = f"{rng.getrandbits(256):064x}"
        time = datetime.fromtimestamp(epoch - delay, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        record = templates[int(digits[:2], 16)] % {
            "time": time,
            "id": f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:32]}",
            "request": f"{digits[32:40]}-{digits[40:44]}-4{digits[45:48]}-9{digits[49:52]}-{digits[52:]}",
            "number": digits[40:52],
        }
        records.append(record.encode())
    return Background(records, stamp - timedelta(seconds=max(delays)), stamp - timedelta(seconds=min(delays)))


@cache
def _templates(account: str, region: str) -> list[str]:
    """Return as many templates as a byte has values, the frequent ones more often."""
    callers = _callers(account)
    weights = [call.weight for call in _CALLS]
    templates: list[str] = []
    for call, (first, last) in zip(_CALLS, _shares(weights), strict=True):
        templates += [_template(Stage(account, region, random.Random(0)), callers[call.caller], call)] * (last - first)  # noqa: S311
    return templates


def _shares(weights: list[int]) -> Iterator[tuple[int, int]]:
    total, done = sum(weights), 0
    for weight in weights:
        yield done * _TEMPLATES // total, (done + weight) * _TEMPLATES // total
        done += weight


def _template(stage: Stage, caller: Caller, call: _Call) -> str:
    record = api_call(
        stage,
        datetime(2026, 2, 2, tzinfo=timezone.utc),
        caller,
        call.source,
        call.name,
        request=call.request,
        response=call.response,
        **call.more,
    )
    record |= {"eventTime": _TIME, "eventID": _ID, "requestID": _REQUEST}
    if call.name == "ConsoleLogin":
        record |= {"eventType": "AwsConsoleSignIn", "additionalEventData": {"MFAUsed": "Yes", "n": _NUMBER}}
    if call.caller == "first":
        record = {name: value for name, value in record.items() if name not in FIELDS_SINCE_1_01} | {
            "eventVersion": "1.0"
        }
    text = json.dumps(record, separators=(",", ":")).replace("%", "%%")
    for name in (_TIME, _ID, _REQUEST, _NUMBER):
        text = text.replace(name, f"%({name.strip('@')})s")
    return text.replace(_EQUALS, "\\u003d")


def _callers(account: str) -> dict[str, Caller]:
    others = other_identities(account, _TIME)
    agent = "aws-sdk-java/2.41.5 md/io#sync md/http#Apache ua/2.1 os/Linux#6.1 lang/java#21.0.9"

    def of(identity: Any, ip: str = "10.20.30.40") -> Caller:
        return Caller(identity, ip, agent)

    return {
        **cast(account, _TIME),
        "etl": of(role_session(account, "etl", f"etl-{_NUMBER}", _TIME)),
        "app": of(role_session(account, "app", "i-0a1b2c3d4e5f60718", _TIME)),
        "sam": of(iam_user(account, "sam"), "203.0.113.25"),
        "lambda": service("lambda.amazonaws.com"),
        "autoscaling": service("autoscaling.amazonaws.com"),
        "config": service("config.amazonaws.com"),
        "stranger": of(others["another account"][0], "203.0.113.200"),
        "saml": of(others["SAML user"][0], "198.51.100.60"),
        "web": of(others["web identity"][0], "198.51.100.61"),
        "directory": of(others["directory"][0], "workspaces.amazonaws.com"),
        "hidden": of(others["hidden name"][0], "203.0.113.9"),
        "unnamed": of(others["a service without type"][0], "cloudformation.amazonaws.com"),
        "first": of(None, "192.0.2.1, 10.0.0.5"),
    }
