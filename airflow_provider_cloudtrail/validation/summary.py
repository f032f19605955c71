"""What a validation found out, in numbers and with the first findings by name."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_provider_cloudtrail.audit_event import ALTERED, DELETED, GAP, INVALID, NOT_LOADED, UNLISTED

NO_DIGEST = "no digest at all: is log file validation switched on, or were the digests deleted?"
"""What is said of a window without any."""
NAMED = 100
"""Findings of one kind that are named."""


@dataclass
class ValidationSummary:
    """
    What a run found out about its window.

    :param accounts_and_regions: pairs that have a folder of digests or log files.
    :param digests: digests that cover a part of the window, missing ones included.
    :param digests_valid: of these, signed by CloudTrail, unmoved and in their chain.
    :param digests_vouched: of the valid ones, proven by the next digest because their metadata are lost.
    :param digests_invalid: of these, not.
    :param digests_missing: of these, named by the next digest and not in the bucket.
    :param digests_backfill: of these, backfill digests.
    :param files_listed: log files that valid digests list.
    :param files_verified: of these, what was loaded (or downloaded) is what CloudTrail delivered.
    :param files_altered: of these, it is not.
    :param files_deleted: of these, not in the bucket any more.
    :param files_not_loaded: of these, without a hash in the ledger, and not downloaded.
    :param files_downloaded: fetched by this run.
    :param files_unlisted: log files delivered in the window, in the bucket or only in the ledger, that no digest lists.
    :param gaps: times without a digest.
    :param pending: chains whose newest digests may still be delivered.
    :param began: chains of which the first digest ever lies in the window.
    :param seconds: how long it took.
    :param not_loaded: URIs of the first 1,000 that were not loaded, for ``files`` of CloudTrailToSqlOperator.
    :param found: for each kind of finding, the first 100 as text.
    """

    accounts_and_regions: int = 0
    digests: int = 0
    digests_valid: int = 0
    digests_vouched: int = 0
    digests_invalid: int = 0
    digests_missing: int = 0
    digests_backfill: int = 0
    files_listed: int = 0
    files_verified: int = 0
    files_altered: int = 0
    files_deleted: int = 0
    files_not_loaded: int = 0
    files_downloaded: int = 0
    files_unlisted: int = 0
    gaps: int = 0
    pending: list[str] = field(default_factory=list)
    began: list[str] = field(default_factory=list)
    seconds: float = 0.0
    not_loaded: list[str] = field(default_factory=list)
    found: dict[str, list[str]] = field(default_factory=dict)

    def findings(self) -> dict[str, int]:
        """Return how much was found of each kind that can fail a run."""
        return {
            INVALID: self.digests_invalid,
            ALTERED: self.files_altered,
            DELETED: self.files_deleted,
            GAP: self.gaps + self.digests_missing,
            UNLISTED: self.files_unlisted,
            NOT_LOADED: self.files_not_loaded,
        }

    @property
    def has_no_digest(self) -> bool:
        """Whether there is not one digest in the window, which always fails a run."""
        return not self.digests_valid + self.digests_invalid

    def name(self, kind: str, finding: object) -> bool:
        """Keep the text of a finding, as long as there are few, and tell whether it was kept."""
        named = self.found.setdefault(kind, [])
        if kept := len(named) < NAMED:
            named.append(str(finding))
        return kept

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as JSON types."""
        return asdict(self) | {"seconds": round(self.seconds, 3)}
