"""The environment's bucket: every request names the account that must own it, no write meets what it did not see."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

from airflow_provider_cloudtrail.mwaa.aws import Aws, asked, code_of, status_of
from airflow_provider_cloudtrail.mwaa.environment import Environment
from airflow_provider_cloudtrail.mwaa.errors import MwaaError, MwaaStateError

_SHA256 = "cloudtrail-provider-sha256"
_GONE = ("NoSuchKey", "NoSuchVersion", "404", "NotFound")


class Stored(NamedTuple):
    """
    An object as it is in the bucket.

    :param etag: without quotes.
    :param version: S3 version; None where a listing did not tell.
    :param sha256: of the content, if this package wrote the object.
    """

    etag: str
    version: str | None = None
    sha256: str | None = None


class Bucket:
    """The bucket of an environment, as ``ExpectedBucketOwner`` in the account of the environment."""

    def __init__(self, aws: Aws, environment: Environment) -> None:
        self.name = environment.bucket
        self._client = aws.client("s3")
        self._account = environment.account
        self._owned = {"Bucket": self.name, "ExpectedBucketOwner": self._account}

    def require_versioning(self) -> None:
        """
        Go on only if the bucket keeps versions, as MWAA demands.

        :raises MwaaStateError: if it does not, or if it belongs to another account.
        """
        from botocore.exceptions import ClientError

        with asked("s3:GetBucketVersioning", f"bucket {self.name}"):
            try:
                status = self._client.get_bucket_versioning(**self._owned).get("Status")
            except ClientError as error:
                if status_of(error) == 403:
                    raise MwaaStateError(
                        f"bucket {self.name} does not belong to account {self._account}, the environment's, or "
                        "s3:GetBucketVersioning is denied to you; nothing was changed"
                    ) from None
                raise
        if status != "Enabled":
            raise MwaaStateError(
                f"bucket {self.name} keeps no versions, which MWAA demands and a roll-back needs; nothing was changed: "
                f"aws s3api put-bucket-versioning --bucket {self.name} --versioning-configuration Status=Enabled"
            )

    def list(self, prefix: str) -> dict[str, Stored]:
        """Return all objects under a prefix by key, without version and SHA-256."""
        found: dict[str, Stored] = {}
        with asked("s3:ListBucket", f"s3://{self.name}/{prefix}"):
            for page in self._client.get_paginator("list_objects_v2").paginate(**self._owned, Prefix=prefix):
                found.update((entry["Key"], Stored(entry["ETag"].strip('"'))) for entry in page.get("Contents", ()))
        return found

    def head(self, key: str) -> Stored | None:
        """Return the newest version of an object, None if there is none."""
        from botocore.exceptions import ClientError

        with asked("s3:GetObject", self.uri(key)):
            try:
                answer = self._client.head_object(**self._owned, Key=key)
            except ClientError as error:
                if code_of(error) in _GONE:
                    return None
                raise
        return _stored(answer)

    def get(self, key: str, version: str | None = None) -> tuple[bytes, Stored] | None:
        """Return the content of a version (None: the newest) of an object, None if there is none."""
        from botocore.exceptions import ClientError

        wanted = {} if version is None else {"VersionId": version}
        with asked("s3:GetObjectVersion" if version else "s3:GetObject", self.uri(key)):
            try:
                answer = self._client.get_object(**self._owned, Key=key, **wanted)
            except ClientError as error:
                if code_of(error) in _GONE:
                    return None
                raise
            return answer["Body"].read(), _stored(answer)

    def put(self, key: str, content: bytes, *, replaces: Stored | None) -> Stored:
        """
        Write an object over what was seen there.

        :param replaces: what was seen; None: nothing was there.
        :raises MwaaStateError: if something else is there now.
        """
        from botocore.exceptions import ClientError

        condition = {"IfNoneMatch": "*"} if replaces is None else {"IfMatch": replaces.etag}
        digest = hashlib.sha256(content).hexdigest()
        with asked("s3:PutObject", self.uri(key)):
            try:
                answer = self._client.put_object(
                    **self._owned, Key=key, Body=content, Metadata={_SHA256: digest}, **self._known(condition)
                )
            except ClientError as error:
                # NoSuchKey: what was to be replaced has been deleted. 409: two conditional writes at once.
                if status_of(error) in (404, 409, 412):
                    raise MwaaStateError(
                        f"{self.uri(key)} was changed by somebody else at this moment; another deployment may be "
                        "running. Look at the plan again"
                    ) from None
                raise
        return Stored(answer["ETag"].strip('"'), answer.get("VersionId"), digest)

    def delete(self, key: str) -> None:
        """Delete an object; its versions stay."""
        with asked("s3:DeleteObject", self.uri(key)):
            self._client.delete_object(**self._owned, Key=key)

    def uri(self, key: str) -> str:
        """Return the S3 URI of a key."""
        return f"s3://{self.name}/{key}"

    def _known(self, condition: dict[str, str]) -> dict[str, str]:
        members = self._client.meta.service_model.operation_model("PutObject").input_shape.members
        if not set(condition) <= set(members):
            raise MwaaError(
                "this boto3 cannot write conditionally, so a deployment could overwrite what it did not see: "
                "pip install --upgrade boto3"
            )
        return condition


def _stored(answer: dict[str, Any]) -> Stored:
    return Stored(answer["ETag"].strip('"'), answer.get("VersionId"), answer.get("Metadata", {}).get(_SHA256))
