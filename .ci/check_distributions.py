"""Build the wheel and the sdist, and check what is in them."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "airflow_provider_cloudtrail"
UV = Path(sys.executable).with_name("uv")


def build(folder: str) -> tuple[Path, Path]:
    """Build into a folder; the wheel is built from the sdist, so that the sdist is shown to be complete."""
    constraints = ROOT / "tests" / "environments" / "constraints.txt"
    subprocess.run([UV, "build", "-q", "-b", constraints, "-o", folder, ROOT], check=True)
    (wheel,) = Path(folder).glob("*.whl")
    (sdist,) = Path(folder).glob("*.tar.gz")
    return wheel, sdist


def check_wheel(wheel: Path) -> list[str]:
    """Return what is wrong with the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        entry_points = archive.read(metadata.replace("METADATA", "entry_points.txt")).decode()
        headers = Parser().parsestr(archive.read(metadata).decode())
    files = (path for path in (ROOT / PACKAGE).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    wrong = [f"the wheel lacks {name}" for name in sorted({str(path.relative_to(ROOT)) for path in files} - names)]
    inside = (f"{PACKAGE}/", metadata.removesuffix("METADATA"))
    wrong += [f"the wheel has {name}, which is no part of it" for name in sorted(names) if not name.startswith(inside)]
    if "[apache_airflow_provider]" not in entry_points:
        wrong.append("the wheel has no entry point for Airflow")
    if headers["License-Expression"] != "Apache-2.0" or not headers.get_payload():
        wrong.append("the wheel lacks its license or its description")
    return wrong


def check_sdist(sdist: Path) -> list[str]:
    """Return what is wrong with the sdist."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = {"LICENSE", "README.md", "pyproject.toml", "dags/mwaa_audit_export_daily.py"}
    wrong = [f"the sdist lacks {name}" for name in sorted(expected - names)]
    return wrong + [f"the sdist has {name}" for name in sorted(names) if name.startswith(("tests", ".ci", ".matrix"))]


def main() -> int:
    """Build and check."""
    with tempfile.TemporaryDirectory() as folder:
        wheel, sdist = build(folder)
        wrong = check_wheel(wheel) + check_sdist(sdist)
    print("\n".join(wrong) or f"{wheel.name} and {sdist.name} are complete")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
