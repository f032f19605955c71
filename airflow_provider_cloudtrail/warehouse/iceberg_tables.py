"""Tables of Iceberg as they were when they were looked at, and changes that are stored only if they still are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_cloudtrail.audit_event import Column
from airflow_provider_cloudtrail.warehouse.conditions import AllOf, Condition, OneOf
from airflow_provider_cloudtrail.warehouse.iceberg_commits import OneAttempt
from airflow_provider_cloudtrail.warehouse.iceberg_conditions import as_expression
from airflow_provider_cloudtrail.warehouse.iceberg_files import day_of, write_day_files
from airflow_provider_cloudtrail.warehouse.iceberg_memory import give_back_memory
from airflow_provider_cloudtrail.warehouse.iceberg_own_rows import OwnRows
from airflow_provider_cloudtrail.warehouse.iceberg_schema import arrow_table, refuse_left_out

if TYPE_CHECKING:
    import pyarrow
    from pyiceberg.schema import Schema
    from pyiceberg.table import FileScanTask, Table, Transaction

_FILES_AT_ONCE = 8
_ROWS_AT_ONCE = 100_000
_MARK = "airflow-provider-cloudtrail.mark"
# Values of a list that are left to pyiceberg.
_FEW = 100


class PinnedTable:
    """
    A table as it was when it was looked at, with the changes that are made to it here.

    :param table: just loaded.
    :param own: rows that were added to it here before.
    """

    def __init__(self, table: Table, own: OwnRows) -> None:
        table.catalog = OneAttempt(table.catalog)  # type: ignore[assignment]
        self._table = table
        self._own = own
        self._change: Transaction | None = None

    @property
    def schema(self) -> Schema:
        """Its columns."""
        return self._table.schema()

    @property
    def columns(self) -> list[str]:
        """The names of its columns: pyiceberg's ``column_names`` are also those of what lies in a struct or a list."""
        return [field.name for field in self.schema.fields]

    @property
    def key(self) -> str:
        """The column that identifies a row."""
        return next(iter(self.schema.identifier_field_names()), self.columns[0])

    @property
    def rows(self) -> int:
        """How many rows it has, as its snapshot says; where that says nothing, very many."""
        return self._summed("total-records")

    @property
    def data_files(self) -> int:
        """How many files they lie in, as its snapshot says; where that says nothing, very many."""
        return self._summed("total-data-files")

    def _summed(self, name: str) -> int:
        snapshot = self._metadata.current_snapshot()
        return 0 if snapshot is None else int((snapshot.summary or {}).get(name) or 2**63)

    def read(
        self, columns: Sequence[str], where: Condition, *, ids: Sequence[str] | None = None
    ) -> Iterator[pyarrow.RecordBatch]:
        """
        Yield columns of the rows that fulfil a condition, reading only what can have such rows.

        :param ids: values of ``event_id``, if the condition says of rows no more than these and when they were: then
            what was added here is not read. The columns are ``event_id`` and ``log_file_uri`` at most.
        """
        import pyarrow
        from pyiceberg.io.pyarrow import ArrowScan
        from pyiceberg.table import DataScan

        planned, among = _without_lists(where)
        lists = [(one.column, pyarrow.array(one.values)) for one in among]
        metadata, io = self._metadata, self._table.io
        wanted = dict.fromkeys([*columns, *(column for column, _ in lists)])
        scan = DataScan(metadata, io, as_expression(planned), selected_fields=tuple(wanted))
        reader = ArrowScan(metadata, io, scan.projection(), scan.row_filter)
        own: list[pyarrow.RecordBatch] = []
        unread: list[FileScanTask] = []
        for task in scan.plan_files():
            rows = None if ids is None else self._own.of(task)
            if rows is None:
                unread.append(task)
            else:
                own += rows.select(list(columns)).to_batches()
        if own:
            yield from _within(own, [("event_id", pyarrow.array(ids))])
        for portion in _portions(unread):
            for batch in _within(reader.to_record_batches(portion), lists):
                if batch.num_rows:
                    yield batch.select(list(columns))

    def append(self, rows: pyarrow.Table, *, mark: str | None = None) -> None:
        """
        Add rows; without any, make a commit that changes nothing but the snapshot.

        :param mark: what others are to read in the summary of the snapshot.
        :raises WarehouseError: if they have no value for a column that takes no null.
        """
        refuse_left_out(self.schema, [name for name in rows.column_names if not rows.column(name).null_count])
        self._transaction.append(rows, snapshot_properties={} if mark is None else {_MARK: mark})

    def last_mark(self) -> str | None:
        """Return the newest mark among its snapshots; "" if it has no snapshot, None if none has a mark."""
        snapshot = self._metadata.current_snapshot()
        if snapshot is None:
            return ""
        while snapshot is not None:
            if mark := (snapshot.summary or {}).get(_MARK):
                return str(mark)
            parent = snapshot.parent_snapshot_id
            snapshot = None if parent is None else self._metadata.snapshot_by_id(parent)
        # To remove old ones is maintenance; the oldest that is left may be told to have no parent.
        return None

    def append_by_day(self, columns: Sequence[Column], rows: Sequence[Sequence[Any]], column: str) -> None:
        """
        Add events, some at least, to a table that is parted by the day of a column.

        :raises WarehouseError: if they have no value for a column that takes no null.
        """
        refuse_left_out(self.schema, [one.name for one in columns])
        field = day_of(self._table, column)
        if field is None:
            # Of the user's own making.
            self.append(arrow_table(columns, rows, self.schema))
            return
        names = [one.name for one in columns]
        time, named = names.index(column), [names.index(name) for name in ("event_id", "log_file_uri")]
        update = self._transaction.update_snapshot()
        merges = self._table.properties.get("commit.manifest-merge.enabled", "false").lower() == "true"
        with update.merge_append() if merges else update.fast_append() as addition:
            for data_file, of_day in write_day_files(self._table, field, columns, rows, time):
                addition.append_data_file(data_file)
                self._own.add(data_file.file_path, *([row[index] for row in of_day] for index in named))

    def delete(self, where: Condition) -> None:
        """Remove the rows that fulfil a condition, of which there must be some."""
        self._transaction.delete(as_expression(where))

    def commit(self) -> None:
        """
        Store the changes, if there are any.

        :raises LostRaceError: if another writer has changed the table meanwhile.
        """
        change, self._change = self._change, None
        if change is not None:
            change.commit_transaction()
            give_back_memory()

    @property
    def _transaction(self) -> Transaction:
        if self._change is None:
            self._change = self._table.transaction()
        return self._change

    @property
    def _metadata(self) -> Any:
        return self._table.metadata if self._change is None else self._change.table_metadata


class TablesAtOnce:
    """
    Tables that are looked at and changed together; Iceberg commits one after the other.

    :param load: loads a table by its name.
    :param order: names in the order in which they are committed; others stand where None does.
    :param own: rows that were added before.
    """

    def __init__(self, load: Callable[[str], Table], order: Sequence[str | None], own: OwnRows) -> None:
        self._load = load
        self._own = own
        self._order = order
        self._tables: dict[str, PinnedTable] = {}

    def __getitem__(self, name: str) -> PinnedTable:
        if name not in self._tables:
            self._tables[name] = PinnedTable(self._load(name), self._own)
        return self._tables[name]

    def commit(self) -> None:
        """
        Store the changes of all tables.

        :raises LostRaceError: if another writer has changed one of them; those before it are stored.
        """
        for name in self._order:
            for other in [name] if name is not None else [other for other in self._tables if other not in self._order]:
                if other in self._tables:
                    self._tables[other].commit()


def _without_lists(where: Condition) -> tuple[Condition, list[OneOf]]:
    """Return a condition without its long lists, and these: pyiceberg takes seconds for what Arrow does at once."""
    if isinstance(where, AllOf):
        parts = [_without_lists(part) for part in where.conditions]
        return AllOf([part for part, _ in parts]), [one for _, lists in parts for one in lists]
    if isinstance(where, OneOf) and len(where.values) > _FEW:
        return AllOf([]), [where]
    return where, []


def _portions(tasks: Iterable[FileScanTask]) -> Iterator[list[FileScanTask]]:
    """Yield files that are read at once: pyiceberg holds the rows of all of them before it gives the first."""
    portion: list[FileScanTask] = []
    rows = 0
    for task in tasks:
        if portion and (len(portion) == _FILES_AT_ONCE or rows + task.file.record_count > _ROWS_AT_ONCE):
            yield portion
            portion, rows = [], 0
        portion.append(task)
        rows += task.file.record_count
    if portion:
        yield portion


def _within(
    batches: Iterable[pyarrow.RecordBatch], lists: Sequence[tuple[str, pyarrow.Array]]
) -> Iterator[pyarrow.RecordBatch]:
    """Yield rows of a portion whose values occur in lists, given by column."""
    import pyarrow
    from pyarrow import compute

    if not lists:
        yield from batches
        return
    # All at once: to prepare a list of 30,000 takes longer than to look up as many.
    if tables := [pyarrow.Table.from_batches([batch]) for batch in batches]:
        rows = pyarrow.concat_tables(tables, promote_options="permissive")
        for column, values in lists:
            rows = rows.filter(compute.is_in(rows.column(column), values.cast(rows.schema.field(column).type)))
        yield from rows.combine_chunks().to_batches()
