"""Odd records, and how the pushdown takes them: it reads them as the worker path does, or leaves them to it."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_cloudtrail.trail.actor import KINDS
from airflow_provider_cloudtrail.trail.environment import PARTITIONS
from airflow_provider_cloudtrail.trail.outcome import SIGN_INS
from tests.support.log_files import ACCOUNT, REGION


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
SHOP, DENIED_CODE = "orders-of-the-shop", "AccessDeniedException"
DOCUMENTS = (
    *("requestParameters", "responseElements", "additionalEventData", "serviceEventDetails"),
    "edgeDeviceDetails",
)
GUID = "b6a5d0f4-1111-4111-8111-0123456789ab"

READ = {
    "plain": {},
    "source-missing": {"eventSource": ...},
    "name-empty": {"requestParameters": {"Name": "", "name": "billing"}},
    "name-number": {"requestParameters": {"Name": 7}},
    "name-of-other-form": {"requestParameters": {"Name": "9 lives"}},
    "name-long": {"requestParameters": {"Name": "a" * 81}},
    "name-longest": {"requestParameters": {"Name": "a" * 80}},
    "name-of-all-characters": {"requestParameters": {"Name": "Orders_2-B"}},
    "name-of-one-letter": {"requestParameters": {"Name": "o"}},
    "no-region": {"awsRegion": ...},
    "region-empty": {"awsRegion": ""},
    "account-empty": {"recipientAccountId": ""},
    **{f"partition-{name}": {"awsRegion": f"{start}north-1"} for start, name in PARTITIONS},
    "resource": {"resources": [{"ARN": ENVIRONMENT, "accountId": ACCOUNT, "type": "AWS::MWAA::Environment"}]},
    "resource-second": {
        "resources": [None, {"ARN": "arn:aws:s3:::x"}, {"ARN": ENVIRONMENT}],
        "requestParameters": None,
    },
    "resource-with-more": {"resources": [{"ARN": ENVIRONMENT, "type": None, "more": 1, "accountId": 7}]},
    "resources-empty": {"resources": []},
    "resource-in-text": {"resources": [{"ARN": f"x {ENVIRONMENT}"}], "requestParameters": {}},
    "resource-of-other-service": {"eventSource": "s3.amazonaws.com", "resources": [{"ARN": ENVIRONMENT}]},
    "resource-of-all-characters": {"resources": [{"ARN": f"{ENVIRONMENT}_2-B"}], "requestParameters": {}},
    "resource-too-long": {"resources": [{"ARN": ENVIRONMENT + "s" * 80}], "requestParameters": {}},
    "resource-role": {
        "resources": [{"ARN": f"arn:aws-cn:airflow:{REGION}:{ACCOUNT}:role/orders/Admin"}],
        "requestParameters": {},
    },
    "resource-workflow": {
        "eventSource": "s3.amazonaws.com",
        "resources": [{"ARN": f"{WORKFLOW}/Bills_2-b-Ab3dE6gH9k".replace("arn:aws:", "arn:aws-cn:")}],
    },
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
    "identity-of-empty-texts": identity(
        **dict.fromkeys(("type", "arn", "principalId", "accountId", "accessKeyId", "userName", "invokedBy"), ""),
        sessionContext={"sessionIssuer": dict.fromkeys(("accountId", "userName", "arn"), "")},
        onBehalfOf={"userId": ""},
    ),
    **{f"kind-{name}": identity(type=name, userName="x") for name in KINDS},
    "root": identity(type="Root", arn=f"arn:aws:iam::{ACCOUNT}:root", accountId=ACCOUNT),
    "assumed-root": session(assumedRoot="true"),
    "assumed-root-boolean": session(assumedRoot=True),
    "assumed-root-with-spaces": session(assumedRoot=" TRUE "),
    "unknown-kind": identity(type="Unknown", userName="x"),
    "service": identity(invokedBy="ec2.amazonaws.com"),
    "service-with-arn": identity(invokedBy="ec2.amazonaws.com", arn="arn:aws:iam::1:user/a"),
    "service-of-type-null": identity(type=None, invokedBy="ec2.amazonaws.com"),
    "service-of-type-empty": identity(type="", invokedBy="ec2.amazonaws.com"),
    "service-of-no-name": identity(invokedBy=""),
    "service-of-arn-empty": identity(invokedBy="ec2.amazonaws.com", arn=""),
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
    "principal-without-session": identity(type="AssumedRole", principalId="AROA:"),
    "principal-of-session-alone": identity(type="AssumedRole", principalId=":dana"),
    "arn-empty": identity(type="AssumedRole", arn="", principalId="AROA:dana"),
    "issuer": session(sessionIssuer={"accountId": "999900001111", "userName": "Analyst", "arn": "arn:of:role"}),
    "issuer-behind-empty-texts": identity(
        accountId="",
        userName="",
        sessionContext={"sessionIssuer": {"accountId": "999900001111", "userName": "Analyst"}},
    ),
    "role-behind-empty-texts": identity(
        arn=f"{ROLE}/Platform/dana", userName="", sessionContext={"sessionIssuer": {"userName": ""}}
    ),
    "mfa": session(attributes={"mfaAuthenticated": " TRUE ", "creationDate": "2026-02-03T06:00:00Z"}),
    "mfa-boolean": session(attributes={"mfaAuthenticated": False}),
    "mfa-odd": session(attributes={"mfaAuthenticated": "maybe"}),
    "web": session(webIdFederationData={"federatedProvider": "p", "attributes": {"aud": 'a"b\\c', "n": 1}}),
    "key-empty": identity(type="IAMUser", accessKeyId="", userName="sam"),
    "texts-empty": {"userAgent": "", "errorCode": "", "errorMessage": "", "requestID": ""},
    "more-texts-empty": dict.fromkeys(
        ("eventSource", "eventName", "eventCategory", "eventType", "eventVersion", "sourceIPAddress", "sharedEventID"),
        "",
    ),
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
    "message-without-error": {"responseElements": {"message": "all is well"}},
    "message-of-error-empty": {"errorCode": "", "responseElements": {"message": "all is well"}},
    **{
        f"error-{code}": {"errorCode": code}
        for code in ("Forbidden", "Client.AuthFailure", "AuthorizationException", "InsufficientPrivilegesException")
    },
    "error-of-an-access": {"errorCode": "AccessToClusterDeniedFault"},
    "error-of-an-access-alone": {"errorCode": "AccessToDenied"},
    "sign-in-failed": {"eventName": "ConsoleLogin", "responseElements": {"ConsoleLogin": "Failure"}},
    "sign-in": {"eventName": "ConsoleLogin", "responseElements": {"ConsoleLogin": "Success"}},
    **{
        f"{name}-failed-in-{document}": {"eventName": name, document: {name: "Failure"}}
        for name in sorted(SIGN_INS)
        for document in ("responseElements", "serviceEventDetails")
    },
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
    "booleans-with-spaces": {"readOnly": " true", "managementEvent": "True "},
    "booleans-odd": {"readOnly": "yes", "managementEvent": 1, "apiVersion": 1.50},
    "rest": REST | {"requestParameters": {"Name": "orders", "Method": "GET", "Path": "/dags"}},
    "rest-status": REST | {"responseElements": {"RestApiStatusCode": 200, "RestApiResponse": "***"}},
    "rest-status-text": REST | {"responseElements": {"RestApiStatusCode": "403"}},
    "rest-status-500": REST | {"responseElements": {"RestApiStatusCode": 500}},
    **{f"rest-status-{n}": REST | {"responseElements": {"RestApiStatusCode": n}} for n in (399, 400, 401, 402)},
    "rest-status-odd": REST | {"responseElements": {"RestApiStatusCode": "0200"}},
    "rest-status-fraction": REST | {"responseElements": {"RestApiStatusCode": 404.0}},
    "rest-status-1000": REST | {"responseElements": {"RestApiStatusCode": 1000}},
    "rest-of-empty-texts": REST | {"requestParameters": {"Name": "", "name": "", "Method": "", "Path": ""}},
    "method-of-other-call": {"requestParameters": {"Name": "orders", "Method": "GET", "Path": "/dags"}},
    "body-masked": REST | {"requestParameters": {"Name": "orders", "Body": "***", "body": None}},
    "body-of-other-call": {"requestParameters": {"Name": "orders", "Body": "kept as it is, it is no REST call"}},
    "id-in-capitals": {"eventID": "ABCDEF01-ABCD-4BCD-8BCD-ABCDEF012345"},
    "time": {"eventTime": "2026-02-03T21:47:39Z"},
    "time-before-noon": {"eventTime": "2026-02-03T11:00:09Z"},
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
        "responseElements": {"WebToken": TOKEN},
        "additionalEventData": {"login": f"https://host/#{TOKEN}", f"key-{TOKEN}": 1},
        "userAgent": f"agent {TOKEN}",
        "errorMessage": f"{TOKEN} is wrong",
    },
    "token-not-in-resources": {"responseElements": {"CliToken": TOKEN}, "resources": [{"ARN": f"x{TOKEN[:-1]}"}]},
    "token-null": {"responseElements": {"CliToken": None, "WebToken": "", "RestApiResponse": "***"}},
    "token-shortest": {"responseElements": {"CliToken": TOKEN[:16]}, "userAgent": f"agent {TOKEN[:16]}"},
    "token-of-rest-call": REST | {"responseElements": {"CliToken": TOKEN}},
    "token-of-rest-call-for-the-web": REST | {"responseElements": {"WebToken": TOKEN, "Body": ""}},
    "token-of-digits-and-a-letter": {"responseElements": {"WebToken": "1234567890123456x"}},
    "answer-of-other-call": {"responseElements": {"RestApiResponse": TOKEN}},
    "body": REST | {"requestParameters": {"Name": "orders", "Body": f"password={TOKEN}"}},
    "answer": REST | {"responseElements": {"RestApiResponse": TOKEN, "RestApiStatusCode": 200}},
    "token-in-text": {"requestParameters": {"Name": "orders", "note": json.dumps({"CliToken": TOKEN})}},
    "environment-that-is-a-token": {"requestParameters": {"Name": SHOP, "WebToken": SHOP}},
    "environment-that-is-a-token-by-its-arn": {
        "requestParameters": {"ResourceArn": ENVIRONMENT, "WebToken": ENVIRONMENT}
    },
}
"""Members of records that SQL reads as the worker path does."""

LEFT = {
    "no-id": ("event_id", {"eventID": ...}),
    "id-of-other-form": ("event_id", {"eventID": "event-1"}),
    "id-number": ("event_id", {"eventID": 12345}),
    "id-of-more": ("event_id", {"eventID": f"x{GUID}"}),
    "id-of-two-lines": ("event_id", {"eventID": f"{GUID}\n"}),
    "no-time": ("event_time", {"eventTime": ...}),
    "time-odd": ("event_time", {"eventTime": "Feb 2, 2026 3:18:55 PM"}),
    "time-fraction": ("event_time", {"eventTime": "2026-02-03T09:58:00.5Z"}),
    "time-offset": ("event_time", {"eventTime": "2026-02-03T09:58:00+02:00"}),
    "time-small-t": ("event_time", {"eventTime": "2026-02-03t09:58:00z"}),
    "time-no-year": ("event_time", {"eventTime": "0000-02-03T09:58:00Z"}),
    "time-no-day": ("event_time", {"eventTime": "2026-02-30T09:58:00Z"}),
    "parameters-text": ("no_object", {"requestParameters": "HIDDEN_DUE_TO_SECURITY_REASONS"}),
    "parameters-empty": ("no_object", {"requestParameters": ""}),
    **{f"{document}-list": ("no_object", {document: []}) for document in DOCUMENTS},
    "response-number": ("no_object", {"responseElements": 7}),
    "details-text": ("no_object", {"edgeDeviceDetails": "text"}),
    "nul": ("characters", {"userAgent": "a\x00b"}),
    "nul-in-parameters": ("characters", {"requestParameters": {"Name": "orders", "note": "a\x00b"}}),
    "control": ("characters", {"userAgent": "a\x1bb"}),
    "replacement": ("characters", {"userAgent": "a\N{REPLACEMENT CHARACTER}b"}),
    "tabulator": ("characters", {"userAgent": "a\x0bb"}),
    "page": ("characters", {"userAgent": "a\x0cb"}),
    **{f"{document}-infinite": ("number", {document: {"n": float("-inf")}}) for document in DOCUMENTS},
    "number-none": ("number", {"requestParameters": {"Name": "orders", "n": [1, float("nan")]}}),
    "number-huge": ("number", {"requestParameters": {"Name": "orders", "n": 10**500}}),
    "token-short": ("secret", {"responseElements": {"CliToken": "short"}}),
    "token-too-short": ("secret", {"responseElements": {"CliToken": TOKEN[:15]}}),
    "token-object": ("secret", {"responseElements": {"WebToken": {"a": TOKEN}}}),
    "token-number": ("secret", {"responseElements": {"WebToken": 12345678901234567890}}),
    "token-digits": ("secret", {"responseElements": {"WebToken": "12345678901234567890"}}),
    "token-like-a-number": (
        "secret",
        {"responseElements": {"WebToken": "-1.2345678901e+20", "n": -1.2345678901e20}},
    ),
    "token-like-a-list": (
        "secret",
        {"responseElements": {"WebToken": ":[true,false,{},[],null", "n": [True, False, {}, [], None]}},
    ),
    "token-escaped": ("secret", {"responseElements": {"WebToken": TOKEN + '"quoted"'}}),
    "tokens": ("secret", {"responseElements": {"WebToken": TOKEN, "CliToken": TOKEN + "2"}}),
    "token-in-identity": ("secret", {"responseElements": {"WebToken": TOKEN}, **identity(userName=TOKEN)}),
    "token-in-resources": ("secret", {"responseElements": {"WebToken": TOKEN}, "resources": [{"ARN": f"arn:{TOKEN}"}]}),
    "body-in-resources": (
        "secret",
        REST | {"requestParameters": {"Name": "orders", "Body": TOKEN}, "resources": [None, {}, {"accountId": TOKEN}]},
    ),
    "token-in-address": ("secret", {"responseElements": {"WebToken": TOKEN}, "sourceIPAddress": TOKEN}),
    "token-deep": ("secret", {"requestParameters": {"Name": "orders", "a": [{"b": {"CliToken": TOKEN}}]}}),
    "token-of-other-case": ("secret", {"responseElements": {"webTOKEN": TOKEN}}),
    "token-in-other-document": ("secret", {"additionalEventData": {"WebToken": TOKEN}}),
    "body-of-other-call": (
        "secret",
        {"requestParameters": {"Name": "orders", "Body": TOKEN, "Tags": {"CliToken": TOKEN}}},
    ),
    "environment-called-a-token": ("secret", {"requestParameters": {"Name": SHOP, "Tags": {"CliToken": SHOP}}}),
    "environment-called-a-token-by-its-arn": (
        "secret",
        {"requestParameters": {"ResourceArn": ENVIRONMENT, "Tags": {"CliToken": ENVIRONMENT}}},
    ),
    "token-in-error-code": (
        "secret",
        {"requestParameters": {"Name": "orders", "WebToken": DENIED_CODE}, "errorCode": DENIED_CODE},
    ),
    "token-in-id": ("secret", {"responseElements": {"WebToken": GUID}, "eventID": GUID}),
    "body-object": ("secret", REST | {"requestParameters": {"Name": "orders", "Body": {"password": TOKEN}}}),
    **{
        f"{name}-{kind}": ("nested_text", REST | {"requestParameters": {name: value}})
        for name in ("Name", "name", "Method", "Path")
        for kind, value in (("object", {"a": 1}), ("list", ["a"]))
    },
    "message-object": ("nested_text", {"errorCode": "x", "responseElements": {"message": {"a": 1}}}),
    "message-list": ("nested_text", {"errorCode": "x", "responseElements": {"message": ["a"]}}),
}
"""Records that SQL does not read as the worker path does: the reason, and their members."""
