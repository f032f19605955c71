"""From the log files of a trail to the audit table of a warehouse."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_provider_cloudtrail import parameters, windows
from airflow_provider_cloudtrail.assets import tell_outlets
from airflow_provider_cloudtrail.exceptions import (
    CloudTrailBucketError,
    CloudTrailError,
    CloudTrailQuarantineError,
    CloudTrailTrailNotFoundError,
    CloudTrailWarehouseError,
)
from airflow_provider_cloudtrail.export.report import log_export, quarantine_message
from airflow_provider_cloudtrail.links.cloudtrail import CloudTrailBucketLink, CloudTrailEventHistoryLink
from airflow_provider_cloudtrail.operators import wanted
from airflow_provider_cloudtrail.operators.base import WarehouseOperator, push_of_failing, run_of, warehouse_of, where
from airflow_provider_cloudtrail.trail.listing import EmptyTrailError, list_log_files
from airflow_provider_cloudtrail.trail.log_file import log_file_of_uri
from airflow_provider_cloudtrail.trail.object_uris import KeyGrammarError
from airflow_provider_cloudtrail.trail.reader import MAX_FILE_BYTES
from airflow_provider_cloudtrail.trail.selection import MWAA_EVENT_SOURCES, Selection
from airflow_provider_cloudtrail.trail.store import ObjectError, StoreError
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from airflow_provider_cloudtrail.warehouse.staging import DEFAULT_ROLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_cloudtrail._compat import Context
    from airflow_provider_cloudtrail.export.summary import ExportSummary
    from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
    from airflow_provider_cloudtrail.trail.log_file import LogFile, TrailLocation
    from airflow_provider_cloudtrail.trail.store import Store


class CloudTrailToSqlOperator(WarehouseOperator):
    """
    Load the audit events of a trail into a table, each event once.

    Lists the log files that were delivered in a window, reads those that the table's ledger does not
    have yet, and stores rows, ledger and quarantine of a batch of files in one transaction. A run can be
    killed and repeated at any moment. Rows are never filtered by event time: late events belong in the
    table. Login tokens, CLI tokens and REST calls of MWAA are data events: they are there only if the
    trail records data events of ``AWS::MWAA::Environment``.

    .. seealso::
        For more information on how to use this operator, take a look at the README.

    :param bucket: S3 bucket that the trail delivers to, or ``file://`` URI of a folder with a copy of one. (templated)
    :param prefix: log file prefix of the trail: what comes before ``AWSLogs/`` in the keys. (templated)
    :param organization_id: ``o-...``: read only the layout of this organization. None: all layouts. (templated)
    :param trail_name: name or ARN of the trail, instead of bucket, prefix and organization_id. (templated)
    :param account_ids: accounts to read. None: those that have a folder, or for ``trail_name`` without an
        organization the trail's own. (templated)
    :param regions: Regions to read. None: those that have a folder. (templated)
    :param delivered_from: begin of the window of *delivery* (the stamp in the file names), as a
        ``datetime`` or in ISO 8601, UTC. (templated)
    :param delivered_to: its end, not included. (templated)
    :param lookback: how far before the window files are listed too, because keys do not appear in order.
        Costs listings, no GET: what was loaded is known from the ledger.
    :param settle: how far behind the window files are listed too.
    :param files: ``s3://`` URIs of log files, for runs that are driven by events; then nothing is
        listed and window, bucket and trail are ignored. The output of mapped sensors, a list of lists, is taken, too.
        A file that is in quarantine as a whole is read again. (templated)
    :param event_sources: services whose events are wanted; None: all. (templated)
    :param event_names: API actions that are wanted; None: all. (templated)
    :param environment_names: environments (or MWAA Serverless workflows) that are wanted; None: all. (templated)
    :param include_environment_activity: also load what environments did in AWS themselves: calls of role
        session ``AmazonMWAA-airflow``, and calls that MWAA made to other services.
    :param conn_id: connection of the warehouse: DuckDB, PostgreSQL, Redshift, Snowflake, Athena, any other
        ``DbApiHook``, or an Iceberg catalog. (templated)
    :param table: audit table; ledger and quarantine are ``<table>_files`` and ``<table>_quarantine``.
        All are created if missing. (templated)
    :param schema: schema of the tables, or namespace in an Iceberg catalog, which must exist. None: the connection's
        default. (templated)
    :param staging_uri: S3 folder (``s3://bucket/folder``) for engines that load from S3: Redshift, which inserts rows
        without it, Snowflake, which has a stage of its own, and Athena, which needs it. Its
        objects are removed after each batch; ``aws_conn_id`` must be allowed to put and delete them, for Athena also
        to get them. The other engines need none. (templated)
    :param staging_role: what ``staging_uri`` is read with. Redshift: ARN of an IAM role; ``default``: the default
        role of the cluster or workgroup. Snowflake: name of a storage integration. Keys never get into SQL.
        (templated)
    :param fail_on_quarantine: fail, after everything good is stored, if something of the window is in quarantine.
    :param max_file_bytes: most bytes that a log file may have when unpacked; larger ones go into quarantine.
    :param aws_conn_id: AWS connection that reads the trail. (templated)
    :param region_name: Region of the CloudTrail API; the bucket's own is found out. (templated)
    :param verify: whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: configuration of the botocore clients.
    :param outlets: assets, such as :func:`~airflow_provider_cloudtrail.assets.audit_table`; their events carry the
        summary as extra.
    :return: summary of the run (XCom): see :class:`~airflow_provider_cloudtrail.export.summary.ExportSummary`. With
        ``multiple_outputs=True`` other tasks take a part of it, such as ``export.output["loaded"]``.
    :raises ValueError: for wrong parameters, before any work.
    :raises CloudTrailError: if trail, bucket or warehouse fail; ``CloudTrailQuarantineError`` see above.
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
        "files",
        "event_sources",
        "event_names",
        "environment_names",
        "conn_id",
        "table",
        "schema",
        "staging_uri",
        "staging_role",
    )
    operator_extra_links = (CloudTrailBucketLink(), CloudTrailEventHistoryLink())
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
        delivered_from: Any = "{{ data_interval_start | default(none) }}",
        delivered_to: Any = "{{ data_interval_end | default(none) }}",
        lookback: timedelta = timedelta(days=1),
        settle: timedelta = timedelta(hours=1),
        files: Sequence[str] | str | None = None,
        event_sources: Sequence[str] | str | None = MWAA_EVENT_SOURCES,
        event_names: Sequence[str] | str | None = None,
        environment_names: Sequence[str] | str | None = None,
        include_environment_activity: bool = False,
        conn_id: str = "cloudtrail_warehouse",
        table: str = "mwaa_audit_events",
        schema: str | None = None,
        staging_uri: str | None = None,
        staging_role: str = DEFAULT_ROLE,
        fail_on_quarantine: bool = True,
        max_file_bytes: int = MAX_FILE_BYTES,
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
        self.lookback = lookback
        self.settle = settle
        self.files = files
        self.event_sources = event_sources
        self.event_names = event_names
        self.environment_names = environment_names
        self.include_environment_activity = include_environment_activity
        self.conn_id = conn_id
        self.table = table
        self.schema = schema
        self.staging_uri = staging_uri
        self.staging_role = staging_role
        self.fail_on_quarantine = fail_on_quarantine
        self.max_file_bytes = max_file_bytes

    def work(self, context: Context) -> dict[str, Any]:
        """Load the log files of the window, or those that were given."""
        from airflow_provider_cloudtrail.export.log_files import export_log_files

        selection = self._selection()
        max_file_bytes = parameters.file_size("max_file_bytes", self.max_file_bytes)
        parameters.switch("fail_on_quarantine", self.fail_on_quarantine)
        given = self._given_files()
        window = None if given is not None else self._window()
        staging_uri = parameters.text(self.staging_uri)
        staging = (
            self.hook.get_staging(staging_uri, parameters.text(self.staging_role) or DEFAULT_ROLE)
            if staging_uri
            else None
        )
        warehouse = warehouse_of(self.conn_id, self.table, self.schema, staging)
        without_folder: list[str] = []
        log_files: Iterable[LogFile]
        in_window: Callable[[LogFile], bool]
        if given is not None or window is None:
            log_files, in_window = given or [], lambda _: True
        else:
            log_files, in_window = (
                self._listed(context, window, without_folder),
                lambda file: window.covers(file.delivered_at),
            )
        try:
            warehouse.prepare()
            summary = export_log_files(
                log_files,
                store_of=self._store_of,
                warehouse=warehouse,
                selection=selection,
                loaded_by=run_of(context),
                max_file_bytes=max_file_bytes,
                in_window=in_window,
                log=self.log,  # type: ignore[arg-type]
            )
        except WarehouseError as error:
            raise CloudTrailWarehouseError(str(error)) from None
        except StoreError as error:
            raise CloudTrailBucketError(str(error)) from None
        except EmptyTrailError as error:
            raise CloudTrailTrailNotFoundError(str(error)) from None
        except CloudTrailError:
            raise
        except Exception as error:
            # Airflow 3 logs the local variables of every frame, and here they hold records.
            raise CloudTrailError(where(error)) from None
        summary.requests = {"LIST": 0, "GET": 0, **self.hook.requests()}
        summary.without_folder = without_folder
        self._conclude(summary, warehouse, context)
        tell_outlets(context, self.outlets, summary.as_dict())
        return summary.as_dict()

    # -- parameters --------------------------------------------------------------------------------

    def _selection(self) -> Selection:
        return wanted.selection(
            self.event_sources, self.event_names, self.environment_names, self.include_environment_activity
        )

    def _given_files(self) -> list[LogFile] | None:
        uris = parameters.uris("files", self.files)
        if uris is None:
            if parameters.text(self.bucket) is None and parameters.text(self.trail_name) is None:
                # Before anything is said of the window: a mapped task cannot tell such files from none.
                raise ValueError(
                    f"{parameters.NO_TRAIL}. If files comes from another task, that was skipped, or marked as success "
                    "before it had found any: run it again"
                )
            return None
        try:
            return [log_file_of_uri(uri) for uri in uris]
        except KeyGrammarError as error:
            raise ValueError(f"files: {error}") from None

    def _window(self) -> DeliveryWindow:
        return windows.window(self.delivered_from, self.delivered_to, self.lookback, self.settle, instead="files")

    def _trail(self) -> tuple[TrailLocation, list[str] | None]:
        return self.hook.locate(self.bucket, self.prefix, self.organization_id, self.trail_name, self.account_ids)

    # -- the run -----------------------------------------------------------------------------------

    def _store_of(self, bucket: str) -> Store:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return self.hook.get_store(bucket)
        except CloudTrailBucketError as error:
            # That of one file among those that were given; the others are read.
            raise ObjectError("not_found", str(error)) from None
        except (BotoCoreError, ClientError) as error:
            raise StoreError(f"bucket {bucket} cannot be opened: {error}") from None

    def _listed(self, context: Context, window: DeliveryWindow, without_folder: list[str]) -> Iterable[LogFile]:
        regions = parameters.regions("regions", self.regions)
        location, account_ids = self._trail()
        self.log.info(
            "Log files of %s/%s delivered from %s to %s (look-back %s, settle %s)",
            location.bucket,
            location.root,
            window.start.isoformat(),
            window.end.isoformat(),
            window.lookback,
            window.settle,
        )
        try:
            store = self.hook.get_store(location.bucket)
        except StoreError as error:
            raise CloudTrailBucketError(str(error)) from None
        self._persist_links(context, location)
        # Not through the hook: should the listing break off, the export stores what it gave before.
        return list_log_files(
            store, location, window, account_ids, regions, look_for_folders=True, without_folder=without_folder
        )

    def _persist_links(self, context: Context, location: TrailLocation) -> None:
        if location.bucket.startswith("file://") or "ti" not in context:
            return
        region, partition = self.hook.bucket_region(location.bucket)
        shared = {"context": context, "operator": self, "aws_partition": partition}
        CloudTrailBucketLink.persist(**shared, region_name=region, bucket=location.bucket, prefix=location.root)
        source = (wanted.event_sources("event_sources", self.event_sources) or MWAA_EVENT_SOURCES)[0]
        home = parameters.text(self.region_name) or region
        CloudTrailEventHistoryLink.persist(**shared, region_name=home, event_source=source)

    def _conclude(self, summary: ExportSummary, warehouse: Warehouse, context: Context) -> None:
        log_export(summary, warehouse, self.log)  # type: ignore[arg-type]
        if not (problem := quarantine_message(summary, warehouse)):
            return
        if self.fail_on_quarantine:
            push_of_failing(self, context, "summary", summary.as_dict())
            raise CloudTrailQuarantineError(problem)
        self.log.warning(problem)

    # -- lineage -----------------------------------------------------------------------------------

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002
        """Return what was read and written, for the OpenLineage provider where it is installed."""
        from airflow_provider_cloudtrail.operators.lineage import operator_lineage

        given = self._given_files()
        buckets = (
            sorted({(file.bucket, "AWSLogs") for file in given})
            if given is not None
            else [(trail.bucket, trail.root.rstrip("/")) for trail in (self._trail()[0],)]
        )
        return operator_lineage(buckets, self.conn_id, self.schema, self.table)
