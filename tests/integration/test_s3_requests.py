from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qs

import pytest

from airflow_provider_cloudtrail.export.log_files import Limits, export_log_files
from airflow_provider_cloudtrail.export.summary import ExportSummary
from airflow_provider_cloudtrail.sensors.cloudtrail import CloudTrailLogFileSensor
from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
from airflow_provider_cloudtrail.trail.listing import EmptyTrailError, list_log_files
from airflow_provider_cloudtrail.trail.log_file import TrailLocation
from airflow_provider_cloudtrail.trail.s3_store import S3Store
from airflow_provider_cloudtrail.trail.selection import Selection
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from tests.support.engines import ENGINES, installed
from tests.support.log_files import OTHER_ACCOUNT, event, foreign, key_of, log_bytes
from tests.support.rows import ALL, MWAA
from tests.support.s3 import REGION, TRANSPORTS, CountedS3, client_of, s3_store
from tests.support.tables import assert_balanced, read_table

pytestmark = pytest.mark.skipif(not installed("moto", "werkzeug"), reason="needs moto's server")

FILES = 60
DAY = DeliveryWindow(datetime(2026, 2, 3, tzinfo=timezone.utc), datetime(2026, 2, 4, tzinfo=timezone.utc))


def fill(server: CountedS3) -> tuple[str, list[str]]:
    """Write a trail of two accounts and two Regions; return its bucket and the keys of its log files."""
    bucket, client = server.new_bucket(), client_of(server.endpoint)
    keys = []
    for number in range(FILES):
        keys.append(
            key_of(
                f"20260203T{number % 24:02}00Z",
                account=OTHER_ACCOUNT if number % 3 else "111122223333",
                region="us-east-1" if number % 2 else "eu-west-1",
                root="audit/logs/AWSLogs/o-abc123/",
                unique=f"Q1w2E3r4T5y6U7{number:02}",
            )
        )
        body = log_bytes(*[event(f"{number}-{index}") for index in range(number % 3)], foreign(f"f{number}"))
        client.put_object(Bucket=bucket, Key=keys[-1], Body=body if number % 20 != 7 else b"no gzip")
    client.put_object(Bucket=bucket, Key="audit/logs/AWSLogs/o-abc123/notes.txt", Body=b"")
    return bucket, sorted(keys)


def export(server: CountedS3, bucket: str, transport: str, warehouse: Warehouse, selection: Selection) -> ExportSummary:
    stores = {bucket: s3_store(server.endpoint, bucket, transport)}
    return export_log_files(
        list_log_files(stores[bucket], TrailLocation(bucket, "audit/logs"), DAY),
        store_of=stores.__getitem__,
        warehouse=warehouse,
        selection=selection,
        limits=Limits(threads=4, batch_files=25),
    )


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("engine", ENGINES)
def test_one_get_for_each_new_file_and_none_again(
    s3_server: CountedS3, engine: str, transport: str, new_warehouse: Callable[[str], Warehouse]
) -> None:
    bucket, keys = fill(s3_server)
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    s3_server.requests()

    first = export(s3_server, bucket, transport, warehouse, MWAA)
    assert sorted(s3_server.gets(bucket)) == keys
    assert (first.files, first.files_read, first.files_known, first.files_quarantined) == (FILES, FILES, 0, 3)
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert first.loaded == len(tables.events) > 0

    again = export(s3_server, bucket, transport, warehouse, MWAA)
    assert s3_server.gets(bucket) == []
    assert (again.files, again.files_read, again.files_known, again.loaded) == (FILES, 0, FILES, 0)
    assert read_table(warehouse) == tables

    client_of(s3_server.endpoint).put_object(Bucket=bucket, Key=keys[0].replace("/CloudTrail/", "/CloudTrail-Digest/"))
    new = keys[0].replace("Q1w2E3r4T5y6U7", "Z1w2E3r4T5y6U7")
    client_of(s3_server.endpoint).put_object(Bucket=bucket, Key=new, Body=log_bytes(event("new")))
    s3_server.requests()
    assert export(s3_server, bucket, transport, warehouse, MWAA).loaded == 1
    assert s3_server.gets(bucket) == [new]

    # A wider selection reads each file once more, but not those whose bytes could not be read.
    export(s3_server, bucket, transport, warehouse, ALL)
    gets = s3_server.gets(bucket)
    assert len(gets) == len(set(gets)) == FILES + 1 - 3
    assert_balanced(read_table(warehouse))


def test_listing_of_a_window_asks_for_little(s3_server: CountedS3) -> None:
    bucket, keys = fill(s3_server)
    store: S3Store = s3_store(s3_server.endpoint, bucket, "boto3")
    s3_server.requests()
    assert store.requests == {}
    found = list(list_log_files(store, TrailLocation(bucket, "audit/logs", "o-abc123"), DAY))
    assert sorted(file.key for file in found) == keys
    # The accounts, the Regions of each, the files of each Region.
    assert len(s3_server.requests()) == 1 + 2 + 4
    # What the summary says is what the server counted.
    assert store.requests == {"LIST": 1 + 2 + 4}
    store.get(keys[0])
    assert store.requests == {"LIST": 7, "GET": 1} == {"LIST": 7, "GET": len(s3_server.gets(bucket))}


def test_folders_are_looked_for_only_where_nothing_was_listed(s3_server: CountedS3) -> None:
    bucket, keys = fill(s3_server)
    store: S3Store = s3_store(s3_server.endpoint, bucket, "boto3")
    location, given = TrailLocation(bucket, "audit/logs", "o-abc123"), (["111122223333", OTHER_ACCOUNT], ["us-east-1"])
    s3_server.requests()
    found = list(list_log_files(store, location, DAY, *given, look_for_folders=True))
    assert sorted(file.key for file in found) == [key for key in keys if "/us-east-1/" in key]
    assert len(s3_server.requests()) == 2
    later = DeliveryWindow(DAY.end, datetime(2026, 2, 5, tzinfo=timezone.utc))
    assert list(list_log_files(store, location, later, *given, look_for_folders=True)) == []
    assert len(s3_server.requests()) == 2 + 2
    missing: list[str] = []
    names = (["111122223333", "999900001111"], ["us-east-1", "eu-wset-1"])
    assert list(list_log_files(store, location, DAY, *names, look_for_folders=True, without_folder=missing)) == [
        file for file in found if file.account_id == "111122223333"
    ]
    assert missing == ["999900001111", "eu-wset-1"]
    assert len(s3_server.requests()) == 4 + 2
    with pytest.raises(EmptyTrailError, match="check bucket and prefix"):
        list(list_log_files(store, TrailLocation(bucket, "", "o-abc123"), DAY, *given, look_for_folders=True))
    assert len(s3_server.requests()) == 2 + 2


def test_log_says_nothing_of_values(
    s3_server: CountedS3, new_warehouse: Callable[[str], Warehouse], caplog: pytest.LogCaptureFixture
) -> None:
    secret = "a-value-that-must-not-show-up"
    bucket, client = s3_server.new_bucket(), client_of(s3_server.endpoint)
    bad = (event(eventTime=None, userAgent=secret), event("a", userAgent=secret), b'"' + secret.encode() + b'\xff"')
    client.put_object(Bucket=bucket, Key=key_of(root="audit/logs/AWSLogs/"), Body=log_bytes(*bad))
    warehouse = new_warehouse("sqlite")
    warehouse.prepare()
    with caplog.at_level(logging.DEBUG, "airflow_provider_cloudtrail"):
        summary = export(s3_server, bucket, "boto3", warehouse, MWAA)
    assert (summary.loaded, summary.quarantined) == (1, 2)
    assert "no_event_time" in caplog.text
    assert secret not in caplog.text
    assert secret not in str(summary.as_dict())


def test_a_look_costs_a_listing_for_each_account_and_region_and_none_before_its_time(s3_server, monkeypatch):
    bucket, _ = fill(s3_server)
    extra = {"endpoint_url": s3_server.endpoint, "region_name": REGION}
    connection = {"conn_type": "aws", "login": "example", "password": "example", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    s3_server.requests()

    def look(**arguments):
        place = {"bucket": bucket, "prefix": "audit/logs", "organization_id": "o-abc123"}
        answer = CloudTrailLogFileSensor(task_id="wait", **place, **arguments).look()
        return answer.done, [
            ("delimiter" in query, parse_qs(query)["prefix"][0]) for _, _, query in s3_server.requests()
        ]

    done, listed = look(delivered_from="2026-02-05T00:00:00Z", delivered_to="2026-02-06T00:00:00Z")
    assert not done
    # Two accounts with two Regions.
    assert len([prefix for folders, prefix in listed if not folders]) == 4
    assert len([prefix for folders, prefix in listed if folders]) == 1 + 2
    assert len(set(listed)) == len(listed)

    found, listed = look(delivered_from="2026-02-03T00:00:00Z", delivered_to="2026-02-04T00:00:00Z", max_files=1)
    assert found
    # The first one is enough; threads have begun with those behind it.
    assert 1 <= len([prefix for folders, prefix in listed if not folders]) <= 4
    assert len(set(listed)) == len(listed)

    # Folders of what is named are looked for once, not at each poke.
    place = {"bucket": bucket, "prefix": "audit/logs", "organization_id": "o-abc123", "regions": [REGION, "eu-wset-1"]}
    window = {"delivered_from": "2026-02-05T00:00:00Z", "delivered_to": "2026-02-06T00:00:00Z"}
    task = CloudTrailLogFileSensor(task_id="wait", **place, **window)
    for expected in (1 + 4 + 1 + 2, 1 + 4):
        assert not task.poke({})
        assert len(s3_server.requests()) == expected

    settling = {"delivered_from": "2026-02-03T00:00:00Z", "delivered_to": "2099-02-04T00:00:00Z"}
    assert look(**settling, settle=timedelta(hours=1)) == (False, [])
