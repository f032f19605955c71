"""The code of the README makes tasks as it stands there."""

from __future__ import annotations

import importlib
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.support.engines import REPOSITORY
from tests.support.log_files import FolderTrail, event, foreign

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


def test_there_are_four() -> None:
    assert len(blocks()) == 4


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


def test_the_hook_reads_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trail = FolderTrail(tmp_path)
    trail.deliver("20260203T1000Z", event("a"), foreign())
    trail.deliver("20260204T1000Z", event("b"))
    namespace = {"datetime": datetime, "timezone": timezone}
    for module in ("hooks.cloudtrail", "trail.log_file", "trail.delivery_window"):
        assert f"`{module}`" in README.read_text(encoding="utf-8")
        namespace |= vars(importlib.import_module(f"airflow_provider_cloudtrail.{module}"))
    exec(blocks()[3].replace("my-trail-bucket", trail.bucket), namespace)
    told = [line.split()[1:] for line in capsys.readouterr().out.splitlines()]
    assert told == [["airflow.amazonaws.com", "CreateCliToken"], ["ec2.amazonaws.com", "DescribeInstances"]]
