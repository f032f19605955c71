"""What stands in the place of the tables: those of an older version, of the user's own making, views, other types."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from airflow_provider_cloudtrail.audit_event import AuditEvent, LedgerEntry, columns_of
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from airflow_provider_cloudtrail.warehouse.evidence import Evidence
from airflow_provider_cloudtrail.warehouse.lookups import Lookups
from tests.support import iceberg
from tests.support.athena import AthenaStandIn
from tests.support.engines import (
    ATHENA,
    ENGINES,
    ICEBERG,
    ICEBERG_GLUE,
    MYSQL,
    ONE_OF_EACH,
    POSTGRES,
    REDSHIFT,
    SNOWFLAKE,
)
from tests.support.log_files import event, foreign
from tests.support.rows import ALL, MWAA, file_rows, reread
from tests.support.s3 import CountedS3, session
from tests.support.tables import (
    add_column,
    assert_balanced,
    beginning_with,
    column_names,
    drop_column,
    execute,
    query,
    read_table,
)

NewWarehouse = Callable[[str], Warehouse]

EVENTS_LACK = ("identity_center_user_id", "shared_event_id", "redacted")
FILES_LACK = ("digest_uri", "digest_status", "verified_at")
TABLES = ["events", "files", "quarantine"]


@pytest.mark.parametrize("engine", [*ENGINES, *ICEBERG_GLUE])
def test_tables_of_an_older_version_are_upgraded(new_warehouse: NewWarehouse, engine: str) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    records = (event("a"), foreign("f"), 7)
    warehouse.write([file_rows("20260203T1000Z", *records, selection=MWAA)])
    for table, lacking in ((warehouse.events, EVENTS_LACK), (warehouse.files, FILES_LACK)):
        for column in lacking:
            drop_column(warehouse, table, column)
        # Behind it come the missing ones: in another order than those of a new table.
        add_column(warehouse, table, "remark", "TEXT")
    # With <table>_digests, _findings, _hashes and _lookups, of which there is none.
    Evidence(warehouse).prepare()
    Lookups(warehouse).prepare()
    warehouse.write([file_rows("20260203T1005Z", event("b"), event("a"))])
    warehouse.write(reread(warehouse, file_rows("20260203T1000Z", *records, selection=ALL)))
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert [(row["event_id"], row["redacted"]) for row in tables.events] == [("a", None), ("b", 0), ("f", 0)]
    for table, row_type in ((warehouse.events, AuditEvent), (warehouse.files, LedgerEntry)):
        assert column_names(warehouse, table) == {"remark", *(column.name for column in columns_of(row_type))}
    assert query(warehouse, f"SELECT COUNT(*) FROM {warehouse.qualified(f'{warehouse.table}_digests')}") == [(0,)]


@pytest.mark.parametrize("table", TABLES)
# The emulator of Snowflake does not list views in its information schema; MySQL writes through such views.
@pytest.mark.parametrize("engine", ONE_OF_EACH)
def test_view_in_the_place_of_a_table(new_warehouse: NewWarehouse, engine: str, table: str) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    name = getattr(warehouse, table)
    real = warehouse.qualified(f"{warehouse.table}_real")
    execute(warehouse, f"ALTER TABLE {name} RENAME TO {real}", f"CREATE VIEW {name} AS SELECT * FROM {real}")
    warehouse.prepare()
    plain = warehouse.table + ("" if table == "events" else f"_{table}")
    with pytest.raises(WarehouseError, match=rf"writing .*\. {plain} is a view, where a table is needed\. Rename"):
        warehouse.write([file_rows("20260203T1000Z", event("a"), 7)])
    execute(warehouse, f"DROP VIEW {name}")
    warehouse.prepare()
    assert len(warehouse.write([file_rows("20260203T1000Z", event("a"), 7)])) == 1


@pytest.mark.parametrize("engine", [engine for engine in ONE_OF_EACH if engine != "sqlite"])
def test_view_that_lacks_columns(new_warehouse: NewWarehouse, engine: str) -> None:
    warehouse = new_warehouse(engine)
    execute(warehouse, f"CREATE VIEW {warehouse.events} AS SELECT 'a' AS event_id")
    with pytest.raises(WarehouseError, match=rf"adding columns to .*\. {warehouse.table} is a view, where"):
        warehouse.prepare()


@pytest.mark.parametrize("engine", POSTGRES)
def test_table_that_must_not_be_looked_at(new_warehouse: NewWarehouse, engine: str) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    role = f"{warehouse.table}_role"
    execute(warehouse, f"CREATE ROLE {role}", f"GRANT USAGE, CREATE ON SCHEMA public TO {role}")
    # That it is there alone would lead astray.
    said = r"creating .*SQLSTATE 42P07.*\. postgres, looking for .*SQLSTATE 42501"
    with beginning_with(warehouse, f"SET ROLE {role}"), pytest.raises(WarehouseError, match=said):
        warehouse.prepare()


@pytest.mark.skipif(not ATHENA, reason="needs the stand-in for Athena")
def test_view_in_athena(athena_warehouse: Warehouse, athena: AthenaStandIn) -> None:
    athena.catalog[f"audit.{athena_warehouse.table}"].is_view = True
    with pytest.raises(WarehouseError, match=rf"writing .*\. {athena_warehouse.table} is a view, where a table"):
        athena_warehouse.write([file_rows("20260203T1000Z", event("a"))])


@pytest.mark.skipif(not ICEBERG_GLUE, reason="needs pyiceberg and moto")
@pytest.mark.parametrize("parameters", [{"presto_view": "true"}, {"table_type": "DELTA"}, {}])
def test_what_is_no_iceberg_table_in_glue(
    new_warehouse: NewWarehouse, s3_server: CountedS3, parameters: dict[str, str]
) -> None:
    warehouse = new_warehouse(ICEBERG_GLUE[0])
    glue = session().client("glue", endpoint_url=s3_server.endpoint)
    storage = {"Columns": [{"Name": "event_id", "Type": "string"}]}
    table = {"Name": warehouse.table, "StorageDescriptor": storage, "Parameters": parameters}
    glue.create_table(DatabaseName=iceberg.NAMESPACE, TableInput=table)
    with pytest.raises(
        WarehouseError, match=rf"{warehouse.table}: there is a view or a table .* no Iceberg table; ren"
    ):
        warehouse.prepare()


# SQLite takes any value in any column.
TYPED = [
    engine for engine in [*ONE_OF_EACH, *REDSHIFT, *SNOWFLAKE[:1], *ATHENA, *ICEBERG, *MYSQL] if engine != "sqlite"
]


@pytest.mark.parametrize("engine", TYPED)
@pytest.mark.parametrize(("table", "column"), [("events", "user_agent"), ("files", "reason")])
def test_column_of_another_type_is_named(new_warehouse: NewWarehouse, engine: str, table: str, column: str) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    name = getattr(warehouse, table)
    drop_column(warehouse, name, column)
    add_column(warehouse, name, column, "TIMESTAMP")
    plain = warehouse.table + ("" if table == "events" else f"_{table}")
    said = rf"writing .*\. column {column} of {plain} is .*time.*, where .+ is needed\. Rename what is in the way"
    with pytest.raises(WarehouseError, match=rf"(?i){said}") as caught:
        warehouse.write([
            file_rows("20260203T1000Z", event("a", userAgent="hidden")),
            file_rows("20260203T1005Z", body=b"no gzip"),
        ])
    assert "hidden" not in str(caught.value)
