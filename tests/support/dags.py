"""A DAG for tests, on every Airflow."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG


def dag(**arguments: Any) -> DAG:
    """Return a DAG without a schedule, to be used as a context."""
    return DAG("audit", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=timezone.utc), **arguments)
