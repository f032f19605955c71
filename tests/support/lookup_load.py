"""
Run as a program: load Event history from a stand-in into a warehouse, in parts so small that a kill hits one.

Takes one JSON object: ``engine``, ``address``, ``table``, ``endpoint``, ``regions``, and ``lines``: behind how many
parts it is going to be killed. Says ``part`` on its standard output after each part, and in the end the summary.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import timedelta

import boto3
from botocore.config import Config

from airflow_provider_cloudtrail.export.event_history import export_event_history
from airflow_provider_cloudtrail.trail.event_history import EventHistory
from airflow_provider_cloudtrail.trail.lookup import Span
from airflow_provider_cloudtrail.warehouse.lookups import Lookups
from tests.support.engines import warehouse_of
from tests.support.event_history import NOW, SimulatedClock
from tests.support.killing import SayLine
from tests.support.log_files import ACCOUNT
from tests.support.rows import MWAA


def main() -> None:
    task = json.loads(sys.argv[1])
    logger = logging.getLogger("airflow_provider_cloudtrail.export.event_history")
    logger.setLevel(logging.INFO)
    logger.addHandler(SayLine("part", "So far", task.get("lines")))
    lookups = Lookups(warehouse_of(task["engine"], task["address"], task["table"]))
    lookups.prepare()

    def client_of(region: str) -> object:
        keys = {"aws_access_key_id": "example", "aws_secret_access_key": "example"}
        config = Config(retries={"total_max_attempts": 1})
        return boto3.client("cloudtrail", region_name=region, endpoint_url=task["endpoint"], config=config, **keys)

    summary = export_event_history(
        EventHistory(client_of, clock=SimulatedClock()),
        lookups=lookups,
        account_id=ACCOUNT,
        regions=task["regions"],
        window=Span(NOW - timedelta(days=89), NOW),
        settled=NOW - timedelta(hours=1),
        selection=MWAA,
        events_in_a_part=120,
    )
    print(json.dumps(summary.as_dict()), flush=True)


if __name__ == "__main__":
    main()
