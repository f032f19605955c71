"""Commands with a limit, whose output is shown only when they fail."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

SHOWN_LINES = 150
# What `airflow dags test` says every second while a failed task waits for its next try.
NOISE = "No tasks to run. unrunnable tasks"


class CommandError(Exception):
    """Raised when a command fails or does not end; holds the end of what it said."""


def run(*command: str | Path, limit: float = 900, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """
    Run a command and return what it printed.

    :param limit: seconds after which it is killed, with all that it started.
    :raises CommandError: if it fails or reaches the limit.
    """
    words = [str(word) for word in command]
    process = subprocess.Popen(
        words,
        env=env,
        cwd=cwd,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        raise CommandError(f"{' '.join(words)} did not end in {limit} s:\n{tail(said)}") from None
    if process.returncode:
        raise CommandError(f"{' '.join(words)} ended with {process.returncode}:\n{tail(said)}")
    return said


def tail(said: str) -> str:
    """Return the last lines of what a command said, without its noise."""
    return "\n".join([line for line in said.splitlines() if NOISE not in line][-SHOWN_LINES:])


def clean_environment() -> dict[str, str]:
    """Return this process's environment without any setting of Airflow, AWS or Python."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "AWS_", "PYTHON"))}
