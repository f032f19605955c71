"""Fill the audit table by SQL alone, for trails that are too large for any worker to read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_provider_cloudtrail import parameters, windows
from airflow_provider_cloudtrail.assets import tell_outlets
from airflow_provider_cloudtrail.exceptions import CloudTrailError, CloudTrailWarehouseError
from airflow_provider_cloudtrail.operators import wanted
from airflow_provider_cloudtrail.operators.base import WarehouseOperator, require_athena, run_of, warehouse_of, where
from airflow_provider_cloudtrail.pushdown.engine import WarehouseEngine
from airflow_provider_cloudtrail.pushdown.fill import PushdownSummary, fill_audit_table
from airflow_provider_cloudtrail.pushdown.records import Records, spans
from airflow_provider_cloudtrail.trail.selection import MWAA_EVENT_SOURCES
from airflow_provider_cloudtrail.warehouse.base import WarehouseError

if TYPE_CHECKING:
    from airflow_provider_cloudtrail._compat import Context


class AthenaMwaaAuditEventsOperator(WarehouseOperator):
    """
    Fill the audit table from the trail's table by SQL alone: Athena reads the log files, the worker reads none.

    The same rows with the same values as :class:`~..transfers.cloudtrail_to_sql.CloudTrailToSqlOperator` loads into
    the same tables, and the same ledger, so that either reads what the other has not. Rows are written first, the
    ledger last and only for files whose wanted events are all in the table: a run can be killed and repeated at any
    moment.

    What it does not give, because SQL over this table cannot know it:

    - ``log_file_index`` and, in the ledger, ``etag``, ``size_bytes`` and ``sha256`` are null. Nothing proves that what
      Athena read is what CloudTrail signed: ``CloudTrailValidateLogsOperator(download_missing=True)`` does. Bytes
      behind the end of a gzip file, which the worker path refuses, may be read as records.
    - No ``no_match``: files that the worker path does not parse are ``loaded``, and their records counted.
    - ``raw_event`` and ``resources`` are put together again from the columns: members that no documented record has,
      members that are null, and the order of members of an object are lost; booleans that were written as text are
      booleans, and numbers where text is documented are text. Half a surrogate pair may be ``?`` where the worker path
      writes U+FFFD.
    - No quarantine. A log file with a wanted record that SQL cannot read as the worker path reads it, secrets that
      cannot be taken out among them, is left out as a whole and named in ``left``. Files without any record are not
      seen; nor are those that lie in the folder of another day, at the ends of the window and of ``days_at_once``. Run
      ``CloudTrailToSqlOperator`` for the same window behind this operator: it reads just these files.
    - A log file that Athena cannot read at all fails the task, and the message names it. Once the ledger has it in
      quarantine it is passed over.

    Athena reads, and bills, all days of the window three times (what is wanted, rows, ledger), those of look-back and
    ``settle`` included.

    The role of ``conn_id`` needs what the warehouse needs, and ``s3:GetObject``, ``s3:ListBucket`` and, for SSE-KMS,
    ``kms:Decrypt`` on the trail's bucket and key, ``glue:GetTable`` and ``glue:GetDatabase`` on the trail's table.

    .. seealso::
        For more information on how to use this operator, take a look at the README.

    :param trail_table: table over the trail, of ``AthenaCloudTrailTableOperator``. (templated)
    :param trail_schema: its database. None: ``schema``. (templated)
    :param account_ids: accounts to read. None: all that the table shows; a table with injected accounts needs
        them. (templated)
    :param regions: Regions to read. None: all that the table shows. (templated)
    :param delivered_from: begin of the window of *delivery* (the stamp in the file names), as a
        ``datetime`` or in ISO 8601, UTC. (templated)
    :param delivered_to: its end, not included. (templated)
    :param lookback: how far before the window files are read too, because keys do not appear in order.
    :param settle: how far behind the window files are read too.
    :param event_sources: services whose events are wanted; None: all. (templated)
    :param event_names: API actions that are wanted; None: all. (templated)
    :param environment_names: environments (or MWAA Serverless workflows) that are wanted; None: all. (templated)
    :param include_environment_activity: also load what environments did in AWS themselves.
    :param conn_id: connection of the warehouse, of type ``athena``. (templated)
    :param table: audit table; its ledger is ``<table>_files``. Created if missing. (templated)
    :param schema: database of the tables, which must exist. None: the connection's default. (templated)
    :param staging_uri: S3 folder of the warehouse, where writers keep each other out; the same for all tasks that
        write these tables. (templated)
    :param days_at_once: most days of delivery that one statement reads, so that none runs into Athena's time limit.
        Fewer where many files are in quarantine, which a statement has to name.
    :param aws_conn_id: AWS connection that reads and writes ``staging_uri``. (templated)
    :param region_name: Region of the AWS connection. (templated)
    :param verify: whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: configuration of the botocore clients.
    :param outlets: assets, such as :func:`~airflow_provider_cloudtrail.assets.audit_table`; their events carry the
        summary as extra.
    :return: summary of the run (XCom): see :class:`~airflow_provider_cloudtrail.pushdown.fill.PushdownSummary`.
    :raises ValueError: for wrong parameters, before any work.
    :raises CloudTrailWarehouseError: if Athena fails; the spans before it are stored.
    """

    template_fields: Sequence[str] = aws_template_fields(
        "trail_table",
        "trail_schema",
        "account_ids",
        "regions",
        "delivered_from",
        "delivered_to",
        "event_sources",
        "event_names",
        "environment_names",
        "conn_id",
        "table",
        "schema",
        "staging_uri",
    )
    ui_color = "#e7157b"
    ui_fgcolor = "#ffffff"

    def __init__(
        self,
        *,
        trail_table: str = "cloudtrail_logs",
        trail_schema: str | None = None,
        account_ids: Sequence[str] | str | None = None,
        regions: Sequence[str] | str | None = None,
        delivered_from: Any = "{{ data_interval_start | default(none) }}",
        delivered_to: Any = "{{ data_interval_end | default(none) }}",
        lookback: timedelta = timedelta(days=1),
        settle: timedelta = timedelta(hours=1),
        event_sources: Sequence[str] | str | None = MWAA_EVENT_SOURCES,
        event_names: Sequence[str] | str | None = None,
        environment_names: Sequence[str] | str | None = None,
        include_environment_activity: bool = False,
        conn_id: str = "cloudtrail_warehouse",
        table: str = "mwaa_audit_events",
        schema: str | None = None,
        staging_uri: str | None = None,
        days_at_once: int = 7,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.trail_table = trail_table
        self.trail_schema = trail_schema
        self.account_ids = account_ids
        self.regions = regions
        self.delivered_from = delivered_from
        self.delivered_to = delivered_to
        self.lookback = lookback
        self.settle = settle
        self.event_sources = event_sources
        self.event_names = event_names
        self.environment_names = environment_names
        self.include_environment_activity = include_environment_activity
        self.conn_id = conn_id
        self.table = table
        self.schema = schema
        self.staging_uri = staging_uri
        self.days_at_once = days_at_once

    def work(self, context: Context) -> dict[str, Any]:
        """Have Athena load what was delivered in the window."""
        selection = wanted.selection(
            self.event_sources, self.event_names, self.environment_names, self.include_environment_activity
        )
        if parameters.whole_number("days_at_once", self.days_at_once) < 1:
            raise ValueError(f"days_at_once={self.days_at_once} reads nothing; write 1 or more")
        account_ids = parameters.account_ids("account_ids", self.account_ids)
        regions = parameters.regions("regions", self.regions)
        window = windows.window(self.delivered_from, self.delivered_to, self.lookback, self.settle)
        schema = parameters.identifier("schema", self.schema, required=False)
        trail = _quoted(
            parameters.identifier("trail_schema", self.trail_schema, required=False) or schema,
            parameters.identifier("trail_table", self.trail_table),
        )
        staging_uri = parameters.text(self.staging_uri)
        staging = self.hook.get_staging(staging_uri, "default") if staging_uri else None
        warehouse = warehouse_of(self.conn_id, self.table, schema, staging)
        require_athena(self.conn_id, warehouse.engine)
        records = [
            Records(trail, warehouse.files, span, selection, account_ids, regions)
            for span in spans(window, self.days_at_once)
        ]
        try:
            warehouse.prepare()
            summary = fill_audit_table(
                records,
                events=warehouse.events,
                engine=WarehouseEngine(warehouse),
                loaded_by=run_of(context),
                log=self.log,  # type: ignore[arg-type]
            )
        except WarehouseError as error:
            raise CloudTrailWarehouseError(str(error)) from None
        except ValueError:
            raise
        except Exception as error:
            # Airflow 3 logs the local variables of every frame, and here they may hold values of records.
            raise CloudTrailError(where(error)) from None
        self._conclude(summary, warehouse.events)
        tell_outlets(context, self.outlets, summary.as_dict())
        return summary.as_dict()

    def _conclude(self, summary: PushdownSummary, events: str) -> None:
        self.log.info(
            "%s log files: %s records = %s loaded + %s duplicate + %s filtered, in %s. %s files were in the "
            "ledger already.",
            summary.files,
            summary.records,
            summary.loaded,
            summary.duplicate,
            summary.filtered,
            events,
            summary.files_known,
        )
        if summary.files_left:
            self.log.warning(
                "%s files are left to CloudTrailToSqlOperator, which reads them when it is run for the same window: %s",
                summary.files_left,
                ", ".join(f"{files} {reason}" for reason, files in sorted(summary.reasons.items())),
            )


def _quoted(*names: str | None) -> str:
    return ".".join(f'"{name}"' for name in names if name is not None)
