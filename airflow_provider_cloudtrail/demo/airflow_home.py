"""An Airflow of its own for the demo: a home in a folder, runs of a DAG as ``airflow dags test`` makes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

_RUN_SECONDS = 300
_TAIL_LINES = 25
# A task that fails is not tried again minutes later: whoever runs the demo waits for the reason.
_POLICY = "def task_policy(task):\n    task.retries = 0\n"


class DemoError(Exception):
    """Raised when the demo cannot go on; the message is for the console."""


@dataclass(frozen=True)
class AirflowHome:
    """
    Airflow, kept in a folder.

    :param folder: absolute path of the folder; holds Airflow's home and the log of all that it says.
    :param dags: folder of the DAG files.
    :param connections: connections by id, as JSON types.
    :param options: configuration options by ``(section, name)``.
    """

    folder: Path
    dags: Path
    connections: Mapping[str, Mapping[str, Any]]
    options: Mapping[tuple[str, str], str]

    @property
    def home(self) -> Path:
        """``AIRFLOW_HOME``."""
        return self.folder / "airflow"

    @property
    def log(self) -> Path:
        """File that receives all output."""
        return self.folder / "airflow.log"

    def prepare(self) -> bool:
        """
        Create the metadata database, unless this version of Airflow has done so.

        :return: whether it was created.
        :raises DemoError: if that fails.
        """
        (self.home / "config").mkdir(parents=True, exist_ok=True)
        (self.home / "config" / "airflow_local_settings.py").write_text(_POLICY)
        self.log.write_text("")
        done = self.home / "migrated"
        installed = version("apache-airflow")
        if done.is_file() and done.read_text() == installed:
            return False
        self._airflow("db", "migrate")
        done.write_text(installed)
        return True

    def run_day(self, dag_id: str, day: date) -> None:
        """
        Run a daily DAG for one day.

        :param day: the day of the data interval.
        :raises DemoError: if the run fails.
        """
        # A run that is made by hand gets the last whole interval before its date: this is the next morning's.
        self._airflow("dags", "test", dag_id, (day + timedelta(days=1)).isoformat())

    def _airflow(self, *arguments: str) -> None:
        with self.log.open("ab") as output:
            try:
                ended = subprocess.run(
                    [sys.executable, "-m", "airflow", *arguments],
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    timeout=_RUN_SECONDS,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise self._failure(arguments, f"did not end within {_RUN_SECONDS} seconds") from None
        if ended.returncode != 0:
            raise self._failure(arguments, f"ended with {ended.returncode}")

    def _environment(self) -> dict[str, str]:
        """Return this process's environment without any setting of another Airflow or AWS account."""
        # Without byte code on disk each call of Airflow compiles it anew.
        foreign = ("AIRFLOW", "AWS_", "PYTHONDONTWRITEBYTECODE")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        direct = ",".join(filter(None, (environment.get("no_proxy"), "127.0.0.1")))
        return (
            environment
            | {
                "AIRFLOW_HOME": str(self.home),
                "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "NO_PROXY": direct,
                "no_proxy": direct,
            }
            | {f"AIRFLOW_CONN_{name.upper()}": json.dumps(fields) for name, fields in self.connections.items()}
            | {f"AIRFLOW__{section.upper()}__{name.upper()}": value for (section, name), value in self.options.items()}
        )

    def _failure(self, arguments: tuple[str, ...], what: str) -> DemoError:
        with self.log.open(errors="replace") as output:
            tail = "".join(deque(output, _TAIL_LINES)).rstrip()
        return DemoError(f"{tail}\n\nairflow {' '.join(arguments)} {what}. All that it said: {self.log}")
