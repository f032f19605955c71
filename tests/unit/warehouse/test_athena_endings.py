"""What becomes of the request that a writer of Athena has left in its lock when another one takes it over."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse import athena_endings
from airflow_provider_cloudtrail.warehouse.athena import AthenaWarehouse
from airflow_provider_cloudtrail.warehouse.athena_lock import WriterLock
from airflow_provider_cloudtrail.warehouse.base import WarehouseError
from tests.support.athena import AthenaStandIn
from tests.support.athena_tasks import again, let_lock_expire
from tests.support.engines import ATHENA
from tests.support.faulty_proxy import Fault, FaultyProxy, Refusal, failing
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.s3 import client_of
from tests.support.tables import assert_balanced, read_table

pytestmark = pytest.mark.skipif(not ATHENA, reason="needs pyathena, duckdb, pyarrow, sqlglot and moto")

START = "AmazonAthena.StartQueryExecution"
THROTTLED = Refusal(400, "TooManyRequestsException")


class Left:
    """The lock of a writer that was killed when it had sent the rows of one event, which Athena has not taken."""

    def __init__(self, warehouse: AthenaWarehouse, place: dict[str, Any], athena: AthenaStandIn) -> None:
        self._client = client_of(place["s3"])
        key = f"stage/cloudtrail-locks/audit.{warehouse.table}.json"
        self.uri = f"s3://{place['bucket']}/{key}"
        self._object = {"Bucket": place["bucket"], "Key": key}
        athena.die_after(2, ran=False)
        try:
            with pytest.raises(WarehouseError):
                again(warehouse, place).write([file_rows("20260203T1000Z", event("a"))])
        finally:
            athena.revive()

    @property
    def content(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._client.get_object(**self._object)["Body"].read())
        return found

    def change(self, **members: Any) -> None:
        content = self.content | members
        body = json.dumps({name: value for name, value in content.items() if value is not None})
        self._client.put_object(**self._object, Body=body.encode())


@pytest.fixture
def left(
    athena_warehouse: AthenaWarehouse,
    athena_place: dict[str, Any],
    athena: AthenaStandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> Left:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(athena, "next_until", None)
    left = Left(athena_warehouse, athena_place, athena)
    # Only now: on a busy machine a lock of a short lease is lost before the statement is sent.
    left.change(lease=-1)
    return left


def write(warehouse: AthenaWarehouse, place: dict[str, Any]) -> None:
    other = again(warehouse, place)
    assert [entry.loaded for entry in other.write([file_rows("20260203T1000Z", event("a"))])] == [1]
    tables = read_table(other)
    assert_balanced(tables)
    assert tables.event_ids == ["a"]


def states(athena: AthenaStandIn, before: int) -> list[str]:
    return [query.state for query in list(athena.queries.values())[before:]]


def test_it_is_all_that_the_statement_was_to_be_started_with(left: Left, athena_warehouse: AthenaWarehouse) -> None:
    content = left.content
    assert content["region"] == "eu-west-1"
    request = content["request"]
    needed = {"ClientRequestToken", "QueryExecutionContext", "QueryString", "ResultConfiguration", "WorkGroup"}
    assert needed <= set(request)
    assert request["QueryString"].startswith(f"MERGE INTO {athena_warehouse.events} ")


def test_a_request_that_never_arrived_is_started_and_stopped(
    left: Left, athena_warehouse: AthenaWarehouse, athena_place: dict[str, Any], athena: AthenaStandIn
) -> None:
    before = len(athena.queries)
    athena.next_until = threading.Event()
    write(athena_warehouse, athena_place)
    assert states(athena, before)[0] == "CANCELLED"


def test_a_lock_of_an_earlier_version_is_taken_over_without_it(
    left: Left, athena_warehouse: AthenaWarehouse, athena_place: dict[str, Any], athena: AthenaStandIn
) -> None:
    left.change(request=None, region=None)
    before = len(athena.queries)
    write(athena_warehouse, athena_place)
    # The four of a batch, and one for each table that is read back.
    assert states(athena, before) == ["SUCCEEDED"] * (4 + 3)


def test_throttling_is_waited_for(left: Left, athena_warehouse: AthenaWarehouse, athena_place: dict[str, Any]) -> None:
    with FaultyProxy(athena_place["athena"]).running() as proxy:
        fault = Fault(0, False, [THROTTLED], attempts=1, counts=START.__eq__)
        with failing(fault, proxy):
            write(athena_warehouse, athena_place | {"athena": proxy.endpoint})
    assert fault.happened


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        pytest.param(Refusal(400, "AccessDeniedException"), "AccessDeniedException", id="not allowed"),
        pytest.param(Refusal(500, "InternalServerException"), "InternalServerException", id="error 500"),
        pytest.param(None, "ConnectionClosedError", id="connection broken"),
    ],
)
def test_without_its_id_nothing_is_written(
    left: Left,
    athena_warehouse: AthenaWarehouse,
    athena_place: dict[str, Any],
    athena: AthenaStandIn,
    refusal: Refusal | None,
    reason: str,
) -> None:
    before = left.content
    with FaultyProxy(athena_place["athena"]).running() as proxy:
        fault = Fault(0, False, [refusal], counts=START.__eq__)
        with failing(fault, proxy), pytest.raises(WarehouseError) as raised:
            write(athena_warehouse, athena_place | {"athena": proxy.endpoint})
    assert_says_what_to_do(str(raised.value), left, reason)
    assert left.content == before
    # Another attempt.
    write(athena_warehouse, athena_place)


def test_a_request_that_athena_has_taken_with_other_parameters_is_not_passed_over(
    left: Left,
    athena_warehouse: AthenaWarehouse,
    athena_place: dict[str, Any],
    athena: AthenaStandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    request = left.content["request"]
    athena.answer(START, request)
    left.change(request=request | {"QueryString": "SELECT 1"})
    with pytest.raises(WarehouseError) as raised:
        write(athena_warehouse, athena_place)
    assert_says_what_to_do(str(raised.value), left, "InvalidRequestException")
    # No statement runs for so long.
    monkeypatch.setattr(athena_endings, "LONGEST_STATEMENT", timedelta())
    write(athena_warehouse, athena_place)


def assert_says_what_to_do(text: str, left: Left, reason: str) -> None:
    assert left.uri in text
    assert f"does not tell its id ({reason})" in text
    assert "look at the recent queries of work group audit in Region eu-west-1" in text
    assert "delete that object. It is taken over without asking 24 hours after it was written" in text
    assert "MERGE" not in text


def test_a_request_to_another_region_is_not_sent_to_this_one(
    left: Left, athena_warehouse: AthenaWarehouse, athena_place: dict[str, Any], athena: AthenaStandIn
) -> None:
    left.change(region="eu-central-1")
    before = len(athena.queries)
    write(athena_warehouse, athena_place)
    assert states(athena, before) == ["SUCCEEDED"] * (4 + 3)


def test_a_writer_that_was_frozen_before_it_sent_it_does_nothing_when_it_wakes_up(
    athena_warehouse: AthenaWarehouse,
    athena_place: dict[str, Any],
    athena: AthenaStandIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    locks: list[WriterLock] = []

    def keep(lock: WriterLock) -> None:
        locks.append(lock)

    monkeypatch.setattr(WriterLock, "_keep_renewing", keep)
    monkeypatch.setattr(athena, "next_until", None)
    before = len(athena.queries)

    def meanwhile() -> None:
        let_lock_expire(athena_warehouse, athena_place)
        locks[0]._until = 0.0
        athena.next_until = threading.Event()
        write(athena_warehouse, athena_place)

    with FaultyProxy(athena_place["athena"]).running() as proxy:
        # What the ledger knows, then the rows.
        fault = Fault(1, False, attempts=1, counts=START.__eq__, meanwhile=meanwhile)
        with failing(fault, proxy):
            frozen = again(athena_warehouse, athena_place | {"athena": proxy.endpoint})
            # It finds that it has lost the lock, and begins again.
            (entry,) = frozen.write([file_rows("20260203T1005Z", event("a"))])
    assert (entry.loaded, entry.duplicate) == (0, 1)
    assert fault.happened
    assert [state for state in states(athena, before) if state != "SUCCEEDED"] == ["CANCELLED"]
    assert read_table(athena_warehouse).event_ids == ["a"]


def test_a_lock_that_cannot_be_written_is_named_and_the_statement_not_sent(
    athena_warehouse: AthenaWarehouse,
    athena_place: dict[str, Any],
    statements_since: Callable[[], list[str]],
    staged_keys: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with FaultyProxy(athena_place["s3"]).running() as proxy:
        # The first PUT acquires the lock.
        fault = Fault(
            *(1, False, [Refusal(403, "AccessDenied")]),
            counts=lambda name: name.startswith("PUT") and "cloudtrail-locks" in name,
        )
        with (
            failing(fault, proxy),
            pytest.raises(WarehouseError, match=r"cannot lock with s3://.*PutObject.*AccessDenied"),
        ):
            again(athena_warehouse, athena_place | {"s3": proxy.endpoint}).write([
                file_rows("20260203T1000Z", event("a"))
            ])
    assert statements_since() == ["SELECT"]
    assert staged_keys() == []
