from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse.base import Warehouse
from tests.support.athena import AthenaStandIn
from tests.support.ending import ended_by_signal
from tests.support.engines import database_file, installed, warehouse_of
from tests.support.iceberg import catalog, glue_catalog, sql_catalog
from tests.support.iceberg_rest import rest_catalog, rest_server
from tests.support.log_files import FolderTrail
from tests.support.mysql import mariadb_server
from tests.support.postgres import postgres_server
from tests.support.redshift import RedshiftShim, redshift_shim
from tests.support.s3 import CountedS3, counted_s3
from tests.support.snowflake import snowflake_emulator

# Of what is not part of a bare MWAA image, only what is installed can be tested there.
collect_ignore_glob = [] if installed("hypothesis") else ["**/test_*_properties.py"]
if installed("hypothesis"):
    from hypothesis import HealthCheck, settings

    # The same examples each time, however long the machine takes for one: what fails here fails everywhere, and again.
    # Others are tried with `--hypothesis-profile=default`.
    settings.register_profile(
        "reproducible", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("reproducible")

_tables = itertools.count()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the figures that tests have recorded; none of them is a limit."""
    for report in terminalreporter.stats.get("passed", ()):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(scope="session", autouse=True)
def short_pauses_between_tries() -> Iterator[None]:
    """Have boto3 try again at once, not after up to 15 seconds: what it asks here answers as a test has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda pause: time.sleep(min(pause, 0.05))))
        yield


@pytest.fixture
def end_task() -> Iterator[Callable[[], None]]:
    """Return what has Airflow end the task."""
    with ended_by_signal() as end:
        yield end


@pytest.fixture(scope="session")
def postgres_uri() -> Iterator[str]:
    with postgres_server() as uri:
        yield uri


@pytest.fixture(scope="session")
def s3_server() -> Iterator[CountedS3]:
    with counted_s3() as server:
        yield server


@pytest.fixture(scope="session")
def redshift(postgres_uri: str, s3_server: CountedS3) -> Iterator[RedshiftShim]:
    with redshift_shim(postgres_uri, s3_server.endpoint).running() as shim:
        yield shim


@pytest.fixture(scope="session")
def redshift_address(redshift: RedshiftShim, s3_server: CountedS3) -> str:
    return json.dumps({"port": redshift.port, "s3": s3_server.endpoint, "bucket": s3_server.new_bucket()})


@pytest.fixture(scope="session")
def athena(s3_server: CountedS3) -> Iterator[AthenaStandIn]:
    with AthenaStandIn(s3_server.endpoint, "s3://example-lake/audit/").running() as stand_in:
        yield stand_in


@pytest.fixture(scope="session")
def athena_address(athena: AthenaStandIn, s3_server: CountedS3) -> str:
    return json.dumps({"athena": athena.endpoint, "s3": s3_server.endpoint, "bucket": s3_server.new_bucket()})


@pytest.fixture(scope="session")
def glue_catalog_address(s3_server: CountedS3) -> str:
    address = json.dumps(glue_catalog(s3_server.endpoint, s3_server.new_bucket()))
    catalog(address)
    return address


@pytest.fixture(scope="session")
def rest_catalog_address(s3_server: CountedS3, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("iceberg-rest")
    with rest_server(folder, s3_server.endpoint, s3_server.new_bucket()) as endpoint:
        address = json.dumps(rest_catalog(endpoint, s3_server.endpoint))
        catalog(address)
        yield address


@pytest.fixture(scope="session")
def mysql() -> Iterator[str]:
    with mariadb_server() as socket:
        yield socket


@pytest.fixture(scope="session")
def snowflake(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    s3 = request.getfixturevalue("s3_server").endpoint if installed("moto", "werkzeug") else None
    with snowflake_emulator(s3) as statements:
        yield statements


@pytest.fixture
def trail(tmp_path: Path) -> FolderTrail:
    return FolderTrail(tmp_path / "trail")


def _server_of(engine: str) -> str | None:
    """Return the fixture that says where the server of an engine is, one for all tests; None: it has none."""
    return {
        "postgres": "postgres_uri",
        "redshift": "redshift_address",
        "athena": "athena_address",
        "mysql": "mysql",
        "iceberg-glue": "glue_catalog_address",
        "iceberg-rest": "rest_catalog_address",
    }.get(engine if engine.startswith("iceberg") else engine.partition("-")[0])


@pytest.fixture
def new_warehouse(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Warehouse]:
    """Return a function that makes an empty warehouse of an engine; its tables are not there yet."""

    def make(engine: str) -> Warehouse:
        if (server := _server_of(engine)) is not None:
            address = request.getfixturevalue(server)
            return warehouse_of(engine, address, f"audit_{os.getpid()}_{next(_tables)}")
        if engine.startswith("snowflake"):
            request.getfixturevalue("snowflake")
            address = ""
            if engine == "snowflake-s3":
                s3 = request.getfixturevalue("s3_server")
                address = json.dumps({"s3": s3.endpoint, "bucket": s3.new_bucket()})
            return warehouse_of(engine, address, f"audit_{next(_tables)}")
        folder = tmp_path / f"warehouse-{next(_tables)}"
        folder.mkdir()
        file = database_file(engine, folder)
        if engine == "iceberg":
            address = json.dumps(sql_catalog(file))
            catalog(address)
            return warehouse_of(engine, address)
        return warehouse_of(engine, file)

    return make
