"""
The way of the proof: digests to log files to the ledger, hour by hour of one account and Region after the other.

Reads digests and listings only. A log file is fetched where its ETag has changed since it was loaded, or
where it was never loaded and downloading was asked for. Needs no Airflow: a plain function can call it.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from airflow_provider_cloudtrail.audit_event import GAP, INVALID, MISSING, UNLISTED
from airflow_provider_cloudtrail.comparison import Comparison
from airflow_provider_cloudtrail.digest_batches import DigestWithFiles, PlaceDigests, in_batches
from airflow_provider_cloudtrail.trail.bucket_threads import BucketThreads
from airflow_provider_cloudtrail.trail.delivered import (
    SLACK,
    AccountRegion,
    DeliveredFiles,
    PresentFile,
    UnlistedFile,
    account_regions,
    list_digests,
    list_logs,
    one_ahead,
    one_page_ahead,
)
from airflow_provider_cloudtrail.trail.digest import HOUR, Chain, DigestKey
from airflow_provider_cloudtrail.trail.digest_chain import CheckedDigest, Coverage, DigestStatus, Gap
from airflow_provider_cloudtrail.trail.listings_ahead import listings_ahead
from airflow_provider_cloudtrail.trail.log_file import DeliveryWindow, TrailLocation, is_of
from airflow_provider_cloudtrail.trail.public_keys import KeyRing
from airflow_provider_cloudtrail.trail.reader import MAX_FILE_BYTES
from airflow_provider_cloudtrail.trail.store import Store
from airflow_provider_cloudtrail.validation_findings import About, Findings, finding_id
from airflow_provider_cloudtrail.validation_summary import ValidationSummary
from airflow_provider_cloudtrail.warehouse.evidence import Evidence, Examined, FileVerdicts

log = logging.getLogger(__name__)

_MARGIN = timedelta(hours=2)
_MINUTE = timedelta(minutes=1)
# Unlisted log files that are recorded at once.
_PORTION = 10_000


@dataclass(frozen=True)
class Validation:
    """
    What a run needs.

    :param location: where the trail delivers to.
    :param window: which deliveries; how far its ``lookback`` reaches back, chains of digests are looked
        for that must go on; what is younger than its ``settle`` need not have a digest yet.
    :param store_of: returns the store of a bucket.
    :param evidence: prepared, see :meth:`Evidence.prepare`.
    :param ring: the public keys.
    :param account_ids: accounts; None: all.
    :param regions: Regions; None: all.
    :param download_missing: whether to fetch and hash files that the ledger has no hash of.
    :param max_file_bytes: most bytes that a fetched file may have when unpacked.
    :param fail_on: kinds of findings for which the caller fails, for the column ``fails``.
    :param verified_by: who does it, for the column of that name.
    :param now: time of the run, UTC.
    :param log: receives a line for each account and Region, and for each finding.
    """

    location: TrailLocation
    window: DeliveryWindow
    store_of: Callable[[str], Store]
    evidence: Evidence
    ring: KeyRing
    account_ids: Collection[str] | None = None
    regions: Collection[str] | None = None
    download_missing: bool = False
    max_file_bytes: int = MAX_FILE_BYTES
    fail_on: Collection[str] = ()
    verified_by: str | None = None
    now: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    log: logging.Logger = log

    @property
    def due(self) -> datetime:
        """Up to where digests must be there."""
        return min(self.window.end, self.now - self.window.settle)

    @property
    def unlisted_from(self) -> datetime:
        """
        Since when unlisted log files are looked for.

        What was younger than ``settle`` when the window before was validated could not be judged then.
        """
        return self.window.start - self.window.settle


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
    expected = _recorded_chains(run, window.end, findings.location)
    recorded = frozenset(expected)
    before = _recorded_chains(run, window.start, findings.location)
    with_digests: set[tuple[str, str]] = set()
    with BucketThreads() as pool:
        comparison = Comparison(run, summary, findings, pool)
        places = _places(run, summary, findings, comparison, before, recorded, pool)
        # While the ledger is asked about a batch, digests of the next one are fetched and verified.
        with closing(one_ahead(in_batches(places))) as ahead:
            for batch in ahead:
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
    for chain in sorted(expected):
        gap = Coverage(chain, window.start, window.end, run.due, expected=True).rest()
        _count_gap(summary, findings, gap)
    silent = {(chain.account_id, chain.region) for chain in expected}
    for account_id, region in _without_digests(run, with_digests | silent):
        about = About(window.start, window.end, account_id, region)
        _count_absence(summary, findings, about, f"{' '.join(filter(None, about[2:4]))}: no digest at all")
    if not summary.digests_valid + summary.digests_invalid:
        message = "no digest at all: is log file validation switched on, or were the digests deleted?"
        findings.add(GAP, About(window.start, window.end), message, objects=0, always_fails=True)
    run.evidence.write([], [], findings.take())
    run.evidence.resolve(
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


def _recorded_chains(run: Validation, until: datetime, location: str) -> set[Chain]:
    """Return the chains of which an earlier run saw a digest that begins before a moment."""
    recorded = run.evidence.chains_between(run.window.start - run.window.lookback, until, location)
    return {chain for chain in (Chain(*names) for names in recorded) if is_of(chain, run.account_ids, run.regions)}


def _without_digests(run: Validation, found: set[tuple[str, str]]) -> list[tuple[str | None, str | None]]:
    """Return what was asked for by name and has no digest: accounts, Regions or both."""
    if run.account_ids is not None and run.regions is not None:
        return sorted({(account_id, region) for account_id in run.account_ids for region in run.regions} - found)
    accounts = set(run.account_ids or ()) - {account_id for account_id, _ in found}
    regions = set(run.regions or ()) - {region for _, region in found}
    return [*((account_id, None) for account_id in sorted(accounts)), *((None, region) for region in sorted(regions))]


def _count_gap(summary: ValidationSummary, findings: Findings, gap: Gap | None) -> None:
    if gap is not None:
        chain = gap.chain
        about = About(gap.start, gap.end, chain.account_id, chain.region, chain.trail_name)
        _count_absence(summary, findings, about, str(gap))


def _count_absence(summary: ValidationSummary, findings: Findings, about: About, message: str) -> None:
    summary.gaps += 1
    findings.add(GAP, about, message, objects=0)


def _places(
    run: Validation,
    summary: ValidationSummary,
    findings: Findings,
    comparison: Comparison,
    before: Collection[Chain],
    recorded: Collection[Chain],
    pool: BucketThreads,
) -> Iterator[tuple[_AccountRegion, PlaceDigests]]:
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
        part = _AccountRegion(run, place, keys, before, recorded, summary, findings, comparison)
        files = DeliveredFiles(one_page_ahead(logs), store, bucket, place.logs, floor, ceiling)
        by_chain: dict[Chain, list[DigestKey]] = {chain: [] for chain in part.chains}
        for key in keys:
            if key.end > earliest:
                by_chain.setdefault(key.chain, []).append(key)
        yield part, PlaceDigests(run, by_chain.values(), files, pool)


class _AccountRegion:
    """
    One account and Region of a run.

    :param keys: its digests.
    :param before: chains of which an earlier run saw digests from before the window.
    :param recorded: these, and those of which it saw digests in the window.
    """

    def __init__(
        self,
        run: Validation,
        place: AccountRegion,
        keys: list[DigestKey],
        before: Collection[Chain],
        recorded: Collection[Chain],
        summary: ValidationSummary,
        findings: Findings,
        comparison: Comparison,
    ) -> None:
        self._run = run
        self._summary = summary
        self._findings = findings
        self._comparison = comparison
        self.names = (place.account_id, place.region)
        self.chains = {key.chain for key in keys if not key.chain.backfill}
        """Chains, those of backfill digests left out, of which a digest was listed."""
        window = run.window
        expected = {key.chain for key in keys if key.end <= window.start}.union(before)
        self._coverage = {
            chain: Coverage(
                chain, window.start, window.end, run.due, expected=chain in expected, recorded=chain in recorded
            )
            for chain in self.chains
        }
        self._counted = Counter[str]()

    def count(self, digests: Iterable[DigestWithFiles]) -> None:
        """Count some of its digests in."""
        for digest in digests:
            self._count(digest.checked)

    def conclude(self, files: DeliveredFiles) -> None:
        """Find what is missing at the end, and the log files that no digest lists."""
        for chain in sorted(self._coverage):
            self._conclude(self._coverage[chain])
        counted = self._counted
        self._run.log.info(
            "%s %s: %s digests (%s), %s unlisted log files",
            *self.names,
            counted.total(),
            ", ".join(f"{number} {status}" for status, number in sorted(counted.items())) or "none",
            self._unlisted(files),
        )

    # -- digests -----------------------------------------------------------------------------------

    def _count(self, checked: CheckedDigest) -> None:
        summary, chain, coverage = self._summary, checked.key.chain, self._coverage
        summary.digests += 1
        summary.digests_backfill += chain.backfill
        self._counted[checked.status.value] += 1
        if checked.valid:
            summary.digests_valid += 1
            summary.digests_vouched += checked.proof is not None and checked.proof.value == "next_digest"
        else:
            missing = checked.status is DigestStatus.MISSING
            summary.digests_missing += missing
            summary.digests_invalid += not missing
            uri = self._comparison.uri_of(checked)
            about = About(checked.start, checked.end, chain.account_id, chain.region, chain.trail_name, uri)
            self._findings.add(MISSING if missing else INVALID, about, str(checked.fault))
        if chain in coverage:
            _count_gap(summary, self._findings, coverage[chain].add(checked))

    def _conclude(self, coverage: Coverage) -> None:
        gap = coverage.rest()
        _count_gap(self._summary, self._findings, gap)
        if gap is None and coverage.begun_or_expected and not coverage.covers_all:
            self._summary.pending.append(str(coverage.chain))
        chain, began_at = coverage.chain, coverage.began_at
        if began_at is None:
            return
        # A run of the same window saw it begin, too, but not before that.
        with self._run.ring.turn:
            recorded = _recorded_chains(self._run, began_at, self._findings.location)
        if chain in recorded:
            lost = "although an earlier run saw digests of it"
            _count_gap(self._summary, self._findings, Gap(chain, self._run.window.start, began_at, lost))
        else:
            self._summary.began.append(f"{chain}: first digest from {began_at.isoformat()}")

    # -- log files ---------------------------------------------------------------------------------

    def _unlisted(self, files: DeliveredFiles) -> int:
        run, summary = self._run, self._summary
        window = run.window
        unlisted = [file for file in files.unlisted.values() if run.unlisted_from <= file.delivered_at < run.due]
        if unlisted:
            # In the order in which it was found out.
            self._comparison.store()
        unlisted = self._not_reported_before(unlisted)
        for start in range(0, len(unlisted), _PORTION):
            portion = unlisted[start : start + _PORTION]
            for file in portion:
                self._findings.add(UNLISTED, self._about(file), "no digest lists it")
            verdict = FileVerdicts([file.uri for file in portion], None, UNLISTED, run.now)
            with run.ring.turn:
                run.evidence.write([], [verdict], self._findings.take())
        whole = About(window.start, window.end, *self.names)
        place = " ".join(self.names)
        if more := files.unlisted_beyond:
            message = f"{place}: {more} more log files that no digest lists, whose names were not kept"
            self._findings.add(UNLISTED, whole, message, objects=more)
        if unlisted and not self.chains:
            _count_absence(summary, self._findings, whole, f"{place}: log files, but no digest at all")
        number = len(unlisted) + more
        summary.files_unlisted += number
        return number

    def _not_reported_before(self, unlisted: list[UnlistedFile]) -> list[UnlistedFile]:
        """Leave out what lies before the window and was reported by the run of the window before."""
        run, location = self._run, self._findings.location
        before = {
            finding_id(UNLISTED, location, self._about(file)): file.key
            for file in unlisted
            if file.delivered_at < run.window.start
        }
        with run.ring.turn:
            known = run.evidence.still_there(list(before), run.now, run.verified_by)
        reported = {before[one] for one in known}
        return [file for file in unlisted if file.key not in reported]

    def _about(self, file: UnlistedFile) -> About:
        # Stamps are on the minute.
        end = file.delivered_at + _MINUTE
        return About(file.delivered_at, end, *self.names, object_uri=file.uri)
