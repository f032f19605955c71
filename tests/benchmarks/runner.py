"""Run contestants in turns, each in a process of its own, and keep what they cost."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.s3_files import COUNTED

ROOT = Path(__file__).parents[2]
PEERS = ROOT / ".bench" / "peers"
_LIMIT = 900
_SETTINGS = {
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "PYTHONPATH": str(ROOT),
}


@dataclass(frozen=True)
class Contestant:
    """
    Who takes part.

    :param name: what the table calls it.
    :param function: ``module:function`` below ``tests.benchmarks``.
    :param peer: whether it runs in the peers' environment.
    :param share: share of the files that it is given, where it is slow; its figures are scaled up.
    :param processes: how many it works with.
    :param more: what its task says beside what all are told.
    """

    name: str
    function: str
    peer: bool = False
    share: float = 1.0
    processes: int = 1
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Figures:
    """
    Medians of one contestant, for the whole corpus.

    :param spread: shortest and longest run, in seconds.
    :param above: peak memory above what the process had before it began, in bytes.
    """

    contestant: Contestant
    seconds: float
    spread: tuple[float, float]
    cpu: float
    above: int
    result: dict[str, Any]
    requests: dict[str, int]


class ContestantError(Exception):
    """Raised when a contestant fails; holds the end of what it said."""


def run_once(contestant: Contestant, task: dict[str, Any]) -> dict[str, Any]:
    """Run a contestant and return what ``measure`` printed."""
    python = PEERS / "bin" / "python" if contestant.peer else Path(sys.executable)
    told = {**task, "share": contestant.share, **contestant.more}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AIRFLOW__"))}
    environment |= _SETTINGS | {
        "BENCH_WORKERS": str(contestant.processes),
        "AIRFLOW_HOME": f"{task['scratch']}/airflow-home",
    }
    ended = subprocess.run(
        [python, "-m", "tests.benchmarks.measure", f"tests.benchmarks.{contestant.function}", json.dumps(told)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_LIMIT,
        check=False,
    )
    if ended.returncode:
        raise ContestantError(f"{contestant.name}: {(ended.stderr or ended.stdout).strip()[-1500:]}")
    # Airflow logs to the standard output.
    return dict(json.loads(ended.stdout.strip().splitlines()[-1]))


def contest(contestants: Sequence[Contestant], task: dict[str, Any], rounds: int) -> list[Figures]:
    """Run all in turns, so that whatever else the machine does hits all of them alike; return medians."""
    runs: dict[str, list[dict[str, Any]]] = {contestant.name: [] for contestant in contestants}
    requests: dict[str, dict[str, int]] = {}
    for number in range(rounds):
        for contestant in contestants:
            print(f"  round {number + 1} of {rounds}: {contestant.name}", file=sys.stderr, flush=True)
            try:
                runs[contestant.name].append(run_once(contestant, task))
            except (ContestantError, subprocess.TimeoutExpired) as error:
                print(f"  {contestant.name} failed: {error}", file=sys.stderr, flush=True)
            if "endpoint" in task:
                requests[contestant.name] = counted(task["endpoint"])
    return [
        _median(contestant, runs[contestant.name], requests.get(contestant.name, {}))
        for contestant in contestants
        if runs[contestant.name]
    ]


def _median(contestant: Contestant, runs: list[dict[str, Any]], requests: dict[str, int]) -> Figures:
    scale = 1 / contestant.share
    seconds = sorted(run["seconds"] * scale for run in runs)
    return Figures(
        contestant,
        statistics.median(seconds),
        (seconds[0], seconds[-1]),
        statistics.median(run["cpu"] * scale for run in runs),
        int(statistics.median(run["above_idle"] for run in runs)),
        runs[-1]["result"],
        requests,
    )


@contextmanager
def s3_server(folder: str | Path, metadata: str | Path | None = None, delay: float = 0.0) -> Iterator[str]:
    """
    Serve a folder and yield the endpoint.

    :param metadata: JSON file with the user metadata of its objects.
    :param delay: seconds before each answer.
    """
    command = [sys.executable, "-m", "tests.benchmarks.s3_files", str(folder), "--delay", str(delay)]
    command += ["--metadata", str(metadata)] if metadata else []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


def counted(endpoint: str) -> dict[str, int]:
    """Return the requests since the last call."""
    with urllib.request.urlopen(endpoint + COUNTED, timeout=30) as answer:
        return dict(json.load(answer))
