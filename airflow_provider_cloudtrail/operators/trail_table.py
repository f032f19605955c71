"""Create the table through which Athena reads the log files of a trail."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import date
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_provider_cloudtrail import parameters, windows
from airflow_provider_cloudtrail.exceptions import (
    CloudTrailBucketError,
    CloudTrailTrailNotFoundError,
    CloudTrailWarehouseError,
)
from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.operators.base import hook_of, require_athena
from airflow_provider_cloudtrail.pushdown.trail_table import ENUM, TrailTable
from airflow_provider_cloudtrail.trail.listing import layouts, region_folders
from airflow_provider_cloudtrail.trail.store import StoreError
from airflow_provider_cloudtrail.warehouse.athena_session import connect

if TYPE_CHECKING:
    from airflow_provider_cloudtrail._compat import Context
    from airflow_provider_cloudtrail.trail.log_file import TrailLocation


class AthenaCloudTrailTableOperator(AwsBaseOperator[CloudTrailHook]):
    """
    Create the external table through which Athena reads the log files of a trail.

    Nothing is read or copied: a table with partition projection over account, Region and day of delivery, which
    therefore shows new log files at once. It has all members of a record of eventVersion 1.11. If the table is
    there, only its accounts, Regions and first day are brought up to date.

    One table shows one layout of a bucket: with ``organization_id`` the accounts of that organization, without it
    those directly below ``AWSLogs/``.

    The role of ``conn_id`` needs what the feature ``athena`` of the README of MWAA lists; that of ``aws_conn_id``
    ``s3:ListBucket`` on the trail's bucket if accounts or Regions are to be found out.

    .. seealso::
        For more information on how to use this operator, take a look at the README.

    :param bucket: S3 bucket that the trail delivers to. (templated)
    :param prefix: log file prefix of the trail: what comes before ``AWSLogs/`` in the keys. (templated)
    :param organization_id: ``o-...``: the layout of this organization. None: the one without. (templated)
    :param trail_name: name or ARN of the trail, instead of bucket and prefix. (templated)
    :param account_ids: accounts that the table shows. None: those that have a folder now. (templated)
    :param regions: Regions that it shows. None: those that have a folder now. (templated)
    :param since: first day of delivery that it shows, ``YYYY-MM-DD``. (templated)
    :param account_projection: ``enum``; or ``injected`` for more than a few dozen accounts: then each query
        of it must say which accounts it wants, as ``account_ids`` of the other operator does. (templated)
    :param conn_id: connection to Athena (type ``athena``). (templated)
    :param table: name of the table. (templated)
    :param schema: its database, which must exist. None: the connection's default. (templated)
    :param aws_conn_id: AWS connection that lists the bucket. (templated)
    :param region_name: Region of the CloudTrail API for ``trail_name``. (templated)
    :param verify: whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: configuration of the botocore clients.
    :return: ``table``, ``location``, ``account_ids`` and ``regions`` (XCom).
    :raises ValueError: for wrong parameters, before any statement.
    :raises CloudTrailTrailNotFoundError: if there is nothing to show.
    :raises CloudTrailWarehouseError: if Athena refuses; the message has its reason.
    """

    aws_hook_class = CloudTrailHook
    template_fields: Sequence[str] = aws_template_fields(
        "bucket",
        "prefix",
        "organization_id",
        "trail_name",
        "account_ids",
        "regions",
        "since",
        "account_projection",
        "conn_id",
        "table",
        "schema",
    )
    ui_color = "#e7157b"
    ui_fgcolor = "#ffffff"

    def __init__(
        self,
        *,
        bucket: str | None = None,
        prefix: str = "",
        organization_id: str | None = None,
        trail_name: str | None = None,
        account_ids: Sequence[str] | str | None = None,
        regions: Sequence[str] | str | None = None,
        since: Any = "2020-01-01",
        account_projection: str = ENUM,
        conn_id: str = "cloudtrail_warehouse",
        table: str = "cloudtrail_logs",
        schema: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bucket = bucket
        self.prefix = prefix
        self.organization_id = organization_id
        self.trail_name = trail_name
        self.account_ids = account_ids
        self.regions = regions
        self.since = since
        self.account_projection = account_projection
        self.conn_id = conn_id
        self.table = table
        self.schema = schema

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002
        """Find out what the table has to show, and create it."""
        name, schema = (
            parameters.identifier("table", self.table),
            parameters.identifier("schema", self.schema, required=False),
        )
        since = _day("since", self.since)
        regions = parameters.regions("regions", self.regions)
        location, account_ids = self.hook.locate(
            self.bucket, self.prefix, self.organization_id, self.trail_name, self.account_ids
        )
        shown = self._accounts_and_regions(location, account_ids, regions)
        table = TrailTable(name, schema, location, *shown, since, self.account_projection)
        hook = hook_of(self.conn_id)
        require_athena(self.conn_id, hook.conn_type)
        done = "created"
        try:
            with closing(connect(hook)) as connection:
                connection.cursor().execute(table.create())
                done = "brought up to date"
                connection.cursor().execute(table.update())
        except Exception as error:
            # Neither statement holds a value of a record: Athena's text is safe, and what a user needs.
            raise CloudTrailWarehouseError(
                f"table {table.qualified} was not {done}: {type(error).__name__}: {str(error).strip()[:1000]}. When "
                "that has passed or is put right, run this again"
            ) from None
        self.log.info(
            "%s shows the log files below %s of %s accounts and %s Regions delivered since %s",
            table.qualified,
            table.folder,
            len(table.account_ids),
            len(table.regions),
            since.isoformat(),
        )
        return {
            "table": name,
            "location": table.folder,
            "account_ids": sorted(table.account_ids),
            "regions": sorted(table.regions),
        }

    def _accounts_and_regions(
        self, location: TrailLocation, account_ids: list[str] | None, regions: list[str] | None
    ) -> tuple[list[str], list[str]]:
        if account_ids is not None and regions is not None:
            return account_ids, regions
        try:
            store = self.hook.get_store(location.bucket)
            # The table shows one layout, and listing goes through all that are not excluded.
            here = location.root if location.organization_id is None else f"{location.root}{location.organization_id}/"
            folders = [
                folder
                for folder in region_folders(store, location, account_ids, regions)
                if folder.path == f"{here}{folder.account_id}/CloudTrail/{folder.region}/"
            ]
            others = [layout for layout in layouts(store, location) if layout != here]
        except StoreError as error:
            raise CloudTrailBucketError(str(error)) from None
        if not folders:
            hint = f"; give organization_id: there is {', '.join(others)}" if others else ""
            raise CloudTrailTrailNotFoundError(
                f"no log files below {here} in {location.bucket}{hint}. Check bucket, prefix and organization_id, or "
                "give account_ids and regions"
            )
        if others:
            self.log.warning("Not shown by this table: the log files below %s", ", ".join(others))
        return (
            account_ids or sorted({folder.account_id for folder in folders}),
            regions or sorted({folder.region for folder in folders}),
        )


def _day(parameter: str, value: Any) -> date:
    return value if type(value) is date else windows.moment(parameter, value).date()
