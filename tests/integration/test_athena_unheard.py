"""A task is killed -9 when Athena has taken a statement and not answered yet, and the statement outlives its lock."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_cloudtrail.export.log_files import export_log_files
from airflow_provider_cloudtrail.warehouse import athena_endings, athena_lock
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from tests.support.athena import AthenaStandIn
from tests.support.athena_tasks import again, let_lock_expire
from tests.support.engines import ATHENA, REPOSITORY
from tests.support.faulty_proxy import Fault, FaultyProxy, failing
from tests.support.log_files import FolderTrail, event, foreign, key_of
from tests.support.rows import MWAA
from tests.support.tables import assert_balanced, read_table

pytestmark = pytest.mark.skipif(not ATHENA, reason="needs pyathena, duckdb, pyarrow, sqlglot and moto")

START = "AmazonAthena.StartQueryExecution"


@pytest.mark.parametrize(
    "number", [pytest.param(2, id="rows"), pytest.param(4, id="quarantine"), pytest.param(5, id="ledger")]
)
def test_what_it_has_started_is_learned_and_stopped(
    new_warehouse: Callable[[str], Warehouse],
    athena: AthenaStandIn,
    athena_address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    told: list[str] = []
    for logger, level in ((athena_endings.log, "warning"), (athena_endings.log, "info"), (athena_lock.log, "warning")):
        monkeypatch.setattr(logger, level, lambda text, *values: told.append(text % values))
    trail = FolderTrail(tmp_path / "trail")
    trail.deliver("20260203T1000Z", event("a"), event("b"), foreign("f"), 7)
    trail.put(key_of("20260203T1005Z"), b"no gzip")
    undisturbed, warehouse = new_warehouse("athena"), new_warehouse("athena")
    place = json.loads(athena_address)

    def export(into: Warehouse) -> None:
        export_log_files(trail.files(), store_of=lambda _: trail.store, warehouse=into, selection=MWAA)

    for one in (undisturbed, warehouse):
        one.prepare()
    export(undisturbed)
    before, released = len(athena.queries), threading.Event()
    task = {"engine": "athena", "table": warehouse.table, "folder": str(trail.folder)}
    calls = itertools.count()

    def counts(call: str) -> bool:
        if call != START:
            return False
        if next(calls) == number:
            athena.next_until = released
        return True

    def kill() -> None:
        process.kill()
        process.wait(60)

    with FaultyProxy(place["athena"]).running() as proxy:
        task["address"] = json.dumps(place | {"athena": proxy.endpoint})
        with failing(Fault(number, True, counts=counts, meanwhile=kill), proxy) as fault:
            command = [sys.executable, "-m", "tests.support.load", json.dumps(task)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY)
            process.communicate(timeout=600)
    assert fault.happened
    assert process.returncode == -signal.SIGKILL
    (unheard,) = [query for query in list(athena.queries.values())[before:] if query.until is not None]
    assert unheard.state == "RUNNING"

    let_lock_expire(warehouse, place)  # type: ignore[arg-type]
    export(again(warehouse, place))  # type: ignore[arg-type]
    released.set()
    while unheard.state == "RUNNING":
        time.sleep(0.05)
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables == read_table(undisturbed)
    assert unheard.state == "CANCELLED"
    lock = f"s3://{place['bucket']}/stage/cloudtrail-locks/audit.{warehouse.table}.json"
    query = next(identity for identity, one in athena.queries.items() if one is unheard)
    told = [line for line in told if "SUCCEEDED" not in line]
    assert told[:2] == [
        f"The writer that left {lock} had sent a statement and not heard of it: it is query {query}",
        f"Query {query} of the writer that left {lock} has ended: CANCELLED",
    ]
    assert told[2].startswith(f"Took over {lock}: its writer has not renewed it for ")
