"""Wait for what CloudTrail delivers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.sensors.base_aws import AwsBaseSensor
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_provider_cloudtrail import parameters
from airflow_provider_cloudtrail._compat import PokeReturnValue
from airflow_provider_cloudtrail.exceptions import CloudTrailBucketError, CloudTrailTrailNotFoundError
from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.trail.digest import KeyRing
from airflow_provider_cloudtrail.trail.listing import new_log_files
from airflow_provider_cloudtrail.trail.proven_delivery import waiting_for
from airflow_provider_cloudtrail.trail.store import StoreError

if TYPE_CHECKING:
    from airflow_provider_cloudtrail._compat import Context

# As many accounts and Regions are named in a log line.
_NAMED = 10


class CloudTrailLogFileSensor(AwsBaseSensor[CloudTrailHook]):
    """
    Wait until log files of a trail have been delivered in a window.

    CloudTrail delivers about five minutes after a call, without a promise. With ``settle`` the sensor
    also waits until the window has ended that long ago, which is what an export of the whole window
    wants; before that moment a poke makes no request at all.

    One poke costs one listing for each account and Region while nothing is there, and stops at
    ``max_files``. Give ``account_ids`` and ``regions`` (and ``organization_id``) to spare the listings
    that find them.

    :param bucket: S3 bucket that the trail delivers to, or ``file://`` URI of a folder with a copy of one. (templated)
    :param prefix: log file prefix of the trail: what comes before ``AWSLogs/`` in the keys. (templated)
    :param organization_id: ``o-...``: look only at the layout of this organization. None: all layouts. (templated)
    :param trail_name: name or ARN of the trail, instead of bucket, prefix and organization_id. (templated)
    :param account_ids: accounts to look at. None: those that have a folder. (templated)
    :param regions: Regions to look at. None: those that have a folder. (templated)
    :param delivered_from: begin of the window of delivery, as a ``datetime`` or in ISO 8601, UTC. (templated)
    :param delivered_to: its end, not included. (templated)
    :param settle: None: a log file in the window is enough. A duration: the window must have ended that
        long ago as well.
    :param max_files: most URIs that are returned; the listing stops there.
    :param aws_conn_id: AWS connection that lists the bucket. (templated)
    :param region_name: Region of the CloudTrail API; the bucket's own is found out. (templated)
    :param verify: whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: configuration of the botocore clients.
    :return: URIs of the first ``max_files`` log files of the window (XCom).
    :raises ValueError: for wrong parameters.
    """

    aws_hook_class = CloudTrailHook
    template_fields: Sequence[str] = aws_template_fields(
        "bucket",
        "prefix",
        "organization_id",
        "trail_name",
        "account_ids",
        "regions",
        "delivered_from",
        "delivered_to",
    )
    ui_color = "#f9c5dc"

    def __init__(
        self,
        *,
        bucket: str | None = None,
        prefix: str = "",
        organization_id: str | None = None,
        trail_name: str | None = None,
        account_ids: Sequence[str] | str | None = None,
        regions: Sequence[str] | str | None = None,
        delivered_from: Any = "{{ data_interval_start }}",
        delivered_to: Any = "{{ data_interval_end }}",
        settle: timedelta | None = None,
        max_files: int = 100,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bucket = bucket
        self.prefix = prefix
        self.organization_id = organization_id
        self.trail_name = trail_name
        self.account_ids = account_ids
        self.regions = regions
        self.delivered_from = delivered_from
        self.delivered_to = delivered_to
        self.settle = settle
        self.max_files = max_files

    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002
        """Look once."""
        window = parameters.window(self.delivered_from, self.delivered_to, timedelta(0), timedelta(0))
        location, account_ids = self.hook.locate(
            self.bucket, self.prefix, self.organization_id, self.trail_name, self.account_ids
        )
        regions = parameters.names("regions", self.regions)
        if self.settle is not None and datetime.now(timezone.utc) < window.end + self.settle:
            self.log.info("Not before %s", (window.end + self.settle).isoformat())
            return PokeReturnValue(is_done=False)
        listed = self.hook.list_log_files(location, window, account_ids, regions)
        try:
            found = new_log_files(listed, (), self.max_files)
        except CloudTrailTrailNotFoundError as error:
            # A new trail has no folder before its first delivery.
            self.log.info("Nothing yet: %s", error)
            found = []
        self.log.info(
            "%s log files delivered from %s to %s%s",
            len(found),
            window.start.isoformat(),
            window.end.isoformat(),
            " at least" if len(found) == self.max_files else "",
        )
        return PokeReturnValue(is_done=bool(found), xcom_value=[file.uri for file in found])


class CloudTrailDigestSensor(AwsBaseSensor[CloudTrailHook]):
    """
    Wait until signed digests prove that delivery is complete up to a moment.

    Done when for every account and Region a valid digest covers the time up to ``until``: no log file can
    then be added to it, so that an export of that time is complete. CloudTrail delivers a digest within
    about an hour behind the hour that it covers; the trail needs log file validation. Until the moment
    itself a poke makes no request.

    :param bucket: S3 bucket that the trail delivers to, or ``file://`` URI of a folder with a copy of one. (templated)
    :param prefix: log file prefix of the trail: what comes before ``AWSLogs/`` in the keys. (templated)
    :param organization_id: ``o-...``: look only at the layout of this organization. None: all layouts. (templated)
    :param trail_name: name or ARN of the trail, instead of bucket, prefix and organization_id. (templated)
    :param account_ids: accounts to wait for, whether they have digests or not. None: those seen. (templated)
    :param regions: Regions to wait for. None: those seen. (templated)
    :param until: the moment, as a ``datetime`` or in ISO 8601, UTC. (templated)
    :param seen_within: an account and Region that had a digest so long before ``until`` is waited for.
    :param aws_conn_id: AWS connection that reads the bucket and asks for the public keys. (templated)
    :param region_name: Region of the CloudTrail API for ``trail_name``. (templated)
    :param verify: whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: configuration of the botocore clients.
    :raises ValueError: for wrong parameters.
    :raises CloudTrailError: if bucket or API refuse.
    """

    aws_hook_class = CloudTrailHook
    template_fields: Sequence[str] = aws_template_fields(
        "bucket",
        "prefix",
        "organization_id",
        "trail_name",
        "account_ids",
        "regions",
        "until",
    )
    ui_color = "#f9c5dc"

    def __init__(
        self,
        *,
        bucket: str | None = None,
        prefix: str = "",
        organization_id: str | None = None,
        trail_name: str | None = None,
        account_ids: Sequence[str] | str | None = None,
        regions: Sequence[str] | str | None = None,
        until: Any = "{{ data_interval_end }}",
        seen_within: timedelta = timedelta(days=1),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bucket = bucket
        self.prefix = prefix
        self.organization_id = organization_id
        self.trail_name = trail_name
        self.account_ids = account_ids
        self.regions = regions
        self.until = until
        self.seen_within = seen_within

    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002
        """Look once."""
        until = parameters.moment("until", self.until)
        regions = parameters.names("regions", self.regions)
        location, account_ids = self.hook.locate(
            self.bucket, self.prefix, self.organization_id, self.trail_name, self.account_ids
        )
        if datetime.now(timezone.utc) < until:
            self.log.info("Not before %s", until.isoformat())
            return PokeReturnValue(is_done=False)
        try:
            waiting = waiting_for(
                self.hook.get_store(location.bucket),
                location,
                until,
                KeyRing(self.hook.list_public_keys, until, until),
                seen_within=self.seen_within,
                account_ids=account_ids,
                regions=regions,
            )
        except StoreError as error:
            raise CloudTrailBucketError(str(error)) from None
        if waiting:
            named = "; ".join(waiting[:_NAMED])
            more = f"; and {len(waiting) - _NAMED} more" if len(waiting) > _NAMED else ""
            self.log.info("Waiting for %s of them: %s%s", len(waiting), named, more)
        else:
            self.log.info("Delivery is proven complete up to %s", until.isoformat())
        return PokeReturnValue(is_done=not waiting)
