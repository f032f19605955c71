"""The wheel on the newest Airflow, installed as a user would: with what the wheel itself asks for, and no more."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.mwaa.commands import clean_environment, run
from tests.mwaa.images import LISTS, MATRIX, SOURCE, UV

_CONSTRAINTS = LISTS / "constraints.txt"
_TESTS = ("tests/integration/test_registration.py", "tests/integration/test_imports.py")


def version() -> str:
    """Return the newest version of Airflow that the project is developed with."""
    found = re.search(r"^apache-airflow==(\S+)", _CONSTRAINTS.read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"no apache-airflow in {_CONSTRAINTS}")
    return found[1]


def steps(wheel: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield what is shown: a name, and a function that does it and returns a line to print."""
    folder = MATRIX / "newest"
    python = folder / "bin" / "python"
    run(UV, "venv", "-q", "--clear", "-p", sys.executable, folder)
    install = (UV, "pip", "install", "-q", "-p", python, "-c", _CONSTRAINTS)
    run(*install, "-b", _CONSTRAINTS, wheel, f"apache-airflow=={version()}")
    run(*install, "hypothesis", "pytest", "pytest-xdist")
    settings = {"AIRFLOW_HOME": str(folder / "home"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}

    def registered() -> str:
        command = (python, "-m", "pytest", "-n", "logical", "--tb", "short", *_TESTS)
        return run(*command, cwd=SOURCE, env=clean_environment() | settings).strip().rpartition("\n")[2]

    yield "wheel, registration and imports", registered
