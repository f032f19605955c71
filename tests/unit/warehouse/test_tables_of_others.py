"""Tables that others keep in PostgreSQL and DuckDB: parted, copied, published, of few rights, of types of their own."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import (
    AuditEvent,
    ColumnKind,
    DigestEntry,
    FindingEntry,
    HashEntry,
    LedgerEntry,
    QuarantineEntry,
    columns_of,
)
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from airflow_provider_cloudtrail.warehouse.evidence import Evidence, FileVerdicts
from airflow_provider_cloudtrail.warehouse.findings import Examined
from airflow_provider_cloudtrail.warehouse.relational import RelationalWarehouse
from tests.support.engines import DUCKDB, POSTGRES
from tests.support.log_files import event, foreign
from tests.support.rows import ALL, MWAA, file_rows, reread
from tests.support.tables import assert_balanced, beginning_with, drop_column, execute, query, read_table

NewWarehouse = Callable[[str], Warehouse]
OF_NAME = {
    "": AuditEvent,
    "_files": LedgerEntry,
    "_quarantine": QuarantineEntry,
    "_digests": DigestEntry,
    "_findings": FindingEntry,
    "_hashes": HashEntry,
}
HOUR = timedelta(hours=1)
SECRET = "a-value-that-must-not-show-up"


def columns_in_sql(warehouse: Warehouse, row_type: Any, **other_types: str) -> str:
    """Return the definitions of the columns of a table, some by the user's own types."""
    assert isinstance(warehouse, RelationalWarehouse)
    return ", ".join(
        f"{warehouse.quoted(column.name)} {other_types.get(column.name, warehouse.dialect.types[column.kind])}"
        for column in columns_of(row_type)
    )


def parted(warehouse: Warehouse, by: str, *, default: bool) -> None:
    """Make the audit table a parted one, as the page on warehouses says."""
    table = warehouse.table
    execute(
        warehouse,
        f"CREATE TABLE {table} ({columns_in_sql(warehouse, AuditEvent)}, PRIMARY KEY (event_id, {by})) "
        f"PARTITION BY RANGE ({by})",
        f"CREATE TABLE {table}_2025 PARTITION OF {table} FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')",
        *([f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT"] if default else []),
    )
    Evidence(warehouse).prepare()


def act_as(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, **granted: Collection[str]) -> None:
    """
    Have the connection act as a user who owns none of the tables.

    :param granted: by a privilege, ends of the names of the tables on which it is given.
    """
    role = f"{warehouse.table}_role"
    grants = [
        f"GRANT {privilege} ON {', '.join(f'{warehouse.table}{name}' for name in names)} TO {role}"
        for privilege, names in granted.items()
    ]
    execute(warehouse, f"CREATE ROLE {role}", *grants)
    connect = warehouse.hook.get_conn

    def as_role() -> Any:
        connection = connect()
        connection.cursor().execute(f"SET ROLE {role}")
        connection.commit()
        return connection

    monkeypatch.setattr(warehouse.hook, "get_conn", as_role)


def use_all(warehouse: Warehouse) -> None:
    """Load, load again for a wider selection, put into quarantine, validate, validate again, resolve."""
    records = (event("a"), event("late", eventTime="2025-06-01T00:00:00Z"), foreign("f"), 7)
    (entry, _) = warehouse.write([
        file_rows("20260203T1000Z", *records, selection=MWAA),
        file_rows("20260203T1001Z", body=b"no gzip"),
    ])
    warehouse.write(reread(warehouse, file_rows("20260203T1000Z", *records, selection=ALL)))
    warehouse.write([file_rows("20260203T1002Z", event("a"), event("b"))])
    evidence, at = Evidence(warehouse), entry.delivered_at
    evidence.prepare()
    uri = entry.log_file_uri
    digest = DigestEntry(
        *("s3://example-trail/d", entry.account_id, entry.region, "audit", entry.region, False, at, at + HOUR),
        *("valid", None, None, None, None, None, 1, 1, 0, 0, 0, at, "dag.task run"),
    )
    finding = FindingEntry(
        *("finding", "altered", True, "s3://example-trail/", entry.account_id, entry.region, "audit", uri, at),
        *(at + HOUR, 1, "is not what it was", at, at, "dag.task run", None, None),
    )
    hashed = HashEntry(uri, None, None, None, digest.digest_uri, "altered", at, None)
    for status, moment in (("verified", at), ("altered", at + HOUR)):
        verdict = FileVerdicts([uri], digest.digest_uri, status, moment)
        later = finding._replace(last_seen_at=moment)
        evidence.write([digest._replace(verified_at=moment)], [verdict], [later], [hashed._replace(verified_at=moment)])
    evidence.findings.resolve(
        Examined("s3://example-trail/", at, at + HOUR, at, None, None, [], at + 2 * HOUR, "dag.task run")
    )
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables.event_ids == ["a", "b", "f", "late"]
    assert tables.file(uri)["digest_status"] == "altered"


@pytest.mark.parametrize("by", ["event_time", "delivered_at"])
@pytest.mark.parametrize("engine", POSTGRES)
def test_parted_table(new_warehouse: NewWarehouse, engine: str, by: str) -> None:
    warehouse = new_warehouse(engine)
    parted(warehouse, by, default=True)
    use_all(warehouse)


@pytest.mark.parametrize("engine", POSTGRES)
def test_row_that_no_partition_takes(new_warehouse: NewWarehouse, engine: str) -> None:
    warehouse = new_warehouse(engine)
    parted(warehouse, "event_time", default=False)
    with pytest.raises(WarehouseError, match=r"SQLSTATE 23514, .*\. No partition of the table takes the row: create"):
        warehouse.write([file_rows("20260203T1000Z", event("a"))])


@pytest.mark.parametrize("engine", POSTGRES)
def test_the_audit_table_needs_no_right_to_change_rows(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    warehouse = new_warehouse(engine)
    Evidence(warehouse).prepare()
    act_as(
        warehouse,
        monkeypatch,
        SELECT=OF_NAME,
        INSERT=OF_NAME,
        UPDATE=["_files", "_digests", "_findings", "_hashes"],
        DELETE=["_quarantine"],
    )
    use_all(warehouse)


@pytest.mark.parametrize("engine", POSTGRES)
def test_columns_that_only_the_owner_can_add(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    warehouse = new_warehouse(engine)
    Evidence(warehouse).prepare()
    for column in ("rest_path", "redacted"):
        drop_column(warehouse, warehouse.events, column)
    with monkeypatch.context() as as_user:
        act_as(warehouse, as_user, ALL=OF_NAME)
        with pytest.raises(WarehouseError, match=r"only its owner may do that .*SQLSTATE 42501") as caught:
            warehouse.prepare()
    _, _, statements = str(caught.value).partition("Have the owner run: ")
    assert statements.count("ADD COLUMN") == 2
    execute(warehouse, statements)
    monkeypatch.setattr(warehouse, "_add", None)
    warehouse.prepare()


@pytest.mark.parametrize("name", ["", "_files", "_quarantine"])
@pytest.mark.parametrize("engine", POSTGRES)
def test_row_level_security(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch, engine: str, name: str
) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    execute(
        warehouse,
        f"ALTER TABLE {warehouse.table}{name} ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY everybody ON {warehouse.table}{name} USING (true)",
    )
    act_as(warehouse, monkeypatch, ALL=["", "_files", "_quarantine"])
    with pytest.raises(WarehouseError, match=r"SQLSTATE 0A000\. Row-level security of the table is in the way: give"):
        warehouse.write([file_rows("20260203T1000Z", event("a"), 7)])


@pytest.mark.parametrize("engine", POSTGRES)
def test_policy_that_refuses_an_update(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    records = (event("a"), foreign("f"))
    warehouse.write([file_rows("20260203T1000Z", *records, selection=MWAA)])
    execute(
        warehouse,
        f"ALTER TABLE {warehouse.files} ENABLE ROW LEVEL SECURITY",
        f"CREATE POLICY reading ON {warehouse.files} FOR SELECT USING (true)",
        f"CREATE POLICY changing ON {warehouse.files} FOR UPDATE USING (true) WITH CHECK (false)",
    )
    act_as(warehouse, monkeypatch, ALL=["", "_files", "_quarantine"])
    with pytest.raises(WarehouseError, match=r"SQLSTATE 42501.*\. Row-level security of the table is in the way"):
        warehouse.write(reread(warehouse, file_rows("20260203T1000Z", *records, selection=ALL)))


@pytest.mark.parametrize("engine", POSTGRES)
def test_tables_that_are_published(new_warehouse: NewWarehouse, engine: str) -> None:
    warehouse = new_warehouse(engine)
    Evidence(warehouse).prepare()
    names = ", ".join(f"{warehouse.table}{name}" for name in OF_NAME)
    execute(warehouse, f"CREATE PUBLICATION {warehouse.table}_all FOR TABLE {names}")
    use_all(warehouse)
    # As tables were made before.
    execute(warehouse, f"ALTER TABLE {warehouse.quarantine} REPLICA IDENTITY DEFAULT")
    with pytest.raises(WarehouseError, match=r"SQLSTATE 55000\. The table is published, .* REPLICA IDENTITY FULL"):
        warehouse.write([file_rows("20260203T1100Z", 7)])


@pytest.mark.parametrize("engine", POSTGRES)
def test_column_that_is_too_short_is_named(new_warehouse: NewWarehouse, engine: str) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    execute(warehouse, f"ALTER TABLE {warehouse.events} ALTER COLUMN user_agent TYPE VARCHAR(5)")
    with pytest.raises(WarehouseError, match=r"SQLSTATE 22001, column user_agent\. A column .* is too short") as caught:
        warehouse.write([file_rows("20260203T1000Z", event("a", userAgent=SECRET))])
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("engine", POSTGRES)
def test_materialized_view_in_the_place_of_a_table(new_warehouse: NewWarehouse, engine: str) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    real = f"{warehouse.table}_real"
    execute(
        warehouse,
        f"ALTER TABLE {warehouse.events} RENAME TO {real}",
        f"CREATE MATERIALIZED VIEW {warehouse.events} AS SELECT * FROM {real}",
    )
    with pytest.raises(WarehouseError, match=r"42809\. What has the name of one of the tables is not a table"):
        warehouse.write([file_rows("20260203T1000Z", event("a"))])


class TimeOfUser(datetime):
    """As pendulum's are, which DAGs give."""


@pytest.mark.parametrize("engine", POSTGRES)
def test_times_without_a_zone_are_utc_whatever_the_zone_of_the_server(new_warehouse: NewWarehouse, engine: str) -> None:
    warehouse = new_warehouse(engine)
    times = []
    for name, row_type in OF_NAME.items():
        types = {column.name: "TIMESTAMP" for column in columns_of(row_type) if column.kind is ColumnKind.TIMESTAMP}
        execute(warehouse, f"CREATE TABLE {warehouse.table}{name} ({columns_in_sql(warehouse, row_type, **types)})")
        times += [(name, column) for column in types if not column.startswith(("loaded_at", "quarantined_at"))]
    with beginning_with(warehouse, "SET TIME ZONE 'Asia/Tokyo'"):
        use_all(warehouse)
        for name, column in times:
            for (hour,) in query(warehouse, f"SELECT EXTRACT(HOUR FROM {column}) FROM {warehouse.table}{name}"):
                # From 00:00 (the late event) and 09:58 (the others) to 12:00 (what is resolved).
                assert hour is None or int(hour) in (0, 9, 10, 11, 12), (name, column)
        evidence = Evidence(warehouse)
        (delivered,) = {row["delivered_at"] for row in read_table(warehouse).files if row["loaded"] == 3}
        assert len(evidence.chains_between(delivered, delivered + HOUR, "s3://example-trail/")) == 1
        of_user = TimeOfUser.fromisoformat(delivered.isoformat())
        assert len(evidence.chains_between(of_user, of_user + HOUR, "s3://example-trail/")) == 1
        assert evidence.chains_between(delivered - 9 * HOUR, delivered - 8 * HOUR, "s3://example-trail/") == []


@pytest.mark.parametrize("rows", [0, 1_000_000])
@pytest.mark.parametrize("engine", DUCKDB)
def test_copy_without_keys_of_any_size(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch, engine: str, rows: int
) -> None:
    monkeypatch.setattr("airflow_provider_cloudtrail.warehouse.duckdb._MOST_ROWS_TO_SCAN", rows - 1)
    warehouse = new_warehouse(engine)
    Evidence(warehouse).prepare()
    has_key = warehouse._has_key  # type: ignore[attr-defined]
    assert warehouse.transact("asking for the key", has_key)
    for name in OF_NAME:
        table = f"{warehouse.table}{name}"
        # As COPY from Parquet, or a copy of a file into another one, makes them.
        execute(
            warehouse,
            f"CREATE TABLE copied AS FROM {table}",
            f"DROP TABLE {table}",
            f"ALTER TABLE copied RENAME TO {table}",
        )
    assert not warehouse.transact("asking for the key", has_key)
    use_all(warehouse)


@pytest.mark.parametrize("engine", DUCKDB)
def test_unique_column_of_the_users_own_hides_no_event(
    new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setattr("airflow_provider_cloudtrail.warehouse.duckdb._MOST_ROWS_TO_SCAN", -1)
    warehouse = new_warehouse(engine)
    columns = columns_in_sql(warehouse, AuditEvent)
    execute(warehouse, f"CREATE TABLE {warehouse.events} ({columns}, PRIMARY KEY (event_id), UNIQUE (user_agent))")
    warehouse.prepare()
    warehouse._lock_timeout = timedelta(0)
    with pytest.raises(WarehouseError, match="ConstraintException"):
        warehouse.write([file_rows("20260203T1000Z", *(event(name, userAgent="one") for name in "ab"))])
    assert read_table(warehouse).events == []


@pytest.mark.parametrize("engine", [*POSTGRES, "sqlite"])
def test_unique_column_of_the_users_own_is_named_at_once(new_warehouse: NewWarehouse, engine: str) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    execute(warehouse, f"CREATE UNIQUE INDEX {warehouse.table}_own ON {warehouse.table} (user_agent)")
    # It is no lost race, which would be tried again for minutes.
    warehouse._lock_timeout = timedelta(0)
    with pytest.raises(WarehouseError, match=r"\. The table has a unique user_agent of its own, which") as caught:
        warehouse.write([file_rows("20260203T1000Z", *(event(name, userAgent=SECRET) for name in "ab"))])
    assert type(caught.value) is WarehouseError
    assert SECRET not in str(caught.value)
    assert read_table(warehouse).events == []


# It does not say which column it is of rows of one transaction.
@pytest.mark.parametrize(("stored", "said"), [("", "UNIQUE"), ("a", "unique user_agent")])
@pytest.mark.parametrize("engine", DUCKDB)
def test_unique_column_of_the_users_own_is_known_at_once_in_duckdb(
    new_warehouse: NewWarehouse, engine: str, stored: str, said: str
) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    execute(warehouse, f"CREATE UNIQUE INDEX {warehouse.table}_own ON {warehouse.table} (user_agent)")
    warehouse._lock_timeout = timedelta(0)
    warehouse.write([file_rows("20260203T1000Z", *(event(name, userAgent=SECRET) for name in stored))])
    others = [event(name, userAgent=SECRET) for name in "abc" if name not in stored]
    with pytest.raises(WarehouseError, match=rf"\. The table has a {said} of its own, which") as caught:
        warehouse.write([file_rows("20260203T1001Z", *others)])
    assert type(caught.value) is WarehouseError
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("engine", [*DUCKDB, "sqlite"])
def test_check_of_the_users_own_is_named_at_once(new_warehouse: NewWarehouse, engine: str) -> None:
    warehouse = new_warehouse(engine)
    columns = columns_in_sql(warehouse, AuditEvent)
    execute(warehouse, f"CREATE TABLE {warehouse.events} ({columns}, CHECK (user_agent <> '{SECRET}'))")
    warehouse.prepare()
    warehouse._lock_timeout = timedelta(0)
    with pytest.raises(WarehouseError, match=r"\. The table has a CHECK of its own, which events") as caught:
        warehouse.write([file_rows("20260203T1000Z", event("a", userAgent=SECRET))])
    assert type(caught.value) is WarehouseError
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("engine", [*DUCKDB, *POSTGRES, "sqlite"])
def test_column_of_ours_that_takes_no_null_is_named(new_warehouse: NewWarehouse, engine: str) -> None:
    warehouse = new_warehouse(engine)
    columns = columns_in_sql(warehouse, AuditEvent, environment_name="VARCHAR(50) DEFAULT 'none' NOT NULL")
    execute(warehouse, f"CREATE TABLE {warehouse.events} ({columns}, PRIMARY KEY (event_id))")
    warehouse.prepare()
    with pytest.raises(WarehouseError, match=r"\. The column environment_name must be allowed to be null, which a def"):
        warehouse.write([file_rows("20260203T1000Z", event("a", requestParameters=None))])
