"""AWS clients of a deployment, and errors of AWS as sentences."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider_cloudtrail.mwaa.errors import MwaaError, MwaaUsageError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_DENIED = ("AccessDenied", "AccessDeniedException", "403", "Forbidden")
_ATTEMPTS = 6


class Aws:
    """
    The clients, made when they are needed.

    :param profile: named profile of the AWS configuration; None: what the environment says.
    :param region: Region of the MWAA environment; None: that of ``AWS_REGION``, of ``AWS_DEFAULT_REGION``, else of
        the profile.
    :raises MwaaUsageError: if there is no such profile, or no Region is known.
    """

    def __init__(self, *, profile: str | None = None, region: str | None = None) -> None:
        import boto3
        from botocore.exceptions import BotoCoreError, ProfileNotFound

        # The AWS CLI's order. boto3 itself asks AWS_DEFAULT_REGION and the profile, but not AWS_REGION.
        region = region or os.environ.get("AWS_REGION") or None
        try:
            self._session = boto3.Session(profile_name=profile, region_name=region)
        except ProfileNotFound as error:
            raise MwaaUsageError(f"{error}; name another with --profile") from None
        except BotoCoreError as error:
            raise MwaaUsageError(f"the AWS configuration cannot be used: {error}") from None
        if not self._session.region_name:
            raise MwaaUsageError("no AWS Region is known: name it with --region, or set AWS_REGION")
        self._clients: dict[str, Any] = {}

    @property
    def region(self) -> str:
        """Region of the environment."""
        return str(self._session.region_name)

    def client(self, service: str) -> Any:
        """
        Return the boto3 client of a service.

        :raises MwaaUsageError: if Region, credentials or configuration can be none.
        """
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        if service not in self._clients:
            make: Any = self._session.client
            config = Config(retries={"mode": "standard", "max_attempts": _ATTEMPTS})
            try:
                self._clients[service] = make(service, config=config)
            # A Region that can be none, half of the credentials, an endpoint that is no URL.
            # OSError: a file that holds a token is not there.
            except (BotoCoreError, ValueError, OSError) as error:
                raise MwaaUsageError(f"the AWS configuration, or --region, cannot be used: {error}") from None
        return self._clients[service]


@contextmanager
def asked(action: str, of: str) -> Iterator[None]:
    """
    Turn what botocore raises in the block into an error that says what was asked of whom.

    :param action: IAM action of the call.
    :param of: what it was asked of.
    :raises MwaaError: if AWS refuses, or does not answer.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        if code_of(error) in _DENIED:
            raise MwaaError(
                f"{action} on {of} is denied: allow it to the identity that deploys, and look whether the "
                f"resource belongs to the expected account ({_message(error)})"
            ) from None
        raise MwaaError(f"{action} on {of} failed: {code_of(error)}: {_message(error)}") from None
    # The token of a role can be in a file that is not there.
    except (BotoCoreError, OSError) as error:
        raise MwaaError(f"{action} on {of} failed: {error}") from None


def code_of(error: ClientError) -> str:
    """Return the error code of an answer."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """Return the HTTP status of an answer."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_denied(error: ClientError) -> bool:
    """Tell whether an answer says that a permission is missing."""
    return code_of(error) in _DENIED


def _message(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", "") or error)
