"""A call to Athena or S3 fails, before or behind its effect, and the export is run again: the same tables."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cloudtrail.export.log_files import Limits, export_log_files
from airflow_provider_cloudtrail.export.summary import ExportSummary
from airflow_provider_cloudtrail.trail.selection import Selection
from airflow_provider_cloudtrail.warehouse.athena import AthenaWarehouse
from airflow_provider_cloudtrail.warehouse.athena_lock import WriterLock
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from tests.support.athena import AthenaStandIn
from tests.support.athena_tasks import again
from tests.support.engines import ATHENA
from tests.support.faulty_proxy import Fault, FaultyProxy, Refusal, failing
from tests.support.log_files import FolderTrail, event, foreign, key_of
from tests.support.rows import ALL, MWAA, file_rows
from tests.support.s3 import client_of
from tests.support.tables import assert_balanced, read_table

pytestmark = pytest.mark.skipif(not ATHENA, reason="needs pyathena, duckdb, pyarrow, sqlglot and moto")

START = "AmazonAthena.StartQueryExecution"
THROTTLED, BROKEN = Refusal(400, "TooManyRequestsException"), Refusal(500, "InternalServerException")
REFUSED = Refusal(400, "InvalidRequestException")
STEP = 17
"""Of some calls in a row one fails: that of each takes minutes."""
NewWarehouse = Callable[[str], Warehouse]


@pytest.fixture
def ways(athena_place: dict[str, Any]) -> Iterator[tuple[FaultyProxy, FaultyProxy]]:
    """Return proxies before Athena and before S3."""
    with ExitStack() as stack:
        yield tuple(stack.enter_context(FaultyProxy(athena_place[name]).running()) for name in ("athena", "s3"))  # type: ignore[misc]


@pytest.fixture
def through(
    ways: tuple[FaultyProxy, FaultyProxy], athena_place: dict[str, Any]
) -> Callable[[AthenaWarehouse], AthenaWarehouse]:
    """Return what gives the tables of a warehouse as they are reached through the proxies."""
    place = athena_place | {"athena": ways[0].endpoint, "s3": ways[1].endpoint}
    return lambda warehouse: again(warehouse, place)


@pytest.fixture
def few_attempts(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    return lambda number: monkeypatch.setenv("AWS_MAX_ATTEMPTS", str(number))


def filled(trail: FolderTrail) -> FolderTrail:
    many = [event(f"many-{index:03}", userAgent="x" * 700) for index in range(320)]
    trail.deliver("20260203T1000Z", event("a"), foreign("f"), event("b"), event("a"), 7, *many)
    trail.deliver("20260203T1005Z", event("b"), event("c", eventTime="2026-02-02T23:59:59Z"), foreign("g"))
    trail.deliver("20260203T1010Z", foreign())
    trail.put(key_of("20260203T1015Z"), b"no gzip")
    return trail


def export(trail: FolderTrail, warehouse: Warehouse, selection: Selection) -> ExportSummary:
    summary = export_log_files(
        trail.files(),
        store_of=lambda _: trail.store,
        warehouse=warehouse,
        selection=selection,
        limits=Limits(threads=1),
    )
    records, *others = summary.balance().values()
    assert records == sum(others)
    return summary


@pytest.mark.parametrize(
    ("ran", "answer"),
    [
        pytest.param(False, REFUSED, id="refused"),
        pytest.param(True, BROKEN, id="error 500 behind it"),
    ],
)
def test_any_call_fails_once(
    new_warehouse: NewWarehouse,
    through: Callable[[AthenaWarehouse], AthenaWarehouse],
    ways: tuple[FaultyProxy, FaultyProxy],
    athena_place: dict[str, Any],
    few_attempts: Callable[[int], None],
    tmp_path: Path,
    ran: bool,
    answer: Refusal | None,
) -> None:
    few_attempts(1)
    trail, staging = filled(FolderTrail(tmp_path / "some")), client_of(athena_place["s3"])
    undisturbed = new_warehouse("athena")
    undisturbed.prepare()
    expected = []
    for selection in (MWAA, ALL):
        summary = export(trail, undisturbed, selection)
        expected.append((read_table(undisturbed), summary.balance()))
    for number in range(STEP // 2, 200, STEP):
        warehouse = new_warehouse("athena")
        warehouse.prepare()
        assert isinstance(warehouse, AthenaWarehouse)
        happened = False
        for selection, (tables, balance) in zip((MWAA, ALL), expected, strict=True):
            with failing(Fault(number, ran, [answer]), *ways) as fault, suppress(WarehouseError):
                assert export(trail, through(warehouse), selection).balance() == balance
            happened |= fault.happened
            # As if its time had passed, should it have been left there.
            key = f"stage/cloudtrail-locks/audit.{warehouse.table}.json"
            staging.delete_object(Bucket=athena_place["bucket"], Key=key)
            export(trail, warehouse, selection)
            found = read_table(warehouse)
            assert_balanced(found)
            assert found == tables, fault.calls[number]
        if not happened:
            break
    assert 30 < number < 199


def test_statement_that_is_sent_again_runs_once(
    athena_warehouse: AthenaWarehouse,
    athena: AthenaStandIn,
    through: Callable[[AthenaWarehouse], AthenaWarehouse],
    ways: tuple[FaultyProxy, FaultyProxy],
    few_attempts: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # botocore gives up after two attempts, the driver asks once more; the first one runs still.
    few_attempts(2)
    asked_once_more = threading.Barrier(2, lambda: monkeypatch.setattr(athena, "meet", None))
    monkeypatch.setattr(athena, "meet", asked_once_more)
    starts = itertools.count(1)

    def is_start(call: str) -> bool:
        # What the ledger knows, then the events three times.
        if call == START and next(starts) == 4:
            asked_once_more.wait(60)
        return call == START

    before = len(athena.queries)
    fault = Fault(1, True, [None, THROTTLED], attempts=2, counts=is_start)
    with failing(fault, *ways):
        (entry,) = through(athena_warehouse).write([file_rows("20260203T1000Z", event("a"))])
    assert fault.happened
    assert entry.loaded == 1
    assert len(athena.queries) - before == 4
    assert read_table(athena_warehouse).event_ids == ["a"]


@pytest.mark.parametrize("answers", [[BROKEN], [None, REFUSED]], ids=["error 500", "lost, then refused"])
def test_lock_is_kept_while_a_statement_may_run(
    athena_warehouse: AthenaWarehouse,
    athena: AthenaStandIn,
    through: Callable[[AthenaWarehouse], AthenaWarehouse],
    ways: tuple[FaultyProxy, FaultyProxy],
    staged_keys: Callable[[], list[str]],
    few_attempts: Callable[[int], None],
    answers: list[Refusal | None],
) -> None:
    few_attempts(len(answers))
    fault = Fault(1, True, answers, counts=START.__eq__)
    with failing(fault, *ways), pytest.raises(WarehouseError, match="athena, writing"):
        through(athena_warehouse).write([file_rows("20260203T1000Z", event("a"))])
    assert [key.rpartition("/")[2] for key in staged_keys()] == [f"audit.{athena_warehouse.table}.json"]


def test_lock_of_the_next_writer_is_not_removed_by_a_request_that_is_sent_again(
    athena_warehouse: AthenaWarehouse,
    athena_place: dict[str, Any],
    through: Callable[[AthenaWarehouse], AthenaWarehouse],
    ways: tuple[FaultyProxy, FaultyProxy],
    staged_keys: Callable[[], list[str]],
) -> None:
    lock = f"stage/cloudtrail-locks/audit.{athena_warehouse.table}.json"
    following = WriterLock(client_of(athena_place["s3"]), athena_place["bucket"], lock)
    acquired = []
    fault = Fault(
        *(0, True),
        attempts=1,
        counts=lambda name: name.startswith("DELETE") and lock in name,
        meanwhile=lambda: acquired.append(following.acquire(lambda _: True)),
    )
    with failing(fault, *ways):
        through(athena_warehouse).write([file_rows("20260203T1000Z", event("a"))])
    assert acquired == [True]
    assert staged_keys() == [lock]
    following.release(keep=False)
    assert staged_keys() == []


def test_lock_is_removed_though_the_answer_to_its_renewal_was_lost(
    athena_warehouse: AthenaWarehouse,
    through: Callable[[AthenaWarehouse], AthenaWarehouse],
    ways: tuple[FaultyProxy, FaultyProxy],
    staged_keys: Callable[[], list[str]],
    few_attempts: Callable[[int], None],
) -> None:
    few_attempts(1)
    # The first PUT acquires it, the next ones note the statements.
    fault = Fault(1, True, counts=lambda name: name.startswith("PUT") and "cloudtrail-locks" in name)
    with failing(fault, *ways), pytest.raises(WarehouseError):
        through(athena_warehouse).write([file_rows("20260203T1000Z", event("a"))])
    assert fault.happened
    assert staged_keys() == []


@pytest.mark.parametrize("table", ["events", "files"])
def test_statement_that_fails_behind_its_commit_counts(
    athena_warehouse: AthenaWarehouse, athena: AthenaStandIn, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    left = [1]

    def fails(text: str) -> bool:
        return text.startswith(f"MERGE INTO {getattr(athena_warehouse, table)} ") and bool(left and left.pop())

    monkeypatch.setattr(athena, "fails_behind", fails)
    files = [
        file_rows("20260203T1000Z", event("a"), event("a"), foreign(), 7, selection=MWAA),
        file_rows("20260203T1005Z", body=b"no gzip"),
    ]
    first, second = athena_warehouse.write(files)
    assert left == []
    assert (first.records, first.loaded, first.duplicate, first.filtered, first.quarantined) == (4, 1, 1, 1, 1)
    assert second.status == "quarantined"
    assert_balanced(read_table(athena_warehouse))


def test_entry_of_another_task_is_not_taken_for_an_own_one(
    athena_warehouse: AthenaWarehouse, athena_place: dict[str, Any]
) -> None:
    files = [file_rows("20260203T1000Z", event("a")), file_rows("20260203T1005Z", event("b"))]
    other = file_rows("20260203T1000Z", event("a"))
    again(athena_warehouse, athena_place).write([other])
    assert [entry.log_file_uri for entry in athena_warehouse.write(files)] == [files[1].entry.log_file_uri]
