"""The integrity DAG as a user runs it: real operators in a real Airflow, over HTTP."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.mwaa.daily_run import sqlite
from tests.mwaa.integrity_run import HOURS, REGIONS, IntegrityRun
from tests.support.engines import REPOSITORY


def test_the_integrity_dag_proves_a_day_and_finds_what_is_deleted(tmp_path: Path) -> None:
    airflow = Path(sys.executable).with_name("airflow")
    said = IntegrityRun(airflow, REPOSITORY / "dags", sqlite, tmp_path / "airflow", daily_first=True).show()
    assert said.startswith(f"{len(REGIONS) * (HOURS - 3)} log files")
