"""A run of the daily example DAG by the Airflow of another environment, over a synthetic trail in a real S3 API."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from airflow_provider_cloudtrail.demo.expected import expected
from airflow_provider_cloudtrail.demo.plan import TrailPlan
from airflow_provider_cloudtrail.demo.server import s3_server, upload
from tests.mwaa.commands import clean_environment, run
from tests.mwaa.modes import Deployed
from tests.support.postgres import postgres_server

DAG = "mwaa_audit_export_daily"
TABLE = "mwaa_audit_events"
# Small, but with every event kind and with files and records that must end in quarantine.
PLAN = TrailPlan(files_per_day=4)
COMMAND_SECONDS = 600


@dataclass(frozen=True)
class Warehouse:
    """
    A database for a run.

    :param connection: the Airflow connection, as JSON types.
    :param connect: opens a DB-API connection from here.
    """

    connection: dict[str, str]
    connect: Callable[[], Any]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return what a query finds."""
        with closing(self.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(query)
            return list(cursor.fetchall())


@contextmanager
def sqlite() -> Iterator[Warehouse]:
    """Yield an empty SQLite database."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "audit.db"))
        yield Warehouse({"conn_type": "sqlite", "host": path}, lambda: sqlite3.connect(path))


@contextmanager
def postgres() -> Iterator[Warehouse]:
    """Yield an empty PostgreSQL database behind a Unix socket."""
    import psycopg

    with postgres_server() as uri:
        (socket_folder,) = parse_qs(urlsplit(uri).query)["host"]
        connection = {"conn_type": "postgres", "login": "postgres", "schema": "postgres", "host": socket_folder}
        yield Warehouse(connection, lambda: psycopg.connect(uri))


@dataclass(frozen=True)
class AirflowOf:
    """
    The Airflow of an image, with what was deployed to it.

    :param python: of the image.
    :param deployed: DAGs and plugins.
    :param settings: further variables.
    """

    python: Path
    deployed: Deployed
    settings: Mapping[str, str] = field(default_factory=dict)

    def environment(self, **settings: str) -> dict[str, str]:
        """Return the variables of its processes, those of MWAA as far as they matter."""
        return clean_environment() | {
            "AIRFLOW_HOME": str(self.deployed.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.deployed.dags),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.deployed.plugins),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CLOUDTRAIL__BUCKET": PLAN.bucket,
            # The trail has a broken file in it, which shall be stored as such and fail nothing here.
            "AIRFLOW__CLOUDTRAIL__FAIL_ON_QUARANTINE": "False",
            "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
            "NO_PROXY": "127.0.0.1",
            **self.settings,
            **settings,
        }

    def run(self, *arguments: str, **settings: str) -> str:
        """Run the ``airflow`` command; return what it printed."""
        # A failed task waits minutes for its next try, and in some versions a failed trigger for ever.
        command = self.python.with_name("airflow")
        return run(command, *arguments, env=self.environment(**settings), limit=COMMAND_SECONDS)

    def migrate(self) -> None:
        """Set up the metadata database; for the second mode on an image, as a copy of the first one's."""
        made, template = self.deployed.home / "airflow.db", self.deployed.image.folder / "airflow.db"
        if made.exists():
            return
        if template.exists():
            shutil.copy(template, made)
        else:
            self.run("db", "migrate")
            shutil.copy(made, template)

    def import_errors(self) -> str:
        """Show that every DAG file can be imported, and that nothing of the package is taken for one."""
        self.migrate()
        if self.deployed.image.airflow.startswith("2."):
            self.run("dags", "reserialize")
        else:
            # Not `reserialize`: up to 3.0 only the processor puts the DAG folder on the path, as it does on MWAA.
            self.run("dag-processor", "--num-runs", "1")
        # Anything that fails to import is listed, or the command ends with an error.
        said = self.run("dags", "list-import-errors", "--output", "plain")
        assert "No data found" in said, said
        listed = json.loads(self.run("dags", "list", "--output", "json").strip().splitlines()[-1])
        found = {dag["dag_id"] for dag in listed}
        expected = {path.stem for path in self.deployed.dags.glob("*.py")}
        assert found == expected, f"DAGs {sorted(found)}, files {sorted(expected)}"
        return f"none in {len(found)} DAG files"

    def provider(self) -> str:
        """Show that the provider is listed."""
        listed = json.loads(self.run("providers", "list", "--output", "json").strip().splitlines()[-1])
        versions = {entry["package_name"]: entry["version"] for entry in listed}
        assert "airflow-provider-cloudtrail" in versions, sorted(versions)
        return f"airflow-provider-cloudtrail {versions['airflow-provider-cloudtrail']}"


@dataclass(frozen=True)
class DailyRun:
    """
    Runs of the daily DAG.

    :param airflow: what runs it.
    :param warehouse: yields the database.
    :param said: what the first run must say.
    """

    airflow: AirflowOf
    warehouse: Callable[[], Any]
    said: str = ""

    def show(self) -> str:
        """
        Run the DAG twice and compare the tables with what the trail holds.

        :return: a line that says what was loaded.
        :raises CommandError: if a command fails.
        :raises AssertionError: if the tables are not as they must be.
        """
        with s3_server() as server, self.warehouse() as warehouse:
            upload(PLAN, server.client())
            connections = {
                "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(server.connection()),
                "AIRFLOW_CONN_CLOUDTRAIL_WAREHOUSE": json.dumps(warehouse.connection),
            }
            if self.airflow.deployed.image.airflow.startswith("3.0."):
                # What the task runner of a worker does, and `dags test` up to 3.0 does not.
                connections["PYTHONPATH"] = str(self.airflow.deployed.dags)
            morning = (PLAN.first_day + timedelta(days=PLAN.days)).isoformat()
            said = self.airflow.run("dags", "test", DAG, morning, **connections)
            assert self.said in said, f"it does not say {self.said!r}"
            first = _tables(warehouse)
            check(warehouse)
            self.airflow.run("dags", "test", DAG, morning, **connections)
            assert _tables(warehouse) == first, "the second run changed the tables"
        return f"{len(first[0])} events from {len(first[1])} files, unchanged by a second run"


def _tables(warehouse: Warehouse) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    return (
        warehouse.rows(f"SELECT event_id, log_file_uri, loaded_at FROM {TABLE} ORDER BY event_id"),
        warehouse.rows(f"SELECT log_file_uri, loaded_at FROM {TABLE}_files ORDER BY log_file_uri"),
    )


def check(warehouse: Warehouse) -> None:
    """Compare the tables with the plan of the trail."""
    truth = expected(PLAN)
    unbalanced = warehouse.rows(
        f"SELECT log_file_uri FROM {TABLE}_files "
        "WHERE status = 'loaded' AND records <> loaded + duplicate + filtered + quarantined"
    )
    assert unbalanced == []
    ledger = {
        uri: tuple(rest) for uri, *rest in warehouse.rows(f"SELECT log_file_uri, status, records FROM {TABLE}_files")
    }
    assert ledger == {f"s3://{PLAN.bucket}/{key}": (file.status, file.records) for key, file in truth.files.items()}
    ((rows, names),) = warehouse.rows(f"SELECT count(*), count(DISTINCT event_id) FROM {TABLE}")
    assert rows == names == truth.rows
    ((loaded,),) = warehouse.rows(f"SELECT sum(loaded) FROM {TABLE}_files")
    assert loaded == rows
    found = {event_id for (event_id,) in warehouse.rows(f"SELECT event_id FROM {TABLE}")}
    assert found >= set(truth.events)
    ((quarantined,),) = warehouse.rows(f"SELECT count(*) FROM {TABLE}_quarantine")
    assert quarantined == len(truth.quarantined_files) + len(truth.quarantined_records)
