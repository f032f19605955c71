"""Which connections and names are refused before anything is opened."""

from __future__ import annotations

import pytest

from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
from tests.support.engines import SqliteHook


@pytest.mark.parametrize(
    ("table", "schema"),
    [
        pytest.param("audit; DROP TABLE x", None, id="statement"),
        pytest.param('audit"', None, id="quote"),
        pytest.param("audit--", None, id="comment"),
        pytest.param("main.audit", None, id="schema in the name"),
        pytest.param("", None, id="empty"),
        pytest.param("7days", None, id="digit first"),
        pytest.param("aüdit", None, id="not ASCII"),
        pytest.param("audit\n", None, id="line end"),
        pytest.param("a" * 53, None, id="too long"),
        pytest.param("audit", "pub lic", id="space in the schema"),
        pytest.param("audit", 'x"', id="quote in the schema"),
        pytest.param("audit", "", id="empty schema"),
    ],
)
@pytest.mark.parametrize(
    "conn_type", ["duckdb", "postgres", "sqlite", "mysql", "redshift", "snowflake", "athena", "iceberg"]
)
def test_unsafe_names_are_refused(conn_type: str, table: str, schema: str | None) -> None:
    hook = SqliteHook("never opened")
    hook.conn_type = conn_type
    with pytest.raises(ValueError, match=r"is not a usable name: write letters, digits and underscores"):
        open_warehouse(hook, table, schema)


def test_hook_that_is_no_database_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"the type 'aws', which is no SQL database; use one whose hook is a DbApiHook"
    ):
        open_warehouse(type("Hook", (), {"conn_type": "aws"})())
    with pytest.raises(ValueError, match=r"^conn_id='audit' has the type"):
        open_warehouse(type("Hook", (), {"conn_type": "aws"})(), conn_id="audit")
