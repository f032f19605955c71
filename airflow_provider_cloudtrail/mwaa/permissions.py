"""
The IAM statements that the execution role of an environment needs, by feature, and what it lacks of them.

The CloudFormation template and the README hold the same statements. Sources: Service Authorization Reference for
Amazon S3, AWS CloudTrail, Amazon SQS, AWS KMS, Amazon Athena and AWS Glue. Athena does what a statement asks for
with the rights of its caller, and Glue wants an action allowed on the table and on all that it lies in
(https://docs.aws.amazon.com/athena/latest/ug/fine-grained-access-to-glue-resources.html); further sources are the pages
datacatalogs-example-policies (a query names its catalog) and federated-query-iam-access (results) beside that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from airflow_provider_cloudtrail.mwaa.aws import Aws, is_denied
from airflow_provider_cloudtrail.mwaa.environment import Environment
from airflow_provider_cloudtrail.trail.object_uris import is_own_name

EXPORT, VALIDATION, COVERAGE = "export", "validation", "coverage"
NOTIFICATIONS, EVENT_HISTORY, BULK_LOAD, ENCRYPTION = "notifications", "event-history", "bulk-load", "encryption"
ATHENA, ICEBERG_GLUE = "athena", "iceberg-glue"
FEATURES = (
    EXPORT,
    VALIDATION,
    COVERAGE,
    NOTIFICATIONS,
    EVENT_HISTORY,
    BULK_LOAD,
    ENCRYPTION,
    ATHENA,
    ICEBERG_GLUE,
)

_TRAIL_BUCKET = "arn:{partition}:s3:::{bucket}"
_LOG_FILES = "arn:{partition}:s3:::{bucket}/*"
_TRAIL = "{trail}"
_QUEUE = "{queue}"
_STAGED = "{staging}"
_KEY = "{key}"
_WORK_GROUP = "{workgroup}"
_DATA_CATALOG = "{data_catalog}"
_CATALOG = "{glue}:catalog"
_DATABASE = "{glue}:database/{database}"
_TABLES = "{glue}:table/{database}/*"
_ANY = "*"
# SQS developer guide, "Queue and message identifiers".
_QUEUE_URL = re.compile(
    r"https?://sqs\.(?P<region>[a-z0-9-]+)\.[a-z0-9.-]+/(?P<account>[0-9]{12})/(?P<name>[A-Za-z0-9_.-]+)"
)

# Folders: a place of this name stands for what lies below, one with _bucket behind it for the bucket.
_BUCKET_OF = ("staging", "tables", "results")
_BY_ATHENA = (
    *("glue:CreateTable", "glue:DeleteTable", "glue:GetDatabase", "glue:GetDatabases"),
    *("glue:GetPartitions", "glue:GetTable", "glue:GetTables", "glue:UpdateTable"),
)
_BY_PYICEBERG = ("glue:CreateTable", "glue:GetDatabase", "glue:GetTable", "glue:UpdateTable")
_KEEP_FILES = ("s3:DeleteObject", "s3:GetObject", "s3:PutObject")
_LIST_BUCKET = ("s3:GetBucketLocation", "s3:ListBucket")


class Statement(NamedTuple):
    """
    An IAM statement that allows.

    :param sid: its id in the policy.
    :param feature: one of :data:`FEATURES`.
    :param resource: ARN with places for what :class:`Resources` holds.
    """

    sid: str
    feature: str
    actions: tuple[str, ...]
    resource: str


STATEMENTS = (
    Statement("ListTrailBucket", EXPORT, ("s3:ListBucket",), _TRAIL_BUCKET),
    Statement("ReadLogFiles", EXPORT, ("s3:GetObject",), _LOG_FILES),
    # None of these three offers a resource.
    Statement("ReadPublicKeys", VALIDATION, ("cloudtrail:ListPublicKeys",), _ANY),
    Statement("ReadEventHistory", EVENT_HISTORY, ("cloudtrail:LookupEvents", "ec2:DescribeRegions"), _ANY),
    # Also for operators that are told the trail instead of its bucket.
    Statement(
        "ReadTrail",
        COVERAGE,
        ("cloudtrail:GetEventSelectors", "cloudtrail:GetTrail", "cloudtrail:GetTrailStatus"),
        _TRAIL,
    ),
    Statement(
        "CheckTrailBucket",
        COVERAGE,
        ("s3:GetBucketPublicAccessBlock", "s3:GetBucketVersioning", "s3:GetLifecycleConfiguration"),
        _TRAIL_BUCKET,
    ),
    Statement("ReadNotifications", NOTIFICATIONS, ("sqs:DeleteMessage", "sqs:ReceiveMessage"), _QUEUE),
    Statement("StageRows", BULK_LOAD, ("s3:DeleteObject", "s3:PutObject"), _STAGED),
    Statement("DecryptLogFiles", ENCRYPTION, ("kms:Decrypt",), _KEY),
    Statement(
        "RunQueries",
        ATHENA,
        (
            "athena:GetQueryExecution",
            "athena:GetQueryResults",
            "athena:StartQueryExecution",
            "athena:StopQueryExecution",
        ),
        _WORK_GROUP,
    ),
    # The first is asked of whoever starts a query that names its catalog, as the driver does.
    Statement("ReadTableMetadata", ATHENA, ("athena:GetDataCatalog", "athena:GetTableMetadata"), _DATA_CATALOG),
    Statement("AthenaUsesCatalog", ATHENA, _BY_ATHENA, _CATALOG),
    Statement("AthenaUsesDatabase", ATHENA, _BY_ATHENA, _DATABASE),
    Statement("AthenaUsesTables", ATHENA, _BY_ATHENA, _TABLES),
    # The rows that are staged, by Athena; the lock of the writers beside them, by the task.
    Statement("ReadStagedRows", ATHENA, ("s3:GetObject",), _STAGED),
    Statement("ListStagedRows", ATHENA, _LIST_BUCKET, "{staging_bucket}"),
    Statement("AthenaKeepsTables", ATHENA, _KEEP_FILES, "{tables}"),
    Statement("AthenaListsTables", ATHENA, _LIST_BUCKET, "{tables_bucket}"),
    Statement("AthenaKeepsResults", ATHENA, ("s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"), "{results}"),
    Statement("AthenaListsResults", ATHENA, _LIST_BUCKET, "{results_bucket}"),
    Statement("UseGlueCatalog", ICEBERG_GLUE, _BY_PYICEBERG, _CATALOG),
    Statement("UseGlueDatabase", ICEBERG_GLUE, _BY_PYICEBERG, _DATABASE),
    Statement("UseGlueTables", ICEBERG_GLUE, _BY_PYICEBERG, _TABLES),
    Statement("KeepIcebergFiles", ICEBERG_GLUE, _KEEP_FILES, "{tables}"),
    Statement("ListIcebergFiles", ICEBERG_GLUE, ("s3:ListBucket",), "{tables_bucket}"),
)


@dataclass(frozen=True)
class Resources:
    """
    What the statements are about; None: not known, so the statements that need it cannot be checked.

    :param bucket: name of the trail's bucket.
    :param glue: what the ARNs of Glue begin with, ``arn:aws:glue:REGION:ACCOUNT``.
    :param database: name of the Glue database of the tables.
    :param staging: ARN of the objects below ``staging_uri``; ends with ``/*``, as the next two.
    :param tables: the same of the folder where the tables lie.
    :param results: the same of the folder where Athena puts query results.
    """

    partition: str = "aws"
    bucket: str | None = None
    trail: str | None = None
    queue: str | None = None
    staging: str | None = None
    key: str | None = None
    workgroup: str | None = None
    data_catalog: str | None = None
    glue: str | None = None
    database: str | None = None
    tables: str | None = None
    results: str | None = None

    def arn(self, statement: Statement) -> str | None:
        """Return the resource of a statement, None if what it needs is not known."""
        names = {name: value for name, value in self._places().items() if value is not None}
        try:
            return statement.resource.format(**names)
        except KeyError:
            return None

    def shown(self, statement: Statement) -> str:
        """Return the resource of a statement, with words to replace for what is not known."""
        return statement.resource.format(**{
            name: value or f"YOUR-{name.upper().replace('_', '-')}" for name, value in self._places().items()
        })

    def _places(self) -> dict[str, str | None]:
        places: dict[str, str | None] = dict(vars(self))
        for name in _BUCKET_OF:
            objects = places[name]
            places[f"{name}_bucket"] = None if objects is None else objects.partition("/")[0]
        return places


class Checked(NamedTuple):
    """
    What is known of a statement.

    :param resource: its ARN, with words to replace for what is not known.
    :param lacking: actions that the role must not do; None: could not be found out.
    """

    statement: Statement
    resource: str
    lacking: tuple[str, ...] | None


def resources_of(environment: Environment, *, bucket: str | None, trail: str | None, queue: str | None) -> Resources:
    """
    Return what an environment reads, from what was said and from its configuration options.

    :param trail: name or ARN.
    :param queue: URL or ARN.
    """
    _, partition, _, region, account, _ = environment.arn.split(":", 5)
    named = trail or environment.option("trail_name")
    if named and not named.startswith("arn:"):
        named = f"arn:{partition}:cloudtrail:{region}:{account}:trail/{named}"
    trail_bucket = bucket or environment.option("bucket")
    staging = environment.option("staging_uri")
    return Resources(
        partition=environment.partition,
        # What an access point needs is not to be told from its alias.
        bucket=trail_bucket if trail_bucket and is_own_name(trail_bucket) else None,
        trail=named,
        queue=queue_arn(queue or environment.option("queue_url"), partition),
        staging=f"arn:{environment.partition}:s3:::{staging.removeprefix('s3://').rstrip('/')}/*" if staging else None,
        data_catalog=f"arn:{partition}:athena:{region}:{account}:datacatalog/AwsDataCatalog",
        glue=f"arn:{partition}:glue:{region}:{account}",
    )


def queue_arn(queue: str | None, partition: str) -> str | None:
    """Return the ARN of a queue that is named by its ARN or URL; None: not named, or not in a way that tells."""
    found = _QUEUE_URL.fullmatch(queue or "")
    if found is None:
        return queue if queue and queue.startswith("arn:") else None
    return f"arn:{partition}:sqs:{found['region']}:{found['account']}:{found['name']}"


def features_of(resources: Resources) -> tuple[str, ...]:
    """
    Return the features that can be used with what is known.

    Encryption and the warehouse cannot be seen from here.
    """
    return (
        EXPORT,
        VALIDATION,
        *((COVERAGE,) if resources.trail else ()),
        *((NOTIFICATIONS,) if resources.queue else ()),
        *((BULK_LOAD,) if resources.staging else ()),
    )


def check(aws: Aws, role: str, resources: Resources, features: Sequence[str]) -> tuple[list[Checked], str | None]:
    """
    Simulate the statements of some features for a role (``iam:SimulatePrincipalPolicy``).

    Policies of buckets, queues and keys are not part of the simulation.

    :param role: ARN of the execution role.
    :return: what is known of each, and why nothing is known if simulating is not allowed.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    found: list[Checked] = []
    reason: str | None = None
    for statement in STATEMENTS:
        if statement.feature not in features:
            continue
        arn = resources.arn(statement)
        lacking = None
        if arn is not None and reason is None:
            try:
                lacking = _denied(aws, role, statement.actions, arn)
            except ClientError as error:
                reason = "iam:SimulatePrincipalPolicy is denied to you" if is_denied(error) else str(error)
            except BotoCoreError as error:
                reason = str(error)
        found.append(Checked(statement, resources.shown(statement), lacking))
    return found, reason


def policy(checked: Sequence[Checked]) -> dict[str, Any]:
    """Return a policy document with all that is lacking or could not be checked."""
    statements = [
        {
            "Sid": entry.statement.sid,
            "Effect": "Allow",
            "Action": list(entry.lacking or entry.statement.actions),
            "Resource": entry.resource,
        }
        for entry in checked
        if entry.lacking != ()
    ]
    return {"Version": "2012-10-17", "Statement": statements}


def _denied(aws: Aws, role: str, actions: Sequence[str], arn: str) -> tuple[str, ...]:
    pages = aws.client("iam").get_paginator("simulate_principal_policy")
    decisions = {
        result["EvalActionName"]: result["EvalDecision"]
        for page in pages.paginate(PolicySourceArn=role, ActionNames=list(actions), ResourceArns=[arn])
        for result in page["EvaluationResults"]
    }
    return tuple(action for action in actions if decisions.get(action) != "allowed")
