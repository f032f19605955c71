"""What the organization DAG maps its tasks over, and that together they read every log file once."""

from __future__ import annotations

import runpy
from collections import Counter
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
from airflow_provider_cloudtrail.trail.log_file import TrailLocation
from tests.support.engines import REPOSITORY
from tests.support.log_files import FolderTrail

REGIONS = ("eu-west-1", "sa-east-1", "us-east-1")
DAY = datetime(2026, 2, 3, tzinfo=timezone.utc)
DELIVERED = DeliveryWindow(DAY, DAY + timedelta(days=1), timedelta(0), timedelta(0))


def delivered(trail: FolderTrail, accounts: int) -> list[tuple[str, str]]:
    """Put a log file into the folders of two Regions of each account; return the pairs of both."""
    found = [
        (f"{number:012}", region)
        for number in range(accounts)
        for region in REGIONS
        if region != REGIONS[number % len(REGIONS)]
    ]
    for account, region in found:
        trail.deliver("20260203T1000Z", account=account, region=region)
    return found


def mapped(
    monkeypatch: pytest.MonkeyPatch, trail: FolderTrail, regions: str
) -> tuple[list[list[str]], list[str] | None]:
    """Return the accounts of each mapped task, and the Regions that all of them are given."""
    monkeypatch.setenv("AIRFLOW__CLOUDTRAIL__BUCKET", trail.bucket)
    monkeypatch.setenv("AIRFLOW__CLOUDTRAIL__REGIONS", regions)
    module = runpy.run_path(str(REPOSITORY / "dags" / "mwaa_audit_export_organization.py"))
    export = module["found"].operator.dag.get_task("export_audit_events")
    return module["accounts"].function(), export.partial_kwargs["regions"]


@pytest.mark.parametrize(
    ("accounts", "tasks", "largest"),
    [
        pytest.param(3, 3, 1, id="few"),
        pytest.param(200, 200, 1, id="as many as tasks"),
        pytest.param(450, 200, 3, id="more than tasks"),
    ],
)
@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        pytest.param("", REGIONS, id="all Regions"),
        pytest.param("eu-west-1,us-east-1", ("eu-west-1", "us-east-1"), id="two Regions"),
    ],
)
def test_every_account_and_region_is_read_once(
    monkeypatch: pytest.MonkeyPatch,
    trail: FolderTrail,
    accounts: int,
    tasks: int,
    largest: int,
    setting: str,
    wanted: tuple[str, ...],
) -> None:
    there = delivered(trail, accounts)
    portions, regions = mapped(monkeypatch, trail, setting)
    assert (len(portions), max(map(len, portions))) == (tasks, largest)
    hook, location = CloudTrailHook(), TrailLocation(trail.bucket)
    read = Counter(
        (file.account_id, file.region)
        for portion in portions
        for file in hook.list_log_files(location, DELIVERED, portion, regions)
    )
    assert read == Counter((account, region) for account, region in there if region in wanted)


def test_accounts_without_a_wanted_region_are_left_out(monkeypatch: pytest.MonkeyPatch, trail: FolderTrail) -> None:
    delivered(trail, 3)
    portions, regions = mapped(monkeypatch, trail, "eu-west-1")
    assert (portions, regions) == ([["000000000001"], ["000000000002"]], ["eu-west-1"])
    assert mapped(monkeypatch, trail, "eu-north-1")[0] == []
