"""
That the quarantine holds of a file what the ledger counts, though no commit is one of both tables.

Several tasks can read one file at once, with other selections or limits, or one of them in vain. Each replaces what the
quarantine has of the file before it comes to the ledger, so what is there last has to be that of the task whose
ledger entry stays:

1. Who has rows for the quarantine, or some to remove, announces it by a commit to the ledger that changes nothing
   else. Who looked at the ledger before that is refused there, and looks again.
2. Who has none, and finds that somebody has announced some, makes a commit to the quarantine that changes nothing.
   Who announced them and has not brought them yet is refused there, and looks again; those that are
   there already are found, and removed.
3. A ledger entry settles what was announced before it: its writer has seen to it.

What is between is done by others, such as a validation or maintenance, and says nothing.
"""

from __future__ import annotations

from airflow_provider_cloudtrail.audit_event import LedgerEntry, QuarantineEntry, columns_of
from airflow_provider_cloudtrail.warehouse.iceberg_schema import arrow_table
from airflow_provider_cloudtrail.warehouse.iceberg_tables import PinnedTable

_ANNOUNCED = "announced"
SETTLED = "settled"
"""How the snapshot is marked that brings ledger entries."""


def announce(ledger: PinnedTable) -> None:
    """Say that the quarantine is going to be changed; to be committed before that."""
    ledger.append(arrow_table(columns_of(LedgerEntry), [], ledger.schema), mark=_ANNOUNCED)


def is_announced(ledger: PinnedTable) -> bool:
    """Tell whether somebody may be about to change the quarantine, or may have been when he was killed."""
    return ledger.last_mark() not in ("", SETTLED)


def refuse(quarantine: PinnedTable) -> None:
    """Have changes refused that were begun before; to be committed before the ledger."""
    quarantine.append(arrow_table(columns_of(QuarantineEntry), [], quarantine.schema))
