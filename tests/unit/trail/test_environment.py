from __future__ import annotations

from typing import Any

import botocore.session
import pytest

from airflow_provider_cloudtrail.trail.environment import (
    MWAA_EVENT_NAMES,
    Environment,
    environment_of,
    is_environment_activity,
    partition_of,
)
from tests.support.log_files import ACCOUNT, event

ARN = f"arn:aws:airflow:eu-west-1:{ACCOUNT}:environment/orders"
OTHER = f"arn:aws:airflow:eu-west-1:{ACCOUNT}:environment/bills"
WORKFLOW = f"arn:aws:airflow-serverless:us-east-1:{ACCOUNT}:workflow/bills-Ab3dE6gH9k"
SERVERLESS = "airflow-serverless.amazonaws.com"


@pytest.mark.parametrize(
    ("members", "name", "arn"),
    [
        pytest.param({"requestParameters": {"Name": "orders"}}, "orders", ARN, id="parameter Name"),
        pytest.param({"requestParameters": {"name": "orders"}}, "orders", ARN, id="parameter name"),
        pytest.param(
            {"resources": [{"type": "AWS::MWAA::Environment", "ARN": ARN}], "requestParameters": None},
            "orders",
            ARN,
            id="resources",
        ),
        pytest.param(
            {
                "resources": [{"ARN": "arn:aws:s3:::x"}, None, {"ARN": 1}, {"ARN": OTHER}],
                "requestParameters": {"Name": "bills"},
            },
            "bills",
            OTHER,
            id="resources of several kinds",
        ),
        pytest.param(
            {"resources": [{"ARN": ARN}], "recipientAccountId": "444455556666"}, "orders", ARN, id="of another account"
        ),
        pytest.param({"requestParameters": {"ResourceArn": ARN, "Tags": {}}}, "orders", ARN, id="TagResource"),
        pytest.param({"requestParameters": {"resourceArn": ARN}}, "orders", ARN, id="UntagResource"),
        pytest.param({"requestParameters": {}, "responseElements": {"Arn": ARN}}, "orders", ARN, id="response"),
        pytest.param(
            {
                "requestParameters": None,
                "errorMessage": f"User: arn:aws:iam::{ACCOUNT}:user/x is not authorized on resource: {ARN}",
            },
            "orders",
            ARN,
            id="error text",
        ),
        pytest.param(
            {"requestParameters": None, "responseElements": {"message": f"not authorized on {ARN} (x)"}},
            "orders",
            ARN,
            id="message of the response",
        ),
        pytest.param(
            {
                "requestParameters": None,
                "errorMessage": f"denied on arn:aws:airflow:eu-west-1:{ACCOUNT}:role/orders/Viewer",
            },
            "orders",
            ARN,
            id="role of the environment in the error text",
        ),
        pytest.param(
            {"awsRegion": "us-gov-west-1"},
            "orders",
            f"arn:aws-us-gov:airflow:us-gov-west-1:{ACCOUNT}:environment/orders",
            id="GovCloud",
        ),
        pytest.param(
            {"awsRegion": "cn-north-1"},
            "orders",
            f"arn:aws-cn:airflow:cn-north-1:{ACCOUNT}:environment/orders",
            id="China",
        ),
        pytest.param({"awsRegion": ...}, "orders", None, id="no Region: no ARN is made up"),
        pytest.param({"recipientAccountId": ...}, "orders", None, id="no account: no ARN is made up"),
        *(
            pytest.param({member: value}, "orders", None, id=f"{member} is {value!r}: no ARN is made up")
            for member in ("awsRegion", "recipientAccountId")
            for value in ("", 7)
        ),
        pytest.param({"requestParameters": {"Name": "7 days"}}, "7 days", None, id="no name for an ARN"),
        pytest.param({"requestParameters": ["orders"]}, None, None, id="parameters are a list"),
        pytest.param({"requestParameters": "orders"}, None, None, id="parameters are text"),
        pytest.param({"requestParameters": None}, None, None, id="nothing said"),
        pytest.param(
            {"eventSource": "s3.amazonaws.com", "requestParameters": {"Name": "orders", "ResourceArn": ARN}},
            None,
            None,
            id="another service's Name is none",
        ),
        pytest.param(
            {"eventSource": "tagging.amazonaws.com", "resources": [{"ARN": ARN}]},
            "orders",
            ARN,
            id="another service's resource is one",
        ),
        pytest.param(
            {"eventSource": "tagging.amazonaws.com", "resources": [{"ARN": ARN}], "requestParameters": {"Name": "x"}},
            "orders",
            ARN,
            id="another service's resource is one, whatever its Name is",
        ),
        pytest.param(
            {
                "eventSource": "s3.amazonaws.com",
                "resources": [{"ARN": "arn:aws:s3:::x"}],
                "requestParameters": {"Name": "orders", "ResourceArn": ARN},
                "errorMessage": f"no right to {ARN}",
            },
            None,
            None,
            id="another service's Name beside its resources is none",
        ),
        pytest.param(
            {"eventSource": SERVERLESS, "requestParameters": {"workflowArn": WORKFLOW}},
            "bills",
            WORKFLOW,
            id="workflow",
        ),
        pytest.param(
            {
                "eventSource": SERVERLESS,
                "requestParameters": {"name": "bills"},
                "responseElements": {"workflowArn": WORKFLOW},
            },
            "bills",
            WORKFLOW,
            id="new workflow",
        ),
        pytest.param(
            {
                "eventSource": SERVERLESS,
                "requestParameters": {"name": "bills-production"},
                "responseElements": {"workflowArn": WORKFLOW.replace("Ab3dE6gH9k", "production")},
            },
            "bills-production",
            WORKFLOW.replace("Ab3dE6gH9k", "production"),
            id="name that ends as what follows it in an ARN",
        ),
        pytest.param(
            {"eventSource": SERVERLESS, "requestParameters": {"name": "bills"}}, "bills", None, id="denied workflow"
        ),
    ],
)
def test_environment_of(members: dict[str, Any], name: str | None, arn: str | None) -> None:
    assert environment_of(event(**members)) == Environment(name, arn)


def test_partitions_are_those_of_aws() -> None:
    session = botocore.session.get_session()
    partitions = session.get_available_partitions()
    assert {"aws", "aws-cn", "aws-us-gov"} <= set(partitions)
    for partition in partitions:
        for region in session.get_available_regions("cloudtrail", partition):
            assert partition_of(region) == partition


def test_event_names_are_the_actions_of_both_services() -> None:
    session = botocore.session.get_session()
    for service in {"mwaa", "mwaa-serverless"} & set(session.get_available_services()):
        assert set(session.get_service_model(service).operation_names) <= MWAA_EVENT_NAMES


def identity(session: str) -> dict[str, Any]:
    return {"type": "AssumedRole", "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/orders-exec/{session}"}


@pytest.mark.parametrize(
    ("members", "activity"),
    [
        pytest.param({"userIdentity": identity("AmazonMWAA-airflow")}, True, id="session of the execution role"),
        pytest.param({"userIdentity": identity("AmazonMWAA-airflow2")}, False, id="session called alike"),
        pytest.param(
            {"userIdentity": {"type": "AWSService", "invokedBy": "airflow.amazonaws.com"}}, True, id="invoked by MWAA"
        ),
        pytest.param(
            {"userIdentity": {"type": "AWSService", "invokedBy": "airflow-env.amazonaws.com"}}, True, id="by its helper"
        ),
        pytest.param({"sourceIPAddress": SERVERLESS}, True, id="by MWAA Serverless"),
        pytest.param({"sourceIPAddress": "airflow.amazonaws.com"}, True, id="host name of the source"),
        pytest.param({"userAgent": "airflow.amazonaws.com"}, True, id="user agent"),
        pytest.param({"userAgent": "airflow.amazonaws.com.example"}, False, id="user agent called alike"),
        pytest.param({"userIdentity": None}, False, id="no identity"),
        pytest.param({}, False, id="a user"),
    ],
)
def test_activity_of_an_environment(members: dict[str, Any], activity: bool) -> None:
    assert is_environment_activity(event(eventSource="s3.amazonaws.com", **members)) is activity
