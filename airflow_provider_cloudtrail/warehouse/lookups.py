"""The ledger of lookups in Event history: which spans were read, and what became of their events."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from airflow_provider_cloudtrail.audit_event import (
    COMPLETE,
    LookupEntry,
    LookupRows,
    QuarantineEntry,
    columns_of,
)
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.conditions import AllOf, Compare


class KnownLookup(NamedTuple):
    """What a run must know of a complete lookup; the names are those of the columns."""

    lookup_uri: str
    selection: str
    quarantined: int


class Lookups:
    """
    The table ``<table>_lookups``.

    A row is written once and never changed: a span that is read again gets a row of its own.

    :param warehouse: the audit table.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.name = warehouse.qualified(f"{warehouse.table}_lookups")

    def prepare(self) -> None:
        """
        Create the tables that are missing, those of the warehouse as well.

        :raises WarehouseError: if the warehouse cannot be reached or does not allow it.
        """
        self.warehouse.prepare()
        self.warehouse.ensure_tables({self.name: columns_of(LookupEntry)})

    def complete(self, account_id: str, region: str, start: datetime, end: datetime) -> list[KnownLookup]:
        """
        Return the complete lookups that have to do with a span of event time.

        :param start: begin of the span, UTC.
        :param end: its end, UTC.
        :raises WarehouseError: if the warehouse cannot be read.
        """
        where = AllOf([
            Compare("account_id", "=", account_id),
            Compare("region", "=", region),
            Compare("status", "=", COMPLETE),
            Compare("window_to", ">", start),
            Compare("window_from", "<", end),
        ])

        def ask(cursor: Any) -> list[KnownLookup]:
            return [KnownLookup(*row) for row in self.warehouse.select(cursor, self.name, KnownLookup._fields, where)]

        return self.warehouse.transact(f"reading {self.name}", ask)

    def write(self, lookup: LookupRows) -> LookupEntry:
        """
        Store rows, quarantine and ledger entry of a lookup in one transaction.

        :return: the entry as it was written.
        :raises WarehouseError: if it cannot be stored; nothing of it is then.
        """
        return self.warehouse.transact(
            f"writing {self.warehouse.events}", lambda cursor: self._write(cursor, lookup), writes=True
        )

    def _write(self, cursor: Any, lookup: LookupRows) -> LookupEntry:
        warehouse = self.warehouse
        inserted = warehouse.insert_new_events(cursor, lookup.rows)
        entry = lookup.entry._replace(loaded=len(inserted), duplicate=len(lookup.rows) - len(inserted))
        warehouse.insert(cursor, warehouse.quarantine, columns_of(QuarantineEntry), lookup.quarantine)
        # Last: an engine without transactions may be stopped at any statement.
        warehouse.insert(cursor, self.name, columns_of(LookupEntry), [entry])
        return entry
