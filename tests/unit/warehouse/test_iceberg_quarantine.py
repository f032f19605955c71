from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.conditions import (
    Compare,
)
from airflow_provider_cloudtrail.warehouse.iceberg import IcebergWarehouse
from tests.support.engines import ICEBERG
from tests.support.iceberg_tasks import Killed, again, at_commits, files_read, table_of
from tests.support.log_files import event, foreign
from tests.support.rows import ALL, MWAA, file_rows, reread
from tests.support.tables import assert_balanced, read_table

pytestmark = pytest.mark.skipif(not ICEBERG, reason="needs pyiceberg")
NOON = datetime(2026, 2, 3, 12, tzinfo=timezone.utc)


def test_quarantine_of_other_days_is_not_read(iceberg: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in range(1, 6):
        iceberg.write([file_rows(f"202602{day:02}T1000Z", event(str(day)), 7)])
    read = files_read(monkeypatch)
    iceberg.write([file_rows("20260210T1000Z", event("a"))])
    assert not [path for path in read if "/audit_quarantine/" in path]
    file = file_rows("20260203T1000Z", event("3"), 7)
    iceberg.write(reread(iceberg, file))
    assert len({path for path in read if "/audit_quarantine/" in path}) == 1
    assert_balanced(read_table(iceberg))


def test_two_selections_of_one_file_at_once(iceberg: Warehouse) -> None:
    """What the quarantine holds is what the ledger counts, whoever of the two wins."""
    records = (event("a"), foreign("f"), 7, event(eventTime=None), foreign(eventTime=None))
    for moment in range(4):
        stamp = f"20260203T10{moment:02}Z"
        other, pending = again(iceberg), [file_rows(stamp, *records, selection=ALL)]

        def interfere(number: int, commit: Callable[[], Any], moment: int = moment, pending: Any = pending) -> Any:
            if number == moment and pending:
                other.write([pending.pop()])  # noqa: B023
            return commit()

        with at_commits(iceberg, interfere):
            iceberg.write([file_rows(stamp, *records, selection=MWAA)])
        for file in (file_rows(stamp, *records, selection=ALL),):
            iceberg.write(reread(iceberg, file))
        assert_balanced(read_table(iceberg))


@pytest.mark.parametrize("killed", [False, True], ids=["", "the one is killed"])
@pytest.mark.parametrize("maintained", [False, True], ids=["", "the ledger is changed besides"])
def test_one_of_two_tasks_cannot_read_the_file(iceberg: Warehouse, killed: bool, maintained: bool) -> None:
    """That it could not is in quarantine only if the ledger says so, at whichever commit the other one came."""
    for moment in range(3):
        stamp = f"20260203T10{moment:02}Z"
        other, pending = again(iceberg), [file_rows(stamp, event(stamp))]
        iceberg.write([file_rows(f"20260203T09{moment:02}Z", event(f"before {stamp}"))])

        def interfere(number: int, commit: Callable[[], Any], moment: int = moment, pending: Any = pending) -> Any:
            result = None
            if number == moment and pending:
                if maintained:
                    at_nine = Compare("delivered_at", "<", NOON)
                    other.transact(  # noqa: B023
                        "changing it",
                        lambda tables: other.assign(tables, other.files, {"loaded_by": "me"}, at_nine),  # noqa: B023
                        writes=True,
                    )
                other.write([pending.pop()])  # noqa: B023
                result = commit()
                if killed:
                    raise Killed
            return result or commit()

        try:
            with at_commits(iceberg, interfere):
                iceberg.write([file_rows(stamp, body=b"no gzip")])
        except Killed:
            pass
        tables = read_table(iceberg)
        assert_balanced(tables)
        assert (pending, stamp in tables.event_ids, tables.quarantine) == ([], True, []), moment


def test_ledger_of_which_older_snapshots_are_gone(iceberg: Warehouse) -> None:
    """Whether something was announced is not known then, so what may be on its way is refused."""
    assert isinstance(iceberg, IcebergWarehouse)
    iceberg.write([file_rows("20260203T1000Z", event("a"))])
    iceberg.transact(
        "changing it",
        lambda tables: iceberg.assign(tables, iceberg.files, {"loaded_by": "me"}, Compare("loaded", "=", 1)),
        writes=True,
    )
    ledger = table_of(iceberg, iceberg.files)
    if not hasattr(ledger, "maintenance"):
        pytest.skip("this pyiceberg removes no snapshots")
    newest = ledger.current_snapshot().snapshot_id
    older = [one.snapshot_id for one in ledger.snapshots() if one.snapshot_id != newest]
    ledger.maintenance.expire_snapshots().by_ids(older).commit()
    commits = []
    with at_commits(iceberg, lambda number, commit: (commits.append(number), commit())[1]):
        iceberg.write([file_rows("20260203T1005Z", event("b"))])
        iceberg.write([file_rows("20260203T1010Z", event("c"))])
    # Rows, quarantine, ledger; rows, ledger.
    assert len(commits) == 5
    assert_balanced(read_table(iceberg))
