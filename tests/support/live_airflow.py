"""A whole Airflow for a test: its processes, their metadata database, and what they say when something fails."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tests.support.ports import reserved_port
from tests.support.postgres import postgres_server

T = TypeVar("T")
# Generous: nothing is measured, and machines are slow when they are busy.
PATIENCE = 600.0
_SHOWN_LINES = 30
_SHOWN_WIDTH = 400


class NeverHappenedError(AssertionError):
    """Raised when something that was waited for did not happen; holds the end of every log."""


@dataclass
class LiveAirflow:
    """
    A running Airflow.

    :param airflow: the ``airflow`` command.
    :param version: its version.
    :param folder: an empty folder for its home, DAGs and logs.
    :param database: URI of an empty PostgreSQL database for its metadata.
    :param port: what its API server listens on.
    :param connections: connections by id, as JSON types.
    :param options: configuration options by ``SECTION__NAME``.
    """

    airflow: Path
    version: str
    folder: Path
    database: str
    port: int
    connections: Mapping[str, Mapping[str, Any]]
    options: Mapping[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.dags.mkdir(parents=True)
        uri = self.database.replace("postgresql://", "postgresql+psycopg2://")
        settings = {
            "CORE__DAGS_FOLDER": str(self.dags),
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": "4",
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "DATABASE__SQL_ALCHEMY_CONN": uri,
            "API__SECRET_KEY": secrets.token_hex(16),
            "API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{self.port}/execution/",
            "DAG_PROCESSOR__REFRESH_INTERVAL": "2",
            "SCHEDULER__DAG_DIR_LIST_INTERVAL": "2",
            "SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            "TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            # A busy machine is no failure.
            "WORKERS__EXECUTION_API_TIMEOUT": "60",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        foreign = ("AIRFLOW", "AWS_", "PYTHON", "PYTEST")
        self.environment = (
            {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
            | {"AIRFLOW_HOME": str(self.folder / "home"), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
            | {f"AIRFLOW__{name}": value for name, value in {**settings, **self.options}.items()}
            | {f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in self.connections.items()}
        )
        self._commands = {"scheduler": ["scheduler"], "triggerer": ["triggerer"]}
        if not self.version.startswith("2."):
            self._commands |= {
                "dag-processor": ["dag-processor"],
                "api-server": ["api-server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"],
            }

    @property
    def dags(self) -> Path:
        """Folder of its DAG files."""
        return self.folder / "dags"

    def migrate(self) -> None:
        """Create the metadata database."""
        self.command("db", "migrate")

    def command(self, *words: str) -> None:
        """Run an ``airflow`` command to its end."""
        done = subprocess.run(
            [self.airflow, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

    def start(self, *names: str) -> None:
        """Start processes, all of them if none is named."""
        for name in names or self._commands:
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    [self.airflow, *self._commands[name]],
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

    def kill(self, name: str) -> None:
        """End a process and all that it started, with a signal that cannot be handled."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)

    def stop(self) -> None:
        """End everything."""
        for name in list(self.processes):
            self.kill(name)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Return what a query of the metadata database finds."""
        import psycopg

        with psycopg.connect(self.database) as connection:
            return connection.execute(query, values).fetchall()

    def execute(self, statement: str) -> None:
        """Change the metadata database."""
        import psycopg

        with psycopg.connect(self.database) as connection:
            connection.execute(statement)

    def until(self, what: str, found: Callable[[], T | None]) -> T:
        """
        Wait for something and return it.

        :raises NeverHappenedError: if it does not happen, or one of the processes has ended.
        """
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if happened := found():
                return happened
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise NeverHappenedError(f"{name} ended while waiting until {what}\n{self.logs()}")
            time.sleep(0.2)
        raise NeverHappenedError(f"waited in vain until {what}\n{self.logs()}")

    def wait_for_dag(self, dag_id: str) -> None:
        """Wait until a DAG can be run."""
        self.until(f"{dag_id} is known", lambda: self.rows("SELECT 1 FROM serialized_dag WHERE dag_id = %s", dag_id))

    def wait_for_task(self, dag_id: str, task_id: str, state: str, runs: int = 1) -> None:
        """Wait until a task has a state in so many runs."""
        query = "SELECT count(*) FROM task_instance WHERE dag_id = %s AND task_id = %s AND state = %s"
        self.until(f"{dag_id}.{task_id} is {state}", lambda: self.rows(query, dag_id, task_id, state)[0][0] >= runs)

    def wait_for_run(self, dag_id: str, runs: int = 1) -> None:
        """Wait until so many runs of a DAG have succeeded; fail at once if one has failed."""

        def succeeded() -> bool:
            states = [state for (state,) in self.rows("SELECT state FROM dag_run WHERE dag_id = %s", dag_id)]
            if "failed" in states:
                raise NeverHappenedError(f"a run of {dag_id} has failed\n{self.logs()}")
            return states.count("success") >= runs

        self.until(f"{runs} runs of {dag_id} have succeeded", succeeded)

    def logs(self) -> str:
        """Return the end of each log, those of tasks and triggers included."""
        files = [*sorted(self.folder.glob("*.log")), *sorted((self.folder / "home" / "logs").rglob("attempt=*"))]
        return "\n".join(
            f"--- {file.relative_to(self.folder)}\n"
            + "\n".join(line[:_SHOWN_WIDTH] for line in file.read_text("utf-8", "replace").splitlines()[-_SHOWN_LINES:])
            for file in files
            if file.is_file()
        )


@contextmanager
def live_airflow(airflow: Path, version: str, folder: Path, **settings: Any) -> Iterator[LiveAirflow]:
    """Yield an Airflow whose metadata database is there, and whose processes can be started."""
    with ExitStack() as stack:
        database, port = stack.enter_context(postgres_server()), stack.enter_context(reserved_port())
        live = LiveAirflow(airflow, version, folder, database, port, **settings)
        stack.callback(live.stop)
        live.migrate()
        yield live
