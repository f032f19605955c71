"""The images of Amazon MWAA: what is in them, as environments of this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.mwaa.commands import clean_environment, run

ROOT = Path(__file__).parents[2]
LISTS = ROOT / "tests" / "environments"
MATRIX = ROOT / ".matrix"
# Tests run from a copy, so that they meet the installed wheel and not the checkout.
SOURCE = MATRIX / "source"
UV = Path(sys.executable).with_name("uv")
# None of these versions of Airflow supports a newer one.
NEWEST_PYTHON = (3, 12)


@dataclass(frozen=True)
class Image:
    """
    An MWAA image.

    :param airflow: its version of Airflow.
    :param python: its version of Python.
    :param sqlite: whether it has the SQLite provider; all have the PostgreSQL provider.
    :param in_ci: whether it is the oldest or the newest of its major line.
    :param live: whether scheduler and triggerer run as processes as well.
    :param bare_tests: whether the unit tests are also run without accelerators; where those are, they run over both.
    """

    airflow: str
    python: str
    sqlite: bool
    in_ci: bool
    live: bool = False
    bare_tests: bool = False

    @property
    def packages(self) -> Path:
        """Names and versions of everything in the image."""
        return LISTS / f"mwaa-{self.airflow}.txt"

    @property
    def constraints(self) -> Path:
        """What MWAA holds a customer's requirements.txt to."""
        return LISTS / f"mwaa-{self.airflow}-constraints.txt"

    @property
    def folder(self) -> Path:
        """Where its environment is kept."""
        return MATRIX / self.airflow

    @property
    def inside(self) -> Path:
        """Python of its environment."""
        return self.folder / "bin" / "python"

    # -- what is installed -------------------------------------------------------------------------

    def python_here(self) -> str | None:
        """Return the Python of the image, else the running one if it can run that Airflow."""
        named = shutil.which(f"python{self.python}")
        # A version manager may have put a name there that leads nowhere.
        if named and subprocess.run([named, "-c", ""], capture_output=True, check=False).returncode == 0:
            return named
        return sys.executable if sys.version_info[:2] <= NEWEST_PYTHON else None

    def reset(self) -> None:
        """Bring the environment to exactly the packages of the image."""
        if not self.inside.exists():
            run(UV, "venv", "-q", "--clear", "-p", self.python_here() or sys.executable, self.folder)
        run(UV, "pip", "sync", "-q", "-p", self.inside, self.packages)
        (self.folder / "airflow.db").unlink(missing_ok=True)

    def install_requirements(self, requirements: Path) -> str:
        """
        Install a requirements.txt as MWAA does.

        :return: what has come to the image.
        :raises AssertionError: if something of the image was replaced.
        """
        before = self.installed()
        # uv takes a wheel of the same name and version from its cache, though it was built anew.
        refresh = ("--refresh-package", "airflow-provider-cloudtrail")
        run(UV, "pip", "install", "-q", *refresh, "-p", self.inside, "-r", requirements, "-c", self.constraints)
        after = self.installed()
        replaced = {name: (version, after.get(name)) for name, version in before.items() if after.get(name) != version}
        assert replaced == {}, f"the image holds other versions now: {replaced}"
        return ", ".join(f"{name} {version}" for name, version in after.items() if name not in before)

    def install_test_tools(self) -> None:
        """Add what runs tests."""
        install = (UV, "pip", "install", "-q", "-p", self.inside)
        run(*install, "-c", self.packages, "-r", LISTS / "mwaa-test-tools.txt")

    def install_alone(self, wheel: Path) -> None:
        """Add the wheel without what it needs, as if the package had only been copied."""
        run(UV, "pip", "install", "-q", "-p", self.inside, "--no-deps", "--reinstall", wheel)

    def installed(self) -> dict[str, str]:
        """Return versions by name of package."""
        listed = json.loads(run(UV, "pip", "list", "-q", "--format", "json", "-p", self.inside))
        return {package["name"]: package["version"] for package in listed}

    # -- what is run -------------------------------------------------------------------------------

    def pytest(self, *arguments: str) -> str:
        """Run tests; return pytest's last line."""
        settings = {"AIRFLOW_HOME": str(self.folder / "home-tests"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
        said = run(
            *(self.inside, "-m", "pytest", "-n", "logical", "--dist", "worksteal", "--tb", "short", *arguments),
            # With a share of the cores.
            limit=1800,
            cwd=SOURCE,
            env=clean_environment() | settings,
        )
        return said.strip().rpartition("\n")[2]


IMAGES = (
    Image("2.10.3", "3.11", sqlite=True, in_ci=True, bare_tests=True),
    Image("2.11.0", "3.12", sqlite=True, in_ci=False),
    Image("2.11.2", "3.12", sqlite=True, in_ci=True, live=True),
    Image("3.0.6", "3.12", sqlite=False, in_ci=True),
    Image("3.2.1", "3.12", sqlite=False, in_ci=False),
    Image("3.3.1", "3.12", sqlite=False, in_ci=True, bare_tests=True),
)


def build_wheel() -> Path:
    """Build the wheel, lay out the copy of the tests; return the wheel."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    for folder in ("tests", "dags"):
        shutil.copytree(ROOT / folder, SOURCE / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", SOURCE)
    shutil.rmtree(MATRIX / "dist", ignore_errors=True)
    run(UV, "build", "-q", "--wheel", "-b", LISTS / "constraints.txt", "-o", MATRIX / "dist", ROOT)
    (wheel,) = (MATRIX / "dist").glob("*.whl")
    return wheel
