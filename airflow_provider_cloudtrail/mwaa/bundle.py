"""What an environment shall hold, for each of the three modes."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_cloudtrail import __version__
from airflow_provider_cloudtrail.mwaa.errors import MwaaUsageError

PACKAGE = "airflow_provider_cloudtrail"
DISTRIBUTION = "airflow-provider-cloudtrail"
COPY, PLUGINS, WHEEL = "copy", "plugins", "wheel"
MODES = (COPY, PLUGINS, WHEEL)
EXTRAS = ("aiobotocore", "duckdb", "iceberg", "openlineage", "postgres", "snowflake")
"""Extras of the package that an environment can have use of."""
PLUGINS_FOLDER = "/usr/local/airflow/plugins"
"""Where MWAA unpacks plugins.zip, before it installs requirements.txt (MWAA user guide)."""
DAG_FOLDER = "/usr/local/airflow/dags"
"""Where MWAA has what is below DagS3Path (MWAA user guide)."""

_SOURCES = Path(__file__).parents[1]
# Of no use in an environment: what serves this machine.
_LEFT_OUT = ("demo", "mwaa")
IN_THE_TRIGGERER = ("mwaa_audit_export_on_delivery",)
"""DAGs whose triggerer must have the package, which on Airflow 3 does not see the DAG folder."""
# What the wheel needs and no image holds; everything else that it needs is there.
_ACCELERATORS = ("isal", "msgspec", "obstore")


@dataclass(frozen=True)
class Bundle:
    """
    What an environment shall hold.

    :param mode: one of :data:`MODES`.
    :param package: content by name below DagS3Path, without the DAGs.
    :param dags: content by name below DagS3Path.
    :param dag_ids: ids of these DAGs.
    :param entries: content by name in plugins.zip.
    :param requirements: lines for requirements.txt.
    """

    mode: str
    package: dict[str, bytes]
    dags: dict[str, bytes]
    dag_ids: tuple[str, ...]
    entries: dict[str, bytes]
    requirements: tuple[str, ...]

    @property
    def objects(self) -> dict[str, bytes]:
        """Everything below DagS3Path; the DAGs come last, because they import the package."""
        return self.package | self.dags


@dataclass(frozen=True)
class Source:
    """
    Where a bundle is made from.

    :param dags: folder of DAG files; None: the example DAGs.
    :param only: names of the DAG files to take, without ``.py``; none: all.
    :param wheel: the wheel of this package; None: it is built.
    :param wheels: folder with wheels of what the wheel needs.
    :param by_name: the environment fetches the package from an index.
    :param no_index: the environment must not ask any index.
    :param extras: extras of the package to install.
    """

    dags: Path | None = None
    only: Sequence[str] = ()
    wheel: Path | None = None
    wheels: Path | None = None
    by_name: bool = False
    no_index: bool = False
    extras: Sequence[str] = ()


def build(mode: str, source: Source, airflow_version: str) -> Bundle:
    """
    Collect what an environment shall hold.

    :param airflow_version: of the environment.
    :raises MwaaUsageError: if a file is missing or cannot be read, or the options contradict each other.
    """
    try:
        return _build(mode, source, airflow_version)
    except OSError as error:
        raise MwaaUsageError(
            f"what is to be deployed cannot be read ({error}); nothing was changed: let your user read it, or take it "
            "away"
        ) from None


def _build(mode: str, source: Source, airflow_version: str) -> Bundle:
    if mode != WHEEL and (source.wheel or source.wheels or source.by_name or source.no_index or source.extras):
        raise MwaaUsageError("--wheel, --wheels, --by-name, --no-index and --extra need --mode wheel")
    dags = _dag_files(source, triggerer=mode != COPY or airflow_version.startswith("2."))
    package = package_files() if mode != WHEEL else {}
    entries, lines = _wheel_install(source) if mode == WHEEL else ({}, ())
    return Bundle(
        mode=mode,
        package=package if mode == COPY else {},
        dags=dags,
        dag_ids=tuple(sorted(dag_id for name, content in dags.items() for dag_id in _dag_ids(name, content))),
        entries=package if mode == PLUGINS else entries,
        requirements=lines,
    )


def package_files() -> dict[str, bytes]:
    """Return the files of this package that an environment needs, by name, with the name of the package in front."""
    return {
        path.relative_to(_SOURCES.parent).as_posix(): path.read_bytes()
        for path in sorted(_SOURCES.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and path.relative_to(_SOURCES).parts[0] not in _LEFT_OUT
    }


def dag_ids(content: bytes) -> Iterator[str]:
    """Yield the ids of the DAGs in a file, as far as they stand there as text."""
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.keyword) and node.arg == "dag_id" and isinstance(node.value, ast.Constant):
            yield str(node.value.value)


def _dag_ids(name: str, content: bytes) -> list[str]:
    try:
        return list(dag_ids(content))
    except (SyntaxError, ValueError) as error:
        raise MwaaUsageError(f"{name} is no Python that can be parsed: {error}; mend it, or leave it out") from None


def _dag_files(source: Source, *, triggerer: bool) -> dict[str, bytes]:
    """Return the DAG files; those that need the package in the triggerer only if it is there."""
    folder = source.dags or next(
        (found for found in (_SOURCES.parent / "dags", Path(__file__).with_name("dags")) if found.is_dir()), None
    )
    if folder is None or not folder.is_dir():
        raise MwaaUsageError(f"there is no folder of DAG files{f' {folder}' if folder else ''}: name it with --dags")
    found = _contents(folder, ".py")
    if unknown := [name for name in source.only if f"{name}.py" not in found]:
        raise MwaaUsageError(f"there is no {unknown[0]}.py in {folder}; there is {', '.join(found) or 'no DAG file'}")
    left_out = () if triggerer else IN_THE_TRIGGERER
    if unfit := [name for name in source.only if name in left_out]:
        raise MwaaUsageError(f"{unfit[0]} needs the package in the triggerer: on Airflow 3 use mode plugins or wheel")
    return {
        name: content for name, content in found.items() if name[:-3] in (source.only or {name[:-3]} - set(left_out))
    }


def _contents(folder: Path, suffix: str) -> dict[str, bytes]:
    """Return the files of a folder by name. Not by a glob, to which a folder that cannot be read is an empty one."""
    files = sorted(path for path in folder.iterdir() if path.suffix == suffix and not path.is_dir())
    return {path.name: path.read_bytes() for path in files}


def _wheel_install(source: Source) -> tuple[dict[str, bytes], tuple[str, ...]]:
    extras = f"[{','.join(sorted(source.extras))}]" if source.extras else ""
    requirement = f"{DISTRIBUTION}{extras}=={__version__}"
    if source.by_name:
        if source.wheel or source.wheels or source.no_index:
            raise MwaaUsageError("--by-name excludes --wheel, --wheels and --no-index: the package comes from an index")
        return {}, (requirement,)
    wheels = _wheels(source)
    lines = [f"--find-links {PLUGINS_FOLDER}", requirement]
    if source.no_index:
        _require_accelerators(wheels)
        lines.insert(0, "--no-index")
    return wheels, tuple(lines)


def _wheels(source: Source) -> dict[str, bytes]:
    found = {}
    if source.wheels is not None:
        found = _contents(source.wheels, ".whl") if source.wheels.is_dir() else {}
        if not found:
            raise MwaaUsageError(f"there is no wheel in {source.wheels}")
    if source.wheel is not None:
        if not source.wheel.is_file():
            raise MwaaUsageError(f"there is no wheel {source.wheel}")
        found[source.wheel.name] = source.wheel.read_bytes()
    own = [name for name in found if name.startswith(f"{PACKAGE}-")]
    if not own:
        found |= built_wheel()
    elif own != [name for name in own if name.startswith(f"{PACKAGE}-{__version__}-")]:
        raise MwaaUsageError(f"{', '.join(own)}: this is version {__version__} of the package, and deploys no other")
    return found


def _require_accelerators(wheels: dict[str, bytes]) -> None:
    there = {re.split("-", name, maxsplit=1)[0].lower() for name in wheels}
    if missing := [name for name in _ACCELERATORS if name not in there]:
        raise MwaaUsageError(
            f"--no-index needs a wheel of {', '.join(missing)} in --wheels FOLDER; fetch them for the Python of the "
            "environment: pip download --only-binary :all: --platform manylinux2014_x86_64 --python-version 3.12 "
            f"--no-deps -d FOLDER {' '.join(missing)}"
        )


def built_wheel() -> dict[str, bytes]:
    """
    Build the wheel of this package from its checkout.

    :raises MwaaUsageError: if this is no checkout, or the build fails.
    """
    checkout = _SOURCES.parent
    if not (checkout / "pyproject.toml").is_file():
        raise MwaaUsageError(f"name the wheel of {DISTRIBUTION} {__version__} with --wheel, or deploy with --by-name")
    try:
        return _built(checkout)
    except OSError as error:
        raise MwaaUsageError(
            f"the wheel could not be built ({error}); make room, name another folder for temporary files in TMPDIR, or "
            "build it elsewhere and name it with --wheel"
        ) from None


def _built(checkout: Path) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        # Not "-q", with which it keeps to itself what the build has said.
        tool = [uv, "build", "--wheel", "-o"] if (uv := shutil.which("uv")) else None
        command = [*(tool or [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w"]), folder, str(checkout)]
        # uv says what it says in UTF-8, whatever the locale.
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
        if done.returncode:
            raise MwaaUsageError(
                f"the wheel could not be built ({done.stderr.strip()[-500:]}); build it and name it with --wheel"
            )
        (wheel,) = Path(folder).glob("*.whl")
        return {wheel.name: wheel.read_bytes()}
