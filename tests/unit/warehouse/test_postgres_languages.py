"""Servers of PostgreSQL that speak another language than English (``lc_messages``): what is known of an error is."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import AuditEvent, columns_of
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError, WarehouseUnavailableError
from airflow_provider_cloudtrail.warehouse.driver_errors import sqlstate
from airflow_provider_cloudtrail.warehouse.postgres_statements import InterruptibleCursor
from tests.support.engines import POSTGRES
from tests.support.log_files import event, foreign
from tests.support.rows import ALL, MWAA, file_rows, reread
from tests.support.tables import beginning_with, execute
from tests.unit.warehouse.test_tables_of_others import act_as

pytestmark = [
    pytest.mark.skipif(not POSTGRES, reason="needs a PostgreSQL server"),
    pytest.mark.parametrize("engine", POSTGRES),
]

NewWarehouse = Callable[[str], Warehouse]
TRANSLATED = ("message_primary", "message_detail", "context")
OTHERS = ("schema_name", "table_name", "column_name", "constraint_name", "source_function")
SECRET = "a-value: that must not show up (reason)"

# As translations of PostgreSQL have what values stand in, and one text for all else.
LANGUAGES = {
    "de": (
        "die Datenbank will nicht",
        (r"Key (.*) already exists\.", r"Schlüssel »\1« existiert bereits."),
        (r'COPY (\w+), line (\d+), column (\w+): "(.*)"', r"COPY \1, Zeile \2, Spalte \3: »\4«"),
    ),
    "ja": (
        "エラー",
        (r"Key (.*) already exists\.", r"キー \1 はすでに存在します。"),
        (r'COPY (\w+), line (\d+), column (\w+): "(.*)"', r'\1のCOPY、行 \2、列 \3: "\4"'),
    ),
}


def in_language(language: str, text: str | None) -> str | None:
    other, *patterns = LANGUAGES[language]
    found = (re.fullmatch(english, text or "") and re.sub(english, own, text or "") for english, own in patterns)
    return text and next(filter(None, found), other)


def translated(error: Any, language: str) -> Exception:
    """Return an error of either driver as a server says it that speaks another language."""
    said = {name: in_language(language, getattr(error.diag, name)) for name in TRANSLATED}
    new: Any = type(type(error).__name__, (Exception,), {})("\n".join(filter(None, said.values())))
    new.sqlstate = sqlstate(error)
    new.diag = SimpleNamespace(**said, **{name: getattr(error.diag, name) for name in OTHERS})
    return new  # type: ignore[no-any-return]


@pytest.fixture(params=LANGUAGES, autouse=True)
def _language(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    def translating(statement: Callable[..., None]) -> Callable[..., None]:
        def carry_out(*arguments: Any) -> None:
            try:
                statement(*arguments)
            except Exception as error:
                raise translated(error, request.param) from None

        return carry_out

    for name in ("execute", "executemany", "copy_from"):
        monkeypatch.setattr(InterruptibleCursor, name, translating(getattr(InterruptibleCursor, name)))


def test_unique_column_of_the_users_own_is_named_at_once(engine: str, new_warehouse: NewWarehouse) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    execute(warehouse, f"CREATE UNIQUE INDEX {warehouse.table}_own ON {warehouse.table} (user_agent, event_name)")
    warehouse._lock_timeout = timedelta(0)
    with pytest.raises(WarehouseError, match=r"\. The table has a unique user_agent of its own, which") as caught:
        warehouse.write([file_rows("20260203T1000Z", *(event(name, userAgent=SECRET) for name in "ab"))])
    assert type(caught.value) is WarehouseError
    assert SECRET not in str(caught.value)


def test_event_that_somebody_else_has_just_inserted_is_a_lost_race(engine: str, new_warehouse: NewWarehouse) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    file = file_rows("20260203T1000Z", event("a"))
    warehouse.write([file])
    warehouse._lock_timeout = timedelta(0)
    with pytest.raises(WarehouseUnavailableError, match=r"because of another writer \(UniqueViolation, SQLSTATE 23505"):
        warehouse.transact(
            "inserting",
            lambda cursor: warehouse.insert(cursor, warehouse.events, columns_of(AuditEvent), file.events),
            writes=True,
        )


def test_column_that_every_row_lacks_is_named(engine: str, new_warehouse: NewWarehouse) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    execute(warehouse, f"ALTER TABLE {warehouse.table} ADD COLUMN owner TEXT NOT NULL")
    with pytest.raises(WarehouseError, match=r"\. The column owner takes no null and has no default"):
        warehouse.write([file_rows("20260203T1000Z", event("a"))])


def test_column_that_is_too_short_is_named(engine: str, new_warehouse: NewWarehouse) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    execute(warehouse, f"ALTER TABLE {warehouse.events} ALTER COLUMN user_agent TYPE VARCHAR(5)")
    with pytest.raises(WarehouseError, match=r"SQLSTATE 22001, column user_agent\. A column .* is too short"):
        warehouse.write([file_rows("20260203T1000Z", event("a", userAgent=SECRET))])


def test_row_level_security_is_known(engine: str, new_warehouse: NewWarehouse, monkeypatch: pytest.MonkeyPatch) -> None:
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
    in_the_way = r"\. Row-level security of the table is in the way: give"
    with pytest.raises(WarehouseError, match=f"SQLSTATE 42501{in_the_way}"):
        warehouse.write(reread(warehouse, file_rows("20260203T1000Z", *records, selection=ALL)))
    with pytest.raises(WarehouseError, match=f"SQLSTATE 0A000{in_the_way}"):
        warehouse.write([file_rows("20260203T1005Z", event("b"))])
    # Who sets this wants to be told instead of being shown a part of the rows.
    with (
        beginning_with(warehouse, "SET row_security = off"),
        pytest.raises(WarehouseError, match=f"reading .*SQLSTATE 42501{in_the_way}"),
    ):
        warehouse.known_files(["s3://example-trail/none"])


def test_table_that_is_published_without_a_key_is_known(engine: str, new_warehouse: NewWarehouse) -> None:
    warehouse = new_warehouse(engine)
    warehouse.prepare()
    file = file_rows("20260203T1000Z", 7)
    warehouse.write([file])
    execute(
        warehouse,
        f"CREATE PUBLICATION {warehouse.table}_all FOR TABLE {warehouse.quarantine}",
        f"ALTER TABLE {warehouse.quarantine} REPLICA IDENTITY DEFAULT",
    )
    with pytest.raises(WarehouseError, match=r"SQLSTATE 55000\. The table is published, .* REPLICA IDENTITY FULL"):
        warehouse.write(reread(warehouse, file))
