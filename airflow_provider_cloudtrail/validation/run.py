"""What a run of the validation is given, and what follows from it: all parts of the validation are told it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime, timezone

from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
from airflow_provider_cloudtrail.trail.log_file import TrailLocation
from airflow_provider_cloudtrail.trail.public_keys import KeyRing
from airflow_provider_cloudtrail.trail.reader import MAX_FILE_BYTES
from airflow_provider_cloudtrail.trail.store import Store
from airflow_provider_cloudtrail.warehouse.evidence import Evidence

# One for the whole package: users need to know no more of it.
_log = logging.getLogger("airflow_provider_cloudtrail.validation")


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
    log: logging.Logger = _log

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
