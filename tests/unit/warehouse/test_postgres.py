from __future__ import annotations

import logging
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_cloudtrail.warehouse import postgres
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.evidence import Evidence
from tests.support.engines import POSTGRES
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.tables import assert_balanced, execute, query, read_table

pytestmark = pytest.mark.skipif(not POSTGRES, reason="needs a PostgreSQL server")

NewWarehouse = Callable[[str], Warehouse]
MIDNIGHT = datetime(2026, 2, 3, tzinfo=timezone.utc)
INDEXES = [("digests", "covered_to"), ("files", "delivered_at")]


@pytest.fixture
def warehouse(new_warehouse: NewWarehouse) -> Warehouse:
    """Return a warehouse in PostgreSQL, its tables made."""
    warehouse = new_warehouse(POSTGRES[0])
    Evidence(warehouse).prepare()
    return warehouse


def indexes(warehouse: Warehouse) -> list[tuple[str, str]]:
    """Return what is indexed beside the keys: the last word of the table's name, and the column."""
    rows = query(warehouse, f"SELECT tablename, indexdef FROM pg_indexes WHERE tablename LIKE '{warehouse.table}%'")
    found = [(table.rpartition("_")[2], re.search(r"\((\w+)\)", text)) for table, text in rows if "UNIQUE" not in text]
    return sorted((table, column[1]) for table, column in found if column is not None)


def drop_indexes(warehouse: Warehouse) -> None:
    execute(warehouse, *(f"DROP INDEX {warehouse.table}_{table}_{column}" for table, column in INDEXES))


def test_tables_are_indexed_by_what_validations_look_for(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    assert indexes(warehouse) == INDEXES
    drop_indexes(warehouse)
    # As an older version has made them.
    caplog.set_level(logging.INFO)
    Evidence(warehouse).prepare()
    assert indexes(warehouse) == INDEXES
    assert len([text for text in caplog.messages if text.startswith("Added the index")]) == 2
    caplog.clear()
    Evidence(warehouse).prepare()
    assert not caplog.messages


def test_index_of_the_user_is_enough(warehouse: Warehouse) -> None:
    drop_indexes(warehouse)
    execute(warehouse, f"CREATE INDEX {warehouse.table}_own ON {warehouse.table}_files (delivered_at, region)")
    Evidence(warehouse).prepare()
    assert indexes(warehouse) == INDEXES[:1]


def test_who_may_not_add_an_index_goes_on_without(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    drop_indexes(warehouse)
    role = f"{warehouse.table}_role"
    tables = ", ".join(f"{warehouse.table}{suffix}" for suffix in ("", "_files", "_quarantine", "_digests", "_hashes"))
    execute(
        warehouse,
        f"CREATE ROLE {role}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables}, {warehouse.table}_findings TO {role}",
    )
    connect = warehouse.hook.get_conn

    def as_role() -> Any:
        connection = connect()
        connection.cursor().execute(f"SET ROLE {role}")
        connection.commit()
        return connection

    monkeypatch.setattr(warehouse.hook, "get_conn", as_role)
    caplog.set_level(logging.INFO)
    Evidence(warehouse).prepare()
    assert [text.partition(" runs: ")[2].partition(" ON ")[0] for text in caplog.messages] == [
        f'CREATE INDEX IF NOT EXISTS "{warehouse.table}_{table}_{column}"' for table, column in reversed(INDEXES)
    ]
    assert all("42501" in text for text in caplog.messages)
    assert indexes(warehouse) == []


def test_validation_reads_the_ledger_of_its_day_only(warehouse: Warehouse) -> None:
    columns = "log_file_uri, account_id, region, delivered_at, loaded, status, selection, loaded_at"
    execute(
        warehouse,
        f"INSERT INTO {warehouse.files} ({columns}) SELECT 's3://example-trail/' || n, '111122223333', 'eu-west-1', "
        "TIMESTAMPTZ '2026-02-03 00:00Z' - n * INTERVAL '1 hour', 1, 'loaded', '{}', now() "
        "FROM generate_series(1, 8760) AS n",
        f"ANALYZE {warehouse.files}",
    )
    found = Evidence(warehouse).loaded_without_digest(
        "s3://example-trail/", MIDNIGHT - timedelta(days=1), MIDNIGHT, None, None
    )
    assert len(found) == 24
    plan = query(
        warehouse,
        f"EXPLAIN ANALYZE SELECT log_file_uri FROM {warehouse.files} WHERE digest_uri IS NULL AND loaded > 0 "
        "AND delivered_at >= '2026-02-02 00:00Z' AND delivered_at < '2026-02-03 00:00Z'",
    )
    text = "\n".join(line for (line,) in plan)
    assert f"{warehouse.table}_files_delivered_at" in text
    assert "Seq Scan" not in text


@pytest.mark.parametrize("engine", POSTGRES)
def test_events_are_asked_for_and_copied_in_portions(
    engine: str, new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_IDS_IN_ONE_QUESTION", 2)
    monkeypatch.setattr(postgres, "_ROWS_IN_ONE_BUFFER", 2)
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    (first,) = warehouse.write([file_rows("20260203T1000Z", *map(event, "abcde"))])
    (second,) = warehouse.write([file_rows("20260203T1005Z", *map(event, "abcdef"))])
    assert (first.loaded, second.loaded, second.duplicate) == (5, 1, 5)
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables.event_ids == list("abcdef")
