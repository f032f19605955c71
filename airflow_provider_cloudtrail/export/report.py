"""What people are told of an export: what it did and spent, and what of its window is in quarantine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

    from airflow_provider_cloudtrail.export.summary import ExportSummary
    from airflow_provider_cloudtrail.warehouse.base import Warehouse


def log_export(summary: ExportSummary, warehouse: Warehouse, log: logging.Logger) -> None:
    """Log what a run did, and what it spent."""
    log.info(
        "%s log files: %s read (%s without match), %s already in the ledger. %s records = %s loaded + %s duplicate "
        "+ %s filtered + %s quarantined. %s new rows in %s in %.1f seconds.",
        summary.files,
        summary.files_read,
        summary.files_without_match,
        summary.files_known,
        summary.records,
        summary.loaded,
        summary.duplicate,
        summary.filtered,
        summary.quarantined,
        summary.loaded,
        warehouse.events,
        summary.seconds,
    )
    log.info(
        "Spent: %s LIST and %s GET requests, %.1f MiB, %.1f MiB unpacked. Seconds: listing %.1f, asking the ledger "
        "%.1f, storing %.1f; and in threads, added up: fetching %.1f, unpacking %.1f, parsing %.1f.",
        summary.requests.get("LIST", 0),
        summary.requests.get("GET", 0),
        summary.bytes / 2**20,
        summary.unpacked_bytes / 2**20,
        summary.seconds_listing,
        summary.seconds_asking,
        summary.seconds_writing,
        summary.seconds_getting,
        summary.seconds_unpacking,
        summary.seconds_parsing,
    )
    if summary.without_folder:
        log.warning(
            "Nothing was ever delivered of %s: there is no such folder. Check the names in account_ids and regions; "
            "where nothing has happened yet, there is none either",
            ", ".join(summary.without_folder),
        )
    if summary.redacted:
        log.info("%s secret values were replaced by ***", summary.redacted)


def quarantine_message(summary: ExportSummary, warehouse: Warehouse) -> str | None:
    """Return what is wrong with the window, or None if nothing is."""
    lines = []
    if summary.files_quarantined or summary.quarantined:
        lines.append(f"{summary.files_quarantined} files and {summary.quarantined} records were put into quarantine")
    if summary.files_not_read_again:
        lines.append(f"{summary.files_not_read_again} files, wanted for a wider selection, cannot be read any more")
    if summary.known_quarantined:
        number = len(summary.known_quarantined)
        lines.append(f"at least {number} files of this window, or records of them, are in quarantine since earlier")
    if not lines:
        return None
    reasons = "".join(f"\n  {reason}" for reason in (*summary.quarantine, *summary.known_quarantined))
    where = f"{warehouse.quarantine} and {warehouse.files}"
    return f"{'; '.join(lines)}. Everything else is stored. See {where}; the first:{reasons}"
