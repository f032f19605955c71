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
    MISSING,
    VERIFIED,
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
    IsNull,
    Not,
    OneOf,
    of_these,
)
from airflow_provider_cloudtrail.warehouse.findings import Findings

# What one run has said of a file, and must not be replaced by the other verdict.
_GRAVER = {VERIFIED: (ALTERED, DELETED), DIGEST_INVALID: (VERIFIED, ALTERED, DELETED)}
_OF_VERDICT = ("log_file_uri", "digest_uri", "digest_status", "verified_at")


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


class Evidence:
    """
    The tables ``<table>_digests``, ``<table>_findings`` and ``<table>_hashes``, and the ledger's columns about digests.

    :param warehouse: the audit table.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self.digests = warehouse.qualified(f"{warehouse.table}_digests")
        self.findings = Findings(warehouse)
        self.hashes = warehouse.qualified(f"{warehouse.table}_hashes")

    def prepare(self) -> None:
        """
        Create the tables that are missing, those of the warehouse as well.

        :raises WarehouseError: if the warehouse cannot be reached or does not allow it.
        """
        self._warehouse.prepare()
        self._warehouse.ensure_tables({
            self.digests: columns_of(DigestEntry),
            self.findings.name: columns_of(FindingEntry),
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

    def loaded_without_digest(
        self,
        location: str,
        since: datetime,
        until: datetime,
        account_ids: Collection[str] | None,
        regions: Collection[str] | None,
    ) -> list[str]:
        """
        Return the URIs of log files that gave rows to the table, and that no digest is known to list, sorted.

        :param location: what the URIs begin with.
        :param since: begin of their delivery (included), UTC.
        :param until: its end (not included).
        :param account_ids: their accounts; None: all.
        :param regions: their Regions; None: all.
        :raises WarehouseError: if the warehouse cannot be read.
        """
        warehouse = self._warehouse
        where = AllOf([
            IsNull("digest_uri"),
            Compare("loaded", ">", 0),
            Compare("delivered_at", ">=", since),
            Compare("delivered_at", "<", until),
            BeginsWith("log_file_uri", location),
            *of_these(account_ids, regions),
        ])

        def ask(cursor: Any) -> list[str]:
            return sorted(row[0] for row in warehouse.select(cursor, warehouse.files, ("log_file_uri",), where))

        return warehouse.transact(f"reading {warehouse.files}", ask)

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
            self.findings.write(cursor, {finding.finding_id: finding for finding in findings})
            self._warehouse.replace(cursor, self.hashes, columns_of(HashEntry), hashes)

        if digests or of_status or findings or hashes:
            self._warehouse.transact(f"writing {self.digests}", work, writes=True)

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
