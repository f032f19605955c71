"""The pushdown's rows held against the worker path's, column by column, over the demo trail and odd records."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

# Older ones know neither MERGE nor this form of lambdas.
pytest.importorskip("duckdb", minversion="1.4")
pytest.importorskip("pyarrow")
pytest.importorskip("sqlglot")

from airflow_provider_cloudtrail.audit_event import AuditEvent, columns_of
from airflow_provider_cloudtrail.demo.plan import HOSTILE, TrailPlan
from airflow_provider_cloudtrail.demo.trail import generate
from airflow_provider_cloudtrail.pushdown.audit_events import COLUMNS
from airflow_provider_cloudtrail.pushdown.record_fields import RECORD_FIELDS, RecordField, Shape
from airflow_provider_cloudtrail.pushdown.unfit import MEANINGS, REASONS
from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
from airflow_provider_cloudtrail.trail.log_file import log_file
from airflow_provider_cloudtrail.trail.scrub import scrub
from airflow_provider_cloudtrail.trail.selection import Selection
from tests.support.log_files import ACCOUNT, MWAA, REGION, event, id_of, key_of, listed, log_bytes
from tests.support.pushdown import AthenaOnDuckDB, BothPaths
from tests.support.rows import ALL
from tests.support.trino_patterns import patterns_of, read_alike

PLAN = TrailPlan(files_per_day=6, records_per_file=8, faults=HOSTILE)
WINDOW = DeliveryWindow(PLAN.start, PLAN.end, timedelta(days=1), timedelta(hours=1))
DAY = DeliveryWindow(datetime(2026, 2, 3, tzinfo=timezone.utc), datetime(2026, 2, 4, tzinfo=timezone.utc))

NOT_COMPARED = {
    "log_file_index": "a row of the trail's table does not know its position in the file: null",
    "loaded_at": "of the run",
    "loaded_by": "of the run",
}
"""Columns that differ, and why; see the docstring of AthenaMwaaAuditEventsOperator."""
COMPARED_BY_VALUE = ("request_parameters", "response_elements", "resources", "raw_event")
REBUILT = {
    "nulls": "members that are null are left out: a column does not tell null from absent",
    "unknown": "members that no documented record has are not in the table",
    "booleans": "readOnly and managementEvent are booleans, also where they were text",
    "texts": "members that should be text and were not (numbers, booleans) are text",
}
"""What ``raw_event`` loses; :func:`rebuilt` does the same to a record."""
ACTIVITY = Selection.of(include_environment_activity=True)


def rebuilt(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record, scrubbed, without what the columns of the trail's table cannot hold."""
    return _members(RECORD_FIELDS, scrub(record)[0])


def _members(fields: tuple[RecordField, ...], value: dict[str, Any]) -> dict[str, Any]:
    found = {name.lower(): content for name, content in value.items()}
    return {field.name: _rebuilt(field, found[field.column]) for field in fields if found.get(field.column) is not None}


def _rebuilt(field: RecordField, value: Any) -> Any:
    match field.shape:
        case Shape.OBJECT:
            return _members(field.members, value)
        case Shape.LIST:
            return [None if item is None else _members(field.members, item) for item in value]
        case Shape.MAP:
            return {name: _rebuilt(RecordField("value"), content) for name, content in value.items()}
        case Shape.BOOLEAN if value in ("true", "false"):
            return value == "true"
        case Shape.BOOLEAN if not isinstance(value, bool):
            return str(value)
        case Shape.TEXT if not isinstance(value, str):
            return json.dumps(value)
    return value


def expected_rows(both: BothPaths, left: list[str], selection: Selection) -> dict[str, dict[str, Any]]:
    """Return the rows of the worker path, from the files that the pushdown has taken."""
    worker = AthenaOnDuckDB()
    both.export(worker, [file for file in both.log_files if file.uri not in left], selection)
    return {row["event_id"]: row for row in worker.rows(worker.events)}


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name in found.keys() - NOT_COMPARED.keys() - set(COMPARED_BY_VALUE):
        assert found[name] == expected[name], f"{name} of {expected['event_id']}"
    for name in COMPARED_BY_VALUE[:3]:
        assert _value(found[name]) == _value(expected[name]), f"{name} of {expected['event_id']}"
    assert _value(found["raw_event"]) == rebuilt(json.loads(expected["raw_event"]))
    assert found["log_file_index"] is None


def _value(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def test_each_column_has_an_expression():
    assert list(COLUMNS) == [column.name for column in columns_of(AuditEvent)]
    assert set(NOT_COMPARED) | set(COMPARED_BY_VALUE) < set(COLUMNS)


def test_each_reason_has_a_meaning():
    assert set(REASONS) < set(MEANINGS)


@pytest.fixture(scope="module")
def demo() -> BothPaths:
    both = BothPaths()
    for written in generate(PLAN):
        found = log_file(PLAN.bucket, written.key, len(written.body), "etag")
        if found is not None:
            both.deliver(found, written.body)
    return both


@pytest.fixture
def statements(demo: BothPaths) -> list[str]:
    # A process that shares the tests with others may have run none of those that load the trail.
    if not demo.athena.statements:
        demo.push_down(WINDOW, Selection.of())
    return demo.athena.statements


class TestDemoTrail:
    @pytest.mark.parametrize(
        "selection",
        [
            pytest.param(Selection.of(), id="mwaa"),
            pytest.param(ACTIVITY, id="with-activity"),
            pytest.param(Selection.of(environment_names=["orders"]), id="one-environment"),
            pytest.param(Selection.of(event_sources=None), id="all"),
        ],
    )
    def test_rows_are_those_of_the_worker_path(self, demo, selection):
        athena = demo.athena
        for table in (athena.events, athena.files):
            athena.connection.execute(f"DELETE FROM {table}")
        summary = demo.push_down(WINDOW, selection)
        forged = [uri for uri in demo_forged(demo) if uri not in summary.left]
        expected = expected_rows(demo, [*summary.left, *forged], selection)
        halves = half_pairs(demo)
        found = {row["event_id"]: row for row in athena.rows(athena.events) if row["log_file_uri"] not in forged}
        assert found.keys() == expected.keys()
        for event_id, row in found.items():
            if event_id in halves:
                # Java writes ? for half a surrogate pair, the worker path U+FFFD: the only value that differs.
                for name in ("user_agent", "raw_event"):
                    assert "?" in row[name]
                    row[name] = row[name].replace("?", "\N{REPLACEMENT CHARACTER}")
            assert_same(row, expected[event_id])
        assert len(expected) > 40
        # Most is read: only files with odd records are left, each for a reason that has a meaning.
        assert summary.files_left < summary.files / 5
        assert set(summary.reasons) <= set(MEANINGS)

    def test_what_athena_refuses_is_what_the_worker_path_quarantines_or_reads_leniently(self, demo):
        refused = Counter(demo.athena.refused.values())
        assert refused["resources is no list"] == 1
        assert set(refused) == {
            *("no object", "BadGzipFile", "no list of records", "JSONDecodeError", "RecursionError", "EOFError"),
            "resources is no list",
        }


def demo_forged(both: BothPaths) -> list[str]:
    """Return the files with a second gzip member, which Hadoop's codec reads and the worker path refuses."""
    worker = AthenaOnDuckDB()
    both.export(worker)
    return [
        row["log_file_uri"]
        for row in worker.rows(worker.files)
        if (row["reason"] or "").startswith("bytes_behind_gzip")
    ]


def half_pairs(both: BothPaths) -> set[str]:
    """Return the ids of records in which half a surrogate pair is written."""
    worker = AthenaOnDuckDB()
    both.export(worker, selection=ALL)
    return {row["event_id"] for row in worker.rows(worker.events) if "\N{REPLACEMENT CHARACTER}" in row["raw_event"]}


def identity(**members: Any) -> dict[str, Any]:
    return {"userIdentity": members}


def session(**members: Any) -> dict[str, Any]:
    return identity(type="AssumedRole", sessionContext=members)


ENVIRONMENT = f"arn:aws:airflow:{REGION}:{ACCOUNT}:environment/orders"
WORKFLOW = f"arn:aws:airflow-serverless:{REGION}:{ACCOUNT}:workflow"
ROLE = f"arn:aws:sts::{ACCOUNT}:assumed-role"
SERVERLESS = {"eventSource": "airflow-serverless.amazonaws.com", "requestParameters": {}}
DENIED = "User: x is not authorized to perform: airflow:CreateCliToken on resource: "
REST = {"eventName": "InvokeRestApi"}
TOKEN = "an-invented-token-of-some-length"
GUID = "b6a5d0f4-1111-4111-8111-0123456789ab"

READ = {
    "plain": {},
    "source-missing": {"eventSource": ...},
    "name-empty": {"requestParameters": {"Name": "", "name": "billing"}},
    "name-number": {"requestParameters": {"Name": 7}},
    "name-of-other-form": {"requestParameters": {"Name": "9 lives"}},
    "name-long": {"requestParameters": {"Name": "a" * 81}},
    "no-region": {"awsRegion": ...},
    "china": {"awsRegion": "cn-north-1"},
    "gov": {"awsRegion": "us-gov-west-1"},
    "iso-b": {"awsRegion": "us-isob-east-1"},
    "resource": {"resources": [{"ARN": ENVIRONMENT, "accountId": ACCOUNT, "type": "AWS::MWAA::Environment"}]},
    "resource-second": {
        "resources": [None, {"ARN": "arn:aws:s3:::x"}, {"ARN": ENVIRONMENT}],
        "requestParameters": None,
    },
    "resources-empty": {"resources": []},
    "resource-in-text": {"resources": [{"ARN": f"x {ENVIRONMENT}"}], "requestParameters": {}},
    "resource-of-other-service": {"eventSource": "s3.amazonaws.com", "resources": [{"ARN": ENVIRONMENT}]},
    "resource-arn": {"requestParameters": {"ResourceArn": ENVIRONMENT}},
    "resource-arn-lower": {"requestParameters": {"resourceArn": ENVIRONMENT}},
    "response-arn": {"requestParameters": {}, "responseElements": {"Arn": ENVIRONMENT}},
    "denied-text": {
        "requestParameters": None,
        "errorCode": "AccessDenied",
        "responseElements": {"message": DENIED + ENVIRONMENT},
    },
    "denied-role": {
        "requestParameters": None,
        "errorCode": "AccessDenied",
        "errorMessage": f"{DENIED}arn:aws:airflow:{REGION}:{ACCOUNT}:role/orders/Admin",
    },
    "workflow": SERVERLESS | {"requestParameters": {"workflowArn": f"{WORKFLOW}/bills-Ab3dE6gH9k"}},
    "workflow-without-suffix": SERVERLESS | {"responseElements": {"workflowArn": f"{WORKFLOW}/bills"}},
    "workflow-of-suffix": SERVERLESS | {"responseElements": {"workflowArn": f"{WORKFLOW}/-Ab3dE6gH9k"}},
    "workflow-two-suffixes": SERVERLESS | {"responseElements": {"workflowArn": f"{WORKFLOW}/a-Ab3dE6gH9k-Ab3dE6gH9k"}},
    "workflow-name": SERVERLESS | {"requestParameters": {"name": "bills"}},
    "workflow-in-text": SERVERLESS | {"errorMessage": f"no {WORKFLOW}/bills-Ab3dE6gH9k."},
    "no-identity": {"userIdentity": None},
    "root": identity(type="Root", arn=f"arn:aws:iam::{ACCOUNT}:root", accountId=ACCOUNT),
    "assumed-root": session(assumedRoot="true"),
    "assumed-root-boolean": session(assumedRoot=True),
    "unknown-kind": identity(type="Unknown", userName="x"),
    "service": identity(invokedBy="ec2.amazonaws.com"),
    "service-with-arn": identity(invokedBy="ec2.amazonaws.com", arn="arn:aws:iam::1:user/a"),
    "service-by-type": identity(type="AWSService", invokedBy="airflow.amazonaws.com"),
    "center": identity(type="IdentityCenterUser", onBehalfOf={"userId": "u-1", "identityStoreArn": "arn"}),
    "role": identity(type="AssumedRole", arn=f"{ROLE}/Platform/dana", principalId="AROA:other"),
    "role-with-path": identity(type="AssumedRole", arn=f"{ROLE}/Platform/dana/more"),
    "role-of-two-lines": identity(type="AssumedRole", arn=f"{ROLE}/Platform/da\nna"),
    "role-empty": identity(type="AssumedRole", arn=f"{ROLE}//dana"),
    "role-without-session": identity(type="AssumedRole", arn=f"{ROLE}/Platform", principalId="AROA:other"),
    "role-in-no-role": identity(type="AssumedRole", arn=f"arn:aws:iam::{ACCOUNT}:user/a/b/c"),
    "federated": identity(type="FederatedUser", arn=f"arn:aws:sts::{ACCOUNT}:federated-user/pat"),
    "federated-empty": identity(type="FederatedUser", arn=f"arn:aws:sts::{ACCOUNT}:federated-user/", principalId="1:x"),
    "principal": identity(type="AssumedRole", principalId="AROA:dana:more"),
    "principal-of-web-identity": identity(
        type="WebIdentityUser", principalId="arn:aws:iam::1:oidc-provider/p:aud:user"
    ),
    "principal-of-saml-user": identity(type="SAMLUser", principalId="abc=:lee", userName="lee"),
    "principal-alone": identity(type="AssumedRole", principalId="AROA"),
    "arn-empty": identity(type="AssumedRole", arn="", principalId="AROA:dana"),
    "issuer": session(sessionIssuer={"accountId": "999900001111", "userName": "Analyst", "arn": "arn:of:role"}),
    "mfa": session(attributes={"mfaAuthenticated": " TRUE ", "creationDate": "2026-02-03T06:00:00Z"}),
    "mfa-boolean": session(attributes={"mfaAuthenticated": False}),
    "mfa-odd": session(attributes={"mfaAuthenticated": "maybe"}),
    "web": session(webIdFederationData={"federatedProvider": "p", "attributes": {"aud": 'a"b\\c', "n": 1}}),
    "key-empty": identity(type="IAMUser", accessKeyId="", userName="sam"),
    "texts-empty": {"userAgent": "", "errorCode": "", "errorMessage": "", "requestID": ""},
    "texts-quoted": {"userAgent": 'a "b" \\ \t \n \r ü \N{GRINNING FACE} /'},
    "error-200": {"errorCode": "200"},
    "rest-denied-by-airflow": {"errorCode": "RestApiClientException", "responseElements": {"RestApiStatusCode": 403}},
    "rest-not-found": {"errorCode": "RestApiClientException", "responseElements": {"RestApiStatusCode": 404}},
    "error": {"errorCode": "ThrottlingException", "errorMessage": "Rate exceeded"},
    "error-denied": {"errorCode": "Client.UnauthorizedOperation"},
    "error-not-authorized": {"errorCode": "NotAuthorizedError", "responseElements": {"message": ""}},
    "error-of-sns": {"errorCode": "AuthorizationError"},
    "error-of-a-security-group": {"errorCode": "AuthorizationNotFound"},
    "error-number": {"errorCode": 500},
    "sign-in-failed": {"eventName": "ConsoleLogin", "responseElements": {"ConsoleLogin": "Failure"}},
    "sign-in": {"eventName": "ConsoleLogin", "responseElements": {"ConsoleLogin": "Success"}},
    "sign-in-with-mfa": {"eventName": "ConsoleLogin", "additionalEventData": {"MFAUsed": "Yes"}},
    "sign-in-without-mfa": {"eventName": "ConsoleLogin", "additionalEventData": {"MFAUsed": "No"}},
    "sign-in-of-a-session": session(attributes={"mfaAuthenticated": "false"})
    | {"eventName": "ConsoleLogin", "additionalEventData": {"MFAUsed": "Yes"}},
    "mfa-of-other-call": {"additionalEventData": {"MFAUsed": "Yes"}},
    "role-not-switched": {"eventName": "SwitchRole", "responseElements": {"SwitchRole": "Failure"}},
    "wrong-password": {
        "eventName": "CredentialVerification",
        "serviceEventDetails": {"CredentialVerification": "Failure"},
    },
    "failure-of-another": {"eventName": "SwitchRole", "responseElements": {"ConsoleLogin": "Failure"}},
    "failure-that-is-no-sign-in": {"eventName": "StartJob", "responseElements": {"StartJob": "Failure"}},
    "booleans-text": {"readOnly": "TRUE", "managementEvent": "false"},
    "booleans-odd": {"readOnly": "yes", "managementEvent": 1, "apiVersion": 1.50},
    "rest": REST | {"requestParameters": {"Name": "orders", "Method": "GET", "Path": "/dags"}},
    "rest-status": REST | {"responseElements": {"RestApiStatusCode": 200, "RestApiResponse": "***"}},
    "rest-status-text": REST | {"responseElements": {"RestApiStatusCode": "403"}},
    "rest-status-500": REST | {"responseElements": {"RestApiStatusCode": 500}},
    "rest-status-odd": REST | {"responseElements": {"RestApiStatusCode": "0200"}},
    "rest-status-fraction": REST | {"responseElements": {"RestApiStatusCode": 404.0}},
    "rest-status-1000": REST | {"responseElements": {"RestApiStatusCode": 1000}},
    "method-of-other-call": {"requestParameters": {"Name": "orders", "Method": "GET"}},
    "body-masked": REST | {"requestParameters": {"Name": "orders", "Body": "***", "body": None}},
    "body-of-other-call": {"requestParameters": {"Name": "orders", "Body": "kept as it is, it is no REST call"}},
    "time-without-zone": {"eventTime": "2026-02-03T09:58:00"},
    "time-small-z": {"eventTime": "2026-02-03T09:58:00z"},
    "time-with-offset-zero": {"eventTime": "2026-02-03T09:58:00+00:00"},
    "unknown-member": {"somethingNew": {"nested": ["kept", 1]}},
    "all-members": {
        "apiVersion": "2020-07-01",
        "additionalEventData": {"a": [1, {"b": None}]},
        "serviceEventDetails": {"c": 1.5},
        "vpcEndpointId": "vpce-1",
        "vpcEndpointAccountId": ACCOUNT,
        "addendum": {"reason": "DELIVERY_DELAY"},
        "sessionCredentialFromConsole": "true",
        "edgeDeviceDetails": {"type": "outpost"},
        "tlsDetails": {"tlsVersion": "TLSv1.3", "keyExchange": "X25519"},
        "sharedEventID": "0badc0de-aaaa-4bbb-8ccc-0123456789ab",
        "annotation": "text",
        "eventContext": {
            "requestContext": {"aws:x": "y"},
            "tagContext": {"resourceTags": [{"arn": ENVIRONMENT, "tags": {"a": "b"}}], "principalTags": {"c": "d"}},
        },
        "userIdentity": {
            "type": "AssumedRole",
            "inScopeOf": {"sourceArn": "arn", "issuerType": "AWS::Lambda::Function"},
            "invokedByDelegate": {"accountId": ACCOUNT},
            "credentialId": "c-1",
            "identityProvider": "p-1",
            "sessionContext": {"sourceIdentity": "dana", "ec2RoleDelivery": "2.0", "signInSessionArn": "arn:s"},
        },
    },
    "big-numbers": {"requestParameters": {"Name": "orders", "Big": 2**63 + 1, "Small": -(2**70), "ratio": 1e-7}},
    "names-of-two-cases": {"requestParameters": {"Name": "orders", "Tagging": {"a": 1}, "tagging": "b", "": 0}},
    "token": {"responseElements": {"CliToken": TOKEN}},
    "token-elsewhere": {
        "responseElements": {"webTOKEN": TOKEN},
        "additionalEventData": {"login": f"https://host/#{TOKEN}", f"key-{TOKEN}": 1},
        "userAgent": f"agent {TOKEN}",
        "errorMessage": f"{TOKEN} is wrong",
    },
    "token-not-in-resources": {"responseElements": {"CliToken": TOKEN}, "resources": [{"ARN": f"x{TOKEN[:-1]}"}]},
    "token-deep": {"requestParameters": {"Name": "orders", "a": [{"b": {"clitoken": TOKEN}}]}},
    "token-null": {"responseElements": {"CliToken": None, "WebToken": "", "RestApiResponse": "***"}},
    "body": REST | {"requestParameters": {"Name": "orders", "Body": f"password={TOKEN}"}},
    "answer": REST | {"responseElements": {"RestApiResponse": TOKEN, "RestApiStatusCode": 200}},
    "token-in-text": {"requestParameters": {"Name": "orders", "note": json.dumps({"CliToken": TOKEN})}},
}
"""Members of records that SQL reads as the worker path does."""

LEFT = {
    "no-id": ("event_id", {"eventID": ...}),
    "id-of-other-form": ("event_id", {"eventID": "event-1"}),
    "id-number": ("event_id", {"eventID": 12345}),
    "no-time": ("event_time", {"eventTime": ...}),
    "time-odd": ("event_time", {"eventTime": "Feb 2, 2026 3:18:55 PM"}),
    "time-fraction": ("event_time", {"eventTime": "2026-02-03T09:58:00.5Z"}),
    "time-offset": ("event_time", {"eventTime": "2026-02-03T09:58:00+02:00"}),
    "time-small-t": ("event_time", {"eventTime": "2026-02-03t09:58:00z"}),
    "time-no-year": ("event_time", {"eventTime": "0000-02-03T09:58:00Z"}),
    "time-no-day": ("event_time", {"eventTime": "2026-02-30T09:58:00Z"}),
    "parameters-text": ("no_object", {"requestParameters": "HIDDEN_DUE_TO_SECURITY_REASONS"}),
    "parameters-list": ("no_object", {"requestParameters": ["orders"]}),
    "response-number": ("no_object", {"responseElements": 7}),
    "details-text": ("no_object", {"edgeDeviceDetails": "text"}),
    "nul": ("characters", {"userAgent": "a\x00b"}),
    "nul-in-parameters": ("characters", {"requestParameters": {"Name": "orders", "note": "a\x00b"}}),
    "control": ("characters", {"userAgent": "a\x1bb"}),
    "replacement": ("characters", {"userAgent": "a\N{REPLACEMENT CHARACTER}b"}),
    "number-infinite": ("number", {"requestParameters": {"Name": "orders", "n": float("inf")}}),
    "number-huge": ("number", {"requestParameters": {"Name": "orders", "n": 10**500}}),
    "token-short": ("secret", {"responseElements": {"CliToken": "short"}}),
    "token-object": ("secret", {"responseElements": {"WebToken": {"a": TOKEN}}}),
    "token-number": ("secret", {"responseElements": {"WebToken": 12345678901234567890}}),
    "token-digits": ("secret", {"responseElements": {"WebToken": "12345678901234567890"}}),
    "token-escaped": ("secret", {"responseElements": {"WebToken": TOKEN + '"quoted"'}}),
    "tokens": ("secret", {"responseElements": {"WebToken": TOKEN, "CliToken": TOKEN + "2"}}),
    "token-in-identity": ("secret", {"responseElements": {"WebToken": TOKEN}, **identity(userName=TOKEN)}),
    "token-in-resources": ("secret", {"responseElements": {"WebToken": TOKEN}, "resources": [{"ARN": f"arn:{TOKEN}"}]}),
    "body-in-resources": (
        "secret",
        REST | {"requestParameters": {"Name": "orders", "Body": TOKEN}, "resources": [None, {}, {"accountId": TOKEN}]},
    ),
    "token-in-id": ("secret", {"responseElements": {"WebToken": GUID}, "eventID": GUID}),
    "body-object": ("secret", REST | {"requestParameters": {"Name": "orders", "Body": {"password": TOKEN}}}),
    "name-object": ("nested_text", {"requestParameters": {"Name": {"a": 1}}}),
    "message-list": ("nested_text", {"errorCode": "x", "responseElements": {"message": ["a"]}}),
}
"""Records that SQL does not read as the worker path does: the reason, and their members."""


def delivered(records: dict[str, dict[str, Any]]) -> tuple[BothPaths, dict[str, str]]:
    """Return a trail with a log file for each record, and the URI of each."""
    both, uris = BothPaths(), {}
    for number, (name, members) in enumerate(records.items()):
        file = listed(key_of(unique=f"{number:016d}"))
        both.deliver(file, log_bytes(event(id_of(number), **members), event(id_of(1000 + number), eventSource="x")))
        uris[name] = file.uri
    assert not both.athena.refused
    return both, uris


@pytest.fixture(scope="module")
def read() -> tuple[dict[str, Any], dict[str, Any]]:
    both, uris = delivered(READ)
    summary = both.push_down(DAY, ALL)
    assert summary.left == []
    assert summary.records == summary.loaded == 2 * len(READ)
    names = {uri: name for name, uri in uris.items()}
    rows = [
        {names[row["log_file_uri"]]: row for row in rows if row["event_id"] < id_of(1000)}
        for rows in (both.athena.rows(both.athena.events), expected_rows(both, [], ALL).values())
    ]
    return rows[0], rows[1]


@pytest.fixture(scope="module")
def left() -> tuple[BothPaths, dict[str, str], Any]:
    both, uris = delivered({name: members for name, (_, members) in LEFT.items()})
    return both, uris, both.push_down(DAY)


class TestOddRecords:
    @pytest.mark.parametrize("name", [pytest.param(name, id=name) for name in READ])
    def test_is_read_as_the_worker_path_does(self, read, name):
        found, expected = read
        assert_same(found[name], expected[name])

    @pytest.mark.parametrize("name", [pytest.param(n, id=n) for n in READ if n.startswith(("token", "body", "answer"))])
    def test_no_secret_is_loaded(self, read, name):
        loaded = json.dumps(read[0][name], default=str)
        if name != "token-in-text":
            assert TOKEN not in loaded
        # Within a text that only looks like JSON the worker path does not look either.
        assert (TOKEN in loaded) == (TOKEN in json.dumps(read[1][name], default=str))

    @pytest.mark.parametrize("name", [pytest.param(name, id=name) for name in LEFT])
    def test_is_left_to_the_worker_path(self, left, name):
        both, uris, summary = left
        assert uris[name] in summary.left
        statement = next(text for text in both.athena.statements if "GROUP BY 1, 2, 3" in text)
        reasons = dict(row[:2] for row in both.athena.read("", statement) if row[0] is not None)
        assert reasons[uris[name]] == LEFT[name][0]

    def test_nothing_of_what_is_left_is_stored(self, left):
        both, _, summary = left
        assert both.athena.rows(both.athena.events) == []
        assert both.athena.rows(both.athena.files) == []
        assert (summary.files, summary.files_left) == (0, len(LEFT))
        assert sum(summary.reasons.values()) == len(LEFT)

    def test_the_log_names_files_and_no_value(self, caplog):
        both, uris = delivered({"token-short": LEFT["token-short"][1] | {"userAgent": "a value of the record"}})
        both.push_down(DAY)
        assert uris["token-short"] in caplog.text
        assert "a value of the record" not in caplog.text

    def test_a_record_that_is_not_wanted_leaves_nothing(self):
        both, _ = delivered({
            name: members | {"eventSource": "s3.amazonaws.com"} for name, (_, members) in LEFT.items()
        })
        summary = both.push_down(DAY)
        assert (summary.files, summary.files_left, summary.filtered) == (len(LEFT), 0, 2 * len(LEFT))


@pytest.mark.parametrize(
    "selection",
    [
        pytest.param(Selection.of(event_names=["CreateCliToken"]), id="name"),
        pytest.param(Selection.of(environment_names=["orders", "it's"]), id="environment"),
        pytest.param(Selection.of(event_names=["X"], include_environment_activity=True), id="name-activity"),
        pytest.param(ACTIVITY, id="activity"),
        pytest.param(
            Selection.of(environment_names=["billing"], include_environment_activity=True), id="environment-activity"
        ),
        pytest.param(Selection.of(event_sources=None, environment_names=["orders"]), id="environment-any-source"),
        pytest.param(Selection.of(event_names=["X"]) | Selection.of(environment_names=["orders"]), id="union"),
        pytest.param(ALL, id="all"),
    ],
)
def test_selections_select_alike(selection):
    records = {
        "plain": {},
        "x": {"eventName": "X"},
        "billing": {"requestParameters": {"Name": "billing"}},
        "quoted": {"requestParameters": {"Name": "it's"}},
        "serverless": SERVERLESS,
        "other": {"eventSource": "s3.amazonaws.com"},
        "other-with-resource": {"eventSource": "s3.amazonaws.com", "resources": [{"ARN": ENVIRONMENT}]},
        "session": {"eventSource": "s3.amazonaws.com", **identity(arn=f"{ROLE}/x/AmazonMWAA-airflow")},
        "principal": {"eventSource": "s3.amazonaws.com", **identity(principalId="A:AmazonMWAA-airflow")},
        "session-of-name": {"eventSource": "s3.amazonaws.com", "eventName": "X", **identity(invokedBy=MWAA)},
        "address": {"eventSource": "kms.amazonaws.com", "sourceIPAddress": MWAA},
        "agent": {"eventSource": "kms.amazonaws.com", "userAgent": "airflow-env.amazonaws.com"},
        "no-source": {"eventSource": ..., "eventName": ...},
    }
    both, _ = delivered(records)
    summary = both.push_down(DAY, selection)
    expected = expected_rows(both, [], selection)
    assert {row["event_id"] for row in both.athena.rows(both.athena.events)} == set(expected)
    assert summary.loaded == len(expected) > 0
    assert summary.records == 2 * len(records) == summary.loaded + summary.filtered


def test_no_statement_relies_on_functions_that_engines_lack(statements):
    text = " ".join(statements)
    # Look-around is Java's alone; replacements with groups are written in two ways.
    assert not re.search(r"\(\?[=!<]", text)
    assert "regexp_replace" not in text


def test_all_patterns_of_the_statements_are_looked_at(statements):
    found = set().union(*(patterns_of(text) for text in statements))
    assert len(found) > 15
    assert sum(text.count("regexp_like(") for text in statements) > 0
    assert all(map(read_alike, found))
