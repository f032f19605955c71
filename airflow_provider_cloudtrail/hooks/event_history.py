"""Event history through an AWS connection: what is in it, whose it is, and the Regions that have one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

from airflow_provider_cloudtrail import parameters, windows
from airflow_provider_cloudtrail.exceptions import CloudTrailError, CloudTrailEventHistoryError
from airflow_provider_cloudtrail.hooks.api_errors import api_errors, said_by
from airflow_provider_cloudtrail.trail.codec import CODEC, MalformedError

if TYPE_CHECKING:
    from mypy_boto3_cloudtrail import CloudTrailClient  # noqa: F401 (in the string below)

    # DAG files are parsed again and again: what only a few tasks need is imported by them.
    from airflow_provider_cloudtrail.trail.event_history import Clock, EventHistory
    from airflow_provider_cloudtrail.trail.lookup import Attribute, Span


class EventHistoryHook(AwsGenericHook["CloudTrailClient"]):
    """What of a hook of CloudTrail has to do with Event history, which no trail and no bucket is needed for."""

    def get_event_history(self, *, clock: Clock | None = None) -> EventHistory:
        """
        Return what reads Event history, in all Regions and within the quota; see there.

        :param clock: time, and how to wait; None: as time passes.
        """
        from botocore.config import Config

        from airflow_provider_cloudtrail.trail.event_history import CLOCK, EventHistory

        # Retries are those of EventHistory: the client's own would use up the quota.
        config = Config(connect_timeout=10).merge(self.config).merge(Config(retries={"total_max_attempts": 1}))
        return EventHistory(
            lambda region: self.get_client_type(region_name=region, config=config),
            clock=clock or CLOCK,
            log=self.log,  # type: ignore[arg-type]
        )

    def lookup_events(
        self, start: datetime, end: datetime, *, regions: Collection[str] | str, attribute: Attribute | None = None
    ) -> Iterator[Any]:
        """
        Yield the records of Event history, decoded; Region after Region, newest first, within the quota.

        Calls :external+boto3:py:meth:`CloudTrail.Client.lookup_events`: management events of the last 90 days
        in the account of the connection. For use on its own: nothing is filtered, scrubbed or remembered.

        :param start: begin of the event times (included); without a zone it is UTC.
        :param end: their end (not included).
        :param regions: Regions to look in.
        :param attribute: what to look for, such as ``Attribute("EventSource", "airflow.amazonaws.com")``.
        :raises ValueError: for times that are none or the wrong way round, Regions that can be none, and what is no
            attribute.
        :raises CloudTrailEventHistoryError: if it cannot be read, or an answer is no record.
        """
        from airflow_provider_cloudtrail.trail.lookup import Attribute, Span
        from airflow_provider_cloudtrail.trail.lookup_errors import EventHistoryError

        span = Span(windows.moment("start", start), windows.moment("end", end))
        if not span:
            raise ValueError(f"start={start} is not before end={end}, so that there is nothing to look up")
        if (named := parameters.regions("regions", regions)) is None:
            raise ValueError("regions is not set; name those to look in, such as ['eu-west-1']")
        if attribute is not None and not isinstance(attribute, Attribute):
            raise ValueError(
                f"attribute={attribute!r} is no Attribute; write Attribute('EventSource', 'airflow.amazonaws.com')"
            )
        try:
            yield from _decoded(self.get_event_history(), named, attribute, span)
        except (EventHistoryError, MalformedError) as error:
            raise CloudTrailEventHistoryError(str(error)) from None

    def read_account_id(self) -> str:
        """
        Return the account that the connection's credentials belong to.

        Calls ``sts:GetCallerIdentity``, which needs no permission.

        :raises CloudTrailError: if STS does not answer or does not know the credentials.
        """
        try:
            return str(self.account_id)
        except api_errors() as error:
            raise CloudTrailError(
                "sts:GetCallerIdentity failed, so it is not known whose Event history would be read with "
                f"aws_conn_id={self.aws_conn_id!r}: {said_by(error)}"
            ) from None

    def list_enabled_regions(self) -> list[str]:
        """
        Return the Regions that are enabled in the account, sorted.

        Calls ``ec2:DescribeRegions``.

        :raises CloudTrailError: if that fails; the message says what to do instead.
        """
        session = self.get_session(region_name=self.region_name)
        endpoint = self.conn_config.get_service_endpoint_url("ec2")
        try:
            client = session.client("ec2", endpoint_url=endpoint, config=self.config, verify=self.verify)
            return sorted(region["RegionName"] for region in client.describe_regions()["Regions"])
        except api_errors() as error:
            raise CloudTrailError(
                f"ec2:DescribeRegions failed, so it is not known which Regions are enabled: {said_by(error)}. Allow "
                "it, or name the Regions in regions (on MWAA with the example DAGs: the option cloudtrail.regions)"
            ) from None


def _decoded(history: EventHistory, regions: Collection[str], attribute: Attribute | None, span: Span) -> Iterator[Any]:
    # Beside the method, so that no record is in a frame that an error of ours passes through.
    for region in regions:
        for page in history.pages(region, attribute, span):
            for event in page.events:
                yield CODEC.decode((event.raw or "").encode("utf-8", "surrogatepass"))
