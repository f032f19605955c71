"""
Which MWAA environment a record concerns, and whether an environment made the call itself.

Sources: AWS MWAA user guide, "Viewing audit logs in AWS CloudTrail"; MWAA Serverless user guide,
"Logging API calls". MWAA writes its parameters in PascalCase, MWAA Serverless in camelCase.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from airflow_provider_cloudtrail.trail.actor import actor_of
from airflow_provider_cloudtrail.trail.fields import member, text

MWAA = "airflow.amazonaws.com"
MWAA_SERVERLESS = "airflow-serverless.amazonaws.com"
MWAA_CALLERS = (MWAA, "airflow-env.amazonaws.com", MWAA_SERVERLESS)
"""Service principals under which MWAA itself calls other services."""
MWAA_EVENT_NAMES = frozenset((
    *("CreateEnvironment", "UpdateEnvironment", "DeleteEnvironment", "GetEnvironment", "ListEnvironments"),
    *("CreateWebLoginToken", "CreateCliToken", "InvokeRestApi", "PublishMetrics"),
    *("TagResource", "UntagResource", "ListTagsForResource"),
    *("CreateWorkflow", "UpdateWorkflow", "DeleteWorkflow", "GetWorkflow", "ListWorkflows", "ListWorkflowVersions"),
    *("StartWorkflowRun", "StopWorkflowRun", "GetWorkflowRun", "ListWorkflowRuns"),
    *("GetTaskInstance", "ListTaskInstances"),
))
"""API actions of MWAA (API 2020-07-01) and MWAA Serverless (API 2024-07-26), which ``eventName`` gives as they are."""
ENVIRONMENT_SESSION = "AmazonMWAA-airflow"
"""Role session name of an environment's execution role, the same in all environments."""

NAME = "[A-Za-z][A-Za-z0-9_-]{0,79}"
"""Pattern of the name of an environment."""
ARN_BEFORE_RESOURCE = {
    service: f"arn:aws[a-z-]*:{service.partition('.')[0]}:[a-z0-9-]*:[0-9]*:" for service in (MWAA, MWAA_SERVERLESS)
}
"""Pattern of what comes in an ARN of a service before the kind of the resource."""
ARN_MEMBERS = (
    ("requestParameters", "ResourceArn"),
    ("requestParameters", "resourceArn"),
    ("requestParameters", "workflowArn"),
    ("responseElements", "Arn"),
    ("responseElements", "workflowArn"),
)
"""Where a record may have the ARN of an environment, behind its resources: document and member."""

_ARN = re.compile(
    f"{ARN_BEFORE_RESOURCE[MWAA]}environment/(?P<environment>{NAME})"
    # The error text of a denied login token names a role of the environment instead of the environment.
    f"|{ARN_BEFORE_RESOURCE[MWAA]}role/(?P<role_of>{NAME})"
    f"|{ARN_BEFORE_RESOURCE[MWAA_SERVERLESS]}workflow/"
    "(?P<workflow>[A-Za-z0-9_-]+?)(?:-[A-Za-z0-9]{10})?(?![A-Za-z0-9_-])"
)
_NAME = re.compile(NAME)
PARTITIONS = (
    *(("cn-", "aws-cn"), ("us-gov-", "aws-us-gov"), ("eusc-", "aws-eusc")),
    *(("us-iso-", "aws-iso"), ("us-isob-", "aws-iso-b"), ("eu-isoe-", "aws-iso-e"), ("us-isof-", "aws-iso-f")),
)
"""Partitions by the beginning of their Regions; all others lie in ``aws``."""


class Environment(NamedTuple):
    """Name and ARN of an environment (or of a workflow of MWAA Serverless); None: the record does not say."""

    name: str | None
    arn: str | None


NO_ENVIRONMENT = Environment(None, None)


def environment_of(record: Mapping[str, Any]) -> Environment:
    """
    Return the environment that a decoded record concerns.

    Looked for in this order: the resources, the name among the parameters, an ARN among the
    parameters, in the response, in the error text. Names can be used again by a later environment:
    account, Region and time belong to an identification.
    """
    of_mwaa = record.get("eventSource") in (MWAA, MWAA_SERVERLESS)
    if not of_mwaa and not record.get("resources"):
        return NO_ENVIRONMENT
    found = next(_arns(record) if of_mwaa else _resource_arns(record), None)
    arn = found[0] if found is not None and not found["role_of"] else None
    name: str | None = None
    if of_mwaa:
        parameters = member(record, "requestParameters")
        name = text(parameters.get("Name")) or text(parameters.get("name"))
    if name is None and found is not None:
        name = found["environment"] or found["role_of"] or found["workflow"]
    if arn is None and name is not None and record.get("eventSource") == MWAA and _NAME.fullmatch(name):
        arn = _environment_arn(record, name)
    return Environment(name, arn)


def partition_of(region: str) -> str:
    """Return the partition that a Region lies in, such as ``aws`` or ``aws-cn``."""
    return next((partition for start, partition in PARTITIONS if region.startswith(start)), "aws")


def is_environment_activity(record: Mapping[str, Any]) -> bool:
    """Tell whether an environment itself made the call: its execution role's session, or MWAA for it."""
    actor = actor_of(record)
    return actor.actor_session_name == ENVIRONMENT_SESSION or any(
        caller in MWAA_CALLERS for caller in (actor.invoked_by, record.get("sourceIPAddress"), record.get("userAgent"))
    )


def _arns(record: Mapping[str, Any]) -> Iterator[re.Match[str]]:
    yield from _resource_arns(record)
    for document, name in ARN_MEMBERS:
        value = member(record, document).get(name)
        if isinstance(value, str) and (found := _ARN.match(value)):
            yield found
    for value in (record.get("errorMessage"), member(record, "responseElements").get("message")):
        if isinstance(value, str):
            yield from _ARN.finditer(value)


def _resource_arns(record: Mapping[str, Any]) -> Iterator[re.Match[str]]:
    resources = record.get("resources")
    for resource in resources if isinstance(resources, list) else ():
        arn = resource.get("ARN") if isinstance(resource, dict) else None
        if isinstance(arn, str) and (found := _ARN.match(arn)):
            yield found


def _environment_arn(record: Mapping[str, Any], name: str) -> str | None:
    region, account = record.get("awsRegion"), record.get("recipientAccountId")
    if not (isinstance(region, str) and region and isinstance(account, str) and account):
        return None
    return f"arn:{partition_of(region)}:airflow:{region}:{account}:environment/{name}"
