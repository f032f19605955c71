"""What the tests of the operator share: a warehouse connection, and AWS clients that reach the stand-in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_cloudtrail._compat import AirflowNotFoundException, BaseHook
from airflow_provider_cloudtrail.transfers.event_history_to_sql import CloudTrailEventHistoryToSqlOperator
from tests.support.event_history import EventHistoryStandIn

WAREHOUSE = "cloudtrail_warehouse"


def connect(monkeypatch: pytest.MonkeyPatch, stand_in: EventHistoryStandIn, hook: Any) -> None:
    """Send AWS clients to the stand-in, let hook and operator live by its clock, and load with this hook."""
    for name, value in stand_in.environment().items():
        monkeypatch.setenv(name, value)
    # What is older than 90 days is gone: on the day of who runs the tests, events of the stand-in would be.
    monkeypatch.setattr("airflow_provider_cloudtrail.trail.event_history.CLOCK", stand_in.clock)
    monkeypatch.setattr(CloudTrailEventHistoryToSqlOperator, "clock", stand_in.clock)

    def get_connection(cls: Any, conn_id: str) -> SimpleNamespace:
        if conn_id != WAREHOUSE:
            raise AirflowNotFoundException(conn_id)
        return SimpleNamespace(conn_type=hook.conn_type, host="", get_hook=lambda: hook)

    monkeypatch.setattr(BaseHook, "get_connection", classmethod(get_connection))


def operator(**arguments: Any) -> CloudTrailEventHistoryToSqlOperator:
    return CloudTrailEventHistoryToSqlOperator(task_id="backfill", **{"regions": ["eu-west-1"], **arguments})
