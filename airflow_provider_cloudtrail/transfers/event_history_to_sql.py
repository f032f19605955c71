"""From CloudTrail's Event history to the audit table of a warehouse, for accounts without a trail."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_provider_cloudtrail import parameters, windows
from airflow_provider_cloudtrail.assets import tell_outlets
from airflow_provider_cloudtrail.audit_event import LOOKUP_SCHEME
from airflow_provider_cloudtrail.exceptions import (
    CloudTrailError,
    CloudTrailEventHistoryError,
    CloudTrailQuarantineError,
    CloudTrailWarehouseError,
)
from airflow_provider_cloudtrail.export.event_history import EventHistorySummary, export_event_history
from airflow_provider_cloudtrail.links.cloudtrail import CloudTrailEventHistoryLink
from airflow_provider_cloudtrail.operators import wanted
from airflow_provider_cloudtrail.operators.base import WarehouseOperator, push_of_failing, run_of, warehouse_of, where
from airflow_provider_cloudtrail.trail.environment import partition_of
from airflow_provider_cloudtrail.trail.event_history import CLOCK, Clock, EventHistory
from airflow_provider_cloudtrail.trail.lookup import names_only_data_events
from airflow_provider_cloudtrail.trail.lookup_errors import EventHistoryError
from airflow_provider_cloudtrail.trail.selection import MWAA_EVENT_SOURCES, Selection
from airflow_provider_cloudtrail.warehouse.base import WarehouseError
from airflow_provider_cloudtrail.warehouse.lookups import Lookups
from airflow_provider_cloudtrail.warehouse.staging import DEFAULT_ROLE

if TYPE_CHECKING:
    from airflow_provider_cloudtrail._compat import Context
    from airflow_provider_cloudtrail.trail.lookup import Span

_LIMITS = (
    "Event history holds management events of one account, of the last 90 days. It has no data events: no UI logins "
    "(CreateWebLoginToken), no CLI tokens (CreateCliToken), no calls of the Airflow REST API (InvokeRestApi). Only a "
    "trail that records data events of AWS::MWAA::Environment has those"
)


class CloudTrailEventHistoryToSqlOperator(WarehouseOperator):
    """
    Load the audit events of the last 90 days into a table without any trail, each event once.

    Reads CloudTrail's Event history (LookupEvents) of one account, Region after Region, into the table that
    :class:`~airflow_provider_cloudtrail.transfers.cloudtrail_to_sql.CloudTrailToSqlOperator` fills from a
    trail: same columns, same selection, same quarantine, one row per event also if it came from both. Which
    spans of time were read is known from a ledger, ``<table>_lookups``: a run reads what is missing in it,
    and a run that was killed or failed is gone on with by the next one.

    Such rows have the ``log_file_uri`` ``event-history://ACCOUNT/REGION/FROM-TO/UNIQUE``, the key of that
    ledger: no log file and no signed digest vouches for them.

    **What Event history cannot contain:** data events, which are the UI logins (``CreateWebLoginToken``),
    CLI tokens (``CreateCliToken``) and REST calls (``InvokeRestApi``) of MWAA; anything older than 90 days;
    other accounts of the organization; a signature. For these there must be a trail.

    It is free of charge and slow: 50 events a request, two requests a second for the whole account, so a
    million events take about three hours. With ``event_sources`` the service itself selects, and only
    their events are read. With ``include_environment_activity``, or without ``event_sources`` and
    ``event_names``, it has to read all management events of the account. It needs ``cloudtrail:LookupEvents``
    and, without ``regions``, ``ec2:DescribeRegions``.

    .. seealso::
        For more information on how to use this operator, take a look at the README.

    :param regions: Regions to read. None: those that are enabled in the account (``ec2:DescribeRegions``). (templated)
    :param events_from: begin of the window of *event time*, as a ``datetime`` or in ISO 8601, UTC. None: as far
        back as Event history reaches. What is older than 90 days is left out, with a warning. (templated)
    :param events_to: its end, not included. None: now. (templated)
    :param settle: how long after a call its event may appear in Event history. What is younger is loaded, but
        not recorded as complete: the next run reads it again.
    :param event_sources: services whose events are wanted; None: all. (templated)
    :param event_names: API actions that are wanted; None: all. (templated)
    :param environment_names: environments (or MWAA Serverless workflows) that are wanted; None: all. (templated)
    :param include_environment_activity: also load what environments did in AWS themselves: calls of role
        session ``AmazonMWAA-airflow``, and calls that MWAA made to other services.
    :param conn_id: connection of the warehouse: any ``DbApiHook``, or an Iceberg catalog. (templated)
    :param table: audit table; ledger and quarantine are ``<table>_lookups`` and ``<table>_quarantine``.
        All are created if missing. (templated)
    :param schema: schema of the tables, which must exist. None: the connection's default. (templated)
    :param staging_uri: S3 folder (``s3://bucket/folder``) for engines that load through one: Athena, which needs it,
        Redshift and Snowflake. (templated)
    :param staging_role: what it is read with. Redshift: ARN of an IAM role; ``default``: the default role of the
        cluster or workgroup. Snowflake: name of a storage integration. (templated)
    :param fail_on_quarantine: fail, after everything good is stored, if an event of the window is in quarantine.
    :param aws_conn_id: AWS connection, whose account is read; for several accounts map the operator over
        several connections. (templated)
    :param region_name: Region in which account and Regions are asked for. (templated)
    :param verify: whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: configuration of the botocore clients; its ``retries`` do not apply to LookupEvents.
    :param outlets: assets, such as :func:`~airflow_provider_cloudtrail.assets.audit_table`; their events carry the
        summary as extra.
    :return: summary of the run (XCom): see
        :class:`~airflow_provider_cloudtrail.export.event_history.EventHistorySummary`.
    :raises ValueError: for wrong parameters, before any work.
    :raises CloudTrailEventHistoryError: if Event history, or a Region of it, cannot be read.
    :raises CloudTrailError: if account or warehouse fail; ``CloudTrailQuarantineError`` see above.
    """

    template_fields: Sequence[str] = aws_template_fields(
        "regions",
        "events_from",
        "events_to",
        "event_sources",
        "event_names",
        "environment_names",
        "conn_id",
        "table",
        "schema",
        "staging_uri",
        "staging_role",
    )
    operator_extra_links = (CloudTrailEventHistoryLink(),)
    ui_color = "#f78da7"
    clock: Clock = CLOCK
    """The time; tests put a simulated one in its place."""

    def __init__(
        self,
        *,
        regions: Sequence[str] | str | None = None,
        events_from: Any = None,
        events_to: Any = None,
        settle: timedelta = timedelta(hours=1),
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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.regions = regions
        self.events_from = events_from
        self.events_to = events_to
        self.settle = settle
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

    def work(self, context: Context) -> dict[str, Any]:
        """Load what is missing of the window."""
        selection = self._selection()
        parameters.switch("fail_on_quarantine", self.fail_on_quarantine)
        history = self.hook.get_event_history(clock=self.clock)
        window = self._window(history)
        staging_uri = parameters.text(self.staging_uri)
        staging_role = parameters.text(self.staging_role) or DEFAULT_ROLE
        staging = self.hook.get_staging(staging_uri, staging_role) if staging_uri else None
        lookups = Lookups(warehouse_of(self.conn_id, self.table, self.schema, staging))
        regions, account_id = self._regions(), self.hook.read_account_id()
        self.log.info("%s", _LIMITS)
        self.log.info("Event history of account %s, %s, in %s", account_id, window, ", ".join(regions))
        self._persist_link(context, regions[0])
        try:
            lookups.prepare()
            summary = export_event_history(
                history,
                lookups=lookups,
                account_id=account_id,
                regions=regions,
                window=window,
                settled=self.clock.now() - self.settle,
                selection=selection,
                loaded_by=run_of(context),
                log=self.log,  # type: ignore[arg-type]
            )
        except WarehouseError as error:
            raise CloudTrailWarehouseError(str(error)) from None
        except EventHistoryError as error:
            raise CloudTrailEventHistoryError(str(error)) from None
        except Exception as error:
            # Airflow 3 logs the local variables of every frame, and here they hold records.
            raise CloudTrailError(where(error)) from None
        self._conclude(summary, lookups, context)
        tell_outlets(context, self.outlets, summary.as_dict())
        return summary.as_dict()

    # -- parameters --------------------------------------------------------------------------------

    def _selection(self) -> Selection:
        selection = wanted.selection(
            self.event_sources, self.event_names, self.environment_names, self.include_environment_activity
        )
        if names_only_data_events(selection):
            raise ValueError(f"event_names={self.event_names!r} are data events. {_LIMITS}")
        return selection

    def _window(self, history: EventHistory) -> Span:
        windows.duration("settle", self.settle)
        window, too_old = windows.history_window(self.events_from, self.events_to, history.earliest(), self.clock.now())
        if too_old is not None:
            self.log.warning(
                "%s is more than 90 days ago and NOT in Event history: this run loads nothing of it. Only the log "
                "files of a trail go back further",
                too_old,
            )
        return window

    def _regions(self) -> list[str]:
        return parameters.regions("regions", self.regions) or self.hook.list_enabled_regions()

    # -- the run -----------------------------------------------------------------------------------

    def _persist_link(self, context: Context, region: str) -> None:
        if "ti" not in context:
            return
        CloudTrailEventHistoryLink.persist(
            context=context,
            operator=self,
            region_name=region,
            aws_partition=partition_of(region),
            event_source=(wanted.event_sources("event_sources", self.event_sources) or MWAA_EVENT_SOURCES)[0],
        )

    def _conclude(self, summary: EventHistorySummary, lookups: Lookups, context: Context) -> None:
        self.log.info(
            "%s Regions, complete up to %s. %s events = %s loaded + %s duplicate + %s filtered + %s quarantined. "
            "%s new rows in %s; %s new entries in %s. %s requests (%s throttled) in %.1f seconds.",
            len(summary.regions),
            summary.complete_to,
            summary.events,
            summary.loaded,
            summary.duplicate,
            summary.filtered,
            summary.quarantined,
            summary.loaded,
            lookups.warehouse.events,
            summary.lookups,
            lookups.name,
            summary.requests,
            summary.throttled,
            summary.seconds,
        )
        if summary.redacted:
            self.log.info("%s secret values were replaced by ***", summary.redacted)
        damaged = _quarantine_message(summary, lookups)
        if damaged and not self.fail_on_quarantine:
            self.log.warning("%s", damaged)
        if not summary.regions_refused and not (damaged and self.fail_on_quarantine):
            return
        push_of_failing(self, context, "summary", summary.as_dict())
        if summary.regions_refused:
            reasons = "".join(f"\n  {reason}" for reason in summary.regions_refused.values())
            raise CloudTrailEventHistoryError(
                f"{len(summary.regions_refused)} Regions could not be read, {len(summary.regions)} could; all that "
                f"was read is stored:{reasons}"
            )
        raise CloudTrailQuarantineError(damaged)

    # -- lineage -----------------------------------------------------------------------------------

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:  # noqa: ARG002
        """Return what was read and written, for the OpenLineage provider where it is installed."""
        from airflow_provider_cloudtrail.operators.lineage import operator_lineage

        account = f"{LOOKUP_SCHEME}{self.hook.read_account_id()}"
        sources = [(account, region) for region in self._regions()]
        return operator_lineage(sources, self.conn_id, self.schema, self.table, "lookups")


def _quarantine_message(summary: EventHistorySummary, lookups: Lookups) -> str:
    """Return what is wrong with the events of the window, or nothing."""
    lines = []
    if summary.quarantined:
        lines.append(f"{summary.quarantined} events were put into quarantine")
    if summary.known_quarantined:
        lines.append(f"{summary.known_quarantined} events of this window are in quarantine since earlier")
    if not lines:
        return ""
    reasons = "".join(f"\n  {reason}" for reason in summary.quarantine)
    where_to_look = f"{lookups.warehouse.quarantine} and {lookups.name}"
    return f"{'; '.join(lines)}. Everything else is stored. See {where_to_look}; the first:{reasons}"
