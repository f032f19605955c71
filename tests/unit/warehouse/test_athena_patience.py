"""Athena refuses to tell about a query that it has been given: it is asked again, and nothing is started anew."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse import athena_patience
from airflow_provider_cloudtrail.warehouse.athena import AthenaWarehouse
from airflow_provider_cloudtrail.warehouse.base import WarehouseUnavailableError
from tests.support.athena import AthenaStandIn, Query, RefusedError
from tests.support.athena_tasks import again
from tests.support.engines import ATHENA
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.tables import assert_balanced, read_table

pytestmark = pytest.mark.skipif(not ATHENA, reason="needs pyathena, duckdb, pyarrow, sqlglot and moto")

# More than what botocore (twice here) and the driver (eight times) ask one after the other.
OFTEN = 40
CODES = {"GetQueryExecution": "ThrottlingException", "GetQueryResults": "TooManyRequestsException"}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(athena_patience, "LONGEST_PAUSE", 0.01)


@pytest.fixture
def refuse(athena: AthenaStandIn, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], list[int]]:
    """Return what has a question refused as if it were asked too often, so many times; it returns how many are left."""
    answer = athena.answer

    def refusing(question: str, times: int) -> list[int]:
        left = [times]

        def answered(target: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
            if not target.endswith(f".{question}") or not left[0]:
                return answer(target, request)
            left[0] -= 1
            return 400, {"__type": CODES[question], "message": "Rate exceeded"}

        monkeypatch.setattr(athena, "answer", answered)
        return left

    return refusing


@pytest.mark.parametrize("question", CODES)
@pytest.mark.parametrize("mode", ["legacy", "standard"])
def test_answer_about_a_query_is_waited_for(
    athena_warehouse: AthenaWarehouse,
    athena_place: dict[str, Any],
    athena: AthenaStandIn,
    refuse: Callable[[str, int], list[int]],
    monkeypatch: pytest.MonkeyPatch,
    question: str,
    mode: str,
) -> None:
    monkeypatch.setenv("AWS_RETRY_MODE", mode)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    before, left = len(athena.queries), refuse(question, OFTEN)
    (entry,) = again(athena_warehouse, athena_place).write([file_rows("20260203T1000Z", event("a"))])
    assert left == [0]
    assert entry.loaded == 1
    # What the ledger knows, the events, whose they are, the ledger.
    assert len(athena.queries) - before == 4
    assert_balanced(read_table(athena_warehouse))


def test_later_rows_of_an_answer_are_waited_for(
    athena_warehouse: AthenaWarehouse, athena: AthenaStandIn, refuse: Callable[[str, int], list[int]]
) -> None:
    files = [file_rows(f"20260203T1{number // 60}{number % 60:02}Z") for number in range(8)]
    athena_warehouse.write(files)

    def ask(session: Any) -> int:
        session.execute(f"SELECT log_file_uri FROM {athena_warehouse.files}")
        session._cursor.arraysize = 3
        refuse("GetQueryResults", OFTEN)
        return len(session.fetchall())

    before = len(athena.queries)
    assert athena_warehouse.transact("asking", ask) == 8
    assert len(athena.queries) - before == 1


def test_patience_ends(
    athena_warehouse: AthenaWarehouse,
    athena: AthenaStandIn,
    refuse: Callable[[str, int], list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(athena_warehouse, "_lock_timeout", timedelta(seconds=1))
    before = len(athena.queries)
    refuse("GetQueryResults", 1_000_000)
    with pytest.raises(WarehouseUnavailableError, match=r"gave up after 1 seconds because of too many statements"):
        athena_warehouse.known_files(["s3://example-trail/none"])
    assert len(athena.queries) - before == 1


def test_pauses_grow_end_and_begin_anew_behind_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    now, handlers = [100.0], {}
    monkeypatch.setattr(athena_patience, "LONGEST_PAUSE", 10.0)
    monkeypatch.setattr(athena_patience, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(athena_patience, "random", SimpleNamespace(uniform=lambda low, high: high))
    events = SimpleNamespace(register_first=handlers.__setitem__, unregister=lambda event, handler: handlers.pop(event))

    def pause(attempts: int, code: str | None = "ThrottlingException", response: bool = True) -> float | None:
        answer = (None, {"Error": {"Code": code}} if code else {})
        asked = {"response": answer if response else None, "attempts": attempts, "operation": SimpleNamespace(name="x")}
        return handlers["needs-retry.athena.GetQueryResults"](**asked, caught_exception=None)

    with athena_patience.patience(SimpleNamespace(meta=SimpleNamespace(events=events)), timedelta(seconds=30)):
        assert sorted(handlers) == [f"needs-retry.athena.{question}" for question in sorted(CODES)]
        assert [pause(attempts) for attempts in (1, 2, 3, 4, 5, 2_000)] == [1, 2, 4, 8, 10, 10]
        now[0] = 125.0
        assert pause(7) == 5
        now[0] = 130.0
        assert pause(8) is None
        for answered in ({"code": None}, {"code": "InternalServerException"}, {"response": False}):
            assert pause(1, **answered) is None
            assert pause(7) == 10
            now[0] += 30.0
            assert pause(7) is None
    assert handlers == {}


BUSY_CATALOG = (
    "Rate exceeded (Service: AmazonDataCatalog; Status Code: 400; Error Code: ThrottlingException; "
    "Request ID: example; Proxy: null)"
)


def test_catalog_that_is_busy_is_waited_for(
    athena_warehouse: AthenaWarehouse, athena: AthenaStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, left = athena._get_table_metadata, [2]

    def looked(request: dict[str, Any]) -> dict[str, Any]:
        if left[0]:
            left[0] -= 1
            raise RefusedError("MetadataException", BUSY_CATALOG)
        return look(request)

    monkeypatch.setattr(athena, "_get_table_metadata", looked)
    athena_warehouse.prepare()
    assert left == [0]


def test_query_that_fails_because_the_catalog_is_busy_is_run_again(
    athena_warehouse: AthenaWarehouse, athena: AthenaStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, failed = athena._run, []

    def ran(query: Query) -> None:
        if query.text.startswith("MERGE") and not failed:
            failed.append(query)
            query.reason, query.state = f"HIVE_METASTORE_ERROR: {BUSY_CATALOG}", "FAILED"
        else:
            run(query)

    monkeypatch.setattr(athena, "_run", ran)
    (entry,) = athena_warehouse.write([file_rows("20260203T1000Z", event("a"))])
    assert failed
    assert entry.loaded == 1
    assert_balanced(read_table(athena_warehouse))


def test_catalog_that_stays_busy_is_told_of(
    athena_warehouse: AthenaWarehouse, athena: AthenaStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(request: dict[str, Any]) -> dict[str, Any]:
        raise RefusedError("MetadataException", BUSY_CATALOG)

    monkeypatch.setattr(athena, "_get_table_metadata", refused)
    monkeypatch.setattr(athena_warehouse, "_lock_timeout", timedelta(0))
    with pytest.raises(WarehouseUnavailableError, match=r"too many calls of the Glue catalog at once .*GetTable"):
        athena_warehouse.prepare()
