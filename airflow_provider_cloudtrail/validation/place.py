"""What the validation finds out about one account and Region: its digests, counted, and what no digest lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime

from airflow_provider_cloudtrail.audit_event import GAP, INVALID, MISSING, UNLISTED
from airflow_provider_cloudtrail.trail.delivered import AccountRegion, DeliveredFiles
from airflow_provider_cloudtrail.trail.digest import Chain, DigestKey
from airflow_provider_cloudtrail.trail.digest_chain import CheckedDigest, Coverage, DigestStatus, Gap
from airflow_provider_cloudtrail.trail.log_file import is_of
from airflow_provider_cloudtrail.validation.comparison import Comparison
from airflow_provider_cloudtrail.validation.digest_batches import DigestWithFiles
from airflow_provider_cloudtrail.validation.findings import About, Findings
from airflow_provider_cloudtrail.validation.run import Validation
from airflow_provider_cloudtrail.validation.summary import ValidationSummary
from airflow_provider_cloudtrail.validation.unlisted import about_log_file, report_unlisted


def recorded_chains(run: Validation, until: datetime, location: str) -> set[Chain]:
    """Return the chains of which an earlier run saw a digest that begins before a moment."""
    recorded = run.evidence.chains_between(run.window.start - run.window.lookback, until, location)
    return {chain for chain in (Chain(*names) for names in recorded) if is_of(chain, run.account_ids, run.regions)}


def count_gap(summary: ValidationSummary, findings: Findings, gap: Gap | None) -> None:
    """Count a gap between the digests of a chain, if there is one."""
    if gap is not None:
        chain = gap.chain
        about = About(gap.start, gap.end, chain.account_id, chain.region, chain.trail_name)
        count_absence(summary, findings, about, str(gap))


def count_absence(summary: ValidationSummary, findings: Findings, about: About, message: str) -> None:
    """Count a time without a digest."""
    summary.gaps += 1
    findings.add(GAP, about, message, objects=0)


class PlaceValidation:
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
            count_gap(summary, self._findings, coverage[chain].add(checked))

    def _conclude(self, coverage: Coverage) -> None:
        gap = coverage.rest()
        count_gap(self._summary, self._findings, gap)
        if gap is None and coverage.begun_or_expected and not coverage.covers_all:
            self._summary.pending.append(str(coverage.chain))
        chain, began_at = coverage.chain, coverage.began_at
        if began_at is None:
            return
        # A run of the same window saw it begin, too, but not before that.
        with self._run.ring.turn:
            recorded = recorded_chains(self._run, began_at, self._findings.location)
        if chain in recorded:
            lost = "although an earlier run saw digests of it"
            count_gap(self._summary, self._findings, Gap(chain, self._run.window.start, began_at, lost))
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
            self._comparison.accounted_for.update(file.uri for file in unlisted)
        abouts = [about_log_file(file, *self.names) for file in unlisted]
        number = report_unlisted(run, self._findings, abouts, "no digest lists it")
        whole = About(window.start, window.end, *self.names)
        place = " ".join(self.names)
        if more := files.unlisted_beyond:
            message = f"{place}: {more} more log files that no digest lists, whose names were not kept"
            self._findings.add(UNLISTED, whole, message, objects=more)
        if number and not self.chains:
            count_absence(summary, self._findings, whole, f"{place}: log files, but no digest at all")
        summary.files_unlisted += number + more
        return number + more
