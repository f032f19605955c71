"""The CloudTrail API, the bucket of a trail and the queue that is told of it, through an AWS connection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from copy import deepcopy
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_cloudtrail import parameters
from airflow_provider_cloudtrail._compat import AirflowNotFoundException
from airflow_provider_cloudtrail.exceptions import (
    CloudTrailBucketError,
    CloudTrailError,
    CloudTrailLogFileError,
    CloudTrailTrailNotFoundError,
)
from airflow_provider_cloudtrail.hooks.api_errors import api_errors, said_by
from airflow_provider_cloudtrail.hooks.buckets import Buckets
from airflow_provider_cloudtrail.hooks.event_history import EventHistoryHook
from airflow_provider_cloudtrail.hooks.queues import QueueMessage, Queues
from airflow_provider_cloudtrail.trail.bucket_threads import BucketThreads
from airflow_provider_cloudtrail.trail.codec import MalformedError
from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
from airflow_provider_cloudtrail.trail.listing import EmptyTrailError, list_log_files, region_folders
from airflow_provider_cloudtrail.trail.listings_ahead import MOST_LISTINGS
from airflow_provider_cloudtrail.trail.log_file import LogFile, TrailLocation, log_file_of_uri
from airflow_provider_cloudtrail.trail.reader import MAX_FILE_BYTES, read_records
from airflow_provider_cloudtrail.trail.store import ObjectError, Store, StoreError
from airflow_provider_cloudtrail.warehouse.staging import StagingFolder

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.providers.amazon.aws.hooks.sqs import SqsHook
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper

    # DAG files are parsed again and again: what only a few tasks need is imported by them.
    from airflow_provider_cloudtrail.trail.public_keys import PublicKey


class ResolvedTrail(NamedTuple):
    """
    A trail as the CloudTrail API describes it.

    :param location: where it delivers to.
    :param account_ids: the account that it belongs to; None for an organization trail: all accounts.
    """

    location: TrailLocation
    account_ids: tuple[str, ...] | None


class CloudTrailHook(EventHistoryHook):
    """
    Interact with AWS CloudTrail, and read the log files that it delivers to S3.

    Provide thin wrapper around
    :external+boto3:py:class:`boto3.client("cloudtrail") <CloudTrail.Client>`. The bucket is read with
    the same connection: its role, endpoint, Region, TLS verification and botocore configuration.

    Additional arguments (such as ``aws_conn_id``) may be specified and are passed down to the
    underlying AwsBaseHook.

    .. seealso::
        - :class:`airflow.providers.amazon.aws.hooks.base_aws.AwsBaseHook`
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        from botocore.config import Config

        kwargs["client_type"] = "cloudtrail"
        config = kwargs.get("config")
        if not isinstance(config, Config):
            parameters.botocore_config("botocore_config (of a hook: config)", config)
        # botocore writes into the retries that it is given, and triggers tell by them whether they may share a hook.
        kwargs["config"] = deepcopy(config)
        super().__init__(*args, **kwargs)
        # Operators and sensors hand on what templates have made of them.
        self._region_name = parameters.text(self._region_name)
        self._verify = parameters.verify(self._verify)
        self._buckets = Buckets(self._s3_hook)
        self._queues = Queues(self._sqs_hook)

    @cached_property
    def conn_config(self) -> AwsConnectionWrapper:
        """
        Return what the connection says.

        :raises CloudTrailError: if a connection other than the default one does not exist. The base class
            would go on with whatever credentials the worker has, and read somebody else's bucket.
        """
        self._require_connection()
        return super().conn_config

    def _require_connection(self) -> None:
        if not self.aws_conn_id or self.aws_conn_id == self.default_conn_name:
            return
        try:
            self.get_connection(self.aws_conn_id)
        except AirflowNotFoundException:
            raise CloudTrailError(
                f"there is no connection aws_conn_id={self.aws_conn_id!r}; create it, or leave aws_conn_id at "
                f"{self.default_conn_name!r} to use the role of the worker"
            ) from None

    # -- the trail ---------------------------------------------------------------------------------

    def resolve_trail(self, trail_name: str) -> ResolvedTrail:
        """
        Return where a trail delivers to.

        Calls :external+boto3:py:meth:`CloudTrail.Client.get_trail`. For an organization trail all
        layouts of the bucket are read, because the API does not tell the id of the organization.

        :param trail_name: name of a trail of this account and Region, or the ARN of any.
        :raises ValueError: if it is not given.
        :raises CloudTrailTrailNotFoundError: if there is no such trail.
        :raises CloudTrailError: if the API refuses, or does not answer.
        """
        if parameters.text(trail_name) is None:
            raise ValueError("trail_name is not set; give the name or the ARN of the trail")
        try:
            trail = self.conn.get_trail(Name=trail_name)["Trail"]
        except api_errors() as error:
            code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
            if code in ("TrailNotFoundException", "InvalidTrailNameException"):
                raise CloudTrailTrailNotFoundError(
                    f"there is no trail {trail_name!r} in {self.conn_region_name}; a trail of another Region or of the "
                    "management account is named by its ARN"
                ) from None
            raise CloudTrailError(
                f"cloudtrail:GetTrail failed for trail_name={trail_name!r} with aws_conn_id={self.aws_conn_id!r}: "
                f"{said_by(error)}. GetTrail has to be allowed, and the network to lead to the API (in subnets without "
                "internet access a VPC endpoint); or give bucket, prefix and organization_id in the place of trail_name"
            ) from None
        location = TrailLocation(trail["S3BucketName"], trail.get("S3KeyPrefix", ""))
        owner = None if trail.get("IsOrganizationTrail") else (trail["TrailARN"].split(":")[4],)
        return ResolvedTrail(location, owner)

    def locate(
        self, bucket: Any, prefix: Any, organization_id: Any, trail_name: Any, account_ids: Any
    ) -> tuple[TrailLocation, list[str] | None]:
        """
        Return where a trail delivers to and the accounts to read, from what an operator or sensor was given.

        :raises ValueError: if neither or both of bucket and trail are given.
        :raises CloudTrailTrailNotFoundError: if there is no such trail.
        """
        accounts = parameters.account_ids("account_ids", account_ids)
        name = parameters.text(trail_name)
        if name is None:
            return parameters.location(bucket, prefix, organization_id), accounts
        if parameters.text(bucket) is not None:
            raise ValueError("both bucket and trail_name are set; give one of them")
        trail = self.resolve_trail(name)
        if accounts is None and trail.account_ids is not None:
            accounts = list(trail.account_ids)
        return trail.location, accounts

    def list_log_files(
        self,
        location: TrailLocation,
        window: DeliveryWindow,
        account_ids: Collection[str] | str | None = None,
        regions: Collection[str] | str | None = None,
        *,
        ahead: bool = True,
        make_sure: bool = True,
        denied: list[str] | None = None,
    ) -> Iterator[LogFile]:
        """
        Yield the log files that were delivered in a window, page by page as they are taken.

        To another task hand on their ``uri``, as in ``return [file.uri for file in ...]``: of an XCom, Airflow reads
        no class that its ``[core] allowed_deserialization_classes`` does not name.

        :param location: where the trail delivers to.
        :param window: which deliveries; the stamp in a name is the time of delivery.
        :param account_ids: accounts; None: all that have a folder.
        :param regions: Regions; None: all that have a folder.
        :param ahead: whether threads list the next accounts and Regions meanwhile.
        :param make_sure: whether a listing that has ended is asked for more where its end may be an error of S3; not
            for who looks again anyway.
        :param denied: receives what is said of accounts and Regions that may not be listed, which are passed over;
            None: it is raised.
        :raises ValueError: for what is no location or window, and accounts and Regions that can be none.
        :raises CloudTrailTrailNotFoundError: if there is no folder of log files.
        :raises CloudTrailBucketError: if the bucket cannot be listed.
        """
        location = parameters.trail_location("location", location)
        if not isinstance(window, DeliveryWindow):
            raise ValueError(f"window={window!r} is no DeliveryWindow; write DeliveryWindow(start, end)")
        accounts = parameters.account_ids("account_ids", account_ids)
        named = parameters.regions("regions", regions)
        try:
            store = self.get_store(location.bucket)
            yield from list_log_files(
                store, location, window, accounts, named, ahead=ahead, make_sure=make_sure, denied=denied
            )
        except EmptyTrailError as error:
            raise CloudTrailTrailNotFoundError(str(error)) from None
        except StoreError as error:
            raise CloudTrailBucketError(str(error)) from error

    def list_accounts_and_regions(
        self, location: TrailLocation, account_ids: Collection[str] | str | None = None
    ) -> list[tuple[str, str]]:
        """
        Return the pairs of account and Region that have log files, sorted; for instance to map tasks over.

        :raises ValueError: for what is no location, and accounts that can be none.
        :raises CloudTrailBucketError: if the bucket cannot be listed.
        """
        location = parameters.trail_location("location", location)
        accounts = parameters.account_ids("account_ids", account_ids)
        try:
            with BucketThreads(MOST_LISTINGS) as pool:
                folders = region_folders(self.get_store(location.bucket), location, accounts, pool=pool)
                return sorted({(folder.account_id, folder.region) for folder in folders})
        except StoreError as error:
            raise CloudTrailBucketError(str(error)) from error

    def read_log_file(self, uri: str, *, max_file_bytes: int = MAX_FILE_BYTES) -> Iterator[Any]:
        """
        Yield the records of one log file, decoded.

        For use on its own: nothing is filtered, scrubbed or remembered.

        :param uri: ``s3://`` URI of the log file.
        :param max_file_bytes: most bytes that it may have when unpacked.
        :raises ValueError: if the URI is not one of a log file, or ``max_file_bytes`` no size.
        :raises CloudTrailLogFileError: if it cannot be fetched, unpacked or decoded.
        :raises CloudTrailBucketError: if the bucket does not answer.
        """
        file = log_file_of_uri(str(uri))
        parameters.file_size("max_file_bytes", max_file_bytes)
        try:
            content = self.get_store(file.bucket).get(file.key, max_file_bytes).body
            yield from read_records(content, max_file_bytes=max_file_bytes)
        except ObjectError as error:
            raise CloudTrailLogFileError(str(error)) from None
        except MalformedError as error:
            raise CloudTrailLogFileError(f"{uri}: {error}") from None
        except StoreError as error:
            raise CloudTrailBucketError(str(error)) from error

    def list_public_keys(self, region: str, start: datetime, end: datetime) -> list[PublicKey]:
        """
        Return the keys that a Region signed digests with between two times.

        Calls :external+boto3:py:meth:`CloudTrail.Client.list_public_keys` in that Region, page by page.

        :param region: Region of the log files; it signs their digests, not the home Region of the trail.
        :param start: begin, UTC.
        :param end: end, UTC.
        :raises CloudTrailError: if the API refuses.
        """
        from airflow_provider_cloudtrail.trail.public_keys import PublicKey

        hook = CloudTrailHook(
            aws_conn_id=self.aws_conn_id, region_name=region, verify=self._verify, config=self._config
        )
        try:
            pages = hook.conn.get_paginator("list_public_keys").paginate(StartTime=start, EndTime=end)
            return [
                PublicKey(key["Fingerprint"], key["Value"], key.get("ValidityEndTime"))
                for page in pages
                for key in page["PublicKeyList"]
            ]
        except api_errors() as error:
            raise CloudTrailError(
                f"cloudtrail:ListPublicKeys in {region} failed, so no digest of this Region can be verified: "
                f"{said_by(error)}"
            ) from None

    # -- the queue ---------------------------------------------------------------------------------

    def receive_messages(self, queue_url: str) -> list[QueueMessage]:
        """
        Return up to ten messages of an SQS queue that is told of new log files; waits a second for the first.

        :param queue_url: URL of the queue.
        :raises ValueError: if it is none.
        :raises CloudTrailQueueError: if the queue refuses.
        """
        return self._queues.receive(_queue(queue_url))

    def delete_messages(self, queue_url: str, receipts: Sequence[str]) -> None:
        """
        Delete messages; one that SQS does not delete comes again, which is said in the log and harms nothing.

        :param receipts: what they were received with.
        :raises ValueError: if the URL is none.
        :raises CloudTrailQueueError: if the queue refuses.
        """
        self._queues.delete(_queue(queue_url), receipts)

    # -- the bucket --------------------------------------------------------------------------------

    def get_store(self, bucket: str) -> Store:
        """
        Return what reads a bucket, made once for this hook; safe to be called from several threads.

        :param bucket: name of an S3 bucket, or ``file://`` URI of a folder that holds a copy of one.
        :raises ValueError: if it is no text.
        :raises CloudTrailBucketError: if there is no such bucket.
        :raises StoreError: if S3 does not answer now.
        """
        if not isinstance(bucket, str):
            raise ValueError(
                f"bucket={bucket!r} is no bucket name; write the name of a bucket, or the file:// URI of a folder that "
                "holds a copy of one"
            )
        return self._buckets.store(bucket)

    def requests(self) -> Counter[str]:
        """Return how many LIST and GET requests the stores of this hook have made so far."""
        return self._buckets.requests()

    def bucket_region(self, bucket: str) -> tuple[str, str]:
        """Return Region and partition of a bucket whose store was made."""
        return self._buckets.regions[bucket]

    def get_staging(self, uri: str, role: str) -> StagingFolder:
        """
        Return the folder through which a warehouse bulk-loads; the connection must be allowed to write there.

        :param uri: ``s3://bucket/folder``.
        :param role: IAM role with which the warehouse reads it, or ``default``: the cluster's default role.
        :raises ValueError: if one of them is not such a thing.
        """
        return StagingFolder(uri, role, self._buckets.client)

    def _s3_hook(self) -> S3Hook:
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook

        self._require_connection()
        return S3Hook(
            aws_conn_id=self.aws_conn_id,
            verify=self._verify,
            region_name=self._region_name,
            # For each bucket anew: several threads may open one, and botocore would write into the retries of all.
            config=deepcopy(self._config),
        )

    def _sqs_hook(self, region: str | None) -> SqsHook:
        from airflow.providers.amazon.aws.hooks.sqs import SqsHook

        self._require_connection()
        return SqsHook(
            aws_conn_id=self.aws_conn_id,
            region_name=region or self._region_name,
            verify=self._verify,
            config=self._config,
        )


def _queue(queue_url: str) -> str:
    if (found := parameters.queue_url("queue_url", queue_url)) is None:
        raise ValueError("queue_url is not set; give the URL of the queue, as SQS shows it")
    return found
