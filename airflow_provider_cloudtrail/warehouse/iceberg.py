"""
Apache Iceberg through pyiceberg, in Glue, S3 Tables, REST and SQL catalogs: one append a batch and table.

There is no transaction over tables. A batch is therefore stored in an order in which a kill at any moment does no
harm, and counted by what the tables say, not by what was just done:

1. Rows. Which ids are there already is read from the files that can have them, by the times of the events, and
   the rest is appended, if nobody has changed the table since; else, again. A row that is there
   and names a file of this batch was stored by a run that was killed, or by one that reads the same file now: it
   counts as loaded from that file.
2. Quarantine. What it has of the files of the batch is replaced, in step with the ledger (``iceberg_quarantine``).
3. The ledger, if it still says of the files what it said when it was decided to read them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from airflow_provider_cloudtrail.audit_event import (
    LOOKUP_SCHEME,
    AuditEvent,
    Column,
    ColumnKind,
    FileRows,
    KnownFile,
    LedgerEntry,
    LookupEntry,
    QuarantineEntry,
    columns_of,
)
from airflow_provider_cloudtrail.warehouse.base import (
    WarehouseError,
    first_of_each,
)
from airflow_provider_cloudtrail.warehouse.conditions import AllOf, Condition
from airflow_provider_cloudtrail.warehouse.iceberg_catalog import (
    LazyCatalog,
    describe,
    is_conflict,
    namespace_of,
)
from airflow_provider_cloudtrail.warehouse.iceberg_commits import LostRaceError
from airflow_provider_cloudtrail.warehouse.iceberg_conditions import keys_within
from airflow_provider_cloudtrail.warehouse.iceberg_events import insert_events, origins_of, rows_of, settled_entry
from airflow_provider_cloudtrail.warehouse.iceberg_own_rows import OwnRows
from airflow_provider_cloudtrail.warehouse.iceberg_quarantine import SETTLED, announce, is_announced, refuse
from airflow_provider_cloudtrail.warehouse.iceberg_rows import IcebergRows
from airflow_provider_cloudtrail.warehouse.iceberg_schema import arrow_table, iceberg_type
from airflow_provider_cloudtrail.warehouse.iceberg_tables import TablesAtOnce
from airflow_provider_cloudtrail.warehouse.iceberg_users_columns import with_users_columns
from airflow_provider_cloudtrail.warehouse.unfit_tables import unfit

_Result = TypeVar("_Result")


class IcebergWarehouse(IcebergRows):
    """
    A warehouse in an Iceberg catalog, through the hook of Airflow's Iceberg provider.

    ``schema`` is the namespace (in Glue and Athena: the database), which must exist.
    """

    engine = "iceberg"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._catalog = LazyCatalog(self.hook)
        self._own = OwnRows()

    def qualified(self, name: str) -> str:
        """Return the name of a table in the namespace."""
        if self.schema is None:
            self.schema = namespace_of(self.hook)
        return f"{self.schema}.{name}"

    # -- what a caller uses ------------------------------------------------------------------------

    def known_files(self, uris: Sequence[str]) -> dict[str, KnownFile]:
        """Return what the ledger says about log files, reading only the months in which they were delivered."""
        if not uris:
            return {}
        rows = self.transact(
            f"reading {self.files}", lambda tables: self.find(tables, self.files, KnownFile._fields, uris)
        )
        return {row[0]: KnownFile(*row) for row in rows}

    def write(self, files: Sequence[FileRows]) -> list[LedgerEntry]:
        """Store a batch of log files: rows first, the ledger last; done again after a kill, it gives the same."""
        if not files:
            return []
        doing = f"writing {self.events}"
        with self._explained():
            settled = self._again_and_again(doing, lambda: self._write_events(files))
            return self._again_and_again(doing, lambda: self._write_ledger(settled))

    # -- what further tables beside these go through -----------------------------------------------

    def ensure_tables(self, expected: Mapping[str, Sequence[Column]], *, without_key: Collection[str] = ()) -> None:
        """Create the tables that are missing, and add the columns that they lack."""
        for name, columns in expected.items():
            self._again_and_again(
                f"looking for {name}",
                lambda name=name, columns=columns: self._ensure(  # type: ignore[misc]
                    name, columns, has_key=name not in without_key
                ),
            )

    def transact(self, doing: str, work: Callable[[Any], _Result], *, writes: bool = False) -> _Result:
        """
        Return what work gives that is done on tables as they are; again, if another writer has changed them.

        The tables are committed one after the other, rows first: work that is done again must give the same.
        """

        def once() -> _Result:
            tables = self._tables()
            result = work(tables)
            if writes:
                tables.commit()
            return result

        return self._again_and_again(doing, once)

    def insert(self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows, in a transaction; those of the quarantine replace what it has of the same files."""
        if rows and table == self.quarantine:
            self._empty_quarantine(cursor, [row[0] for row in rows])
        if rows:
            self._insert(cursor, table, columns, rows)

    def insert_new_events(self, cursor: Any, events: Iterable[AuditEvent]) -> set[str]:
        """
        Insert the events whose id the table does not hold, in a transaction that writes, and return their ids.

        Also the ids of those that the table holds from the same ``log_file_uri``, because the transaction was begun
        before, and those of a lookup in Event history that was killed before it came to its ledger: no other run
        will use its URI, so they are given a new one.
        """
        first = first_of_each(events)
        table = cursor[self.events]
        origins = origins_of(table, first)
        if lost := self._lost_lookups(cursor, set(origins.values()) - {event.log_file_uri for event in first.values()}):
            table.delete(rows_of(table, first, [event_id for event_id, uri in origins.items() if uri in lost]))
            origins = {event_id: uri for event_id, uri in origins.items() if uri not in lost}
            self._empty_quarantine(cursor, list(lost))
        own = {event_id for event_id, uri in origins.items() if uri == first[event_id].log_file_uri}
        new = {event_id: event for event_id, event in first.items() if event_id not in origins}
        if new:
            insert_events(table, new.values())
        elif own:
            # Nobody may take them for those of a killed run from here on: who does is refused.
            table.append(arrow_table(columns_of(AuditEvent), [], table.schema))
        return own | set(new)

    def _lost_lookups(self, cursor: TablesAtOnce, uris: Collection[str]) -> set[str]:
        """Return which of the origins of rows are lookups that no ledger knows, and see to it that none will."""
        of_lookups = [uri for uri in uris if uri.startswith(LOOKUP_SCHEME)]
        if not of_lookups:
            return set()
        name = self.qualified(f"{self.table}_lookups")
        lost = set(of_lookups) - {row[0] for row in self.find(cursor, name, ("lookup_uri",), of_lookups)}
        if lost:
            # A run that is only slow finds its ledger changed, and looks again.
            cursor[name].append(arrow_table(columns_of(LookupEntry), [], cursor[name].schema))
            cursor[name].commit()
        return lost

    # -- a batch of log files ----------------------------------------------------------------------

    def _write_events(self, files: Sequence[FileRows]) -> list[_Settled]:
        """Store the rows of the files that nobody has read meanwhile, and say what the ledger is to hold of them."""
        tables = self._tables()
        # All are opened before the first is changed: if one is missing, nothing is stored.
        events, _ = tables[self.events], tables[self.quarantine]
        known = self._known(tables, [file.entry for file in files])
        files = [file for file in files if known.get(file.entry.log_file_uri) == file.previous]
        first = first_of_each(event for file in files for event in file.events)
        origins = origins_of(events, first)
        new = {event_id: event for event_id, event in first.items() if event_id not in origins}
        insert_events(events, new.values())
        origins |= {event_id: event.log_file_uri for event_id, event in new.items()}
        events.commit()
        return [_Settled(file, settled_entry(file, origins)) for file in files]

    def _write_ledger(self, settled: Sequence[_Settled]) -> list[LedgerEntry]:
        """Store quarantine and ledger of the files of which the ledger says what it said before."""
        tables = self._tables()
        # In this order: what is announced after the look at the ledger has the ledger refused.
        ledger, quarantine = tables[self.files], tables[self.quarantine]
        known = self._known(tables, [one.entry for one in settled])
        settled = [one for one in settled if known.get(one.entry.log_file_uri) == one.file.previous]
        if not settled:
            return []
        rows = [row for one in settled for row in one.file.quarantine]
        uris = [one.entry.log_file_uri for one in settled]
        if rows or self._in_quarantine(tables, uris) is not None:
            announce(ledger)
            ledger.commit()
            self._empty_quarantine(tables, uris)
            if rows:
                self._insert(tables, self.quarantine, columns_of(QuarantineEntry), rows)
            quarantine.commit()
        elif is_announced(ledger):
            refuse(quarantine)
            quarantine.commit()
        entries = [one.entry for one in settled]
        fresh = arrow_table(columns_of(LedgerEntry), entries, ledger.schema)
        if again := [one.entry for one in settled if one.file.previous is not None]:
            where = self._of_entries(again)
            fresh = with_users_columns(ledger, fresh, where)
            ledger.delete(where)
        ledger.append(fresh, mark=SETTLED)
        ledger.commit()
        return entries

    def _in_quarantine(self, tables: TablesAtOnce, uris: Sequence[str]) -> Condition | None:
        """Return the condition for the rows that the quarantine has of files; None if it has none."""
        where = keys_within("log_file_uri", uris)
        table = tables[self.quarantine]
        return where if table.rows and any(table.read(["log_file_uri"], where)) else None

    def _empty_quarantine(self, tables: TablesAtOnce, uris: Sequence[str]) -> None:
        """Remove what the quarantine has of files."""
        if (where := self._in_quarantine(tables, uris)) is not None:
            tables[self.quarantine].delete(where)

    def _known(self, tables: TablesAtOnce, entries: Sequence[LedgerEntry]) -> dict[str, KnownFile]:
        """Return what the ledger says about the files of entries."""
        if not entries:
            return {}
        rows = self.select(tables, self.files, KnownFile._fields, self._of_entries(entries))
        return {row[0]: KnownFile(*row) for row in rows}

    def _of_entries(self, entries: Sequence[LedgerEntry]) -> Condition:
        where = self._with_keys(self.files, "log_file_uri", [entry.log_file_uri for entry in entries])
        return AllOf([where, *self._of_the_times(self.files, columns_of(LedgerEntry), entries)])

    # -- rows --------------------------------------------------------------------------------------

    def _insert(self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        cursor[table].append(arrow_table(columns, rows, cursor[table].schema))

    # -- catalog -----------------------------------------------------------------------------------

    def _tables(self) -> TablesAtOnce:
        return TablesAtOnce(self._catalog.load, [self.events, self.quarantine, None, self.files], self._own)

    def _ensure(self, name: str, columns: Sequence[Column], *, has_key: bool) -> None:
        try:
            self._catalog.ensure(name, columns, has_key=has_key, suffix=name.removeprefix(self.events))
        except Exception as error:
            if isinstance(error, WarehouseError) or self._is_conflict(error):
                raise
            raise WarehouseError(f"iceberg, preparing {name}: {describe(error, has_values=False)}") from None

    def _unfit(self) -> str:
        types = {
            name: {
                field.name: str(field.field_type) for field in self._catalog.load(self.qualified(name)).schema().fields
            }
            for name in self._expected()
        }
        wanted = {kind.value: str(iceberg_type(kind)) for kind in ColumnKind}
        return unfit(self._expected(), [(name, "table", of_columns) for name, of_columns in types.items()], wanted)

    def _is_conflict(self, error: Exception) -> bool:
        return isinstance(error, LostRaceError) or is_conflict(error)

    def _describe(self, error: Exception) -> str:
        return describe(error)


class _Settled(NamedTuple):
    """A file whose rows are stored, and what the ledger is to say of it."""

    file: FileRows
    entry: LedgerEntry
