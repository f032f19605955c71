"""The records of MWAA: environments, tokens, REST calls, MWAA Serverless, and what environments do in AWS."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from airflow_provider_cloudtrail.demo.callers import Caller, Json, execution_role, service
from airflow_provider_cloudtrail.demo.records import (
    MWAA,
    MWAA_SERVERLESS,
    Concerns,
    Planted,
    Stage,
    api_call,
    planted,
)

_TOKENS = {"CreateCliToken": "CliToken", "CreateWebLoginToken": "WebToken"}


def environment_arn(stage: Stage, name: str) -> str:
    """Return the ARN of an environment."""
    return f"arn:aws:airflow:{stage.region}:{stage.account}:environment/{name}"


def _environment_resource(stage: Stage, name: str) -> list[Json]:
    return [{"accountId": stage.account, "type": "AWS::MWAA::Environment", "ARN": environment_arn(stage, name)}]


def _settings(stage: Stage, name: str) -> Json:
    return {
        "Name": name,
        "SourceBucketArn": f"arn:aws:s3:::example-{name}-dags",
        "ExecutionRoleArn": f"arn:aws:iam::{stage.account}:role/{name}-execution",
        "AirflowConfigurationOptions": "***",
        "AirflowVersion": "3.0.6",
        "DagS3Path": "dags",
        "EnvironmentClass": "mw1.small",
        "NetworkConfiguration": {"SecurityGroupIds": ["sg-0a1b2c"], "SubnetIds": ["subnet-0a1b2c", "subnet-3d4e5f"]},
    }


def create_environment(
    stage: Stage, moment: datetime, caller: Caller, name: str, *, denied: bool = False, **more: Any
) -> Planted:
    """Return CreateEnvironment; a denial has its text in the response, as MWAA writes it."""
    arn = environment_arn(stage, name)
    if denied:
        more |= {"errorCode": "AccessDenied"}
    record = api_call(
        stage,
        moment,
        caller,
        MWAA,
        "CreateEnvironment",
        request=_settings(stage, name),
        response={"message": "Access denied."} if denied else {"Arn": arn},
        **more,
    )
    outcome: Json = {"outcome": "denied", "error_message": "Access denied."} if denied else {}
    return planted(record, moment, caller, environment_name=name, environment_arn=arn, **outcome)


def update_environment(stage: Stage, moment: datetime, caller: Caller, name: str, **changes: Any) -> Planted:
    """Return UpdateEnvironment with the members that it changes."""
    arn = environment_arn(stage, name)
    record = api_call(
        stage, moment, caller, MWAA, "UpdateEnvironment", request={"Name": name, **changes}, response={"Arn": arn}
    )
    return planted(record, moment, caller, environment_name=name, environment_arn=arn)


def delete_environment(stage: Stage, moment: datetime, caller: Caller, name: str) -> Planted:
    """Return DeleteEnvironment."""
    record = api_call(stage, moment, caller, MWAA, "DeleteEnvironment", request={"Name": name})
    return planted(record, moment, caller, environment_name=name)


def tag(stage: Stage, moment: datetime, caller: Caller, name: str, *, remove: bool = False) -> Planted:
    """Return TagResource or UntagResource, which name the environment by its ARN only."""
    arn = environment_arn(stage, name)
    tags: Json = {"tagKeys": ["owner"]} if remove else {"Tags": {"owner": "data-platform"}}
    action = "UntagResource" if remove else "TagResource"
    record = api_call(stage, moment, caller, MWAA, action, request={"ResourceArn": arn, **tags})
    return planted(record, moment, caller, environment_name=name, environment_arn=arn)


def create_token(
    stage: Stage,
    moment: datetime,
    caller: Caller,
    name: str,
    action: str,
    *,
    denied: bool = False,
    in_clear_text: bool = False,
) -> Planted:
    """
    Return CreateCliToken or CreateWebLoginToken.

    :param denied: IAM refused it.
    :param in_clear_text: written as before 2022-05-22, with the token in it, and once more in another place.
    """
    host = f"{stage.letters(8).lower()}-vpce.c1.{stage.region}.airflow.amazonaws.com"
    response: Json = {"WebServerHostname": host}
    more: Json = {}
    columns: Json = {"environment_name": name, "environment_arn": environment_arn(stage, name)}
    secrets: tuple[str, ...] = ()
    if denied:
        who = (caller.identity or {}).get("arn")
        message = (
            f"User: {who} is not authorized to perform: airflow:{action} on resource: {environment_arn(stage, name)}"
        )
        response = {"message": message}
        more = {"errorCode": "AccessDenied"}
        columns |= {"outcome": "denied", "error_code": "AccessDenied", "error_message": message}
    elif in_clear_text:
        secrets = (f"invented-token-{stage.letters(40)}",)
        response[_TOKENS[action]] = secrets[0]
        more = {"additionalEventData": {"login": f"https://{host}/aws_mwaa/aws-console-sso#{secrets[0]}"}}
    elif action == "CreateWebLoginToken":
        response |= {"IamIdentity": (caller.identity or {}).get("arn", ""), "AirflowIdentity": "airflow-user"}
    record = api_call(
        stage,
        moment,
        caller,
        MWAA,
        action,
        request={"Name": name},
        response=response,
        data_event=True,
        resources=_environment_resource(stage, name),
        **more,
    )
    return planted(record, moment, caller, secrets=secrets, redacted=len(secrets), **columns)


def rest_call(
    stage: Stage,
    moment: datetime,
    caller: Caller,
    name: str,
    method: str,
    path: str,
    status: int = 200,
    *,
    in_clear_text: bool = False,
) -> Planted:
    """
    Return InvokeRestApi.

    :param status: what the Airflow REST API answered; there is no error code, whatever it is.
    :param in_clear_text: with body and answer in it.
    """
    secret = f"invented-password-{stage.letters(24)}"
    request: Json = {"Name": name, "Path": path, "Method": method}
    response: Json = {"RestApiStatusCode": status, "RestApiResponse": "***"}
    if in_clear_text:
        request["Body"] = {"connection_id": "orders_db", "password": secret}
        response["RestApiResponse"] = {"connection_id": "orders_db", "extra": {"password": secret}}
    record = api_call(
        stage,
        moment,
        caller,
        MWAA,
        "InvokeRestApi",
        request=request,
        response=response,
        data_event=True,
        resources=_environment_resource(stage, name),
    )
    return planted(
        record,
        moment,
        caller,
        secrets=(secret,) if in_clear_text else (),
        redacted=2 if in_clear_text else 0,
        environment_name=name,
        environment_arn=environment_arn(stage, name),
        rest_method=method,
        rest_path=path,
        rest_status_code=status,
        outcome="success" if status < 400 else "denied" if status in (401, 403) else "error",
    )


def serverless(stage: Stage, moment: datetime, caller: Caller, action: str, workflow: str) -> Planted:
    """Return an event of MWAA Serverless: camelCase, and booleans as text."""
    arn = f"arn:aws:airflow-serverless:{stage.region}:{stage.account}:workflow/{workflow}-Zx8Cv7Bn6M"
    request: Json = {"workflowArn": arn}
    response: Json = {"workflowArn": arn, "workflowVersion": "fedcba9876543210"}
    if action == "CreateWorkflow":
        request = {
            "name": workflow,
            "definitionS3Location": {"bucket": "example-workflows", "objectKey": f"{workflow}.yaml"},
            "roleArn": f"arn:aws:iam::{stage.account}:role/workflow-execution",
            "triggerMode": "manual_only",
        }
    record = api_call(
        stage,
        moment,
        caller,
        MWAA_SERVERLESS,
        action,
        request=request,
        response=response,
        resources=[{"accountId": stage.account, "type": "AWS::MWAAServerless::Workflow", "ARN": arn}],
    )
    read_only = action.startswith(("Get", "List"))
    record |= {"readOnly": str(read_only).lower(), "managementEvent": "true"}
    return planted(
        record,
        moment,
        caller,
        environment_name=workflow,
        environment_arn=arn,
        read_only=read_only,
        management_event=True,
    )


def environment_activity(
    stage: Stage, name: str, opened: str, moments: Iterator[datetime], *, denied_decrypt: bool = False
) -> Iterator[Planted]:
    """
    Yield what an environment did in AWS: MWAA assumes its role, which reads DAGs and decrypts.

    :param opened: when the role session was opened, as CloudTrail writes times.
    :param moments: when; one event for each.
    :param denied_decrypt: begin with kms Decrypt that the key's policy refuses.
    """
    environment = execution_role(stage.account, name, opened)
    if denied_decrypt and (moment := next(moments, None)) is not None:
        yield _decrypt(stage, moment, environment, denied=True)
    for number, moment in enumerate(moments):
        if number % 4 == 0:
            yield _decrypt(stage, moment, environment)
        elif number % 4 == 1:
            yield _assume_role(stage, moment, name)
        elif number % 4 == 2:
            group = {"logGroupName": f"airflow-{name}-Task", "logStreamName": stage.letters(12)}
            yield _activity(stage, moment, environment, "logs.amazonaws.com", "CreateLogStream", group)
        else:
            listed = {"bucketName": f"example-{name}-dags", "prefix": "dags/", "list-type": "2"}
            yield _activity(stage, moment, environment, "s3.amazonaws.com", "ListObjects", listed)


def _activity(
    stage: Stage, moment: datetime, caller: Caller, source: str, name: str, request: Any, **more: Any
) -> Planted:
    record = api_call(stage, moment, caller, source, name, request=request, **more)
    outcome: Json = {"outcome": "denied"} if "errorCode" in more else {}
    return planted(record, moment, caller, Concerns.ACTIVITY, **outcome)


def _decrypt(stage: Stage, moment: datetime, environment: Caller, *, denied: bool = False) -> Planted:
    """Return kms Decrypt, which MWAA calls with the environment's role."""
    columns = {**environment.columns, "source_ip_address": MWAA}
    caller = Caller(environment.identity | {"invokedBy": MWAA}, MWAA, MWAA, columns)
    if not denied:
        context = {"aws:sqs:arn": f"arn:aws:sqs:{stage.region}:999900002222:airflow-celery-{stage.letters(8)}"}
        return _activity(
            stage, moment, caller, "kms.amazonaws.com", "Decrypt", {"encryptionContext": context}, read_only=True
        )
    message = (
        f"User: {environment.identity['arn']} is not authorized to perform: kms:Decrypt because no policy allows it"
    )
    return _activity(
        stage,
        moment,
        caller,
        "kms.amazonaws.com",
        "Decrypt",
        None,
        read_only=True,
        errorCode="AccessDenied",
        errorMessage=message,
    )


def _assume_role(stage: Stage, moment: datetime, name: str) -> Planted:
    request = {
        "roleArn": f"arn:aws:iam::{stage.account}:role/{name}-execution",
        "roleSessionName": "AmazonMWAA-airflow",
        "durationSeconds": 3600,
    }
    return _activity(
        stage, moment, service("airflow-env.amazonaws.com"), "sts.amazonaws.com", "AssumeRole", request, read_only=True
    )
