"""
Run the provider on the Airflow versions of Amazon MWAA, each with exactly the packages of its image.

``make test-matrix`` runs all of it; ``.venv/bin/python -m tests.mwaa.matrix 3.0.6`` one image. Environments are kept in
``.matrix``; what is there is brought up to date, so that only the first run takes minutes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.mwaa.commands import CommandError, clean_environment, run
from tests.mwaa.daily_run import DailyRun, Warehouse, postgres, sqlite
from tests.mwaa.integrity_run import show_on

ROOT = Path(__file__).parents[2]
LISTS = ROOT / "tests" / "environments"
MATRIX = ROOT / ".matrix"
# Tests run from a copy, so that they meet the installed wheel and not the checkout.
SOURCE = MATRIX / "source"
UV = Path(sys.executable).with_name("uv")


@dataclass(frozen=True)
class Image:
    """
    An MWAA image.

    :param airflow: its version of Airflow.
    :param python: its version of Python.
    :param sqlite: whether it has the SQLite provider; all have the PostgreSQL provider.
    :param registration_only: whether the unit tests and the DAG are left out.
    """

    airflow: str
    python: str
    sqlite: bool
    registration_only: bool = False

    @property
    def packages(self) -> Path:
        """Names and versions of everything in the image."""
        return LISTS / f"mwaa-{self.airflow}.txt"


IMAGES = (
    Image("2.10.3", "3.11", sqlite=True),
    Image("3.0.6", "3.12", sqlite=False),
    Image("2.11.2", "3.12", sqlite=True, registration_only=True),
)
# None of these versions of Airflow supports a newer one.
NEWEST_PYTHON = (3, 12)


def python_for(image: Image) -> str | None:
    """Return the Python of the image, else the running one if it can run that Airflow."""
    named = shutil.which(f"python{image.python}")
    # A version manager may have put a name there that leads nowhere.
    if named and subprocess.run([named, "-c", ""], capture_output=True, check=False).returncode == 0:
        return named
    return sys.executable if sys.version_info[:2] <= NEWEST_PYTHON else None


def prepare() -> Path:
    """Build the wheel, lay out the copy of the tests; return the wheel."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    for folder in ("tests", "dags"):
        shutil.copytree(ROOT / folder, SOURCE / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", SOURCE)
    shutil.rmtree(MATRIX / "dist", ignore_errors=True)
    run(UV, "build", "-q", "--wheel", "-b", LISTS / "constraints.txt", "-o", MATRIX / "dist", ROOT)
    (wheel,) = (MATRIX / "dist").glob("*.whl")
    return wheel


def environment(image: Image, python: str, wheel: Path, *, bare: bool) -> Path:
    """
    Bring an environment up to date with an image, the wheel and the test tools; return its Python.

    :param bare: without what the wheel depends on and the image lacks, as if the package had only been copied.
    """
    folder = MATRIX / (f"{image.airflow}-bare" if bare else image.airflow)
    inside = folder / "bin" / "python"
    if not inside.exists():
        run(UV, "venv", "-q", "--clear", "-p", python, folder)
    install = (UV, "pip", "install", "-q", "-p", inside)
    run(*install, "--no-deps", "-r", image.packages)
    # As MWAA installs requirements.txt: what the image has stays.
    dependencies = ["--no-deps"] if bare else ["-c", image.packages]
    run(*install, *dependencies, "--reinstall-package", "airflow-provider-cloudtrail", wheel)
    run(*install, "-c", image.packages, "-r", LISTS / "mwaa-test-tools.txt")
    return inside


def pytest(python: Path, *arguments: str) -> str:
    """Run tests; return pytest's last line."""
    home = python.parents[1] / "airflow-home"
    settings = {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    said = run(
        python,
        "-m",
        "pytest",
        "-n",
        "logical",
        "--tb",
        "short",
        *arguments,
        cwd=SOURCE,
        env=clean_environment() | settings,
    )
    return said.strip().rpartition("\n")[2]


def steps(image: Image, python: str, wheel: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield what is shown on an image: a name, and a function that does it and returns a line to print."""

    def daily(inside: Path, warehouse: Warehouse) -> str:
        return DailyRun(inside.with_name("airflow"), SOURCE / "dags", warehouse).show()

    inside = environment(image, python, wheel, bare=False)
    yield (
        "registration and imports",
        lambda: pytest(inside, "tests/integration/test_registration.py", "tests/integration/test_imports.py"),
    )
    if image.registration_only:
        return
    yield "unit tests", lambda: pytest(inside, "tests/unit")
    yield "daily DAG, PostgreSQL", lambda: daily(inside, postgres)
    yield "integrity DAG, PostgreSQL", lambda: show_on(inside, SOURCE / "dags", postgres)
    bare = environment(image, python, wheel, bare=True)
    yield "unit tests without accelerators", lambda: pytest(bare, "tests/unit")
    # SQLite stands for the engines that have no adapter of their own.
    yield "daily DAG without accelerators", lambda: daily(bare, sqlite if image.sqlite else postgres)


def show(image: Image, wheel: Path) -> tuple[int, int, int]:
    """Run everything on an image; return how much passed, failed and was skipped."""
    python = python_for(image)
    if python is None:
        newest = ".".join(map(str, NEWEST_PYTHON))
        reason = (
            f"needs Python {newest} or older, and there is no python{image.python} beside this {sys.version.split()[0]}"
        )
        print(f"{image.airflow}: SKIPPED, NOT TESTED: {reason}")
        return 0, 0, 1
    passed = failed = 0
    try:
        for name, step in steps(image, python, wheel):
            started = time.monotonic()
            try:
                line = step()
                passed += 1
            except (CommandError, AssertionError) as error:
                line = f"FAILED\n{error}"
                failed += 1
            print(f"{image.airflow}: {name}: {line} ({time.monotonic() - started:.0f} s)", flush=True)
    except CommandError as error:
        print(f"{image.airflow}: the environment could not be set up: {error}")
        failed += 1
    return passed, failed, 0


def main(wanted: list[str]) -> int:
    """Run the matrix, or some images of it."""
    known = {image.airflow for image in IMAGES}
    if unknown := set(wanted) - known:
        print(f"No list for {', '.join(sorted(unknown))}; there is {', '.join(sorted(known))}.", file=sys.stderr)
        return 2
    try:
        wheel = prepare()
    except CommandError as error:
        print(f"The wheel could not be built: {error}", file=sys.stderr)
        return 1
    results = [show(image, wheel) for image in IMAGES if not wanted or image.airflow in wanted]
    passed, failed, skipped = (sum(column) for column in zip(*results, strict=True))
    print(f"matrix: {passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
