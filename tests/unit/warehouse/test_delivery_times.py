from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.audit_event import VERIFIED, DigestEntry
from airflow_provider_cloudtrail.trail.digest import digest_key
from airflow_provider_cloudtrail.trail.log_file import log_file_of_uri
from airflow_provider_cloudtrail.trail.object_uris import split_uri
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.conditions import between
from airflow_provider_cloudtrail.warehouse.delivery_times import covered_within, delivered_within
from airflow_provider_cloudtrail.warehouse.evidence import Evidence, FileVerdicts
from tests.support.engines import ENGINES, ICEBERG
from tests.support.log_files import event
from tests.support.rows import AT, file_rows, reread
from tests.support.statements import noted_statements
from tests.support.tables import query

NewWarehouse = Callable[[str], Warehouse]
_QUOTES = re.compile('["`]')


def uri_of(stamp: str) -> str:
    folder = "s3://example-trail/AWSLogs/111122223333/CloudTrail/eu-west-1/2026/02/03"
    return f"{folder}/111122223333_CloudTrail_eu-west-1_{stamp}_0123456789abcdef.json.gz"


def test_names_say_when_files_were_delivered() -> None:
    first = datetime(2026, 2, 1, 23, 55, tzinfo=timezone.utc)
    last = datetime(2026, 2, 3, 10, 5, tzinfo=timezone.utc)
    within = delivered_within([uri_of(stamp) for stamp in ("20260203T1005Z", "20260201T2355Z", "20260202T0000Z")])
    assert within == between("delivered_at", first, last)


def digest_of(hour: int, suffix: str = "") -> str:
    folder = "s3://example-trail/AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/02/03"
    return (
        f"{folder}/111122223333_CloudTrail-Digest_eu-west-1_a_trail_eu-west-1_20260203T{hour:02}0501Z{suffix}.json.gz"
    )


def test_names_say_which_time_digests_cover() -> None:
    within = covered_within([digest_of(11), digest_of(9, "_backfill"), digest_of(10)])
    first, last = (datetime(2026, 2, 3, hour, 5, 1, tzinfo=timezone.utc) for hour in (9, 11))
    assert within == between("covered_to", first, last)
    assert covered_within([digest_of(10), "s3://example-trail/x"]) == []
    assert covered_within([digest_of(99)]) == []


@pytest.mark.parametrize("suffix", ["", "_backfill"])
def test_digest_is_looked_for_where_its_table_has_it(suffix: str) -> None:
    key = digest_key(split_uri(digest_of(10, suffix))[1])
    assert key is not None
    assert covered_within([digest_of(10, suffix)]) == between("covered_to", key.end, key.end)


def test_a_table_may_be_some_way_from_the_names() -> None:
    day = timedelta(days=1)
    delivered = datetime(2026, 2, 3, 10, 5, tzinfo=timezone.utc)
    assert delivered_within([uri_of("20260203T1005Z")], day) == between(
        "delivered_at", delivered - day, delivered + day
    )
    # There is no day before the first one.
    assert delivered_within([uri_of("00010101T0000Z")], day) == []


@pytest.mark.parametrize("unique", ["_x", "x", "_20250101T0000Z_x", "x_20250101T0000Z_x", "x20250101T0000Z_x"])
def test_name_with_two_stamps_is_looked_for_where_the_ledger_has_it(unique: str) -> None:
    file = log_file_of_uri(f"{uri_of('20260203T1000Z').rpartition('_')[0]}{unique}.json.gz")
    of_ledger = between("delivered_at", file.delivered_at, file.delivered_at)
    assert delivered_within([file.uri]) == (of_ledger if unique.startswith("_") else [])


@pytest.mark.parametrize("odd", ["s3://example-trail/x", uri_of("20260203"), uri_of("99999999T9999Z")])
def test_name_that_does_not_say_so_may_be_anywhere(odd: str) -> None:
    assert delivered_within([uri_of("20260203T1005Z"), odd]) == []
    assert delivered_within([]) == []


@pytest.mark.parametrize("number", [5, 150])
@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine not in ICEBERG])
def test_ledger_is_asked_by_time_of_delivery_as_well(new_warehouse: NewWarehouse, engine: str, number: int) -> None:
    warehouse = new_warehouse(engine)
    evidence = Evidence(warehouse)
    evidence.prepare()
    files = [file_rows(f"202602{3 + at // 60:02}T10{at % 60:02}Z", event(str(at))) for at in range(number)]
    warehouse.write(files)
    uris = [file.entry.log_file_uri for file in files]
    again = reread(warehouse, *files)
    with noted_statements(warehouse) as noted:
        assert len(warehouse.known_files(uris)) == number
        assert len(evidence.loaded_files(uris)) == number
        assert len(warehouse.write(again)) == number
        evidence.write([], [FileVerdicts(uris, "s3://example-trail/digest", VERIFIED, datetime.now(timezone.utc))])
    asked = [
        text
        for text, _ in noted
        if warehouse.files in text and text.startswith(("SELECT", "UPDATE", "MERGE")) and "= ''" not in text
    ]
    assert [text for text in asked if text.startswith(("UPDATE", "MERGE"))]
    assert len(asked) >= 5
    assert [text for text in asked if "delivered_at >= " not in _QUOTES.sub("", text)] == []


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine not in ICEBERG])
def test_digests_are_asked_for_by_the_time_that_they_cover(new_warehouse: NewWarehouse, engine: str) -> None:
    warehouse = new_warehouse(engine)
    evidence = Evidence(warehouse)
    evidence.prepare()
    nothing = DigestEntry(*[None] * len(DigestEntry._fields))
    entries = [
        nothing._replace(
            digest_uri=digest_of(hour),
            **dict.fromkeys(("account_id", "region", "trail_name", "home_region", "status"), "x"),
            **dict.fromkeys(("covered_from", "covered_to", "verified_at"), AT.replace(hour=hour, minute=5, second=1)),
            backfill=False,
        )
        for hour in (9, 10)
    ]
    with noted_statements(warehouse) as noted:
        for number in (1, 2, 2):
            evidence.write(entries[:number], [])
    assert len(query(warehouse, f"SELECT * FROM {evidence.digests}")) == 2
    asked = [text for text, _ in noted if evidence.digests in text and text.startswith(("SELECT", "UPDATE", "MERGE"))]
    assert len(asked) >= 3
    assert [text for text in asked if "covered_to >= " not in _QUOTES.sub("", text)] == []
