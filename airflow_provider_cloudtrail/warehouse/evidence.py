"""
What a warehouse keeps of the signed digests: a row for each and for each finding, on each ledger row the verdict.

Goes through the transactions and the dialect of the warehouse whose table it stands beside.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
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
    ColumnKind,
    DigestEntry,
    FindingEntry,
    HashEntry,
    LedgerEntry,
    columns_of,
)
from airflow_provider_cloudtrail.warehouse.base import Warehouse

# What one run has said of a file, and must not be replaced by the other verdict.
_GRAVER = {VERIFIED: (ALTERED, DELETED), DIGEST_INVALID: (VERIFIED, ALTERED, DELETED)}
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


class FileVerdict(NamedTuple):
    """What holding a log file against its digest gave."""

    log_file_uri: str
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

    def loaded_files(self, uris: Sequence[str]) -> dict[str, LoadedFile]:
        """
        Return what the ledger knows of log files, by URI; those that it does not know are left out.

        :raises WarehouseError: if the warehouse cannot be read.
        """
        return {row[0]: LoadedFile(*row) for row in self._ask(self._warehouse.files, LoadedFile._fields, uris)}

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

    def chains_since(self, since: datetime, location: str) -> list[RecordedChain]:
        """
        Return the chains, those of backfill digests left out, of which a digest of this time was seen.

        :param location: what the URIs of the digests begin with; other trails may be recorded here, too.
        """
        warehouse = self._warehouse
        names = ", ".join(warehouse.quoted(name) for name in RecordedChain._fields)
        where, values = self._where({"covered_to >": since, "backfill =": False, "status <>": MISSING})
        below, of_location = self._begins("digest_uri", location)

        def ask(cursor: Any) -> list[RecordedChain]:
            cursor.execute(
                f"SELECT DISTINCT {names} FROM {self.digests} WHERE {where} AND {below}", values + of_location
            )
            return [RecordedChain(*row) for row in cursor.fetchall()]

        return warehouse.transact(f"reading {self.digests}", ask)

    def write(
        self,
        digests: Sequence[DigestEntry],
        verdicts: Iterable[FileVerdict],
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
        of_status: dict[str, list[FileVerdict]] = {}
        for verdict in verdicts:
            of_status.setdefault(verdict.digest_status, []).append(verdict)

        def work(cursor: Any) -> None:
            self._replace(cursor, self.digests, columns_of(DigestEntry), digests)
            self._write_verdicts(cursor, of_status)
            self._write_findings(cursor, {finding.finding_id: finding for finding in findings})
            self._replace(cursor, self.hashes, columns_of(HashEntry), hashes)

        if digests or of_status or findings or hashes:
            self._warehouse.transact(f"writing {self.digests}", work, writes=True)

    def still_there(self, finding_ids: Sequence[str], at: datetime, by: str | None) -> set[str]:
        """
        Return which findings another task or run saw last, and note that they were there at a time, too.

        :param at: when they were seen again, UTC.
        :param by: DAG, task and run that asks.
        :raises WarehouseError: if it cannot be stored; nothing of it is then.
        """
        warehouse, key = self._warehouse, self._warehouse.quoted("finding_id")

        def work(cursor: Any) -> set[str]:
            found: set[str] = set()
            others = f"{warehouse.quoted('last_seen_by')} <> {warehouse.mark}"
            for portion, marks in warehouse.portions(finding_ids):
                cursor.execute(
                    f"SELECT {key} FROM {self.findings} WHERE {key} IN ({marks}) AND {others}", [*portion, by]
                )
                found.update(row[0] for row in cursor.fetchall())
            for portion, marks in warehouse.portions(sorted(found)):
                seen = {"last_seen_at": at, "resolved_at": None, "resolved_by": None}
                self._update(cursor, self.findings, seen, f"{key} IN ({marks})", portion)
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

    def _replace(self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows in the place of those with the same key, which is the first column."""
        for portion, marks in self._warehouse.portions([row[0] for row in rows]):
            key = self._warehouse.quoted(columns[0].name)
            cursor.execute(f"DELETE FROM {table} WHERE {key} IN ({marks})", portion)
        self._warehouse.insert(cursor, table, columns, rows)

    def _write_verdicts(self, cursor: Any, of_status: dict[str, list[FileVerdict]]) -> None:
        warehouse, mark = self._warehouse, self._warehouse.mark
        columns = [column for column in columns_of(LedgerEntry) if column.name in FileVerdict._fields]
        for status, verdicts in of_status.items():
            # A file can be listed twice.
            rows = list({verdict.log_file_uri: verdict for verdict in verdicts}.values())
            graver = _GRAVER.get(status, ())
            condition, values = "", list[Any]()
            if graver:
                at, said = warehouse.quoted("verified_at"), warehouse.quoted("digest_status")
                marks = ", ".join([mark] * len(graver))
                condition = f"AND ({at} IS NULL OR {at} < {mark} OR {said} NOT IN ({marks}))"
                values = [self._value(rows[0].verified_at), *graver]
            warehouse.update(cursor, warehouse.files, columns, rows, condition, values)

    def _write_findings(self, cursor: Any, findings: dict[str, FindingEntry]) -> None:
        warehouse, key = self._warehouse, self._warehouse.quoted("finding_id")
        known: set[str] = set()
        for portion, marks in warehouse.portions(list(findings)):
            cursor.execute(f"SELECT {key} FROM {self.findings} WHERE {key} IN ({marks})", portion)
            known.update(row[0] for row in cursor.fetchall())
        new = [finding for finding_id, finding in findings.items() if finding_id not in known]
        warehouse.insert(cursor, self.findings, columns_of(FindingEntry), new)
        # Those of one digest or gap have much in common.
        groups: dict[tuple[Any, ...], list[str]] = {}
        for finding_id in known:
            finding = findings[finding_id]
            groups.setdefault(tuple(getattr(finding, name) for name in _RENEWED), []).append(finding_id)
        for values, ids in groups.items():
            for portion, marks in warehouse.portions(ids):
                renewed = dict(zip(_RENEWED, values, strict=True))
                self._update(cursor, self.findings, renewed, f"{key} IN ({marks})", portion)
        for finding in findings.values():
            if finding.kind == GAP and finding.trail_name is not None:
                self._see_gaps_within(cursor, finding)

    def _see_gaps_within(self, cursor: Any, gap: FindingEntry) -> None:
        """Another window may have begun within the same gap: that finding is not resolved either."""
        where, values = self._where({
            "kind =": GAP,
            "account_id =": gap.account_id,
            "region =": gap.region,
            "trail_name =": gap.trail_name,
            "covered_from <": gap.covered_to,
            "covered_to >": gap.covered_from,
            "last_seen_at <": gap.last_seen_at,
        })
        open_only = f"{where} AND {self._warehouse.quoted('resolved_at')} IS NULL"
        seen = {"last_seen_at": gap.last_seen_at, "last_seen_by": gap.last_seen_by}
        self._update(cursor, self.findings, seen, open_only, values)

    def _resolve(self, cursor: Any, examined: Examined) -> None:
        warehouse, quoted = self._warehouse, self._warehouse.quoted
        resolved = {"resolved_at": examined.seen_at, "resolved_by": examined.by}
        where, values = self._where({"covered_from <": examined.end, "last_seen_at <": examined.seen_at})
        within, of_window = self._where({"covered_to >": examined.start})
        unlisted, of_unlisted = self._where({"kind =": UNLISTED, "covered_from >=": examined.unlisted_from})
        where += f" AND ({within} OR ({unlisted}))"
        values += [*of_window, *of_unlisted]
        below, of_location = self._begins("location", examined.location)
        where += f" AND {quoted('resolved_at')} IS NULL AND {below}"
        values += of_location
        absent = f"({quoted('kind')} = {warehouse.mark} AND {quoted('trail_name')} IS NULL)"
        seen_again = f"{where} AND NOT {absent}"
        of_these = [*values, GAP]
        for column, names in (("account_id", examined.account_ids), ("region", examined.regions)):
            if names is not None:
                seen_again += f" AND {quoted(column)} IN ({', '.join([warehouse.mark] * len(names))})"
                of_these += names
        self._update(cursor, self.findings, resolved, seen_again, of_these)
        cursor.execute(
            f"SELECT {', '.join(map(quoted, ('finding_id', 'account_id', 'region')))} FROM {self.findings} "
            f"WHERE {where} AND {absent}",
            [*values, GAP],
        )
        ids = [
            finding_id
            for finding_id, account_id, region in cursor.fetchall()
            if any(account_id in (None, one) and region in (None, two) for one, two in examined.with_digests)
        ]
        for portion, marks in warehouse.portions(ids):
            self._update(cursor, self.findings, resolved, f"{quoted('finding_id')} IN ({marks})", portion)

    def _where(self, conditions: dict[str, Any]) -> tuple[str, list[Any]]:
        """Return conditions on columns, each with its operator, and the values for their placeholders."""
        texts = []
        for condition in conditions:
            name, operator = condition.split()
            texts.append(f"{self._warehouse.quoted(name)} {operator} {self._warehouse.mark}")
        return " AND ".join(texts), [self._value(value) for value in conditions.values()]

    def _begins(self, column: str, text: str) -> tuple[str, list[Any]]:
        # Not LIKE, in which names of buckets could be patterns.
        return f"SUBSTR({self._warehouse.quoted(column)}, 1, {len(text)}) = {self._warehouse.mark}", [text]

    def _update(self, cursor: Any, table: str, values: dict[str, Any], where: str, parameters: Sequence[Any]) -> None:
        assignments = ", ".join(f"{self._warehouse.quoted(name)} = {self._warehouse.mark}" for name in values)
        given = [self._value(value) for value in values.values()]
        cursor.execute(f"UPDATE {table} SET {assignments} WHERE {where}", [*given, *parameters])

    def _value(self, value: Any) -> Any:
        kinds = {datetime: ColumnKind.TIMESTAMP, bool: ColumnKind.BOOLEAN}
        return self._warehouse.value(kinds.get(type(value), ColumnKind.TEXT), value)
