"""The code of the README makes tasks as it stands there."""

from __future__ import annotations

import importlib
import re
from datetime import timedelta
from typing import Any

import pytest

from tests.support.engines import REPOSITORY

README = REPOSITORY / "README.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="the README is not part of an installation")

MODULES = ("assets", "operators.athena", "sensors.cloudtrail", "transfers.cloudtrail_to_sql", "triggers.cloudtrail")


def names() -> dict[str, Any]:
    """Return what whoever copies the code imports."""
    sdk = importlib.import_module("airflow.sdk")
    found = {name: getattr(sdk, name) for name in ("DAG", "Asset", "AssetWatcher")}
    for module in MODULES:
        found |= vars(importlib.import_module(f"airflow_provider_cloudtrail.{module}"))
    return found | {"timedelta": timedelta}


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_there_are_three() -> None:
    assert len(blocks()) == 3


@pytest.mark.parametrize(
    ("number", "task_ids"),
    [(0, {"wait_for_log_files", "export_audit_events"}), (1, {"export"}), (2, {"table", "events", "rest"})],
)
def test_it_makes_tasks(number: int, task_ids: set[str]) -> None:
    namespace = names()
    made = []

    def dag(*given: Any, **named: Any) -> Any:
        made.append(names()["DAG"](*given, **named))
        return made[-1]

    with dag("readme", schedule=None):
        exec(blocks()[number], namespace | {"DAG": dag})
    assert {task_id for one in made for task_id in one.task_ids} == task_ids
