"""
The way of the proof: digests to log files to the ledger, hour by hour of one account and Region after the other.

Reads digests and listings only. A log file is fetched where its ETag has changed since it was loaded, or
where it was never loaded and downloading was asked for. Needs no Airflow: a plain function can call it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from datetime import timedelta

from airflow_provider_cloudtrail.audit_event import GAP
from airflow_provider_cloudtrail.one_ahead import ahead_in
from airflow_provider_cloudtrail.stopping_pool import StoppingPool
from airflow_provider_cloudtrail.trail.bucket_threads import BucketThreads
from airflow_provider_cloudtrail.trail.delivered import (
    SLACK,
    AccountRegion,
    DeliveredFiles,
    PresentFile,
    account_regions,
    list_digests,
    list_logs,
    one_page_ahead,
)
from airflow_provider_cloudtrail.trail.digest import HOUR, Chain, DigestKey
from airflow_provider_cloudtrail.trail.digest_chain import Coverage
from airflow_provider_cloudtrail.trail.listings_ahead import listings_ahead
from airflow_provider_cloudtrail.validation.comparison import Comparison
from airflow_provider_cloudtrail.validation.digest_batches import PlaceDigests, in_batches
from airflow_provider_cloudtrail.validation.findings import About, Findings
from airflow_provider_cloudtrail.validation.place import PlaceValidation, count_absence, count_gap, recorded_chains
from airflow_provider_cloudtrail.validation.run import Validation
from airflow_provider_cloudtrail.validation.summary import NO_DIGEST, ValidationSummary
from airflow_provider_cloudtrail.validation.vanished import report_vanished
from airflow_provider_cloudtrail.warehouse.findings import Examined

_MARGIN = timedelta(hours=2)


def validate_trail(run: Validation) -> ValidationSummary:
    """
    Hold the log files of a window against the digests, and record what that gives.

    :raises StoreError: if the bucket does not answer; what was found out before is recorded.
    :raises WarehouseError: if the warehouse refuses.
    """
    with run.evidence.session():
        return _validate(run)


def _validate(run: Validation) -> ValidationSummary:
    started = time.monotonic()
    window = run.window
    summary = ValidationSummary()
    findings = Findings(summary, run.location, run.fail_on, run.now, run.verified_by, run.log)
    expected = recorded_chains(run, window.end, findings.location)
    recorded = frozenset(expected)
    before = recorded_chains(run, window.start, findings.location)
    with_digests: set[tuple[str, str]] = set()
    with BucketThreads() as pool:
        comparison = Comparison(run, summary, findings, pool)
        places = _places(run, summary, findings, comparison, before, recorded, pool)
        # While the ledger is asked about a batch, digests of the next one are fetched and verified.
        # Not left behind by an error: it may be asking Airflow for a connection, as who handles the error does.
        with StoppingPool(1, thread_name_prefix="cloudtrail-ahead") as ahead:
            for batch in ahead_in(ahead, in_batches(places)):
                comparison.ask([digest for part in batch for digest in part.digests])
                for part in batch:
                    place = part.place
                    place.count(part.digests)
                    comparison.report(len(part.digests))
                    if part.ended:
                        place.conclude(part.files)
                        expected -= place.chains
                        if place.chains:
                            with_digests.add(place.names)
                        summary.accounts_and_regions += 1
                comparison.store()
        report_vanished(run, summary, findings, comparison.accounted_for, pool)
    for chain in sorted(expected):
        gap = Coverage(chain, window.start, window.end, run.due, expected=True).rest()
        count_gap(summary, findings, gap)
    silent = {(chain.account_id, chain.region) for chain in expected}
    for account_id, region in _without_digests(run, with_digests | silent):
        about = About(window.start, window.end, account_id, region)
        count_absence(summary, findings, about, f"{' '.join(filter(None, about[2:4]))}: no digest at all")
    if summary.has_no_digest:
        findings.add(GAP, About(window.start, window.end), NO_DIGEST, objects=0, always_fails=True)
    run.evidence.write([], [], findings.take())
    run.evidence.findings.resolve(
        Examined(
            location=findings.location,
            start=window.start,
            end=run.due,
            unlisted_from=run.unlisted_from,
            account_ids=run.account_ids,
            regions=run.regions,
            with_digests=with_digests,
            seen_at=run.now,
            by=run.verified_by,
        )
    )
    summary.seconds = time.monotonic() - started
    return summary


def _without_digests(run: Validation, found: set[tuple[str, str]]) -> list[tuple[str | None, str | None]]:
    """Return what was asked for by name and has no digest: accounts, Regions or both."""
    if run.account_ids is not None and run.regions is not None:
        return sorted({(account_id, region) for account_id in run.account_ids for region in run.regions} - found)
    accounts = set(run.account_ids or ()) - {account_id for account_id, _ in found}
    regions = set(run.regions or ()) - {region for _, region in found}
    return [*((account_id, None) for account_id in sorted(accounts)), *((None, region) for region in sorted(regions))]


def _places(
    run: Validation,
    summary: ValidationSummary,
    findings: Findings,
    comparison: Comparison,
    before: Collection[Chain],
    recorded: Collection[Chain],
    pool: BucketThreads,
) -> Iterator[tuple[PlaceValidation, PlaceDigests]]:
    """Yield accounts and Regions, while threads list the digests and log files of the next ones."""
    window, bucket = run.window, run.location.bucket
    store = run.store_of(bucket)
    earliest = min(run.unlisted_from, window.start - _MARGIN)
    floor, ceiling = min(window.start - SLACK, earliest - HOUR), window.end + SLACK

    def digests_of(place: AccountRegion) -> Iterator[DigestKey]:
        start = min(window.start - window.lookback, earliest)
        yield from list_digests(store, place.digests, start, window.end + _MARGIN)

    def logs_of(found: tuple[AccountRegion, list[DigestKey]]) -> Iterator[PresentFile]:
        return list_logs(store, found[0], floor, ceiling)

    places = account_regions(store, run.location, run.account_ids, run.regions, pool)
    with_digests = ((place, list(keys)) for place, keys in listings_ahead(digests_of, places, pool))
    for (place, keys), logs in listings_ahead(logs_of, with_digests, pool):
        part = PlaceValidation(run, place, keys, before, recorded, summary, findings, comparison)
        files = DeliveredFiles(one_page_ahead(logs), store, bucket, place.logs, floor, ceiling)
        by_chain: dict[Chain, list[DigestKey]] = {chain: [] for chain in part.chains}
        for key in keys:
            if key.end > earliest:
                by_chain.setdefault(key.chain, []).append(key)
        yield part, PlaceDigests(run, by_chain.values(), files, comparison.accounted_for, pool)
