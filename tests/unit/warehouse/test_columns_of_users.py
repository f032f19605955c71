"""Columns that users add to the tables: what stands in them stays, whatever is read or validated again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.audit_event import DigestEntry, FindingEntry, HashEntry, LedgerEntry, columns_of
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from airflow_provider_cloudtrail.warehouse.conditions import Compare
from airflow_provider_cloudtrail.warehouse.evidence import Evidence, FileVerdicts
from airflow_provider_cloudtrail.warehouse.relational import RelationalWarehouse
from tests.support.engines import (
    ENGINES,
    ICEBERG,
    ICEBERG_GLUE,
    ICEBERG_REST,
    MYSQL,
    ONE_OF_EACH,
    POSTGRES,
    REDSHIFT,
    SNOWFLAKE,
)
from tests.support.iceberg import catalog
from tests.support.log_files import event, foreign
from tests.support.rows import ALL, MWAA, file_rows, reread
from tests.support.tables import add_column, assert_balanced, beginning_with, execute, query, read_table

NewWarehouse = Callable[[str], Warehouse]
AT = datetime(2026, 2, 3, 10, 5, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
PERSON = "an auditor"


@pytest.fixture(params=[*ENGINES, *REDSHIFT[1:], *SNOWFLAKE[1:], *ICEBERG_GLUE, *ICEBERG_REST])
def evidence(request: pytest.FixtureRequest, new_warehouse: NewWarehouse) -> Evidence:
    prepared = Evidence(new_warehouse(request.param))
    prepared.prepare()
    return prepared


def digest(number: int, altered: int = 0) -> DigestEntry:
    return DigestEntry(
        *(f"s3://example-trail/digest-{number:04}", "111122223333", "eu-west-1", "audit", "eu-central-1", False),
        *(AT + number * HOUR, AT + (number + 1) * HOUR, "valid", None, "own_signature", "ab" * 32, "cd" * 16),
        *(None, 2, 2 - altered, altered, 0, 0, AT, "dag.task run"),
    )


def hashed(number: int, status: str = "altered") -> HashEntry:
    return HashEntry(f"s3://example-trail/log-{number:04}", "etag", "ab" * 32, None, "s3://d", status, AT, None)


def finding(number: int, message: str = "is not what it was") -> FindingEntry:
    uri = f"s3://example-trail/log-{number:04}"
    return FindingEntry(
        *(f"finding-{number:04}", "altered", True, "s3://example-trail/", "111122223333", "eu-west-1", "audit", uri),
        *(AT, AT + HOUR, 1, message, AT, AT, "dag.task run", None, None),
    )


def review(warehouse: Warehouse, table: str, key: str) -> None:
    """Add a column and fill it in all rows."""
    add_column(warehouse, table, "reviewed_by", "TEXT")
    warehouse.transact(
        "reviewing",
        lambda cursor: warehouse.assign(cursor, table, {"reviewed_by": PERSON}, Compare(key, "<>", "")),
        writes=True,
    )


def reviewed(warehouse: Warehouse, table: str, key: str, column: str) -> list[tuple[object, ...]]:
    return query(warehouse, f"SELECT {key}, {column}, reviewed_by FROM {table} ORDER BY 1")


@pytest.mark.parametrize("number", [3, 150])
def test_what_a_user_wrote_stays_when_files_are_read_again(evidence: Evidence, number: int) -> None:
    warehouse = evidence._warehouse
    stamps = [f"20260203T1{minute // 60}{minute % 60:02}Z" for minute in range(number)]
    files = {stamp: (event(f"a{stamp}"), foreign(f"f{stamp}"), 7) for stamp in stamps}
    warehouse.write([file_rows(stamp, *records, selection=MWAA) for stamp, records in files.items()])
    review(warehouse, warehouse.events, "event_id")
    review(warehouse, warehouse.files, "log_file_uri")
    before = reviewed(warehouse, warehouse.files, "log_file_uri", "loaded")
    assert [row[1:] for row in before] == [(1, PERSON)] * number

    wider = [file_rows(stamp, *records, selection=ALL) for stamp, records in files.items()]
    new = file_rows("20260203T1900Z", event("new"))
    warehouse.write([*reread(warehouse, *wider), new])

    after = reviewed(warehouse, warehouse.files, "log_file_uri", "loaded")
    assert after == [*((uri, 2, PERSON) for uri, _, _ in before), (new.entry.log_file_uri, 1, None)]
    events = reviewed(warehouse, warehouse.events, "event_id", "log_file_index")
    assert [row[2] for row in events] == [PERSON] * number + [None] * (number + 1)
    assert_balanced(read_table(warehouse))


@pytest.mark.parametrize("number", [3, 150])
def test_what_a_user_wrote_stays_when_a_day_is_validated_again(evidence: Evidence, number: int) -> None:
    warehouse = evidence._warehouse
    (entry,) = warehouse.write([file_rows("20260203T1000Z", event("a"))])
    verdict = FileVerdicts([entry.log_file_uri], digest(0).digest_uri, "verified", AT)
    numbers = range(number)
    evidence.write([*map(digest, numbers)], [verdict], [*map(finding, numbers)], [*map(hashed, numbers)])
    tables = [
        (warehouse.files, "log_file_uri", "digest_status"),
        (evidence.digests, "digest_uri", "files_altered"),
        (evidence.hashes, "log_file_uri", "digest_status"),
        (evidence.findings.name, "finding_id", "message"),
    ]
    for table, key, _ in tables:
        review(warehouse, table, key)
    before = {table: reviewed(warehouse, table, key, column) for table, key, column in tables}

    again = verdict._replace(digest_status="altered", verified_at=AT + HOUR)
    evidence.write(
        [*(digest(one, altered=1) for one in numbers), digest(number)],
        [again],
        [*(finding(one, "again") for one in numbers), finding(number)],
        [*(hashed(one, "verified") for one in numbers), hashed(number)],
    )

    new = {
        warehouse.files: ("altered", []),
        evidence.digests: (1, [(digest(number).digest_uri, 0, None)]),
        evidence.hashes: ("verified", [(hashed(number).log_file_uri, "altered", None)]),
        evidence.findings.name: ("again", [(finding(number).finding_id, finding(number).message, None)]),
    }
    for table, key, column in tables:
        value, added = new[table]
        expected = [*((row[0], value, PERSON) for row in before[table]), *added]
        assert reviewed(warehouse, table, key, column) == expected


def ledger_with(warehouse: Warehouse, *definitions: str) -> None:
    """Make the ledger with columns of the user's own behind ours."""
    assert isinstance(warehouse, RelationalWarehouse)
    types = warehouse.dialect.types
    ours = [
        f"{warehouse.quoted(column.name)} {types[column.kind]}{' NOT NULL' if column.required else ''}"
        for column in columns_of(LedgerEntry)
    ]
    key = f"PRIMARY KEY ({warehouse.quoted('log_file_uri')})"
    execute(warehouse, f"CREATE TABLE {warehouse.files} ({', '.join([*ours, *definitions, key])})")
    warehouse.prepare()


@pytest.mark.parametrize("engine", [*ONE_OF_EACH, *MYSQL])
def test_columns_that_fill_themselves(new_warehouse: NewWarehouse, engine: str) -> None:
    warehouse = new_warehouse(engine)
    stored = "STORED" if warehouse.engine == "postgres" else "VIRTUAL"
    ledger_with(
        warehouse,
        "stage VARCHAR(20) DEFAULT 'new' NOT NULL",
        f"parsed BIGINT GENERATED ALWAYS AS (loaded + duplicate) {stored}",
    )
    records = (event("a"), foreign("f"))
    warehouse.write([file_rows("20260203T1000Z", *records, selection=MWAA)])
    execute(warehouse, f"UPDATE {warehouse.files} SET stage = 'seen'")
    again = reread(warehouse, file_rows("20260203T1000Z", *records))
    warehouse.write([*again, file_rows("20260203T1005Z", event("b"))])
    assert query(warehouse, f"SELECT stage, parsed FROM {warehouse.files} ORDER BY log_file_uri") == [
        ("seen", 2),
        ("new", 1),
    ]


@pytest.mark.parametrize("engine", [*ONE_OF_EACH, *POSTGRES[1:], *MYSQL])
def test_column_that_every_row_lacks_is_named(new_warehouse: NewWarehouse, engine: str) -> None:
    warehouse = new_warehouse(engine)
    ledger_with(warehouse, "owner VARCHAR(20) NOT NULL")
    # It is no lost race, which would be tried again for minutes.
    warehouse._lock_timeout = timedelta(0)
    with pytest.raises(
        WarehouseError, match=r"The column owner takes no null and has no default.*ALTER TABLE"
    ) as caught:
        warehouse.write([file_rows("20260203T1000Z", event("a"))])
    assert type(caught.value) is WarehouseError
    assert read_table(warehouse).events == []


@pytest.mark.parametrize("engine", REDSHIFT)
def test_column_that_every_row_lacks_is_named_in_redshift(new_warehouse: NewWarehouse, engine: str) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    add_column(warehouse, warehouse.files, "owner", "INTEGER")
    execute(warehouse, f"ALTER TABLE {warehouse.files} ALTER COLUMN owner SET NOT NULL")
    with pytest.raises(WarehouseError, match="The column owner takes no null and has no default"):
        warehouse.write([file_rows("20260203T1000Z", event("a"))])


@pytest.mark.parametrize("name", ["events", "files", "quarantine"])
@pytest.mark.parametrize("engine", ICEBERG)
def test_column_that_every_row_lacks_is_named_in_iceberg(new_warehouse: NewWarehouse, engine: str, name: str) -> None:
    from pyiceberg.types import StringType

    warehouse = new_warehouse(engine)
    warehouse.prepare()
    table = catalog(warehouse.hook.uri).load_table(getattr(warehouse, name))
    with table.update_schema(allow_incompatible_changes=True) as change:
        change.add_column("owner", StringType(), required=True)
    files = [file_rows("20260203T1000Z", event("a"), 7)]
    with pytest.raises(WarehouseError, match=r"the column owner takes no null, .*ALTER TABLE"):
        warehouse.write(files)
    # Nothing that strict engines would refuse to read.
    assert query(warehouse, f"SELECT COUNT(*) FROM {getattr(warehouse, name)}") == [(0,)]

    with table.refresh().update_schema(allow_incompatible_changes=True) as change:
        change.update_column("owner", required=False)
    warehouse.write(files)
    tables = read_table(warehouse)
    assert_balanced(tables)
    assert tables.event_ids == ["a"]


@pytest.mark.parametrize("engine", POSTGRES)
def test_rows_are_updated_without_the_right_to_temporary_tables(new_warehouse: NewWarehouse, engine: str) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    files = {f"20260203T1{minute // 60}{minute % 60:02}Z": (event(f"a{minute}"), 7) for minute in range(150)}
    warehouse.write([file_rows(stamp, *records, selection=MWAA) for stamp, records in files.items()])
    review(warehouse, warehouse.files, "log_file_uri")
    role = f"only_{warehouse.table}"
    own = ", ".join([warehouse.events, warehouse.files, warehouse.quarantine])
    # Other tests do not notice: they are superusers.
    execute(
        warehouse,
        f"CREATE ROLE {role}",
        f"GRANT ALL ON {own} TO {role}",
        "REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC",
    )
    try:
        with beginning_with(warehouse, f"SET SESSION AUTHORIZATION {role}"):
            wider = [file_rows(stamp, *records, foreign(f"f{stamp}")) for stamp, records in files.items()]
            warehouse.write(reread(warehouse, *wider))
    finally:
        execute(
            warehouse, "GRANT TEMPORARY ON DATABASE postgres TO PUBLIC", f"DROP OWNED BY {role}", f"DROP ROLE {role}"
        )
    rows = query(warehouse, f"SELECT loaded, reviewed_by, COUNT(*) FROM {warehouse.files} GROUP BY 1, 2")
    assert rows == [(2, PERSON, 150)]
