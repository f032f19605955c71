"""
When log files were delivered, by their names: where in the ledger they can be.

An engine that looks for many keys goes through the whole column, which after a year is that of millions of files. Of
moments it knows which parts of a table can have them.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime

from airflow_provider_cloudtrail.warehouse.conditions import Condition, between

# The stamp in the name of a log file, which is its delivered_at in the ledger.
_STAMP = re.compile(r"_(\d{8}T\d{4}Z)_[^/]*$")


def delivered_within(uris: Collection[str]) -> list[Condition]:
    """Return what the ledger's rows of log files have in common; nothing if the name of one does not say when."""
    stamps = [found[1] for uri in uris if (found := _STAMP.search(uri))]
    if not stamps or len(stamps) < len(uris):
        return []
    try:
        moments = [datetime.strptime(stamp, "%Y%m%dT%H%M%z") for stamp in (min(stamps), max(stamps))]
    except ValueError:
        # A digest may list anything.
        return []
    return between("delivered_at", *moments)
