"""The S3 folder through which an engine bulk-loads; what is put there lasts as long as the load."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from airflow_provider_cloudtrail.warehouse.base import WarehouseError

log = logging.getLogger(__name__)

DEFAULT_ROLE = "default"
"""The role that is the default one of the cluster or workgroup."""

# It is written into SQL: what would have to be escaped there is refused.
_URI = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?P<folder>(/[A-Za-z0-9!_.*()=+@:, -]+)*)/?")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+(,arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+)*")
_INTEGRATION = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class StagingFolder:
    """
    A folder of a bucket that a warehouse reads.

    :param uri: ``s3://bucket/folder``.
    :param role: with what the warehouse reads it. Redshift: ARN of an IAM role (roles that are assumed one
        through the other: separated by commas), or ``default``: the default role of the cluster. Snowflake: name
        of a storage integration.
    :param connect: returns a boto3 client of S3 for a bucket, and the Region of the bucket; called when
        something is staged, not before.
    :raises ValueError: if ``uri`` or ``role`` is not such a thing.
    """

    def __init__(self, uri: str, role: str, connect: Callable[[str], tuple[Any, str]]) -> None:
        found = _URI.fullmatch(uri)
        if found is None:
            raise ValueError(
                f"staging_uri={uri!r} is no folder of a bucket; write s3://bucket/folder, without quotes and "
                "other special characters"
            )
        if not (_ROLE.fullmatch(role) or _INTEGRATION.fullmatch(role)):
            raise ValueError(
                f"staging_role={role!r} is no role; write the ARN of an IAM role that the warehouse may use, such as "
                "arn:aws:iam::111122223333:role/redshift-copy, or default; for Snowflake the name of a storage "
                "integration"
            )
        self.uri = uri.rstrip("/")
        self.role = role
        self.bucket = found["bucket"]
        self._folder = found["folder"].strip("/")
        self._connect = connect

    @property
    def iam_role(self) -> str:
        """
        The IAM role, or ``default``.

        :raises ValueError: if something else was given.
        """
        if self.role != DEFAULT_ROLE and not _ROLE.fullmatch(self.role):
            raise ValueError(
                f"staging_role={self.role!r} is no IAM role; write the ARN of one that the warehouse may use, such as "
                "arn:aws:iam::111122223333:role/redshift-copy, or default"
            )
        return self.role

    @property
    def integration(self) -> str:
        """
        The storage integration of Snowflake.

        :raises ValueError: if none was given.
        """
        if self.role == DEFAULT_ROLE or not _INTEGRATION.fullmatch(self.role):
            raise ValueError(
                f"staging_role={self.role!r} is no storage integration; write the name of one that may read "
                f"{self.uri} (CREATE STORAGE INTEGRATION ... STORAGE_ALLOWED_LOCATIONS), or leave staging_uri out: "
                "then rows go through a temporary stage of Snowflake's own"
            )
        return self.role

    def connect(self) -> Any:
        """Return a client of S3 of its own."""
        return self._open()[0]

    def key(self, name: str) -> str:
        """Return the key of an object in it."""
        return f"{self._folder}/{name}".lstrip("/")

    @contextmanager
    def load(self) -> Iterator[StagedFiles]:
        """Yield a new folder in it, whose objects are removed afterwards, whatever happens."""
        client, region = self._open()
        name = f"cloudtrail-{uuid.uuid4().hex}"
        files = StagedFiles(client, region, self.bucket, self.key(f"{name}/"))
        try:
            yield files
        finally:
            files.remove()

    def _open(self) -> tuple[Any, str]:
        try:
            return self._connect(self.bucket)
        except Exception as error:
            # About the bucket, the connection or its credentials: no value of a record has got there yet.
            raise WarehouseError(f"cannot reach the bucket of {self.uri}: {error}") from None


class StagedFiles:
    """
    The objects of one load.

    :param region: Region of the bucket.
    """

    def __init__(self, client: Any, region: str, bucket: str, prefix: str) -> None:
        self.region = region
        self.uri = f"s3://{bucket}/{prefix}"
        self._client = client
        self._bucket = bucket
        self._prefix = prefix
        self._keys: list[str] = []

    def put(self, name: str, content: bytes) -> None:
        """
        Store an object.

        :raises WarehouseError: if S3 does not take it.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        key = self._prefix + name
        # Remembered first: a failed request may have stored it all the same.
        self._keys.append(key)
        try:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=content)
        except (BotoCoreError, ClientError) as error:
            raise WarehouseError(f"cannot stage under {self.uri}: s3:PutObject failed: {error}") from None

    def remove(self) -> None:
        """Remove what was stored; a failure is a warning, because the load does not depend on it."""
        from botocore.exceptions import BotoCoreError, ClientError

        for key in self._keys:
            try:
                self._client.delete_object(Bucket=self._bucket, Key=key)
            except (BotoCoreError, ClientError) as error:
                log.warning("Could not remove s3://%s/%s (remove it by hand): %s", self._bucket, key, error)
        self._keys.clear()
