"""Wait for what CloudTrail delivers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_provider_cloudtrail import parameters, windows
from airflow_provider_cloudtrail.exceptions import CloudTrailQueueError
from airflow_provider_cloudtrail.sensors.trail_sensor import TrailSensor
from airflow_provider_cloudtrail.triggers.questions import (
    Answer,
    delivery_is_proven,
    log_files_delivered,
    never_delivered,
    queue_told,
)

if TYPE_CHECKING:
    from airflow_provider_cloudtrail._compat import Context
    from airflow_provider_cloudtrail.triggers.waiting import WaitingTrigger


class CloudTrailLogFileSensor(TrailSensor):
    """
    Wait until log files of a trail have been delivered in a window.

    CloudTrail delivers about five minutes after a call, without a promise. With ``settle`` the sensor
    also waits until the window has ended that long ago, which is what an export of the whole window
    wants; before that moment a poke makes no request at all, but for the names below.

    One poke costs one listing for each account and Region while nothing is there, and stops at
    ``max_files``. Give ``account_ids`` and ``regions`` (and ``organization_id``) to spare the listings
    that find them. The first poke that finds nothing (on Airflow 2 not in reschedule mode), and the timeout, also
    look for the folders of those that are named, and say which have none.

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
    :param max_files: most URIs that are returned; the listing stops there. A queue's message may tell of more.
    :param queue_url: SQS queue that is told of new log files: by the trail's SNS topic, S3 event notifications
        or EventBridge. It is asked instead of the bucket, and bucket, trail, window and settle are ignored;
        ``account_ids`` and ``regions`` say what is wanted. One look receives 2,000 messages at most; in a backlog of
        others the next one follows at once, on a worker for as long as ``poke_interval``. A message is deleted when
        the URIs are stored as XCom; if it cannot be deleted, a warning says so, and it tells of its files again. Only
        the files of a task that is killed between deletion and success are not told again, because Airflow drops the
        XCom of a task that it retries: the daily export, driven by the ledger, loads them. (templated)
    :param deferrable: wait in the triggerer instead of on a worker; by default ``[operators]
        default_deferrable`` of Airflow's configuration. Where the triggerer cannot import this package
        (Airflow 3 with the package only in the DAG folder) the sensor reschedules instead, with a warning.
    :param aws_conn_id: AWS connection that lists the bucket. (templated)
    :param region_name: Region of the CloudTrail API; the bucket's own is found out. (templated)
    :param verify: whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: configuration of the botocore clients.
    :return: URIs of the first ``max_files`` log files of the window (XCom).
    :raises ValueError: for wrong parameters.
    """

    template_fields: Sequence[str] = aws_template_fields(
        "bucket",
        "prefix",
        "organization_id",
        "trail_name",
        "account_ids",
        "regions",
        "delivered_from",
        "delivered_to",
        "queue_url",
    )

    def __init__(
        self,
        *,
        delivered_from: Any = "{{ data_interval_start | default(none) }}",
        delivered_to: Any = "{{ data_interval_end | default(none) }}",
        settle: timedelta | None = None,
        max_files: int = 100,
        queue_url: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if parameters.whole_number("max_files", max_files) < 1:
            raise ValueError(f"max_files={max_files} finds nothing; write 1 or more")
        self.delivered_from = delivered_from
        self.delivered_to = delivered_to
        self.settle = settle
        self.max_files = max_files
        self.queue_url = queue_url

    def look(self) -> Answer:
        """Look once."""
        if (queue_url := parameters.queue_url("queue_url", self.queue_url)) is not None:
            return queue_told(self.hook, self.trail, queue_url=queue_url, max_files=self.max_files)
        return log_files_delivered(
            self.hook,
            self.trail,
            delivered_from=self.delivered_from,
            delivered_to=self.delivered_to,
            settle=self.settle,
            max_files=self.max_files,
        )

    def never_there(self) -> str:
        """Return what is to be said of named accounts and Regions that have no folder, or nothing."""
        return never_delivered(self.hook, self.trail) if parameters.text(self.queue_url) is None else ""

    def trigger(self, deadline: datetime) -> WaitingTrigger:
        """Return what looks in the triggerer until a moment."""
        from airflow_provider_cloudtrail.triggers.waiting import (
            CloudTrailLogFilesDeliveredTrigger,
            CloudTrailQueueToldTrigger,
        )

        if (queue_url := parameters.queue_url("queue_url", self.queue_url)) is not None:
            return CloudTrailQueueToldTrigger(
                **self.trigger_arguments(deadline), queue_url=queue_url, max_files=self.max_files
            )
        return CloudTrailLogFilesDeliveredTrigger(
            **self.trigger_arguments(deadline),
            delivered_from=windows.moment("delivered_from", self.delivered_from).isoformat(),
            delivered_to=windows.moment("delivered_to", self.delivered_to).isoformat(),
            settle=None if self.settle is None else windows.duration("settle", self.settle).total_seconds(),
            max_files=self.max_files,
        )

    def found(self, context: Context, files: list[str], receipts: Sequence[str]) -> list[str]:
        """Return the files; of a queue, its messages are deleted when Airflow has them."""
        if receipts:
            # The value that is returned is stored only after this method, when nothing can be done any more.
            context["ti"].xcom_push(key="return_value", value=files)
            try:
                self.hook.delete_messages(str(self.queue_url), receipts)
            except CloudTrailQueueError:
                # Not raised: the messages that are deleted already would be lost with the XCom of this attempt.
                self.log.warning("Of %s messages some were not deleted and come again", len(receipts), exc_info=True)
        return files


class CloudTrailDigestSensor(TrailSensor):
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
    :param deferrable: wait in the triggerer instead of on a worker; by default ``[operators]
        default_deferrable`` of Airflow's configuration. Where the triggerer cannot import this package
        (Airflow 3 with the package only in the DAG folder) the sensor reschedules instead, with a warning.
    :param aws_conn_id: AWS connection that reads the bucket and asks for the public keys. (templated)
    :param region_name: Region of the CloudTrail API for ``trail_name``. (templated)
    :param verify: whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: configuration of the botocore clients.
    :raises ValueError: for wrong parameters.
    :raises CloudTrailError: if bucket or API refuse.
    """

    template_fields: Sequence[str] = aws_template_fields(
        "bucket",
        "prefix",
        "organization_id",
        "trail_name",
        "account_ids",
        "regions",
        "until",
    )

    def __init__(
        self,
        *,
        until: Any = "{{ data_interval_end | default(none) }}",
        seen_within: timedelta = timedelta(days=1),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.until = until
        self.seen_within = seen_within

    def look(self) -> Answer:
        """Look once."""
        return delivery_is_proven(self.hook, self.trail, until=self.until, seen_within=self.seen_within)

    def trigger(self, deadline: datetime) -> WaitingTrigger:
        """Return what looks in the triggerer until a moment."""
        from airflow_provider_cloudtrail.triggers.waiting import CloudTrailDeliveryProvenTrigger

        return CloudTrailDeliveryProvenTrigger(
            **self.trigger_arguments(deadline),
            until=windows.moment("until", self.until).isoformat(),
            seen_within=windows.duration("seen_within", self.seen_within).total_seconds(),
        )

    def found(self, context: Context, files: list[str], receipts: Sequence[str]) -> None:
        """Return nothing: the sensor finds no files."""
