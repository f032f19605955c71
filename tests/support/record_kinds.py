"""Every documented kind of record, with the columns that it must give."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest

from tests.support.log_files import ACCOUNT, event, listed

NOW = datetime(2026, 2, 4, tzinfo=timezone.utc)
FILE = listed()
ORDERS = f"arn:aws:airflow:eu-west-1:{ACCOUNT}:environment/orders"


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
            eventName="InvokeRestApi",
            requestParameters={"Name": "orders", "Path": "/dags/daily", "Method": "PATCH"},
            errorCode="RestApiClientException",
            responseElements={"RestApiStatusCode": 403, "RestApiResponse": "***"},
        ),
        {"outcome": "denied", "rest_status_code": 403, "error_code": "RestApiClientException"},
        id="InvokeRestApi forbidden by Airflow, with an error code",
    ),
    pytest.param(
        event(
            eventName="InvokeRestApi",
            requestParameters={"Name": "orders", "Path": "/dags/nonesuch", "Method": "PATCH"},
            errorCode="RestApiClientException",
            responseElements={"RestApiStatusCode": 404, "RestApiResponse": "***"},
        ),
        {"outcome": "error", "rest_status_code": 404, "error_code": "RestApiClientException"},
        id="InvokeRestApi not found, with an error code",
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
            additionalEventData={"MobileVersion": "No", "MFAUsed": "No"},
        ),
        {
            "outcome": "denied",
            "error_message": "No username found in supplied account",
            "error_code": None,
            "actor_user_name": "HIDDEN_DUE_TO_SECURITY_REASONS",
            "mfa_authenticated": False,
        },
        id="sign-in that failed",
    ),
    pytest.param(
        event(
            eventSource="signin.amazonaws.com",
            eventName="ConsoleLogin",
            eventType="AwsConsoleSignIn",
            userIdentity={"type": "Root", "arn": "arn:aws:iam::111122223333:root", "accessKeyId": ""},
            responseElements={"ConsoleLogin": "Success"},
            additionalEventData={"MobileVersion": "No", "MFAUsed": "Yes"},
        ),
        {"outcome": "success", "actor_kind": "root", "mfa_authenticated": True},
        id="sign-in with MFA",
    ),
    pytest.param(
        event(
            eventSource="signin.amazonaws.com",
            eventName="ConsoleLogin",
            userIdentity={"type": "AssumedRole", "sessionContext": {"attributes": {"mfaAuthenticated": "false"}}},
            additionalEventData={"MFAUsed": ["Yes"]},
        ),
        {"mfa_authenticated": False},
        id="sign-in of a federated session",
    ),
    pytest.param(
        event(eventName="ConsoleLogin", userIdentity={"type": "IAMUser"}, additionalEventData={"MFAUsed": ["Yes"]}),
        {"mfa_authenticated": None},
        id="sign-in that says nothing of MFA",
    ),
    pytest.param(
        event(eventName="ConsoleLogin", userIdentity={"type": "IAMUser"}, additionalEventData="MFAUsed"),
        {"mfa_authenticated": None},
        id="sign-in whose details are text",
    ),
    pytest.param(
        event(eventName="GetEnvironment", userIdentity={}, additionalEventData={"MFAUsed": "Yes"}),
        {"mfa_authenticated": None},
        id="MFA of a call that is no sign-in",
    ),
    pytest.param(
        event(
            eventSource="signin.amazonaws.com",
            eventName="CredentialVerification",
            eventType="AwsServiceEvent",
            userIdentity={"type": "Unknown", "userName": "lee", "arn": "", "accessKeyId": ""},
            responseElements=None,
            serviceEventDetails={"CredentialVerification": "Failure"},
        ),
        {"outcome": "denied", "error_code": None, "actor_user_name": "lee", "response_elements": None},
        id="password of IAM Identity Center that was wrong",
    ),
    pytest.param(
        event(
            eventSource="signin.amazonaws.com",
            eventName="UserAuthentication",
            eventType="AwsServiceEvent",
            responseElements=None,
            serviceEventDetails={"UserAuthentication": "Success"},
        ),
        {"outcome": "success"},
        id="sign-in to IAM Identity Center",
    ),
    pytest.param(
        event(
            eventSource="signin.amazonaws.com",
            eventName="SwitchRole",
            eventType="AwsConsoleSignIn",
            responseElements={"SwitchRole": "Failure"},
        ),
        {"outcome": "denied"},
        id="role that was not switched to",
    ),
    pytest.param(
        event(eventName="StartJob", responseElements={"StartJob": "Failure", "ConsoleLogin": "Failure"}),
        {"outcome": "success"},
        id="failure that is none of signing in",
    ),
]  # fmt: skip
