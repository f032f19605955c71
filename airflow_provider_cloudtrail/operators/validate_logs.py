"""Prove that the log files of a trail, and what was loaded from them, are complete and unaltered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_provider_cloudtrail import parameters, windows
from airflow_provider_cloudtrail.audit_event import GAP, MISSING, NOT_LOADED
from airflow_provider_cloudtrail.exceptions import (
    CloudTrailBucketError,
    CloudTrailDigestsPendingError,
    CloudTrailIntegrityError,
    CloudTrailWarehouseError,
)
from airflow_provider_cloudtrail.operators.base import WarehouseOperator, push_of_failing, run_of, warehouse_of
from airflow_provider_cloudtrail.trail.public_keys import KeyRing
from airflow_provider_cloudtrail.trail.reader import MAX_FILE_BYTES
from airflow_provider_cloudtrail.trail.store import Store, StoreError
from airflow_provider_cloudtrail.validation.findings import location_uri
from airflow_provider_cloudtrail.validation.run import Validation
from airflow_provider_cloudtrail.validation.summary import NO_DIGEST, ValidationSummary
from airflow_provider_cloudtrail.validation.validate import validate_trail
from airflow_provider_cloudtrail.warehouse.base import WarehouseError
from airflow_provider_cloudtrail.warehouse.evidence import Evidence
from airflow_provider_cloudtrail.warehouse.staging import DEFAULT_ROLE

if TYPE_CHECKING:
    from airflow_provider_cloudtrail._compat import Context

FINDINGS = tuple(ValidationSummary().findings())
"""What ``fail_on`` can name."""

_NAMED = 10


class CloudTrailValidateLogsOperator(WarehouseOperator):
    """
    Hold the log files of a trail, and what the audit table's ledger says of them, against the signed digests.

    For all accounts and Regions: every digest is verified (name and place, signature, the digest before
    it), every log file that it lists is compared with the SHA-256 in the ledger, without fetching it
    again. Also found: log files that no digest lists, times without a digest, accounts and Regions that
    fell silent, digests that are missing at the end or altogether. A log file is fetched only if its ETag
    has changed since it was loaded, or with ``download_missing``; what was found in it is kept in
    ``<table>_hashes``, so that it is fetched once.

    Everything is recorded first: one row per digest in ``<table>_digests``, one per finding in
    ``<table>_findings`` (with ``resolved_at`` once it is gone); ``digest_uri``, ``digest_status`` and
    ``verified_at`` in the ledger. Then the task fails for what ``fail_on`` names,
    and always if the window has no digest.

    A digest comes up to about an hour after the time that it covers. A window that is more recent than
    ``settle`` and wrong in nothing else fails as well, but is tried again as the task's ``retries`` say.

    .. seealso::
        For more information on how to use this operator, take a look at the README.

    :param bucket: S3 bucket that the trail delivers to, or ``file://`` URI of a folder with a copy of one. (templated)
    :param prefix: log file prefix of the trail: what comes before ``AWSLogs/`` in the keys. (templated)
    :param organization_id: ``o-...``: read only the layout of this organization. None: all layouts. (templated)
    :param trail_name: name or ARN of the trail, instead of bucket, prefix and organization_id. (templated)
    :param account_ids: accounts to validate; each must have digests. None: those that have a folder, or for
        ``trail_name`` without an organization the trail's own. (templated)
    :param regions: Regions to validate; each must have digests. None: those that have a folder. (templated)
    :param delivered_from: begin of the window of delivery, as a ``datetime`` or in ISO 8601, UTC. (templated)
    :param delivered_to: its end, not included. (templated)
    :param lookback: how far before the window digests are looked for whose chain must go on in it.
    :param settle: how long after a moment the digest that covers it may be delivered.
    :param download_missing: fetch and hash log files that were never loaded, too.
    :param fail_on: what fails the task: ``invalid`` digests; ``altered``, ``deleted``, ``unlisted`` log
        files; ``gap``: times without a digest, and digests that others name and that are not there;
        ``not_loaded``: log files that the ledger does not know. (templated)
    :param conn_id: connection of the warehouse: any ``DbApiHook``, or an Iceberg catalog. (templated)
    :param table: audit table; beside it ``<table>_digests``, ``<table>_findings``. (templated)
    :param schema: schema of the tables, which must exist. None: the connection's default. (templated)
    :param staging_uri: S3 folder (``s3://bucket/folder``) that Athena needs, the same as that of the export; the
        other engines need none. (templated)
    :param max_file_bytes: most bytes that a fetched log file may have when unpacked.
    :param aws_conn_id: AWS connection that reads the bucket and asks for the public keys. (templated)
    :param region_name: Region of the CloudTrail API for ``trail_name``; keys come from each signing Region. (templated)
    :param verify: whether to verify TLS certificates, or the path of a CA bundle. (templated)
    :param botocore_config: configuration of the botocore clients.
    :return: summary of the run (XCom): see :class:`~airflow_provider_cloudtrail.validation.summary.ValidationSummary`;
        its ``not_loaded`` can be given to ``CloudTrailToSqlOperator`` as ``files``, with ``multiple_outputs=True``
        as ``validate.output["not_loaded"]``.
    :raises ValueError: for wrong parameters, before any work.
    :raises CloudTrailError: if bucket, API or warehouse fail; ``CloudTrailIntegrityError`` see above.
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
        "fail_on",
        "conn_id",
        "table",
        "schema",
        "staging_uri",
    )
    ui_color = "#b0084d"
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
        lookback: timedelta = timedelta(days=7),
        settle: timedelta = timedelta(hours=2),
        download_missing: bool = False,
        fail_on: Sequence[str] | str = ("invalid", "altered", "deleted", "gap", "unlisted"),
        conn_id: str = "cloudtrail_warehouse",
        table: str = "mwaa_audit_events",
        schema: str | None = None,
        staging_uri: str | None = None,
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
        self.download_missing = download_missing
        self.fail_on = fail_on
        self.conn_id = conn_id
        self.table = table
        self.schema = schema
        self.staging_uri = staging_uri
        self.max_file_bytes = max_file_bytes

    def work(self, context: Context) -> dict[str, Any]:
        """Validate the window."""
        fail_on = self._fail_on()
        window = windows.window(self.delivered_from, self.delivered_to, self.lookback, self.settle)
        regions = parameters.regions("regions", self.regions)
        max_file_bytes = parameters.file_size("max_file_bytes", self.max_file_bytes)
        download_missing = parameters.switch("download_missing", self.download_missing)
        location, account_ids = self.hook.locate(
            self.bucket, self.prefix, self.organization_id, self.trail_name, self.account_ids
        )
        staging_uri = parameters.text(self.staging_uri)
        staging = self.hook.get_staging(staging_uri, DEFAULT_ROLE) if staging_uri else None
        evidence = Evidence(warehouse_of(self.conn_id, self.table, self.schema, staging))
        try:
            evidence.prepare()
            summary = validate_trail(
                Validation(
                    location=location,
                    window=window,
                    store_of=self._store_of,
                    evidence=evidence,
                    ring=KeyRing(self.hook.list_public_keys, window.start, window.end),
                    account_ids=account_ids,
                    regions=regions,
                    download_missing=download_missing,
                    max_file_bytes=max_file_bytes,
                    fail_on=fail_on,
                    verified_by=run_of(context),
                    log=self.log,  # type: ignore[arg-type]
                )
            )
        except WarehouseError as error:
            raise CloudTrailWarehouseError(str(error)) from None
        except StoreError as error:
            raise CloudTrailBucketError(str(error)) from None
        self._conclude(summary, fail_on, evidence, location_uri(location), context)
        return summary.as_dict()

    def _store_of(self, bucket: str) -> Store:
        try:
            return self.hook.get_store(bucket)
        except CloudTrailBucketError as error:
            # A bucket that the trail delivered to before may be gone; that is a finding, not the end of the run.
            raise StoreError(str(error)) from None

    # -- parameters --------------------------------------------------------------------------------

    def _fail_on(self) -> list[str]:
        # An empty list is a run that only records; not what a template makes of a missing value.
        names = [] if self.fail_on in ((), [], "", "[]", "()") else parameters.names("fail_on", self.fail_on)
        if names is None:
            raise ValueError(
                f"fail_on is not set; write some of {', '.join(FINDINGS)}, or [] to fail only where there is no digest"
            )
        if unknown := sorted(set(names) - set(FINDINGS)):
            raise ValueError(f"fail_on: there is no {', '.join(unknown)}; write some of {', '.join(FINDINGS)}")
        return names

    # -- the run -----------------------------------------------------------------------------------

    def _conclude(
        self, summary: ValidationSummary, fail_on: list[str], evidence: Evidence, looked: str, context: Context
    ) -> None:
        self.log.info(
            "%s accounts and Regions, %s digests: %s valid (%s proven by the next one), %s invalid, %s missing; "
            "%s times without a digest. %s log files listed: %s verified, %s altered, %s deleted, %s never loaded. "
            "%s log files that no digest lists. %s log files fetched. Recorded in %s in %.1f seconds.",
            summary.accounts_and_regions,
            summary.digests,
            summary.digests_valid,
            summary.digests_vouched,
            summary.digests_invalid,
            summary.digests_missing,
            summary.gaps,
            summary.files_listed,
            summary.files_verified,
            summary.files_altered,
            summary.files_deleted,
            summary.files_not_loaded,
            summary.files_unlisted,
            summary.files_downloaded,
            evidence.findings.name,
            summary.seconds,
        )
        for begin in summary.began:
            self.log.info("New: %s", begin)
        problems = _problems(summary, fail_on, looked)
        if not problems and not summary.pending:
            return
        push_of_failing(self, context, "summary", summary.as_dict())
        if problems:
            raise CloudTrailIntegrityError(f"{problems}\nEverything is recorded; see {evidence.findings.name}.")
        raise CloudTrailDigestsPendingError(
            "nothing is wrong, but these do not cover the end of the window yet, and their digests may still come: "
            f"{'; '.join(summary.pending[:_NAMED])}"
        )


def _problems(summary: ValidationSummary, fail_on: list[str], looked: str) -> str:
    """Return what must fail the task, or nothing."""
    lines = []
    if summary.has_no_digest:
        lines.append(
            f"{NO_DIGEST} Nothing of the kind lies below {looked}; check bucket, prefix and organization_id, too"
        )
    for kind, number in summary.findings().items():
        if number and kind in fail_on:
            lines.append(f"{kind}: {number}")
            lines += [f"  {found}" for found in summary.found.get(kind, ())[:_NAMED]]
            if kind == GAP:
                lines += [f"  {found}" for found in summary.found.get(MISSING, ())[:_NAMED]]
            if kind == NOT_LOADED:
                lines += [f"  {uri}" for uri in summary.not_loaded[:_NAMED]]
    return "\n".join(lines)
