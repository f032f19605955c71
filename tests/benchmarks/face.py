"""What Airflow itself feels: how long an example DAG takes to import, and what the sensor costs while it waits."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.contestants import Task

ROOT = Path(__file__).parents[2]
_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \| +(\S+)")
# What any DAG with an operator and a sensor of the amazon provider imports.
_BASE = """
from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.sensors.base_aws import AwsBaseSensor
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields
from airflow.providers.amazon.aws.links.base_aws import BaseAwsLink
from airflow.providers.common.compat.sdk import conf, BaseHook, PokeReturnValue
conf.get("core", "dags_folder")
"""


def import_milliseconds() -> float:
    """Return what an example DAG adds to the imports of Airflow and the amazon base classes."""
    dag = ROOT / "dags" / "mwaa_audit_export_daily.py"
    base = _imported(_BASE)
    # Read as text and run: the file itself is no module.
    with_dag = _imported(f"{_BASE}\nexec(compile(open({str(dag)!r}).read(), 'dag', 'exec'), {{'__name__': 'dag'}})")
    return sum(micro for name, micro in with_dag.items() if name not in base) / 1000


def _imported(program: str) -> dict[str, int]:
    """Return the microseconds that each module takes itself."""
    said = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name: int(micro) for micro, name in _LINE.findall(said.stderr)}


def poke(task: Task) -> Iterator[Any]:
    """Poke the sensor for a window in which nothing is there yet, as often as in a long night."""
    import json
    import os
    from datetime import datetime, timedelta, timezone

    extra = {"endpoint_url": task["endpoint"], "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "bench", "password": "bench", "extra": extra}
    os.environ["AIRFLOW_CONN_AWS_DEFAULT"] = json.dumps(connection)
    from airflow_provider_cloudtrail.sensors.cloudtrail import CloudTrailLogFileSensor

    begin = datetime(2026, 2, 5, tzinfo=timezone.utc)
    sensor = CloudTrailLogFileSensor(
        task_id="wait",
        bucket="bench",
        account_ids=["111122223333", "444455556666"],
        regions=["eu-west-1", "us-east-1"],
        delivered_from=begin,
        delivered_to=begin + timedelta(days=1),
    )
    assert not sensor.poke({}).is_done
    yield
    for _ in range(task["pokes"]):
        assert not sensor.poke({}).is_done
    yield {"pokes": task["pokes"]}
