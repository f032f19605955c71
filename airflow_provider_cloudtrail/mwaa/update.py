"""UpdateEnvironment, and waiting until it has ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_provider_cloudtrail.mwaa.aws import Aws, asked, code_of
from airflow_provider_cloudtrail.mwaa.environment import CHANGING, Environment, Pinned, get_environment
from airflow_provider_cloudtrail.mwaa.errors import MwaaError, MwaaTimeoutError, MwaaUpdateError

_FAILED_POLLS = 5
# A request that was accepted is not always seen at once.
_POLLS_UNTIL_SEEN = 10
_STRATEGY = "GRACEFUL"


@dataclass(frozen=True)
class Patience:
    """
    How an update is waited for.

    :param poll_seconds: between two looks at the environment.
    :param limit_seconds: after which waiting ends with :class:`MwaaTimeoutError`.
    :param say: is told how it goes on.
    """

    say: Callable[[str], None]
    poll_seconds: float = 30
    limit_seconds: float = 13 * 3600


def update(
    aws: Aws,
    environment: Environment,
    files: dict[str, Pinned],
    options: dict[str, str],
    patience: Patience,
) -> None:
    """
    Update an environment and wait until it uses what it shall use.

    Running tasks finish first (worker replacement strategy GRACEFUL, up to 12 hours).

    :param files: what it shall install, by ``Requirements`` and ``Plugins``.
    :param options: of the ``[cloudtrail]`` section, to set beside those that are set.
    :raises MwaaUpdateError: if MWAA refuses, or the update fails.
    :raises MwaaTimeoutError: if it takes too long.
    """
    from botocore.exceptions import ClientError

    client = aws.client("mwaa")
    request: dict[str, Any] = {"Name": environment.name, "WorkerReplacementStrategy": _STRATEGY}
    for kind, pinned in files.items():
        request |= {f"{kind}S3Path": pinned.key, f"{kind}S3ObjectVersion": pinned.version}
    if options:
        # The request replaces all of them.
        request["AirflowConfigurationOptions"] = environment.options | {
            f"cloudtrail.{name}": value for name, value in options.items()
        }
    members = client.meta.service_model.operation_model("UpdateEnvironment").input_shape.members
    if "WorkerReplacementStrategy" not in members:
        raise MwaaUpdateError("this boto3 cannot update without killing running tasks: pip install --upgrade boto3")
    with asked("airflow:UpdateEnvironment", f"environment {environment.name}"):
        try:
            client.update_environment(**request)
        except ClientError as error:
            message = error.response.get("Error", {}).get("Message", "")
            raise MwaaUpdateError(f"MWAA refused to update {environment.name}: {code_of(error)}: {message}") from None
    after = wait(aws, environment, patience, seen=lambda now: _uses(now, files))
    if after.status != "AVAILABLE" or after.last_update.status == "FAILED" or not _uses(after, files):
        raise MwaaUpdateError(
            f"the update of {environment.name} failed, it is {after.status}: "
            f"{after.last_update.error or 'MWAA gives no reason; see the log groups of the environment'}"
        )


def wait(
    aws: Aws, environment: Environment, patience: Patience, *, seen: Callable[[Environment], bool] = lambda _: True
) -> Environment:
    """
    Wait until an environment does not change any more.

    :param environment: as it was before the change.
    :param seen: tells whether the change has come into effect.
    :return: the environment as it is then.
    :raises MwaaTimeoutError: if it takes too long.
    :raises MwaaError: if MWAA does not answer any more.
    """
    started = time.monotonic()
    failed = unseen = 0
    said = ""
    while True:
        minutes = int(time.monotonic() - started) // 60
        try:
            now = get_environment(aws, environment.name)
            failed = 0
        except MwaaError:
            failed += 1
            if failed >= _FAILED_POLLS:
                raise
        else:
            line = f"environment {now.name} is {now.status}, {minutes} min"
            if line != said:
                patience.say(line)
                said = line
            if now.status not in CHANGING:
                unseen += 1
                if now.last_update != environment.last_update or seen(now) or unseen > _POLLS_UNTIL_SEEN:
                    return now
        if time.monotonic() - started + patience.poll_seconds > patience.limit_seconds:
            raise MwaaTimeoutError(
                f"environment {environment.name} is still changing after {minutes} min and goes on without us; deploy "
                "again to wait for it and finish"
            )
        time.sleep(patience.poll_seconds)


def _uses(environment: Environment, files: dict[str, Pinned]) -> bool:
    used = {"Requirements": environment.requirements, "Plugins": environment.plugins}
    return all(used[kind] == pinned for kind, pinned in files.items())
