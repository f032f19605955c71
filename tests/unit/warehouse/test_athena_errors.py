"""What somebody reads of an error of Athena: what it is, where to look, what to do; no value of a record."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse.athena import AthenaWarehouse
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError, WarehouseUnavailableError
from tests.support.athena import AthenaStandIn, Query, RefusedError
from tests.support.athena_tasks import again
from tests.support.engines import ATHENA
from tests.support.faulty_proxy import Fault, FaultyProxy, Refusal, failing
from tests.support.log_files import event
from tests.support.rows import file_rows

pytestmark = pytest.mark.skipif(not ATHENA, reason="needs pyathena, duckdb, pyarrow, sqlglot and moto")

START = "AmazonAthena.StartQueryExecution"
AGAIN = "run this again, it goes on from what is stored"
IN_THE_HISTORY = (
    "Run this again, it goes on from what is stored. If it comes again, look for this query in Athena's history, which "
    "has the reason"
)


@pytest.fixture
def one_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=lambda _: None))


def failing_with(athena: AthenaStandIn, monkeypatch: pytest.MonkeyPatch, first: str, state: str, reason: str) -> None:
    """Have statements that begin so end in a state for a reason."""
    run = type(athena)._run

    def fail(stand_in: AthenaStandIn, query: Query) -> None:
        if query.text.startswith(first):
            query.reason, query.state = reason, state
        else:
            run(stand_in, query)

    monkeypatch.setattr(type(athena), "_run", fail)


@pytest.mark.parametrize(
    ("state", "reason", "told"),
    [
        pytest.param(
            "CANCELLED",
            "Query cancelled by user",
            f"Query cancelled by user. Somebody has stopped it, or a limit of its work group: {AGAIN}",
            id="cancelled",
        ),
        pytest.param(
            "FAILED", "GENERIC_INTERNAL_ERROR: 'hidden'", f"GENERIC_INTERNAL_ERROR. {IN_THE_HISTORY}", id="code"
        ),
        pytest.param("FAILED", "It broke, because of 'hidden'", IN_THE_HISTORY, id="no code"),
        pytest.param("FAILED", "PERMISSION_DENIED: Access Denied: s3://bucket/a", "Denied: s3://bucket/a", id="denied"),
        pytest.param("FAILED", "Access Denied (Service: Amazon S3)", "Access Denied (Service: Amazon S3)", id="S3"),
        pytest.param("FAILED", "COLUMN_NOT_FOUND: line 1:8: Column 'x'", "line 1:8: Column 'x'", id="column"),
        pytest.param("FAILED", "HIVE_METASTORE_ERROR: Rate exceeded", "METASTORE_ERROR: Rate exceeded", id="Glue"),
    ],
)
def test_a_query_that_does_not_succeed(
    athena_warehouse: Warehouse,
    athena: AthenaStandIn,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    reason: str,
    told: str,
) -> None:
    failing_with(athena, monkeypatch, "MERGE", state, reason)
    with pytest.raises(WarehouseError, match=r", query [0-9a-f-]{36}") as raised:
        athena_warehouse.write([file_rows("20260203T1000Z", event("a"))])
    assert told in str(raised.value)
    assert "hidden" not in str(raised.value)


def test_a_table_that_cannot_be_created(
    new_warehouse: Callable[[str], Warehouse], athena: AthenaStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "FAILED: Execution Error, return code 1. MetaException(message:User x may not glue:CreateTable)"
    failing_with(athena, monkeypatch, "CREATE TABLE", "FAILED", reason)
    with pytest.raises(WarehouseError, match=rf"creating .*{re.escape(reason)}"):
        new_warehouse("athena").prepare()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        pytest.param(
            Refusal(400, "ExpiredTokenException"),
            f"ExpiredTokenException. The credentials have expired: {AGAIN}. If it comes again, renew those of the",
            id="expired",
        ),
        pytest.param(
            Refusal(500, "InternalServerException"),
            f"InternalServerException. There was no proper answer: {AGAIN}",
            id="error 500",
        ),
        pytest.param(None, "ConnectionClosedError, Connection was closed before", id="broken"),
        pytest.param(None, f'endpoint URL: "{{athena}}/". There was no proper answer: {AGAIN}', id="broken where"),
        pytest.param(Refusal(400, "AccessDeniedException"), "AccessDeniedException, made up", id="denied"),
        pytest.param(Refusal(400, "InvalidRequestException"), "InvalidRequestException", id="refused"),
    ],
)
@pytest.mark.usefixtures("one_try")
def test_a_statement_that_cannot_be_started(
    athena_warehouse: AthenaWarehouse, athena_place: dict[str, Any], answer: Refusal | None, told: str
) -> None:
    with FaultyProxy(athena_place["athena"]).running() as proxy:
        warehouse = again(athena_warehouse, athena_place | {"athena": proxy.endpoint})
        with (
            failing(Fault(0, False, [answer], counts=START.__eq__), proxy),
            pytest.raises(WarehouseError, match="reading") as raised,
        ):
            warehouse.known_files(["s3://example-trail/a"])
    assert told.replace("{athena}", proxy.endpoint) in str(raised.value)


@pytest.mark.usefixtures("one_try")
def test_throttling_that_lasts_is_no_other_writer(
    athena_warehouse: AthenaWarehouse, athena: AthenaStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(athena, "most_active", 0)
    monkeypatch.setattr(athena_warehouse, "_lock_timeout", timedelta(0))
    with pytest.raises(
        WarehouseUnavailableError, match=r"too many statements .*TooManyRequestsException.*quotas"
    ) as told:
        athena_warehouse.known_files(["s3://example-trail/a"])
    assert "writer" not in str(told.value)


def test_an_error_that_is_named_by_its_code_says_it_once(
    athena: AthenaStandIn, athena_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: AthenaStandIn, request: dict[str, Any]) -> None:
        raise RefusedError("InternalServerException", "a value")

    monkeypatch.setattr(AthenaStandIn, "_get_table_metadata", fail)
    with pytest.raises(WarehouseError, match=r"^athena, looking for the tables: InternalServerException$"):
        athena_warehouse.prepare()


def test_work_group_that_keeps_results_by_itself(
    athena: AthenaStandIn, athena_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "ManagedQueryResultsConfiguration and ResultConfiguration cannot be set together"

    def refuse(self: AthenaStandIn, request: dict[str, Any]) -> None:
        assert "ResultConfiguration" in request
        raise RefusedError("InvalidRequestException", f"{said}.")

    monkeypatch.setattr(AthenaStandIn, "_start_query_execution", refuse)
    with pytest.raises(WarehouseError, match=rf"{said}\. The work group .* let s3_staging_dir be empty in the extra"):
        athena_warehouse.known_files(["s3://example-trail/a"])
