"""
When log files were delivered and what time digests cover, by their names: where in their tables they can be.

An engine that looks for many keys goes through the whole column, which after a year is that of millions of files. Of
moments it knows which parts of a table can have them.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime, timedelta

from airflow_provider_cloudtrail.warehouse.conditions import Condition, between

TIMES_IN_KEYS = {"_files": "delivered_at", "_digests": "covered_to"}
"""By what follows the name of the audit table: the column of the time that the name of a row's object says."""

# As trail.log_file and trail.digest read the names, to the minute and to the second. Of a log file it is the fourth
# part: what follows is random, and who may write to the bucket can have it look like another one.
_DELIVERED = re.compile(r"/(?:[^/_]+_){3}(\d{8}T\d{4}Z)_[^/]*\Z", re.ASCII)
_COVERED = re.compile(r"_(\d{8}T\d{6}Z)(?:_backfill)?\.json\.gz\Z", re.ASCII)
_NO_MARGIN = timedelta(0)


def delivered_within(uris: Collection[str], margin: timedelta = _NO_MARGIN) -> list[Condition]:
    """
    Return what the ledger's rows of log files have in common; nothing if the name of one does not say when.

    :param margin: how far the table may be from the names.
    """
    return _within("delivered_at", _DELIVERED, "%Y%m%dT%H%M%z", uris, margin)


def covered_within(uris: Collection[str], margin: timedelta = _NO_MARGIN) -> list[Condition]:
    """
    Return what the rows of digests have in common; nothing if the name of one does not say when it ends.

    :param margin: how far the table may be from the names.
    """
    return _within("covered_to", _COVERED, "%Y%m%dT%H%M%S%z", uris, margin)


def _within(
    column: str, stamp: re.Pattern[str], form: str, uris: Collection[str], margin: timedelta
) -> list[Condition]:
    stamps = [found[1] for uri in uris if (found := stamp.search(uri))]
    if not stamps or len(stamps) < len(uris):
        return []
    try:
        first, last = (datetime.strptime(one, form) for one in (min(stamps), max(stamps)))
        return between(column, first - margin, last + margin)
    except (ValueError, OverflowError):
        # A digest may list anything.
        return []
