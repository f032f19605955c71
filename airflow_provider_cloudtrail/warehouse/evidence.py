"""
What a warehouse keeps of the signed digests: a row for each and for each finding, on each ledger row the verdict.

Goes through the transactions of the warehouse whose table it stands beside.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, NamedTuple

from airflow_provider_cloudtrail.audit_event import (
    ALTERED,
    DELETED,
    DIGEST_INVALID,
    GAP,
    MISSING,
    UNLISTED,
    VERIFIED,
    Column,
    DigestEntry,
    FindingEntry,
    HashEntry,
    LedgerEntry,
    columns_of,
)
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.conditions import (
    AllOf,
    AnyOf,
    BeginsWith,
    Compare,
    Condition,
    IsNull,
    Not,
    OneOf,
)

# What one run has said of a file, and must not be replaced by the other verdict.
_GRAVER = {VERIFIED: (ALTERED, DELETED), DIGEST_INVALID: (VERIFIED, ALTERED, DELETED)}
_OF_VERDICT = ("log_file_uri", "digest_uri", "digest_status", "verified_at")
# What a later run may have found out anew about a finding.
_RENEWED = (
    *("fails", "location", "covered_from", "covered_to", "objects", "message"),
    *("last_seen_at", "last_seen_by", "resolved_at", "resolved_by"),
)


class LoadedFile(NamedTuple):
    """What the ledger knows of a log file that can be held against a digest; the names are those of its columns."""

    log_file_uri: str
    etag: str | None
    sha256: str | None
    reason: str | None


class HashedFile(NamedTuple):
    """What is known of a log file that was only fetched to be compared; the names are those of its columns."""

    log_file_uri: str
    etag: str | None
    sha256: str | None
    fault: str | None


class FileVerdicts(NamedTuple):
    """
    What holding log files against a digest gave.

    :param log_file_uris: those of which it is true; the names of the others are those of their columns.
    """

    log_file_uris: Collection[str]
    digest_uri: str | None
    digest_status: str
    verified_at: datetime


class RecordedChain(NamedTuple):
    """A chain of digests that an earlier run saw."""

    account_id: str
    region: str
    trail_name: str
    home_region: str


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


class Evidence:
    """
    The tables ``<table>_digests``, ``<table>_findings`` and ``<table>_hashes``, and the ledger's columns about digests.

    :param warehouse: the audit table.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self.digests = warehouse.qualified(f"{warehouse.table}_digests")
        self.findings = warehouse.qualified(f"{warehouse.table}_findings")
        self.hashes = warehouse.qualified(f"{warehouse.table}_hashes")

    def prepare(self) -> None:
        """
        Create the tables that are missing, those of the warehouse as well.

        :raises WarehouseError: if the warehouse cannot be reached or does not allow it.
        """
        self._warehouse.prepare()
        self._warehouse.ensure_tables({
            self.digests: columns_of(DigestEntry),
            self.findings: columns_of(FindingEntry),
            self.hashes: columns_of(HashEntry),
        })

    def session(self) -> AbstractContextManager[None]:
        """Return what a run does all of its work within; see :meth:`Warehouse.session`."""
        return self._warehouse.session()

    def loaded_files(self, uris: Sequence[str]) -> dict[str, tuple[Any, ...]]:
        """
        Return what the ledger knows of log files, by URI; those that it does not know are left out.

        :return: the values of a :class:`LoadedFile`, which is made of those that are looked at closely: the
            garbage collector keeps looking at named tuples, and these can be many.
        :raises WarehouseError: if the warehouse cannot be read.
        """
        return {row[0]: tuple(row) for row in self._ask(self._warehouse.files, LoadedFile._fields, uris)}

    def hashed_files(self, uris: Sequence[str]) -> dict[str, HashedFile]:
        """
        Return what earlier runs found in log files that they fetched, by URI.

        :raises WarehouseError: if the warehouse cannot be read.
        """
        return {row[0]: HashedFile(*row) for row in self._ask(self.hashes, HashedFile._fields, uris)}

    def _ask(self, table: str, columns: Sequence[str], uris: Sequence[str]) -> list[tuple[Any, ...]]:
        warehouse = self._warehouse
        if not uris:
            return []
        return warehouse.transact(f"reading {table}", lambda cursor: warehouse.find(cursor, table, columns, uris))

    def chains_between(self, since: datetime, until: datetime, location: str) -> list[RecordedChain]:
        """
        Return the chains, those of backfill digests left out, of which a digest of this time was seen.

        :param location: what the URIs of the digests begin with; other trails may be recorded here, too.
        """
        where = AllOf([
            Compare("covered_to", ">", since),
            Compare("covered_from", "<", until),
            Compare("backfill", "=", False),
            Compare("status", "<>", MISSING),
            BeginsWith("digest_uri", location),
        ])

        def ask(cursor: Any) -> list[RecordedChain]:
            rows = self._warehouse.select(cursor, self.digests, RecordedChain._fields, where, distinct=True)
            return [RecordedChain(*row) for row in rows]

        return self._warehouse.transact(f"reading {self.digests}", ask)

    def write(
        self,
        digests: Sequence[DigestEntry],
        verdicts: Iterable[FileVerdicts],
        findings: Sequence[FindingEntry] = (),
        hashes: Sequence[HashEntry] = (),
    ) -> None:
        """
        Store what a run found out, in one transaction; it takes the place of what an earlier run did.

        Of several verdicts of one run on a file the gravest is kept.

        :param digests: each digest at most once.
        :param verdicts: log files that the ledger knows; others are passed over.
        :param findings: what is wrong; one that is known keeps the time at which it was seen first.
        :param hashes: log files that were fetched, each at most once.
        :raises WarehouseError: if it cannot be stored; nothing of it is then.
        """
        of_status: dict[str, list[FileVerdicts]] = {}
        for verdict in verdicts:
            if verdict.log_file_uris:
                of_status.setdefault(verdict.digest_status, []).append(verdict)

        def work(cursor: Any) -> None:
            self._warehouse.replace(cursor, self.digests, columns_of(DigestEntry), digests)
            self._write_verdicts(cursor, of_status)
            self._write_findings(cursor, {finding.finding_id: finding for finding in findings})
            self._warehouse.replace(cursor, self.hashes, columns_of(HashEntry), hashes)

        if digests or of_status or findings or hashes:
            self._warehouse.transact(f"writing {self.digests}", work, writes=True)

    def still_there(self, finding_ids: Sequence[str], at: datetime, by: str | None) -> set[str]:
        """
        Return which findings another task or run saw last, and note that they were there at a time, too.

        :param at: when they were seen again, UTC.
        :param by: DAG, task and run that asks.
        :raises WarehouseError: if it cannot be stored; nothing of it is then.
        """
        warehouse = self._warehouse

        def work(cursor: Any) -> set[str]:
            rows = warehouse.find(cursor, self.findings, ("finding_id", "last_seen_by"), finding_ids)
            found = {finding_id for finding_id, seen_by in rows if seen_by not in (None, by)}
            columns = _columns_of_findings("finding_id", "last_seen_at", "resolved_at", "resolved_by")
            warehouse.update(cursor, self.findings, columns, [(finding_id, at, None, None) for finding_id in found])
            return found

        if not finding_ids or by is None:
            return set()
        return warehouse.transact(f"writing {self.findings}", work, writes=True)

    def resolve(self, examined: Examined) -> None:
        """
        Mark findings that a run has looked for and did not see as resolved.

        That there is no digest at all is resolved only by a digest.

        :param examined: what the run has looked at.
        :raises WarehouseError: if it cannot be stored; nothing of it is then.
        """
        self._warehouse.transact(
            f"writing {self.findings}", lambda cursor: self._resolve(cursor, examined), writes=True
        )

    def _write_verdicts(self, cursor: Any, of_status: dict[str, list[FileVerdicts]]) -> None:
        columns = [column for column in columns_of(LedgerEntry) if column.name in _OF_VERDICT]
        for status, verdicts in of_status.items():
            at = verdicts[0].verified_at
            # A file can be listed twice.
            digest_of = {uri: verdict.digest_uri for verdict in verdicts for uri in verdict.log_file_uris}
            rows = [(uri, digest_uri, status, at) for uri, digest_uri in digest_of.items()]
            graver = _GRAVER.get(status, ())
            where = AnyOf([
                IsNull("verified_at"),
                Compare("verified_at", "<", at),
                Not(OneOf("digest_status", graver)),
            ])
            self._warehouse.update(cursor, self._warehouse.files, columns, rows, where if graver else None)

    def _write_findings(self, cursor: Any, findings: dict[str, FindingEntry]) -> None:
        warehouse = self._warehouse
        known = {row[0] for row in warehouse.find(cursor, self.findings, ("finding_id",), list(findings))}
        new = [finding for finding_id, finding in findings.items() if finding_id not in known]
        warehouse.insert(cursor, self.findings, columns_of(FindingEntry), new)
        names = ("finding_id", *_RENEWED)
        renewed = [tuple(getattr(findings[finding_id], name) for name in names) for finding_id in known]
        warehouse.update(cursor, self.findings, _columns_of_findings(*names), renewed)
        for finding in findings.values():
            if finding.kind == GAP and finding.trail_name is not None:
                self._see_gaps_within(cursor, finding)

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
        self._warehouse.assign(cursor, self.findings, seen, open_ones)

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
        of_these = [
            OneOf(column, list(names))
            for column, names in (("account_id", examined.account_ids), ("region", examined.regions))
            if names is not None
        ]
        warehouse.assign(cursor, self.findings, resolved, AllOf([*looked_for, Not(AllOf(absent)), *of_these]))
        rows = warehouse.select(
            cursor, self.findings, ("finding_id", "account_id", "region"), AllOf([*looked_for, *absent])
        )
        ended = [
            (finding_id, examined.seen_at, examined.by)
            for finding_id, account_id, region in rows
            if any(account_id in (None, one) and region in (None, two) for one, two in examined.with_digests)
        ]
        warehouse.update(cursor, self.findings, _columns_of_findings("finding_id", *resolved), ended)


def _columns_of_findings(*names: str) -> list[Column]:
    return [column for name in names for column in columns_of(FindingEntry) if column.name == name]
