"""Build the wheel and the sdist twice, compare the two, and check what is in them."""

from __future__ import annotations

import hashlib
import os
import shutil
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


# Run from environments of their own: what they need must not have a say in the development environment.
TOOLS = {
    "check-wheel-contents": ("check-wheel-contents==0.6.3",),
    "twine": ("twine==7.0.0", "check", "--strict"),
}
# The last one is a socket, which cannot be copied: the web server of Airflow 2.11 leaves it where it was started.
LEFT_OUT = (
    *(".git", ".venv", ".matrix", ".demo", ".bench", ".*_cache", ".hypothesis", "__pycache__", "build", "dist"),
    "gunicorn.ctl",
)


def build(source: Path, folder: str) -> tuple[Path, Path]:
    """Build into a folder; the wheel is built from the sdist, so that the sdist is shown to be complete."""
    constraints = ROOT / "tests" / "environments" / "constraints.txt"
    # Whoever builds a release sets the time of its commit; any will do to show that no other one gets in.
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1767225600"}
    subprocess.run([UV, "build", "-q", "-b", constraints, "-o", folder, source], check=True, env=environment)
    (wheel,) = Path(folder).glob("*.whl")
    (sdist,) = Path(folder).glob("*.tar.gz")
    return wheel, sdist


def check_reproducible(first: tuple[Path, Path]) -> list[str]:
    """Build a copy at another place, of another age and with other permissions; return what differs."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "another", "place")
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT_OUT))
        for path in copy.rglob("*"):
            if path.is_file():
                path.chmod(0o600)
            os.utime(path, (1, 1))
        second = build(copy, str(Path(folder, "dist")))
        return [
            f"{one.name} differs when it is built again at another place"
            for one, other in zip(first, second, strict=True)
            if hashlib.sha256(one.read_bytes()).digest() != hashlib.sha256(other.read_bytes()).digest()
        ]


def check_by_tools(wheel: Path, sdist: Path) -> list[str]:
    """Return what check-wheel-contents and twine find."""
    wrong = []
    for tool, (requirement, *arguments) in TOOLS.items():
        files = [wheel] if tool == "check-wheel-contents" else [wheel, sdist]
        command = [UV, "tool", "run", "-q", "--from", requirement, tool, *arguments, *files]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            wrong.append(f"{tool}: {(done.stdout + done.stderr).strip()}")
    return wrong


def check_wheel(wheel: Path) -> list[str]:
    """Return what is wrong with the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        entry_points = archive.read(metadata.replace("METADATA", "entry_points.txt")).decode()
        headers = Parser().parsestr(archive.read(metadata).decode())
    files = (path for path in (ROOT / PACKAGE).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    expected = {str(path.relative_to(ROOT)) for path in files}
    expected |= {f"{PACKAGE}/mwaa/dags/{path.name}" for path in (ROOT / "dags").iterdir() if path.is_file()}
    wrong = [f"the wheel lacks {name}" for name in sorted(expected - names)]
    described = metadata.removesuffix("METADATA")
    strangers = {name for name in names - expected if not name.startswith(described)}
    wrong += [f"the wheel has {name}, which is no part of it" for name in sorted(strangers)]
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
        wheel, sdist = build(ROOT, folder)
        wrong = check_wheel(wheel) + check_sdist(sdist)
        wrong += check_reproducible((wheel, sdist)) + check_by_tools(wheel, sdist)
    print("\n".join(wrong) or f"{wheel.name} and {sdist.name} are complete, and the same when they are built again")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
