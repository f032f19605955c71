"""What others do to the tables between two batches and within one: maintenance, deletes, columns and partitions."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from airflow_provider_cloudtrail.warehouse.conditions import Compare
from tests.support.engines import ICEBERG
from tests.support.iceberg_tasks import again, at_commits, batch, table_of
from tests.support.log_files import event
from tests.support.rows import file_rows, reread
from tests.support.tables import assert_balanced, read_table

pytestmark = pytest.mark.skipif(not ICEBERG, reason="needs pyiceberg")


def names_of(warehouse: Warehouse) -> list[str]:
    return [warehouse.events, warehouse.files, warehouse.quarantine]


def compact(table: Any) -> None:
    """Write all rows anew."""
    table.overwrite(table.scan().to_arrow())


def expire(table: Any) -> None:
    """Remove all snapshots but the current one, and the files that only they have."""
    if not hasattr(table, "maintenance"):
        pytest.skip("this pyiceberg removes no snapshots")
    before, current = _files_of(table), table.current_snapshot().snapshot_id
    older = [one.snapshot_id for one in table.snapshots() if one.snapshot_id != current]
    if older:
        table.maintenance.expire_snapshots().by_ids(older).commit()
    for path in before - _files_of(table.refresh()):
        Path(path.removeprefix("file://")).unlink()


def _files_of(table: Any) -> set[str]:
    snapshots = table.snapshots()
    manifests = [manifest for snapshot in snapshots for manifest in snapshot.manifests(table.io)]
    data = {entry.data_file.file_path for one in manifests for entry in one.fetch_manifest_entry(table.io)}
    return data | {one.manifest_path for one in manifests} | {one.manifest_list for one in snapshots}


def compact_and_expire(table: Any) -> None:
    compact(table)
    expire(table)


def keep_a_branch(table: Any) -> None:
    current = table.current_snapshot().snapshot_id
    table.manage_snapshots().create_branch(current, "audit").create_tag(current, "year").commit()


def move_a_column_to_the_front(table: Any) -> None:
    with table.update_schema() as change:
        change.move_first(table.schema().column_names[3])


def part_by_a_bucket(table: Any) -> None:
    from pyiceberg.transforms import BucketTransform

    with table.update_spec() as change:
        change.add_field("log_file_uri", BucketTransform(4), "bucket")


def part_by_nothing(table: Any) -> None:
    with table.update_spec() as change:
        for field in table.spec().fields:
            change.remove_field(field.name)


def sort(table: Any) -> None:
    from pyiceberg.transforms import IdentityTransform

    if not hasattr(table, "update_sort_order"):
        pytest.skip("this pyiceberg sets no order")
    with table.update_sort_order() as change:
        change.asc("log_file_uri", IdentityTransform())


def first_files() -> list[Any]:
    return [
        file_rows("20260203T0900Z", event("before"), event("b"), 7),
        file_rows("20260203T0905Z", event("y", eventTime="2026-02-02T10:00:00Z"), 8),
    ]


@pytest.mark.parametrize("moment", [None, 0, 3], ids=["before", "at the rows", "at the ledger"])
@pytest.mark.parametrize(
    "do",
    [
        compact,
        expire,
        compact_and_expire,
        keep_a_branch,
        move_a_column_to_the_front,
        part_by_a_bucket,
        part_by_nothing,
        sort,
    ],
)
def test_nothing_is_lost_or_doubled(iceberg: Warehouse, do: Callable[[Any], None], moment: int | None) -> None:
    iceberg.write(first_files())
    pending = names_of(iceberg)

    def disturb() -> None:
        while pending:
            do(table_of(iceberg, pending.pop()))

    def interfere(number: int, commit: Callable[[], Any]) -> Any:
        if number == moment:
            disturb()
        return commit()

    if moment is None:
        disturb()
    with at_commits(iceberg, interfere):
        iceberg.write(batch())
    assert pending == []
    again(iceberg).write(reread(iceberg, *batch()))
    iceberg.write([file_rows("20260203T1100Z", event("a"), event("late", eventTime="2026-02-02T10:00:00Z"))])
    tables = read_table(iceberg)
    assert_balanced(tables)
    assert tables.event_ids == ["a", "b", "before", "c", "late", "y"]
    assert (len(tables.files), len(tables.quarantine)) == (7, 4)


@pytest.mark.parametrize("moment", range(4))
def test_ledger_that_is_renamed_meanwhile_is_named(iceberg: Warehouse, moment: int) -> None:
    iceberg.write(first_files())
    opened, other = iceberg._catalog.open(), f"{iceberg.files}_other"  # type: ignore[attr-defined]

    def rename(number: int, commit: Callable[[], Any]) -> Any:
        if number == moment:
            opened.rename_table(iceberg.files, other)
        return commit()

    with (
        at_commits(iceberg, rename),
        pytest.raises(WarehouseError, match=f"NoSuchTableError: Table does not exist: {iceberg.files}"),
    ):
        iceberg.write(batch())
    opened.rename_table(other, iceberg.files)
    iceberg.write(reread(iceberg, *batch()))
    tables = read_table(iceberg)
    assert_balanced(tables)
    assert tables.event_ids == ["a", "b", "before", "c", "y"]
    assert (len(tables.files), len(tables.quarantine)) == (6, 4)


def test_columns_that_hold_others_stay_when_files_are_read_again(iceberg: Warehouse) -> None:
    import pyarrow
    from pyiceberg.types import ListType, LongType, NestedField, StringType, StructType

    iceberg.write(batch())
    with table_of(iceberg, iceberg.files).update_schema() as change:
        change.add_column("review", StructType(NestedField(1, "stars", LongType(), required=False)))
        change.add_column("tags", ListType(1, StringType(), element_required=False))
    ledger = table_of(iceberg, iceberg.files)
    rows = [row | {"review": {"stars": 3}, "tags": ["seen"]} for row in ledger.scan().to_arrow().to_pylist()]
    ledger.overwrite(pyarrow.Table.from_pylist(rows, schema=ledger.schema().as_arrow()))
    iceberg.write(reread(iceberg, *batch()))
    iceberg.transact(
        "changing it",
        lambda tables: iceberg.assign(tables, iceberg.files, {"loaded_by": "me"}, Compare("log_file_uri", "<>", "")),
        writes=True,
    )
    found = table_of(iceberg, iceberg.files).scan(selected_fields=("review", "tags", "loaded_by")).to_arrow()
    assert found.to_pylist() == [{"review": {"stars": 3}, "tags": ["seen"], "loaded_by": "me"}] * 4
    assert_balanced(read_table(iceberg))


def delete_by_position(warehouse: Warehouse, name: str) -> None:
    """Delete the first row of a table as Athena and Spark do: by a file that says where it stands."""
    import pyarrow
    from pyarrow import parquet
    from pyiceberg import manifest
    from pyiceberg.table.snapshots import Operation
    from pyiceberg.table.update.snapshot import _FastAppendFiles

    if not hasattr(manifest.DataFile, "from_args"):
        pytest.skip("this pyiceberg makes no entry of a file of deletes")
    table = table_of(warehouse, name)
    (file,) = [task.file for task in table.scan().plan_files()]
    numbered = [("file_path", pyarrow.string(), 2147483546), ("pos", pyarrow.int64(), 2147483545)]
    schema = pyarrow.schema([
        pyarrow.field(column, kind, nullable=False, metadata={"PARQUET:field_id": f"{number}"})
        for column, kind, number in numbered
    ])
    output = table.io.new_output(f"{table.location()}/data/{uuid.uuid4()}-deletes.parquet")
    with output.create() as stream:
        parquet.write_table(pyarrow.table([[file.file_path], [0]], schema=schema), stream)
    deletes = manifest.DataFile.from_args(
        content=manifest.DataFileContent.POSITION_DELETES,
        file_path=output.location,
        file_format=manifest.FileFormat.PARQUET,
        partition=file.partition,
        record_count=1,
        file_size_in_bytes=len(output),
        sort_order_id=None,
        spec_id=file.spec_id,
        equality_ids=None,
        key_metadata=None,
    )

    class Deletion(_FastAppendFiles):
        """Adds a manifest of deletes, of which pyiceberg itself writes none."""

        def _manifests(self) -> list[Any]:
            writer = manifest.write_manifest(
                format_version=2,
                spec=table.spec(),
                schema=table.schema(),
                output_file=self.new_manifest_output(),
                snapshot_id=self.snapshot_id,
                avro_compression="null",
            )
            writer.content = lambda: manifest.ManifestContent.DELETES  # type: ignore[method-assign]
            with writer:
                added = manifest.ManifestEntryStatus.ADDED
                writer.add_entry(
                    manifest.ManifestEntry.from_args(
                        status=added,
                        snapshot_id=self.snapshot_id,
                        sequence_number=None,
                        file_sequence_number=None,
                        data_file=deletes,
                    )
                )
            return [writer.to_manifest_file(), *self._existing_manifests()]

    change = table.transaction()
    Deletion(Operation.APPEND, change, table.io).commit()
    change.commit_transaction()


def test_event_that_somebody_deletes_by_position_is_loaded_when_it_comes_again(iceberg: Warehouse) -> None:
    """Though this task has written its file, and knows what is in it."""
    iceberg.write([file_rows("20260203T0900Z", event("a"), event("b"))])
    delete_by_position(iceberg, iceberg.events)
    assert read_table(iceberg).event_ids == ["b"]
    (entry,) = iceberg.write([file_rows("20260203T1000Z", event("a"), event("b"), event("c"))])
    assert (entry.loaded, entry.duplicate) == (2, 1)
    assert read_table(iceberg).event_ids == ["a", "b", "c"]


def test_entry_that_somebody_deletes_by_position_is_made_anew(iceberg: Warehouse) -> None:
    iceberg.write(first_files())
    delete_by_position(iceberg, iceberg.files)
    assert len(read_table(iceberg).files) == 1
    iceberg.write(reread(iceberg, *first_files()))
    tables = read_table(iceberg)
    assert_balanced(tables)
    assert (tables.event_ids, len(tables.files), len(tables.quarantine)) == (["b", "before", "y"], 2, 2)
