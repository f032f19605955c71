"""A call of the pushdown to Athena or S3 fails, before or behind its effect, and it is run again: the same tables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from types import SimpleNamespace

import pytest

pytest.importorskip("duckdb", minversion="1.4")
pytest.importorskip("pyarrow")
pytest.importorskip("moto")
pytest.importorskip("pyathena")
pytest.importorskip("sqlglot")

from airflow_provider_cloudtrail.exceptions import CloudTrailWarehouseError
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from tests.support.athena import AthenaStandIn, Query
from tests.support.faulty_proxy import Fault, FaultyProxy, Refusal, failing
from tests.support.lake import Lake
from tests.support.log_files import event, foreign, id_of

START, POLL = "AmazonAthena.StartQueryExecution", "AmazonAthena.GetQueryExecution"
RESULTS = "AmazonAthena.GetQueryResults"
THROTTLED, BROKEN = Refusal(400, "ThrottlingException"), Refusal(500, "InternalServerException")
FILES = 2
# Attempts of the driver, before the warehouse begins anew.
FEW = 5


@pytest.fixture
def ways(athena_address: str) -> Iterator[dict[str, FaultyProxy]]:
    """Return proxies before Athena and before S3."""
    place = json.loads(athena_address)
    with ExitStack() as stack:
        yield {name: stack.enter_context(FaultyProxy(place[name]).running()) for name in ("athena", "s3")}


@pytest.fixture
def lake(
    athena: AthenaStandIn, athena_address: str, ways: dict[str, FaultyProxy], monkeypatch: pytest.MonkeyPatch
) -> Lake:
    """Return a lake with two log files, its tables made, that is reached through the proxies."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    place = json.loads(athena_address) | {name: way.endpoint for name, way in ways.items()}
    lake = Lake(athena, place, monkeypatch)
    lake.deliver("20260203T1000Z", event(id_of(1)), event(id_of(2)), foreign(id_of(3)))
    lake.deliver("20260203T1100Z", event(id_of(2)), event(id_of(4)))
    lake.export(files=[]).execute({})
    return lake


def assert_as_undisturbed(lake: Lake) -> None:
    """Hold the tables against what the two log files give."""
    assert [row["event_id"] for row in lake.rows()] == [id_of(1), id_of(2), id_of(4)]
    counts = ("records", "loaded", "duplicate", "filtered", "quarantined", "status")
    assert [[entry[name] for name in counts] for entry in lake.rows("_files")] == [
        [3, 2, 0, 1, 0, "loaded"],
        [2, 1, 1, 0, 0, "loaded"],
    ]
    assert lake.rows("_quarantine") == []


def run_again(lake: Lake) -> None:
    """Run it undisturbed, as if the time of a lock that was left had passed."""
    lake.let_lock_expire()
    summary = lake.events().execute({})
    assert summary["files"] + summary["files_known"] == FILES
    assert_as_undisturbed(lake)


def is_first(call: str, wanted: str, before: list[str]) -> bool:
    """Tell whether a call is one of those that are wanted, and does not ask for the state of the same query again."""
    again = call == POLL and before[-1:] == [POLL]
    if not call.startswith("PUT"):
        # But for the renewals of the lock, which come in between.
        before.append(call)
    return wanted in call and not again


# Of the statements: what the ledger knows, what is wanted, rows, ledger, what was written.
@pytest.mark.parametrize(
    ("wanted", "number", "ran", "answers"),
    [
        pytest.param(START, 1, True, [None], id="answer lost, question"),
        pytest.param(START, 2, True, [BROKEN], id="error 500 behind it, rows"),
        pytest.param(START, 3, True, [BROKEN], id="error 500 behind it, ledger"),
        pytest.param("PUT ", 1, True, [None], id="answer lost, request in the lock"),
        pytest.param(POLL, 2, True, [None], id="answer lost, state of the rows"),
        pytest.param(POLL, 3, True, [None], id="answer lost, state of the ledger"),
        pytest.param(RESULTS, 2, False, [None], id="connection broken, what was written"),
    ],
)
def test_a_call_fails(
    lake: Lake,
    ways: dict[str, FaultyProxy],
    wanted: str,
    number: int,
    ran: bool,
    answers: list[Refusal | str | None],
) -> None:
    before: list[str] = []
    fault = Fault(number, ran, answers, counts=lambda call: is_first(call, wanted, before))
    told = ""
    with failing(fault, *ways.values()):
        try:
            lake.events().execute({})
        except CloudTrailWarehouseError as error:
            told = str(error)
    assert fault.happened
    # What has happened, and not only that the driver has failed.
    assert re.search(r"Connection ?(was )?[Cc]losed|InternalServerException", told)
    run_again(lake)


class Throttling(Fault):
    """Calls that fail one after another, also those that the driver makes anew."""

    def strike(self, name: str, identity: str | None) -> int | None:
        return super().strike(name, "all of them" if len(self.calls) >= self.number else None)


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        pytest.param(START, 1, id="question"),
        pytest.param(START, 2, id="rows"),
        pytest.param(POLL, 1, id="state"),
        pytest.param(RESULTS, 1, id="answer"),
    ],
)
@pytest.mark.parametrize("attempts", [pytest.param(4, id="for a while"), pytest.param(1_000, id="lasting")])
def test_throttling_is_waited_for(
    lake: Lake,
    ways: dict[str, FaultyProxy],
    monkeypatch: pytest.MonkeyPatch,
    wanted: str,
    number: int,
    attempts: int,
) -> None:
    # Also by the driver, which takes its time.
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=lambda _: None))
    impatient = timedelta(0) if attempts > FEW else timedelta(minutes=5)
    monkeypatch.setattr(Warehouse, "_lock_timeout", property(lambda _: impatient, lambda *_: None), raising=False)
    fault = Throttling(number, False, [THROTTLED], attempts=attempts, counts=wanted.__eq__)
    with failing(fault, *ways.values()):
        if attempts > FEW:
            with pytest.raises(CloudTrailWarehouseError, match=r"too many statements at once .*ThrottlingException"):
                lake.events().execute({})
        else:
            assert lake.events().execute({})["files"] == FILES
    assert fault.happened
    if attempts > FEW:
        run_again(lake)
    else:
        assert fault._struck == attempts
        assert_as_undisturbed(lake)


@pytest.mark.parametrize("suffix", [pytest.param("", id="rows"), pytest.param("_files", id="ledger")])
@pytest.mark.parametrize(
    ("state", "reason", "told"),
    [
        pytest.param("CANCELLED", "Query cancelled by user", "Query cancelled by user", id="cancelled"),
        pytest.param("FAILED", "GENERIC_INTERNAL_ERROR: 'a value'", "GENERIC_INTERNAL_ERROR", id="worth another try"),
    ],
)
def test_a_query_does_not_succeed(
    lake: Lake, athena: AthenaStandIn, monkeypatch: pytest.MonkeyPatch, suffix: str, state: str, reason: str, told: str
) -> None:
    run = type(athena)._run

    def fail(stand_in: AthenaStandIn, query: Query) -> None:
        if query.text.startswith(f'MERGE INTO "{lake.table}{suffix}" '):
            query.reason, query.state = reason, state
        else:
            run(stand_in, query)

    with monkeypatch.context() as failing_queries:
        failing_queries.setattr(type(athena), "_run", fail)
        with pytest.raises(CloudTrailWarehouseError) as raised:
            lake.events().execute({})
    assert told in str(raised.value)
    assert "a value" not in str(raised.value)
    run_again(lake)


@pytest.mark.parametrize("first", [pytest.param("WITH", id="what is wanted"), pytest.param("MERGE", id="rows")])
@pytest.mark.parametrize(
    ("reason", "told"),
    [
        pytest.param(
            "HIVE_CANNOT_OPEN_SPLIT: Error opening Hive split {uri} (offset=0, length=9): Access Denied (Service: "
            "Amazon S3; Status Code: 403; Error Code: AccessDenied)",
            r"cannot read \S+ \(HIVE_CANNOT_OPEN_SPLIT, query \S+\).*AccessDenied\. The role of conn_id needs s3:Get",
            id="not allowed",
        ),
        pytest.param(
            "HIVE_CANNOT_OPEN_SPLIT: Error opening Hive split {uri} (offset=0, length=9): Slow Down (Status Code: 503)",
            r"cannot read .*it is enough to run this again",
            id="busy",
        ),
        pytest.param(
            "HIVE_CURSOR_ERROR: Row is not a valid JSON Object: AccessDenied in {uri}",
            r"cannot read \S+ \(HIVE_CURSOR_ERROR, .*put into quarantine, by CloudTrailToSqlOperator\(files=",
            id="a record about a denied call",
        ),
        pytest.param(
            "Query exhausted resources at this scale factor",
            r"^athena, (reading|writing) .*at this scale factor\. Have one statement read less: a smaller days_at_once",
            id="too much",
        ),
    ],
)
def test_what_to_do_is_told(
    lake: Lake, athena: AthenaStandIn, monkeypatch: pytest.MonkeyPatch, first: str, reason: str, told: str
) -> None:
    run = type(athena)._run
    uri = lake.deliver("20260203T1200Z", event(id_of(5)))

    def fail(stand_in: AthenaStandIn, query: Query) -> None:
        if query.text.startswith(first):
            query.reason, query.state = reason.format(uri=uri), "FAILED"
        else:
            run(stand_in, query)

    monkeypatch.setattr(type(athena), "_run", fail)
    with pytest.raises(CloudTrailWarehouseError, match=told):
        lake.events().execute({})
