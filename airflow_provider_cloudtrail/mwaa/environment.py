"""What GetEnvironment says about an environment, and whether it can be deployed to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from airflow_provider_cloudtrail.mwaa.aws import Aws, asked
from airflow_provider_cloudtrail.mwaa.errors import MwaaStateError, MwaaUsageError

READY = ("AVAILABLE", "UPDATE_FAILED")
"""States that take an update; after UPDATE_FAILED the environment runs as before (MWAA API, ``Environment``)."""
CHANGING = ("CREATING", "UPDATING", "ROLLING_BACK", "CREATING_SNAPSHOT", "PENDING", "MAINTENANCE")
"""States that end by themselves."""


class Pinned(NamedTuple):
    """A file that the environment installs at an update: its key, and the version of the object (None: not pinned)."""

    key: str
    version: str | None


class LastUpdate(NamedTuple):
    """How the last update ended; all are None where there was none."""

    created_at: str | None = None
    status: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Environment:
    """
    An MWAA environment.

    :param dags_path: ``DagS3Path`` without slashes around it.
    :param options: Airflow configuration options; they may hold secrets, so they are never printed.
    """

    name: str
    arn: str
    status: str
    airflow_version: str
    environment_class: str
    bucket: str
    dags_path: str
    execution_role: str
    web_access: str
    subnets: tuple[str, ...]
    requirements: Pinned | None
    plugins: Pinned | None
    last_update: LastUpdate
    options: dict[str, str] = field(repr=False)

    @property
    def account(self) -> str:
        """Id of the AWS account that the environment, and so its bucket, belongs to."""
        return self.arn.split(":")[4]

    @property
    def partition(self) -> str:
        """AWS partition."""
        return self.arn.split(":")[1]

    def option(self, name: str) -> str | None:
        """Return an Airflow configuration option of the ``[cloudtrail]`` section as it is set, None if it is not."""
        return self.options.get(f"cloudtrail.{name}") or None

    def under_dags(self, name: str) -> str:
        """Return the key of a file in the DAG folder."""
        return f"{self.dags_path}/{name}" if self.dags_path else name

    def beside_dags(self, name: str) -> str:
        """Return the key of a file of this environment outside of the DAG folder."""
        return f"airflow-provider-cloudtrail/{self.name}/{name}"

    def require_ready(self) -> None:
        """
        Go on only if the environment can be deployed to.

        :raises MwaaStateError: if it cannot.
        """
        if self.status in READY:
            return
        advice = "wait until it is AVAILABLE and try again" if self.status in CHANGING else "mend or re-create it first"
        raise MwaaStateError(f"environment {self.name} is {self.status}; nothing was changed: {advice}")


def get_environment(aws: Aws, name: str) -> Environment:
    """
    Ask MWAA for an environment (``airflow:GetEnvironment``).

    :raises MwaaUsageError: if there is none of that name.
    :raises MwaaError: if AWS refuses.
    """
    client = aws.client("mwaa")
    with asked("airflow:GetEnvironment", f"environment {name}"):
        try:
            answer = client.get_environment(Name=name)["Environment"]
        except client.exceptions.ResourceNotFoundException:
            raise MwaaUsageError(f"there is no MWAA environment {name!r} in {aws.region}") from None
    return read_environment(answer)


def read_environment(answer: dict[str, Any]) -> Environment:
    """
    Read the answer of GetEnvironment.

    :raises MwaaStateError: if the environment has no bucket yet.
    """
    if not answer.get("SourceBucketArn") or not answer.get("Arn"):
        raise MwaaStateError(f"environment {answer.get('Name')} is {answer.get('Status')} and has no bucket yet")
    update = answer.get("LastUpdate") or {}
    created = update.get("CreatedAt")
    error = update.get("Error") or {}
    return Environment(
        name=answer["Name"],
        arn=answer["Arn"],
        status=answer.get("Status", ""),
        airflow_version=answer.get("AirflowVersion", ""),
        environment_class=answer.get("EnvironmentClass", ""),
        bucket=answer["SourceBucketArn"].rpartition(":")[2],
        dags_path=answer.get("DagS3Path", "").strip("/"),
        execution_role=answer.get("ExecutionRoleArn", ""),
        web_access=answer.get("WebserverAccessMode", ""),
        subnets=tuple((answer.get("NetworkConfiguration") or {}).get("SubnetIds", ())),
        requirements=_pinned(answer, "Requirements"),
        plugins=_pinned(answer, "Plugins"),
        last_update=LastUpdate(
            created.isoformat() if created else None,
            update.get("Status"),
            ": ".join(filter(None, (error.get("ErrorCode"), error.get("ErrorMessage")))) or None,
        ),
        options=dict(answer.get("AirflowConfigurationOptions") or {}),
    )


def _pinned(answer: dict[str, Any], kind: str) -> Pinned | None:
    key = answer.get(f"{kind}S3Path")
    return Pinned(key.lstrip("/"), answer.get(f"{kind}S3ObjectVersion") or None) if key else None
