"""
Run the provider on the Airflow versions of Amazon MWAA, each with exactly the packages of its image.

``make test-mwaa`` runs all six images, ``.ci/run`` the oldest and the newest of each major line (``--ci``),
``.venv/bin/python -m tests.mwaa.matrix 3.0.6`` one; the first two also register the wheel on the newest Airflow. Each
image goes through the three modes of deployment, then through the unit tests with and without accelerators.
Environments are kept in ``.matrix``; what is there is brought back to the packages of the image, so that only the first
run takes long. Two images are gone through at the same time, each with its share of the cores: much of what is shown
is a command that keeps one of them busy.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from airflow_provider_cloudtrail.mwaa.bundle import COPY, PLUGINS, WHEEL
from tests.mwaa import live_run, newest
from tests.mwaa.commands import CommandError, run
from tests.mwaa.daily_run import AirflowOf, DailyRun, postgres, sqlite
from tests.mwaa.deferred_run import DeferredRun
from tests.mwaa.images import IMAGES, NEWEST_PYTHON, Image, build_wheel
from tests.mwaa.integrity_run import IntegrityRun
from tests.mwaa.modes import PLUGINS_CODE, Deployed, wrongly_named

AT_ONCE = 2


@dataclass(frozen=True)
class Shown:
    """How many steps passed, which failed, and how many images were skipped."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: int = 0


def steps(image: Image, wheel: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield what is shown on an image: a name, and a function that does it and returns a line to print."""
    image.reset()
    airflow = AirflowOf(image.inside, Deployed(image, COPY, wheel))
    yield "copied, import errors", airflow.import_errors
    if image.airflow.startswith("2."):
        yield "copied, daily DAG, PostgreSQL", DailyRun(airflow, postgres).show
    else:
        # The triggerer would not find the package in the DAG folder.
        told = replace(airflow, settings={"AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "True"})
        fallen_back = DailyRun(told, postgres, said="waiting in reschedule mode")
        yield "copied, daily DAG told to defer reschedules, PostgreSQL", fallen_back.show

    airflow = AirflowOf(image.inside, Deployed(image, PLUGINS, wheel))
    yield "plugins.zip, import errors", airflow.import_errors
    yield "plugins.zip, names of modules", lambda: names_of_modules(airflow)
    yield "plugins.zip, deferred DAG, PostgreSQL", DeferredRun(airflow, postgres).show
    if image.sqlite:
        # SQLite stands for the engines that have no adapter of their own.
        yield "plugins.zip, daily DAG, SQLite", DailyRun(airflow, sqlite).show

    deployed = Deployed(image, WHEEL, wheel)
    airflow = AirflowOf(image.inside, deployed)
    yield "wheel, installed", lambda: image.install_requirements(deployed.requirements())
    yield "wheel, provider is listed", airflow.provider
    yield "wheel, import errors", airflow.import_errors
    yield "wheel, daily DAG, PostgreSQL", DailyRun(airflow, postgres).show
    yield "wheel, deferred DAG, PostgreSQL", DeferredRun(airflow, postgres).show
    command = image.inside.with_name("airflow")
    yield "wheel, integrity DAG, PostgreSQL", IntegrityRun(command, deployed.dags, postgres, deployed.home).show

    if image.live:
        yield "wheel, whole Airflow, deferrable sensors", lambda: live_run.show(command, image.airflow)

    image.install_test_tools()
    integration = ("tests/integration/test_registration.py", "tests/integration/test_imports.py")
    yield "registration, imports, unit tests", lambda: image.pytest(*integration, "tests/unit")
    if not image.bare_tests:
        return
    image.reset()
    image.install_alone(wheel)
    image.install_test_tools()
    yield "unit tests without accelerators", lambda: image.pytest("tests/unit")


def names_of_modules(airflow: AirflowOf) -> str:
    """Show that Airflow does not take the modules of the package for plugins."""
    airflow.migrate()
    home = airflow.deployed.home
    wrong = wrongly_named(run(airflow.python, "-c", PLUGINS_CODE, env=airflow.environment(), limit=600, cwd=home))
    assert wrong == [], f"imported under bare names: {wrong}"
    return "all have their full names"


def show(name: str, steps: Iterator[tuple[str, Callable[[], str]]]) -> Shown:
    """Go through steps, and print what each gives."""
    passed = 0
    failed: list[str] = []
    begun = time.monotonic()
    try:
        for step, do in steps:
            started = time.monotonic()
            try:
                line = do()
                passed += 1
            except (CommandError, AssertionError) as error:
                line = f"FAILED\n{error}"
                failed.append(f"{name}: {step}")
            print(f"{name}: {step}: {line} ({time.monotonic() - started:.0f} s)", flush=True)
    except CommandError as error:
        print(f"{name}: the environment could not be set up: {error}")
        failed.append(f"{name}: the environment")
    print(f"{name}: {passed} passed, {len(failed)} failed in {time.monotonic() - begun:.0f} s", flush=True)
    return Shown(passed, failed)


def show_image(image: Image, wheel: Path) -> Shown:
    """Run everything on an image, if there is a Python for it."""
    if image.python_here() is not None:
        return show(image.airflow, steps(image, wheel))
    older = ".".join(map(str, NEWEST_PYTHON))
    reason = f"needs Python {older} or older, and there is no python{image.python} beside this {sys.version.split()[0]}"
    print(f"{image.airflow}: SKIPPED, NOT TESTED: {reason}")
    return Shown(skipped=1)


def show_newest(wheel: Path) -> Shown:
    """Run what is shown on the newest Airflow."""
    return show(newest.version(), newest.steps(wheel))


def share_cores(at_once: int) -> None:
    """Let what ``-n logical`` starts from this process have its share of the cores."""
    os.environ["PYTEST_XDIST_AUTO_NUM_WORKERS"] = str(max((os.cpu_count() or 1) // at_once, 1))


def main(arguments: list[str]) -> int:
    """Run the matrix, or some images of it."""
    known = {image.airflow for image in IMAGES}
    wanted = {image.airflow for image in IMAGES if image.in_ci} if "--ci" in arguments else set(arguments) or known
    if unknown := wanted - known:
        print(f"No list for {', '.join(sorted(unknown))}; there is {', '.join(sorted(known))}.", file=sys.stderr)
        return 2
    try:
        wheel = build_wheel()
    except CommandError as error:
        print(f"The wheel could not be built: {error}", file=sys.stderr)
        return 1
    # Those with the most to show first, so that none of them is left alone at the end.
    images = sorted(IMAGES, key=lambda image: (image.bare_tests, image.airflow), reverse=True)
    todo = [partial(show_image, image, wheel) for image in images if image.airflow in wanted]
    if not set(arguments) & known:
        todo.append(partial(show_newest, wheel))
    at_once = min(AT_ONCE, len(todo))
    with ProcessPoolExecutor(at_once, get_context("spawn"), share_cores, (at_once,)) as pool:
        results = [running.result() for running in [pool.submit(each) for each in todo]]
    failed = [step for shown in results for step in shown.failed]
    # What they said stands far above, and may have been cut off.
    for step in failed:
        print(f"FAILED: {step}")
    passed, skipped = sum(shown.passed for shown in results), sum(shown.skipped for shown in results)
    print(f"matrix: {passed} passed, {len(failed)} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
