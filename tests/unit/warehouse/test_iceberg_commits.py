from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from tests.support.engines import ICEBERG
from tests.support.iceberg_tasks import again, at_commits, batch, table_of
from tests.support.log_files import event
from tests.support.rows import file_rows, reread
from tests.support.tables import assert_balanced, read_table

pytestmark = pytest.mark.skipif(not ICEBERG, reason="needs pyiceberg")

NewWarehouse = Callable[[str], Warehouse]


@pytest.mark.parametrize("error", ["CommitFailedException", "CommitStateUnknownException", "ServerError"])
def test_answer_of_a_commit_that_is_lost(new_warehouse: NewWarehouse, error: str) -> None:
    from pyiceberg import exceptions

    for lost in range(4):
        warehouse = new_warehouse("iceberg")
        warehouse.prepare()

        def lose(number: int, commit: Callable[[], Any], lost: int = lost) -> Any:
            done = commit()
            if number == lost:
                raise getattr(exceptions, error)("the first answer did not arrive")
            return done

        with at_commits(warehouse, lose):
            entries = warehouse.write(batch())
        # What was stored by this run is told to be: else no summary would count it.
        assert sum(entry.loaded or 0 for entry in entries) == 3
        tables = read_table(warehouse)
        assert_balanced(tables)
        assert (tables.event_ids, len(tables.files), len(tables.quarantine)) == (["a", "b", "c"], 4, 2)


def fail_and_answer_no_more(
    patch: pytest.MonkeyPatch, warehouse: Warehouse, error: Exception
) -> Callable[[int, Callable[[], Any]], Any]:
    """Return what has the first commit fail, and the question behind it what has become of it."""
    opened = warehouse._catalog.open()  # type: ignore[attr-defined]
    load_table = opened.load_table

    def refuse_once(*args: Any) -> Any:
        patch.setattr(opened, "load_table", load_table)
        raise ConnectionError("no answer")

    def fail(number: int, commit: Callable[[], Any]) -> Any:
        if number == 0:
            patch.setattr(opened, "load_table", refuse_once)
            raise error
        return commit()

    return fail


def test_refusal_of_which_no_more_can_be_found_out(iceberg: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyiceberg.exceptions import CommitFailedException

    with at_commits(iceberg, fail_and_answer_no_more(monkeypatch, iceberg, CommitFailedException("changed"))):
        iceberg.write(batch())
    tables = read_table(iceberg)
    assert_balanced(tables)
    assert (tables.event_ids, len(tables.files), len(tables.quarantine)) == (["a", "b", "c"], 4, 2)


def test_failure_of_which_no_more_can_be_found_out(iceberg: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyiceberg.exceptions import ForbiddenError

    with (
        at_commits(iceberg, fail_and_answer_no_more(monkeypatch, iceberg, ForbiddenError("no right to commit"))),
        pytest.raises(WarehouseError, match="ForbiddenError: no right to commit"),
    ):
        iceberg.write(batch())
    assert read_table(iceberg).files == []


def test_commit_that_is_stored_behind_its_refusal(new_warehouse: NewWarehouse) -> None:
    from pyiceberg.exceptions import CommitFailedException

    for late in range(4):
        warehouse = new_warehouse("iceberg")
        warehouse.prepare()
        on_its_way: list[Callable[[], Any]] = []

        def delay(
            number: int, commit: Callable[[], Any], late: int = late, on_its_way: list[Callable[[], Any]] = on_its_way
        ) -> Any:
            if number == late:
                # The client has sent it again meanwhile, and hears that somebody is changing the table.
                on_its_way.append(commit)
                raise CommitFailedException("concurrent update")
            if on_its_way:
                on_its_way.pop()()
            return commit()

        with at_commits(warehouse, delay):
            warehouse.write(batch())
        tables = read_table(warehouse)
        assert_balanced(tables)
        assert (tables.event_ids, len(tables.files), len(tables.quarantine)) == (["a", "b", "c"], 4, 2)


def test_files_of_commits_that_were_overtaken_are_removed(iceberg: Warehouse) -> None:
    other, others = again(iceberg), [file_rows("20260203T0900Z", event("z"))]

    def interfere(number: int, commit: Callable[[], Any]) -> Any:
        if others:
            other.write([others.pop()])
        return commit()

    with at_commits(iceberg, interfere):
        iceberg.write([file_rows("20260203T1000Z", event("a"))])
    events = table_of(iceberg, iceberg.events)
    listed = {row["file_path"] for row in events.inspect.files().to_pylist()}
    folder, snapshots = Path(events.location().removeprefix("file://")), events.snapshots()
    assert {f"file://{path}" for path in folder.rglob("*.parquet")} == listed
    manifests = {manifest.manifest_path for snapshot in snapshots for manifest in snapshot.manifests(events.io)}
    lists = {snapshot.manifest_list for snapshot in snapshots}
    assert {f"file://{path}" for path in folder.rglob("*.avro")} == manifests | lists


def assert_files_are_there(warehouse: Warehouse) -> None:
    for name in (warehouse.events, warehouse.files, warehouse.quarantine):
        for row in table_of(warehouse, name).inspect.files().to_pylist():
            assert Path(row["file_path"].removeprefix("file://")).exists()


def test_files_that_an_overtaken_commit_was_to_replace_stay(iceberg: Warehouse) -> None:
    iceberg.write(batch())
    other, overtaken = again(iceberg), set()

    def interfere(number: int, commit: Callable[[], Any]) -> Any:
        # Before they are replaced after all.
        assert_files_are_there(iceberg)
        if (stamp := f"20260203T0{len(overtaken)}00Z") not in overtaken and number % 2 == 0 and len(overtaken) < 3:
            overtaken.add(stamp)
            other.write([file_rows(stamp, event(stamp), 7)])
        return commit()

    with at_commits(iceberg, interfere):
        iceberg.write(reread(iceberg, *batch()))
    assert len(overtaken) == 3
    tables = read_table(iceberg)
    assert_balanced(tables)
    assert (len(tables.events), len(tables.quarantine)) == (6, 5)
