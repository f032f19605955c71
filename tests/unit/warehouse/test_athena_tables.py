from __future__ import annotations

import pytest

from airflow_provider_cloudtrail.audit_event import (
    AuditEvent,
    columns_of,
)
from airflow_provider_cloudtrail.warehouse.base import WarehouseError
from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from tests.support.athena import AthenaStandIn
from tests.support.engines import ATHENA, AthenaHook, athena_extra, staging_folder
from tests.support.log_files import event
from tests.support.rows import file_rows

pytestmark = pytest.mark.skipif(not ATHENA, reason="needs pyathena, duckdb, pyarrow, sqlglot and moto")


def test_tables_are_iceberg_tables_without_keys(athena_warehouse, athena):
    table = athena.catalog[f"audit.{athena_warehouse.table}"]
    assert (table.external, table.day) == (False, "event_time")
    assert table.location == f"s3://example-lake/audit/{athena_warehouse.table}/"
    assert set(table.columns.values()) == {"STRING", "BIGINT", "BOOLEAN", "TIMESTAMP"}
    assert list(table.columns) == [column.name for column in columns_of(AuditEvent)]
    ledger = athena.catalog[f"audit.{athena_warehouse.table}_files"]
    assert (ledger.day, ledger.location) == (None, f"s3://example-lake/audit/{athena_warehouse.table}_files/")


def test_prepare_of_tables_that_are_there_runs_no_statement(athena_warehouse, statements_since):
    athena_warehouse.prepare()
    assert statements_since() == []


@pytest.mark.parametrize(
    ("location", "said"),
    [
        pytest.param(None, r"set table_location in the extra .* or give the Glue database audit a location", id="none"),
        pytest.param("s3://bucket/it's", r"is no folder of a bucket for tables", id="quote"),
        pytest.param("hdfs://x/y", r"is no folder of a bucket for tables", id="no bucket"),
    ],
)
def test_place_of_the_tables_must_be_known(s3_server, athena_place, location, said):
    with AthenaStandIn(s3_server.endpoint, None).running() as stand_in:
        extra = athena_extra(athena_place | {"athena": stand_in.endpoint}) | (
            {"table_location": location} if location else {}
        )
        warehouse = open_warehouse(
            AthenaHook(extra), "t", None, staging_folder(athena_place["s3"], athena_place["bucket"])
        )
        with pytest.raises(WarehouseError, match=said):
            warehouse.prepare()
        assert stand_in.statements == []


def test_place_of_the_tables_in_the_connection_goes_first(athena_place, athena):
    hook = AthenaHook(athena_extra(athena_place) | {"table_location": "s3://example-other/lake/"})
    open_warehouse(hook, "placed", "audit", staging_folder(athena_place["s3"], athena_place["bucket"])).prepare()
    assert athena.catalog["audit.placed"].location == "s3://example-other/lake/placed/"
    assert "CREATE TABLE `audit`.`placed` (" in athena.statements[-3]


def test_tables_are_the_same_however_their_names_are_written(athena_place, athena, monkeypatch):
    staging = staging_folder(athena_place["s3"], athena_place["bucket"])
    keys = []
    key = staging.key
    monkeypatch.setattr(staging, "key", lambda name: keys.append(name) or key(name))
    warehouse = open_warehouse(AthenaHook(athena_extra(athena_place)), "Written_Large", "Audit", staging)
    warehouse.prepare()
    before = len(athena.statements)
    warehouse.prepare()
    assert len(athena.statements) == before
    (entry,) = warehouse.write([file_rows("20260203T1000Z", event("a"))])
    assert entry.loaded == 1
    assert "cloudtrail-locks/audit.written_large.json" in keys
