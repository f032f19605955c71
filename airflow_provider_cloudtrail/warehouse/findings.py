"""
The life of findings, the rows of ``<table>_findings``: seen first, seen again, resolved, open again.

A row is never deleted: it is evidence.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from airflow_provider_cloudtrail.audit_event import GAP, UNLISTED, Column, FindingEntry, columns_of
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.conditions import (
    AllOf,
    AnyOf,
    BeginsWith,
    Compare,
    Condition,
    IsNull,
    Not,
    of_these,
)

# What a later run may have found out anew about a finding.
_RENEWED = (
    *("fails", "location", "covered_from", "covered_to", "objects", "message"),
    *("last_seen_at", "last_seen_by", "resolved_at", "resolved_by"),
)


class Examined(NamedTuple):
    """
    What a run has looked at: findings in it that it did not see are not there any more.

    :param location: begin of the location of the findings.
    :param start: begin of the time, UTC.
    :param end: its end.
    :param unlisted_from: since when unlisted log files were looked for; not later than ``start``.
    :param account_ids: accounts; None: all.
    :param regions: Regions; None: all.
    :param with_digests: accounts and Regions of which a digest was seen.
    :param seen_at: when the run saw what it found.
    :param by: DAG, task and run.
    """

    location: str
    start: datetime
    end: datetime
    unlisted_from: datetime
    account_ids: Collection[str] | None
    regions: Collection[str] | None
    with_digests: Collection[tuple[str, str]]
    seen_at: datetime
    by: str | None


class Findings:
    """
    The table ``<table>_findings``.

    :param warehouse: the audit table.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self.name = warehouse.qualified(f"{warehouse.table}_findings")

    def write(self, cursor: Any, findings: Mapping[str, FindingEntry]) -> None:
        """
        Store findings that a run has seen, in a transaction; one that is known keeps when it was seen first.

        :param findings: by their ids.
        """
        warehouse = self._warehouse
        known = {row[0] for row in warehouse.find(cursor, self.name, ("finding_id",), list(findings))}
        new = [finding for finding_id, finding in findings.items() if finding_id not in known]
        warehouse.insert(cursor, self.name, columns_of(FindingEntry), new)
        names = ("finding_id", *_RENEWED)
        renewed = [tuple(getattr(findings[finding_id], name) for name in names) for finding_id in known]
        warehouse.update(cursor, self.name, _columns_named(*names), renewed)
        for finding in findings.values():
            if finding.kind == GAP and finding.trail_name is not None:
                self._see_gaps_within(cursor, finding)

    def still_there(self, finding_ids: Sequence[str], at: datetime, by: str | None) -> set[str]:
        """
        Return which findings another task or run saw last, and note that they were there at a time, too.

        :param at: when they were seen again, UTC.
        :param by: DAG, task and run that asks.
        :raises WarehouseError: if it cannot be stored; nothing of it is then.
        """
        warehouse = self._warehouse

        def work(cursor: Any) -> set[str]:
            rows = warehouse.find(cursor, self.name, ("finding_id", "last_seen_by"), finding_ids)
            found = {finding_id for finding_id, seen_by in rows if seen_by not in (None, by)}
            columns = _columns_named("finding_id", "last_seen_at", "resolved_at", "resolved_by")
            warehouse.update(cursor, self.name, columns, [(finding_id, at, None, None) for finding_id in found])
            return found

        if not finding_ids or by is None:
            return set()
        return warehouse.transact(f"writing {self.name}", work, writes=True)

    def resolve(self, examined: Examined) -> None:
        """
        Mark findings that a run has looked for and did not see as resolved.

        That there is no digest at all is resolved only by a digest.

        :param examined: what the run has looked at.
        :raises WarehouseError: if it cannot be stored; nothing of it is then.
        """
        self._warehouse.transact(f"writing {self.name}", lambda cursor: self._resolve(cursor, examined), writes=True)

    def _see_gaps_within(self, cursor: Any, gap: FindingEntry) -> None:
        """Another window may have begun within the same gap: that finding is not resolved either."""
        open_ones = AllOf([
            Compare("kind", "=", GAP),
            *(Compare(name, "=", getattr(gap, name)) for name in ("account_id", "region", "trail_name")),
            Compare("covered_from", "<", gap.covered_to),
            Compare("covered_to", ">", gap.covered_from),
            Compare("last_seen_at", "<", gap.last_seen_at),
            IsNull("resolved_at"),
        ])
        seen = {"last_seen_at": gap.last_seen_at, "last_seen_by": gap.last_seen_by}
        self._warehouse.assign(cursor, self.name, seen, open_ones)

    def _resolve(self, cursor: Any, examined: Examined) -> None:
        warehouse = self._warehouse
        resolved = {"resolved_at": examined.seen_at, "resolved_by": examined.by}
        looked_for: list[Condition] = [
            Compare("covered_from", "<", examined.end),
            Compare("last_seen_at", "<", examined.seen_at),
            AnyOf([
                Compare("covered_to", ">", examined.start),
                AllOf([Compare("kind", "=", UNLISTED), Compare("covered_from", ">=", examined.unlisted_from)]),
            ]),
            IsNull("resolved_at"),
            BeginsWith("location", examined.location),
        ]
        absent: list[Condition] = [Compare("kind", "=", GAP), IsNull("trail_name")]
        places = of_these(examined.account_ids, examined.regions)
        warehouse.assign(cursor, self.name, resolved, AllOf([*looked_for, Not(AllOf(absent)), *places]))
        rows = warehouse.select(
            cursor, self.name, ("finding_id", "account_id", "region"), AllOf([*looked_for, *absent])
        )
        ended = [
            (finding_id, examined.seen_at, examined.by)
            for finding_id, account_id, region in rows
            if any(account_id in (None, one) and region in (None, two) for one, two in examined.with_digests)
        ]
        warehouse.update(cursor, self.name, _columns_named("finding_id", *resolved), ended)


def _columns_named(*names: str) -> list[Column]:
    return [column for name in names for column in columns_of(FindingEntry) if column.name == name]
