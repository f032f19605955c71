"""
The ``[cloudtrail]`` section of Airflow's configuration, which the example DAGs read.

On MWAA the options are "Airflow configuration options" of the environment, ``cloudtrail.bucket`` and
the like; elsewhere ``AIRFLOW__CLOUDTRAIL__BUCKET`` or ``airflow.cfg``. The defaults stand here, because a
package that was only copied to a DAG folder has no provider info that Airflow could read them from.
"""

from __future__ import annotations

from typing import NamedTuple


class Option(NamedTuple):
    """An option of the section: its default (None: unset), its type, an example, what it is for."""

    default: str | None
    type: str
    example: str | None
    description: str


OPTIONS: dict[str, Option] = {
    "bucket": Option(None, "string", "my-trail-bucket", "S3 bucket that the trail delivers to."),
    "prefix": Option(
        "", "string", "audit/cloudtrail", "Log file prefix of the trail: the part of the keys before AWSLogs/."
    ),
    "organization_id": Option(
        None, "string", "o-exampleorgid", "Read only this organization's folder. Unset: all layouts in the bucket."
    ),
    "trail_name": Option(
        None,
        "string",
        "arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit",
        "Name or ARN of the trail, instead of bucket, prefix and organization_id.",
    ),
    "account_ids": Option(None, "string", "111122223333,444455556666", "Accounts to read. Unset: all in the bucket."),
    "regions": Option(
        None,
        "string",
        "eu-west-1,us-east-1",
        "Regions to read. Unset: all in the bucket; of Event history, all that are enabled in the account.",
    ),
    "queue_url": Option(
        None,
        "string",
        "https://sqs.eu-west-1.amazonaws.com/111122223333/cloudtrail-log-files",
        "SQS queue that is told of new log files, for the DAG that exports on delivery. Unset: it polls the bucket.",
    ),
    "aws_conn_id": Option("aws_default", "string", None, "AWS connection that reads the trail."),
    "conn_id": Option("cloudtrail_warehouse", "string", None, "Connection of the warehouse."),
    "table": Option("mwaa_audit_events", "string", None, "Audit table; its ledger is <table>_files."),
    "schema": Option(None, "string", "audit", "Schema of the tables. Unset: the connection's default."),
    "staging_uri": Option(
        None,
        "string",
        "s3://my-bucket/cloudtrail-staging",
        "S3 folder that Redshift, Snowflake and Athena load through. Unset: Redshift inserts, Snowflake has a "
        "stage of its own, Athena does not work.",
    ),
    "staging_role": Option(
        "default",
        "string",
        "arn:aws:iam::111122223333:role/redshift-copy",
        "What staging_uri is read with. Redshift: an IAM role; default: that of the cluster. Snowflake: a storage "
        "integration.",
    ),
    "lookback_days": Option(
        "7",
        "integer",
        None,
        "Days before the data interval that are listed as well. Files that were loaded are not read again; "
        "late ones, and days on which the DAG did not run, are made up for.",
    ),
    "wait_for": Option(
        "files",
        "string",
        "digests",
        "What the daily DAG waits for: files (the day has been over for an hour) or digests (signed digests prove "
        "that the day is complete, an hour or two later; the trail needs log file validation).",
    ),
    "include_environment_activity": Option(
        "False", "boolean", None, "Also load what the environments themselves did in AWS."
    ),
    "fail_on_quarantine": Option(
        "True",
        "boolean",
        None,
        "Whether a task fails (after storing all that is good) when something is in quarantine.",
    ),
}


WAITED_FOR = ("files", "digests")
"""What ``wait_for`` can name."""


def option(name: str) -> str | None:
    """
    Return an option of the section, without white space around it, or its default.

    :param name: one of :data:`OPTIONS`.
    :raises ValueError: if there are quotes around it: what is in the bucket, or the connection, has none.
    """
    from airflow_provider_cloudtrail._compat import conf

    return _bare(name, conf.get("cloudtrail", name, fallback=None) or "") or OPTIONS[name].default


def _bare(name: str, text: str) -> str:
    value = text.strip()
    if len(value) > 1 and value[0] in "\"'" and value[0] == value[-1]:
        raise ValueError(f"[cloudtrail] {name} is {value}, with quotes around it; write it without")
    return value


def listed(name: str) -> list[str] | None:
    """Return an option whose values are separated by commas, or None if it is unset."""
    value = option(name)
    return _parts(value) if value else None


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def switched_on(name: str) -> bool:
    """
    Return an option that is true or false.

    :raises ValueError: if it is neither.
    """
    return _truth(name, str(option(name)))


def _truth(name: str, text: str) -> bool:
    value = text.lower()
    if value not in ("true", "false", "1", "0", "yes", "no", "on", "off"):
        raise ValueError(f"[cloudtrail] {name} is {value!r}; write True or False")
    return value in ("true", "1", "yes", "on")


def whole_number(name: str) -> int:
    """
    Return an option that is a whole number of zero or more.

    :raises ValueError: if it is none.
    """
    return _number(name, str(option(name)))


def _number(name: str, value: str) -> int:
    if not value.isdecimal() or len(value) > 5:
        raise ValueError(
            f"[cloudtrail] {name} is {value!r}; write a whole number, such as {OPTIONS[name].default}, below 100000"
        )
    return int(value)


def check(name: str, value: str) -> None:
    """
    Refuse a value of an option that the DAGs would refuse; nothing stands for the default.

    :param name: one of :data:`OPTIONS`.
    :raises ValueError: with what to write instead.
    """
    from airflow_provider_cloudtrail import parameters

    value = _bare(name, value)
    if not value:
        return
    kind = OPTIONS[name].type
    if kind == "boolean":
        _truth(name, value)
    elif kind == "integer":
        _number(name, value)
    elif name in ("bucket", "prefix", "organization_id"):
        parameters.location(**{"bucket": "any", "prefix": None, "organization_id": None, name: value})
    elif name == "queue_url":
        parameters.queue_url(name, value)
    elif name in ("account_ids", "regions"):
        read = parameters.regions if name == "regions" else parameters.account_ids
        read(name, _parts(value))
    elif name in ("table", "schema"):
        parameters.identifier(name, value)
    elif name in ("staging_uri", "staging_role"):
        from airflow_provider_cloudtrail.warehouse.staging import DEFAULT_ROLE, StagingFolder

        given = {"staging_uri": "s3://any", "staging_role": DEFAULT_ROLE, name: value}
        StagingFolder(given["staging_uri"], given["staging_role"], lambda bucket: (None, bucket))
    elif name == "wait_for" and value.lower() not in WAITED_FOR:
        raise ValueError(f"[cloudtrail] {name} is {value!r}; write {' or '.join(WAITED_FOR)}")


def one_of(name: str, *choices: str) -> str:
    """
    Return an option that is one of some words.

    :raises ValueError: if it is another.
    """
    value = str(option(name)).lower()
    if value not in choices:
        raise ValueError(f"[cloudtrail] {name} is {value!r}; write {' or '.join(choices)}")
    return value
