from __future__ import annotations

from airflow_provider_cloudtrail.trail.listing import region_folders
from airflow_provider_cloudtrail.trail.log_file import TrailLocation
from tests.support.signed_trail import BUCKET, MemoryStore

ACCOUNTS = ["111122223333", "444455556666"]
REGIONS = ["eu-west-1", "us-east-1"]


def test_accounts_and_regions_are_listed_in_the_same_order_however_they_are_given() -> None:
    # The first file that holds an event has its row: a run that is made again must not come to another.
    given = region_folders(MemoryStore(), TrailLocation(BUCKET), ACCOUNTS[::-1], REGIONS[::-1])
    found = [(folder.account_id, folder.region) for folder in given]
    assert found == [(account, region) for account in ACCOUNTS for region in REGIONS]
