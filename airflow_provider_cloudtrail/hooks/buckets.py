"""The buckets of an AWS connection: each opened once, in its own Region, with what the connection says."""

from __future__ import annotations

import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_provider_cloudtrail.exceptions import CloudTrailBucketError
from airflow_provider_cloudtrail.hooks.api_errors import api_errors, said_by
from airflow_provider_cloudtrail.trail.bucket_threads import MOST_AT_ONCE
from airflow_provider_cloudtrail.trail.listings_ahead import MOST_LISTINGS
from airflow_provider_cloudtrail.trail.local_store import LocalStore
from airflow_provider_cloudtrail.trail.s3_store import S3Store, read_times_quickly
from airflow_provider_cloudtrail.trail.store import Store, StoreError

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

log = logging.getLogger(__name__)

# With room to spare.
_CONNECTIONS = MOST_AT_ONCE + MOST_LISTINGS + 8
_SERVER_ERROR = 500


class Buckets:
    """
    What reads and writes buckets; safe to be used by several threads.

    :param s3_hook: returns a hook of the connection.
    """

    def __init__(self, s3_hook: Callable[[], S3Hook]) -> None:
        self._s3_hook = s3_hook
        self._stores: dict[str, Store] = {}
        # One for each bucket: opening one that does not answer takes minutes.
        self._opening: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()
        self.regions: dict[str, tuple[str, str]] = {}
        """Region and partition of each bucket that was opened."""

    def store(self, bucket: str) -> Store:
        """
        Return what reads a bucket, made once.

        :param bucket: name of an S3 bucket, or ``file://`` URI of a folder that holds a copy of one.
        :raises CloudTrailBucketError: if there is no such bucket, or the URI names no folder.
        :raises StoreError: if S3 does not answer now, or there are no credentials to ask it with.
        """
        with self._lock:
            opening = self._opening[bucket]
        with opening:
            if bucket not in self._stores:
                self._stores[bucket] = _local_store(bucket) if bucket.startswith("file://") else self._s3_store(bucket)
            return self._stores[bucket]

    def client(self, bucket: str) -> tuple[Any, str]:
        """
        Return a client in the bucket's own Region, and this Region.

        :raises CloudTrailBucketError: if there is no such bucket.
        """
        _, client, _ = self._open(bucket)
        return client, self.regions[bucket][0]

    def requests(self) -> Counter[str]:
        """Return how many LIST and GET requests the stores have made so far."""
        stores = list(self._stores.values())
        return sum((store.requests for store in stores if isinstance(store, S3Store)), Counter[str]())

    def _s3_store(self, bucket: str) -> S3Store:
        try:
            session, client, verify = self._open(bucket)
        except api_errors() as error:
            raise StoreError(
                f"bucket {bucket} cannot be opened: {said_by(error)}. Check the credentials of aws_conn_id, and that "
                "the network leads to S3 from here (in subnets without internet access it needs a VPC endpoint)"
            ) from None
        return S3Store(client, bucket, session=session, verify=verify)

    def _open(self, bucket: str) -> tuple[Any, Any, bool | str | None]:
        """Return a session, a client in the bucket's own Region, and how certificates are verified."""
        from botocore.config import Config

        hook = self._s3_hook()
        connections = max(_CONNECTIONS, getattr(hook.config, "max_pool_connections", 0))
        config = hook.config.merge(Config(max_pool_connections=connections))
        endpoint = hook.conn_config.get_service_endpoint_url("s3")

        def connect(region: str | None) -> tuple[Any, Any]:
            # One session for both ways to read, so that a role is assumed once.
            session = hook.get_session(region_name=region)
            read_times_quickly(session)
            return session, session.client(
                "s3", endpoint_url=endpoint, config=hook._get_config(config), verify=hook.verify
            )

        session, client = connect(hook.region_name)
        if endpoint is None:
            region = _region_of(client, bucket)
            if region is not None and region != client.meta.region_name:
                log.info("Bucket %s lies in %s", bucket, region)
                session, client = connect(region)
        self.regions[bucket] = (client.meta.region_name or "us-east-1", client.meta.partition)
        return session, client, hook.verify


def _local_store(bucket: str) -> LocalStore:
    computer = bucket.removeprefix("file://").partition("/")[0]
    if computer not in ("", "localhost"):
        # What lies before the first slash of such a URI is the name of a computer: it would be left out, and another
        # folder be read, or none, which looks like a trail without log files.
        raise CloudTrailBucketError(
            f"{bucket} names a computer ({computer}) or a relative path: write file:// and the absolute path of a "
            "folder on the worker, as in file:///data/trail"
        )
    return LocalStore(bucket)


def _region_of(client: Any, bucket: str) -> str | None:
    """Return the Region of a bucket, which S3 tells also to those who must not read it; None: it did not."""
    from botocore.exceptions import ClientError

    try:
        answer = client.head_bucket(Bucket=bucket)
    except ClientError as error:
        answer = error.response
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status == 404:
            raise CloudTrailBucketError(
                f"there is no bucket {bucket}; check its name, which stands in the settings of the trail"
            ) from None
        if status >= _SERVER_ERROR:
            # Without its Region every request behind would go to a wrong one.
            raise StoreError(
                f"bucket {bucket} cannot be opened: S3 answers HeadBucket with {status}, which passes; run this again"
            ) from None
    region: str | None = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region")
    return region
