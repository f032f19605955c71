"""
What a warehouse keeps of the signed digests: a row for each, and on each ledger row the verdict.

Goes through the transactions and the dialect of the warehouse whose table it stands beside.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from airflow_provider_cloudtrail.audit_event import ColumnKind, DigestEntry, columns_of
from airflow_provider_cloudtrail.warehouse.base import Warehouse


class LoadedFile(NamedTuple):
    """What the ledger knows of a log file that can be held against a digest; the names are those of its columns."""

    log_file_uri: str
    etag: str | None
    sha256: str | None
    reason: str | None


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


class Evidence:
    """
    The table ``<table>_digests``, and the columns of the ledger about them.

    :param warehouse: the audit table.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self.digests = warehouse.qualified(f"{warehouse.table}_digests")

    def prepare(self) -> None:
        """
        Create the tables that are missing, those of the warehouse as well.

        :raises WarehouseError: if the warehouse cannot be reached or does not allow it.
        """
        self._warehouse.prepare()
        self._warehouse.ensure_tables({self.digests: columns_of(DigestEntry)})

    def loaded_files(self, uris: Sequence[str]) -> dict[str, LoadedFile]:
        """
        Return what the ledger knows of log files, by URI; those that it does not know are left out.

        :raises WarehouseError: if the warehouse cannot be read.
        """
        if not uris:
            return {}
        warehouse = self._warehouse
        names = ", ".join(warehouse.quoted(name) for name in LoadedFile._fields)
        uri = warehouse.quoted("log_file_uri")

        def ask(cursor: Any) -> dict[str, LoadedFile]:
            found = {}
            for portion, marks in warehouse.portions(uris):
                cursor.execute(f"SELECT {names} FROM {warehouse.files} WHERE {uri} IN ({marks})", portion)
                for row in cursor.fetchall():
                    found[row[0]] = LoadedFile(*row)
            return found

        return warehouse.transact(f"reading {warehouse.files}", ask)

    def chains_since(self, since: datetime) -> list[RecordedChain]:
        """Return the chains, those of backfill digests left out, of which a digest of this time was seen."""
        warehouse, mark = self._warehouse, self._warehouse.mark
        names = ", ".join(warehouse.quoted(name) for name in RecordedChain._fields)
        statement = (
            f"SELECT DISTINCT {names} FROM {self.digests} WHERE {warehouse.quoted('covered_to')} > {mark} "
            f"AND {warehouse.quoted('backfill')} = {mark} AND {warehouse.quoted('status')} <> {mark}"
        )
        values = [warehouse.value(ColumnKind.TIMESTAMP, since), warehouse.value(ColumnKind.BOOLEAN, False), "missing"]

        def ask(cursor: Any) -> list[RecordedChain]:
            cursor.execute(statement, values)
            return [RecordedChain(*row) for row in cursor.fetchall()]

        return warehouse.transact(f"reading {self.digests}", ask)

    def write(self, digests: Sequence[DigestEntry], verdicts: Iterable[FileVerdict]) -> None:
        """
        Store what a run found out, in one transaction; it takes the place of what an earlier run did.

        :param digests: each digest at most once.
        :param verdicts: log files that the ledger knows; others are passed over.
        :raises WarehouseError: if it cannot be stored; nothing of it is then.
        """
        groups: dict[tuple[str | None, str, datetime], list[str]] = {}
        for verdict in verdicts:
            groups.setdefault(verdict[1:], []).append(verdict.log_file_uri)
        if digests or groups:
            warehouse = self._warehouse
            warehouse.transact(
                f"writing {self.digests}", lambda cursor: self._write(cursor, digests, groups), writes=True
            )

    def _write(
        self,
        cursor: Any,
        digests: Sequence[DigestEntry],
        groups: dict[tuple[str | None, str, datetime], list[str]],
    ) -> None:
        warehouse = self._warehouse
        quoted = warehouse.quoted
        for portion, marks in warehouse.portions([digest.digest_uri for digest in digests]):
            cursor.execute(f"DELETE FROM {self.digests} WHERE {quoted('digest_uri')} IN ({marks})", portion)
        warehouse.insert(cursor, self.digests, columns_of(DigestEntry), digests)
        for (digest_uri, status, verified_at), uris in groups.items():
            for portion, marks in warehouse.portions(uris):
                cursor.execute(
                    f"UPDATE {warehouse.files} SET {quoted('digest_uri')} = {warehouse.mark}, "
                    f"{quoted('digest_status')} = {warehouse.mark}, {quoted('verified_at')} = {warehouse.mark} "
                    f"WHERE {quoted('log_file_uri')} IN ({marks})",
                    [digest_uri, status, warehouse.value(ColumnKind.TIMESTAMP, verified_at), *portion],
                )
