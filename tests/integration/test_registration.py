"""What the ``airflow`` command says of the installed provider."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cloudtrail import __version__, transfers
from airflow_provider_cloudtrail.get_provider_info import get_provider_info
from airflow_provider_cloudtrail.settings import OPTIONS

NAME = "airflow-provider-cloudtrail"
AIRFLOW = Path(sys.executable).with_name("airflow")


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an environment without any setting of Airflow but a home of its own."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    home = tmp_path_factory.mktemp("airflow")
    return ours | {"AIRFLOW_HOME": str(home)}


@pytest.fixture(scope="module")
def providers(environment: dict[str, str]) -> Any:
    """Return a function that runs ``airflow providers`` and gives back its table as JSON types."""

    def run(*arguments: str) -> list[dict[str, Any]]:
        command = [str(AIRFLOW), "providers", *arguments, "--output", "json", "--verbose"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
        # Verbose shows warnings: Airflow's own may be there, but none about us. Some versions log to
        # standard output, before the table in one line.
        log, _, table = f"\n{done.stdout.strip()}".rpartition("\n[")
        # A warning may name the folder of an environment, which may be called like the provider.
        assert "cloudtrail" not in f"{log}{done.stderr}".replace(sys.prefix, "").lower()
        return json.loads(f"[{table}")

    return run


def test_list(providers: Any) -> None:
    listed = {row["package_name"]: row for row in providers("list")}
    assert listed[NAME]["version"] == __version__


def test_get(providers: Any) -> None:
    (shown,) = providers("get", NAME, "--full")
    assert set(shown) >= {"integrations", "hooks", "sensors", "transfers", "triggers", "extra-links", "config"}
    assert shown["package-name"] == NAME


def test_hooks(providers: Any) -> None:
    """The provider has no connection type of its own: the one that it uses can be imported."""
    hooks = {row["connection_type"]: row for row in providers("hooks")}
    assert hooks["aws"]["class"].endswith("AwsGenericHook")
    # Others may lack what they need, such as amazon's hook for DuckDB.
    assert [kind for kind, row in hooks.items() if row["package_name"] == NAME] == []


def test_triggers(providers: Any) -> None:
    shown = {row["class"] for row in providers("triggers")}
    assert shown >= {name for entry in get_provider_info()["triggers"] for name in entry["python-modules"]}


def test_links(providers: Any) -> None:
    shown = {row["extra_link_class_name"] for row in providers("links")}
    assert shown >= set(get_provider_info()["extra-links"])


def test_configs(providers: Any) -> None:
    shown = dict(row["provider_config"] for row in providers("configs"))
    assert set(shown[NAME]["cloudtrail"]["options"]) == set(OPTIONS)


def test_every_named_module_and_class_exists() -> None:
    """The command line shows names without loading them."""
    info = get_provider_info()
    modules = [
        name
        for kind in ("hooks", "sensors", "operators", "triggers")
        for entry in info.get(kind, ())
        for name in entry["python-modules"]
    ]
    modules += [entry["python-module"] for entry in info["transfers"]]
    assert "airflow_provider_cloudtrail.hooks.cloudtrail" in modules
    for name in modules:
        assert importlib.import_module(name).__doc__
    for name in info["extra-links"]:
        module, _, link = name.rpartition(".")
        assert getattr(importlib.import_module(module), link)


def test_every_transfer_is_named() -> None:
    """A transfer that the provider info does not name works, but no tool shows it."""
    folder = Path(transfers.__file__).parent
    there = {f"{transfers.__name__}.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__"}
    assert {entry["python-module"] for entry in get_provider_info()["transfers"]} == there
