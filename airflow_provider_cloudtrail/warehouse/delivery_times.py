"""
When log files were delivered and what time digests cover, by their names: where in their tables they can be.

An engine that looks for many keys goes through the whole column, which after a year is that of millions of files. Of
moments it knows which parts of a table can have them.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime

from airflow_provider_cloudtrail.warehouse.conditions import Condition, between

# The stamps in the names of log files and digests, to the minute and to the second. Of a log file it is the fourth
# part: what follows is random, and who may write to the bucket can have it look like another one.
_DELIVERED = re.compile(r"/(?:[^/_]+_){3}(\d{8}T\d{4}Z)_[^/]*\Z", re.ASCII)
_COVERED = re.compile(r"_(\d{8}T\d{6}Z)(?:_backfill)?\.json\.gz\Z", re.ASCII)


def delivered_within(uris: Collection[str]) -> list[Condition]:
    """Return what the ledger's rows of log files have in common; nothing if the name of one does not say when."""
    return _within("delivered_at", _DELIVERED, "%Y%m%dT%H%M%z", uris)


def covered_within(uris: Collection[str]) -> list[Condition]:
    """Return what the rows of digests have in common; nothing if the name of one does not say when it ends."""
    return _within("covered_to", _COVERED, "%Y%m%dT%H%M%S%z", uris)


def _within(column: str, stamp: re.Pattern[str], form: str, uris: Collection[str]) -> list[Condition]:
    stamps = [found[1] for uri in uris if (found := stamp.search(uri))]
    if not stamps or len(stamps) < len(uris):
        return []
    try:
        moments = [datetime.strptime(one, form) for one in (min(stamps), max(stamps))]
    except ValueError:
        # A digest may list anything.
        return []
    return between(column, *moments)
