"""Indexes of PostgreSQL: added to tables that are there, without keeping anybody waiting."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.warehouse import postgres_indexes
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.evidence import Evidence
from tests.support.engines import POSTGRES
from tests.support.statements import noted_statements
from tests.support.tables import beginning_with, execute, query

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
    execute(warehouse, *(f"DROP INDEX {warehouse.table}_{table}_{column}_idx" for table, column in INDEXES))


def test_tables_are_indexed_by_what_validations_look_for(
    warehouse: Warehouse, caplog: pytest.LogCaptureFixture
) -> None:
    assert indexes(warehouse) == INDEXES
    drop_indexes(warehouse)
    # As an older version has made them.
    caplog.set_level(logging.INFO)
    Evidence(warehouse).prepare()
    assert indexes(warehouse) == INDEXES
    assert [text.partition(" has ")[2] for text in caplog.messages] == [
        f"an index on {column} now" for _, column in reversed(INDEXES)
    ]
    caplog.clear()
    Evidence(warehouse).prepare()
    assert not caplog.messages


def test_index_of_the_user_is_enough(warehouse: Warehouse) -> None:
    drop_indexes(warehouse)
    execute(warehouse, f"CREATE INDEX {warehouse.table}_own ON {warehouse.table}_files (delivered_at, region)")
    Evidence(warehouse).prepare()
    assert indexes(warehouse) == INDEXES[:1]


def test_who_may_not_add_an_index_goes_on_without(warehouse: Warehouse, caplog: pytest.LogCaptureFixture) -> None:
    drop_indexes(warehouse)
    role = f"{warehouse.table}_role"
    tables = ", ".join(f"{warehouse.table}{suffix}" for suffix in ("", "_files", "_quarantine", "_digests", "_hashes"))
    execute(
        warehouse,
        f"CREATE ROLE {role}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {tables}, {warehouse.table}_findings TO {role}",
    )
    caplog.set_level(logging.INFO)
    with beginning_with(warehouse, f"SET ROLE {role}"):
        Evidence(warehouse).prepare()
    assert [text.partition(" until its owner runs: ")[2] for text in caplog.messages] == [
        f'CREATE INDEX ON "{warehouse.table}_{table}" ("{column}")' for table, column in reversed(INDEXES)
    ]
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
    with noted_statements(warehouse) as noted:
        found = Evidence(warehouse).loaded_without_digest(
            "s3://example-trail/", MIDNIGHT - timedelta(days=1), MIDNIGHT, None, None
        )
    assert len(found) == 24
    _, asked = noted
    with closing(warehouse.hook.get_conn()) as connection:
        cursor = connection.cursor()
        cursor.execute(f"EXPLAIN {asked.text}", asked.values)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert f"{warehouse.table}_files_delivered_at_idx" in plan
    assert "Seq Scan" not in plan


def test_who_writes_is_not_kept_waiting_for_an_index(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    drop_indexes(warehouse)
    monkeypatch.setattr(postgres_indexes, "_SECONDS_OF_PATIENCE", 0.1)
    caplog.set_level(logging.INFO)
    with closing(warehouse.hook.get_conn()) as connection:
        connection.cursor().execute(f"LOCK TABLE {warehouse.files} IN ROW EXCLUSIVE MODE")
        Evidence(warehouse).prepare()
    assert indexes(warehouse) == INDEXES[:1]
    (said,) = (text for text in caplog.messages if "delivered_at" in text)
    assert said.endswith("others write it, the next run tries again")
    Evidence(warehouse).prepare()
    assert indexes(warehouse) == INDEXES


def test_a_table_that_was_put_aside_keeps_its_index(warehouse: Warehouse) -> None:
    execute(warehouse, f"ALTER TABLE {warehouse.files} RENAME TO {warehouse.table}_2025")
    warehouse.prepare()
    assert indexes(warehouse) == sorted([("2025", "delivered_at"), *INDEXES])


def test_an_index_of_a_part_is_not_enough(warehouse: Warehouse) -> None:
    drop_indexes(warehouse)
    execute(warehouse, f"CREATE INDEX ON {warehouse.files} (delivered_at) WHERE loaded > 0")
    warehouse.prepare()
    assert len([table for table, _ in indexes(warehouse) if table == "files"]) == 2


def test_tasks_that_begin_at_once_add_one_index(new_warehouse: NewWarehouse) -> None:
    warehouse = new_warehouse(POSTGRES[0])
    warehouse.prepare()
    for _ in range(5):
        execute(warehouse, f"DROP INDEX {warehouse.table}_files_delivered_at_idx")
        with ThreadPoolExecutor(4) as pool:
            for task in [pool.submit(warehouse.prepare) for _ in range(4)]:
                task.result(60)
        assert indexes(warehouse) == INDEXES[1:]
