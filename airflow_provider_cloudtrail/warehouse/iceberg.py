"""
Apache Iceberg through pyiceberg, in Glue, S3 Tables, REST and SQL catalogs: one append a batch and table.

There is no transaction over tables. A batch is therefore stored in an order in which a kill at any moment does no
harm, and counted by what the tables say, not by what was just done:

1. Rows. Which ids are there already is read from the files that can have them, by the times of the events, and
   the rest is appended, if nobody has changed the table since; else, again. A row that is there
   and names a file of this batch was stored by a run that was killed, or by one that reads the same file now: it
   counts as loaded from that file.
2. Quarantine. What it has of the files of the batch is replaced.
3. The ledger, if it still says of the files what it said when it was decided to read them.

An event that comes back has the time that it had, so the ids are compared among rows of those times; in a table
of up to 100,000 rows among all. Two records that share an id and lie apart in time, which CloudTrail does not
write, can thus become two rows of a larger table: nothing is lost. To compare with all ids of a table of years would
be to read them all for each batch.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from airflow_provider_cloudtrail.audit_event import (
    LOADED,
    AuditEvent,
    Column,
    FileRows,
    KnownFile,
    LedgerEntry,
    QuarantineEntry,
    columns_of,
)
from airflow_provider_cloudtrail.warehouse.base import (
    Warehouse,
    WarehouseError,
    WarehouseUnavailableError,
    first_of_each,
)
from airflow_provider_cloudtrail.warehouse.conditions import AllOf, AnyOf, Compare, Condition, OneOf, Value
from airflow_provider_cloudtrail.warehouse.iceberg_catalog import catalog_of, describe, namespace_of
from airflow_provider_cloudtrail.warehouse.iceberg_conditions import keys_within
from airflow_provider_cloudtrail.warehouse.iceberg_schema import (
    PARTITIONED,
    arrow_rows,
    iceberg_type,
    partitions_of,
    properties_of,
    schema_of,
)
from airflow_provider_cloudtrail.warehouse.iceberg_tables import LostRaceError, PinnedTable, TablesAtOnce

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

_ROWS_COMPARED_WITH_ALL = 100_000
_MOST_SPANS = 40
_KEYS_AT_ONCE = 10_000
# The stamp in the name of a log file, which is its delivered_at in the ledger.
_STAMP = re.compile(r"_(\d{8}T\d{4}Z)_[^/]*$")
# Races that are lost before there is a commit, and commits of which nobody knows whether they are stored: done
# again, they find what is.
_CONFLICTS = frozenset({
    "CommitFailedException",
    "CommitStateUnknownException",
    "NamespaceAlreadyExistsError",
    "ServiceUnavailableError",
    "TableAlreadyExistsError",
})
_CONFLICTS_OF_AWS = frozenset({"ConcurrentModificationException", "OperationTimeoutException", "ThrottlingException"})


class IcebergWarehouse(Warehouse):
    """
    A warehouse in an Iceberg catalog, through the hook of Airflow's Iceberg provider.

    ``schema`` is the namespace (in Glue and Athena: the database), which must exist.
    """

    engine = "iceberg"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._opening = threading.Lock()
        self._opened: Catalog | None = None
        super().__init__(*args, **kwargs)

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
        """Insert rows, in a transaction."""
        if rows:
            self._insert(cursor, table, columns, rows)

    def insert_new_events(self, cursor: Any, events: Iterable[AuditEvent]) -> set[str]:
        """
        Insert the events whose id the table does not hold, in a transaction that writes, and return their ids.

        Also the ids of those that the table holds from the same ``log_file_uri``: the transaction was begun before.
        """
        first = first_of_each(events)
        origins = self._insert_new_events(cursor[self.events], first) if first else {}
        return {event_id for event_id, event in first.items() if origins[event_id] == event.log_file_uri}

    def replace(self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows in the place of those with the same keys, in a transaction."""
        if rows:
            where = self._with_keys(table, columns[0].name, [row[0] for row in rows])
            where = AllOf([where, *self._of_the_times(table, columns, rows)])
            if any(cursor[table].read([columns[0].name], where)):
                cursor[table].delete(where)
            self._insert(cursor, table, columns, rows)

    def find(self, cursor: Any, table: str, columns: Sequence[str], keys: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return columns of the rows with some keys, each given once, in a transaction; the first column is the key."""
        found: list[tuple[Any, ...]] = []
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            where = self._with_keys(table, columns[0], keys[start : start + _KEYS_AT_ONCE])
            found += self.select(cursor, table, columns, where)
        return found

    def select(
        self, cursor: Any, table: str, columns: Sequence[str], where: Condition, *, distinct: bool = False
    ) -> list[tuple[Any, ...]]:
        """Return columns of the rows that fulfil a condition, in a transaction."""
        rows: Iterable[tuple[Any, ...]] = (
            row
            for batch in cursor[table].read(columns, where)
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
        )
        return list(dict.fromkeys(rows)) if distinct else list(rows)

    def update(
        self,
        cursor: Any,
        table: str,
        columns: Sequence[Column],
        rows: Sequence[Sequence[Any]],
        where: Condition | None = None,
    ) -> None:
        """Update rows that are there, in a transaction; others are passed over."""
        if rows:
            keys = self._with_keys(table, columns[0].name, [row[0] for row in rows])
            new = {row[0]: dict(zip((column.name for column in columns), row, strict=True)) for row in rows}
            self._rewrite(cursor, table, keys if where is None else AllOf([keys, where]), lambda key: new[key])

    def assign(self, cursor: Any, table: str, values: Mapping[str, Value | None], where: Condition) -> None:
        """Set columns of the rows that fulfil a condition to values, in a transaction."""
        self._rewrite(cursor, table, where, lambda _: values)

    # -- a batch of log files ----------------------------------------------------------------------

    def _write_events(self, files: Sequence[FileRows]) -> list[_Settled]:
        """Store the rows of the files that nobody has read meanwhile, and say what the ledger is to hold of them."""
        tables = self._tables()
        # All are opened before the first is changed: if one is missing, nothing is stored.
        events, _ = tables[self.events], tables[self.quarantine]
        known = self._known(tables, [file.entry for file in files])
        files = [file for file in files if known.get(file.entry.log_file_uri) == file.previous]
        first = first_of_each(event for file in files for event in file.events)
        origins = self._insert_new_events(events, first) if first else {}
        events.commit()
        return [_Settled(file, _settled(file, origins)) for file in files]

    def _write_ledger(self, settled: Sequence[_Settled]) -> list[LedgerEntry]:
        """Store quarantine and ledger of the files of which the ledger says what it said before."""
        tables = self._tables()
        ledger, quarantine = tables[self.files], tables[self.quarantine]
        known = self._known(tables, [one.entry for one in settled])
        settled = [one for one in settled if known.get(one.entry.log_file_uri) == one.file.previous]
        if not settled:
            return []
        of_files = self._with_keys(self.quarantine, "log_file_uri", [one.entry.log_file_uri for one in settled])
        is_there = quarantine.rows > 0 and any(quarantine.read(["log_file_uri"], of_files))
        rows = [row for one in settled for row in one.file.quarantine]
        if rows or is_there:
            # A commit that changes nothing: of two tasks that bring the quarantine of one file, that of the one
            # is what stays, and then the ledger refuses the entry of the other.
            ledger.append(arrow_rows(columns_of(LedgerEntry), [], ledger.schema))
            ledger.commit()
            if is_there:
                quarantine.delete(of_files)
            self.insert(tables, self.quarantine, columns_of(QuarantineEntry), rows)
            quarantine.commit()
        entries = [one.entry for one in settled]
        if again := [one.entry for one in settled if one.file.previous is not None]:
            ledger.delete(self._of_entries(again))
        self.insert(tables, self.files, columns_of(LedgerEntry), entries)
        ledger.commit()
        return entries

    def _known(self, tables: TablesAtOnce, entries: Sequence[LedgerEntry]) -> dict[str, KnownFile]:
        """Return what the ledger says about the files of entries."""
        if not entries:
            return {}
        rows = self.select(tables, self.files, KnownFile._fields, self._of_entries(entries))
        return {row[0]: KnownFile(*row) for row in rows}

    def _of_entries(self, entries: Sequence[LedgerEntry]) -> Condition:
        where = self._with_keys(self.files, "log_file_uri", [entry.log_file_uri for entry in entries])
        return AllOf([where, *self._of_the_times(self.files, columns_of(LedgerEntry), entries)])

    def _insert_new_events(self, events: PinnedTable, first: Mapping[str, AuditEvent]) -> dict[str, str]:
        """Insert the events whose id the table does not hold; return the ``log_file_uri`` of the rows of all."""
        of_the_times = [] if events.rows <= _ROWS_COMPARED_WITH_ALL else [_at_the_times(first.values())]
        # The ids alone first: of new files, none is there, and their URIs need not be read.
        present = self._column(events, "event_id", AllOf([*of_the_times, OneOf("event_id", list(first))]))
        origins: dict[str, str] = {}
        if present:
            where = AllOf([*of_the_times, OneOf("event_id", present)])
            for batch in events.read(["event_id", "log_file_uri"], where):
                origins.update(zip(*(column.to_pylist() for column in batch.columns), strict=True))
        new = [event for event_id, event in first.items() if event_id not in origins]
        if new:
            events.append_by_day(columns_of(AuditEvent), new, "event_time")
        return origins | {event.event_id: event.log_file_uri for event in new}

    @staticmethod
    def _column(table: PinnedTable, column: str, where: Condition) -> list[Any]:
        return [value for batch in table.read([column], where) for value in batch.column(column).to_pylist()]

    # -- rows --------------------------------------------------------------------------------------

    def _insert(self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        cursor[table].append(arrow_rows(columns, rows, cursor[table].schema))

    def _rewrite(
        self, tables: TablesAtOnce, name: str, where: Condition, new: Callable[[str], Mapping[str, Any]]
    ) -> None:
        """Write rows that fulfil a condition anew; ``new`` gives, by their key, columns that change."""
        import pyarrow

        table = tables[name]
        columns, key = table.schema.column_names, table.key
        batches = []
        for batch in table.read(columns, where):
            changes = [new(value) for value in batch.column(key).to_pylist()]
            rows = pyarrow.Table.from_batches([batch])
            for column in changes[0]:
                index = columns.index(column)
                field = rows.schema.field(index)
                values = pyarrow.array([change[column] for change in changes], field.type)
                rows = rows.set_column(index, field, values)
            batches.append(rows)
        if batches:
            keys = [value for rows in batches for value in rows.column(key).to_pylist()]
            table.delete(self._with_keys(name, key, keys))
            table.append(pyarrow.concat_tables(batches, promote_options="permissive"))

    def _with_keys(self, table: str, key: str, keys: Sequence[str]) -> Condition:
        """Return the condition for rows with some keys; for the ledger also with the months that they can be in."""
        where = keys_within(key, keys)
        stamps = [found[1] for key in keys if (found := _STAMP.search(key))] if table == self.files else []
        if len(stamps) < len(keys):
            return where
        moments = [datetime.strptime(stamp, "%Y%m%dT%H%M%z") for stamp in (min(stamps), max(stamps))]
        return AllOf([*_between("delivered_at", *moments), where])

    def _of_the_times(self, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> list[Condition]:
        """Return what rows with the same keys have in common with these: when it was, by the table's partitions."""
        partitioned_by, _ = PARTITIONED.get(table.removeprefix(self.events), (None, None))
        for index, column in enumerate(columns):
            if column.name == partitioned_by:
                moments = [row[index] for row in rows]
                return _between(column.name, min(moments), max(moments))
        return []

    # -- catalog -----------------------------------------------------------------------------------

    def _tables(self) -> TablesAtOnce:
        return TablesAtOnce(self._load, [self.events, self.quarantine, None, self.files])

    def _load(self, name: str) -> Table:
        return self._catalog().load_table(name)

    def _catalog(self) -> Catalog:
        with self._opening:
            if self._opened is None:
                try:
                    self._opened = catalog_of(self.hook)
                except Exception as error:
                    if self._is_conflict(error):
                        raise
                    raise _unavailable(error) from None
            return self._opened

    def _ensure(self, name: str, columns: Sequence[Column], *, has_key: bool) -> None:
        """Create a table, or add the columns that it lacks."""
        from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

        catalog = self._catalog()
        try:
            table = catalog.load_table(name)
        except NoSuchTableError:
            schema = schema_of(columns, has_key=has_key)
            spec = partitions_of(schema, name.removeprefix(self.events))
            try:
                catalog.create_table(
                    name, schema, partition_spec=spec, properties=properties_of(columns, has_key=has_key)
                )
            except NoSuchNamespaceError:
                raise WarehouseError(
                    f"iceberg: there is no namespace {self.schema!r} in the catalog; create it (in Athena and Spark: "
                    f"CREATE DATABASE {self.schema}), or name another by the parameter schema"
                ) from None
            log.info("Created table %s", name)
            return
        present = set(table.schema().column_names)
        missing = [column for column in columns if column.name not in present]
        if missing:
            with table.update_schema() as change:
                for column in missing:
                    # Never required: the rows that are there have no value.
                    change.add_column(column.name, iceberg_type(column.kind), doc=column.meaning)
            log.info("Added columns to %s: %s", name, ", ".join(column.name for column in missing))

    def _is_conflict(self, error: Exception) -> bool:
        if isinstance(error, LostRaceError) or type(error).__name__ in _CONFLICTS:
            return True
        response = getattr(error, "response", None)
        code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
        # A catalog in SQLite: who comes second waits for a moment, and then is told one of these.
        return code in _CONFLICTS_OF_AWS or (
            type(error).__name__ == "OperationalError"
            and ("database is locked" in str(error) or "already exists" in str(error))
        )

    def _describe(self, error: Exception) -> str:
        return describe(error)


class _Settled(NamedTuple):
    """A file whose rows are stored, and what the ledger is to say of it."""

    file: FileRows
    entry: LedgerEntry


def _settled(file: FileRows, origins: Mapping[str, str]) -> LedgerEntry:
    """Return the ledger entry of a file with the counts that only the table knows."""
    if file.entry.status != LOADED:
        return file.entry
    uri = file.entry.log_file_uri
    loaded = len({event.event_id for event in file.events if origins[event.event_id] == uri})
    return file.entry._replace(loaded=loaded, duplicate=len(file.events) - loaded)


def _unavailable(error: Exception) -> WarehouseUnavailableError:
    # No value of a record has been handed over yet: the text is safe, and what a user needs.
    reason = str(error).strip().splitlines()
    return WarehouseUnavailableError(
        f"iceberg: cannot open the catalog ({type(error).__name__}): {reason[0] if reason else ''}"
    )


def _between(column: str, first: datetime, last: datetime) -> list[Condition]:
    return [Compare(column, ">=", first), Compare(column, "<=", last)]


def _at_the_times(events: Iterable[AuditEvent]) -> Condition:
    """Return the condition for rows that have the times of events: for each day from the first to the last of them."""
    spans: dict[date, tuple[datetime, datetime]] = {}
    for event in events:
        day = event.event_time.astimezone(timezone.utc).date()
        first, last = spans.get(day, (event.event_time, event.event_time))
        spans[day] = (min(first, event.event_time), max(last, event.event_time))
    if len(spans) > _MOST_SPANS:
        return AllOf(_between("event_time", min(spans.values())[0], max(last for _, last in spans.values())))
    return AnyOf([AllOf(_between("event_time", *span)) for span in spans.values()])
