"""What the demo prints: tables that fit a console, and counts that notice what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_cloudtrail.demo.__main__ import main
from airflow_provider_cloudtrail.demo.report import WIDTH, Balance, count_rows, table
from tests.support.engines import DUCKDB

GOOD = Balance(
    files=3,
    parsed=1,
    no_match=1,
    files_quarantined=1,
    records=10,
    loaded=4,
    duplicate=1,
    filtered=4,
    quarantined=1,
    unbalanced_files=0,
    rows=4,
)


def test_table_is_cut_to_the_width_of_a_console() -> None:
    lines = table(
        ["who", "times", "message"], [("dana", 3, "x" * 300), ("lee", 12, "two\nlines"), (None, 1, "")]
    ).split("\n")
    assert max(map(len, lines)) == WIDTH
    assert lines[0].split() == ["who", "times", "message"]
    assert lines[2].startswith("  dana      3  xxx")
    assert lines[2].endswith("x…")
    assert lines[3].split() == ["lee", "12", "two", "lines"]
    assert table(["who"], []).endswith("(none)")


@pytest.mark.parametrize(
    ("change", "holds"),
    [({}, True), ({"loaded": 5}, False), ({"rows": 5}, False), ({"unbalanced_files": 1}, False)],
)
def test_balance(change: dict[str, int], holds: bool) -> None:
    assert Balance(**(GOOD.__dict__ | change)).holds is holds


@pytest.mark.skipif(not DUCKDB, reason="needs DuckDB")
def test_rows_are_counted_before_there_is_a_table(tmp_path: Path) -> None:
    import duckdb

    path = tmp_path / "audit.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE other AS SELECT 1")
    assert count_rows(path) == 0
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE mwaa_audit_events AS SELECT unnest([1, 2])")
    assert count_rows(path) == 2


def test_demo_says_what_to_write_when_there_is_no_dag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--folder", str(tmp_path / "demo"), "--dags", str(tmp_path)]) == 1
    assert "--dags" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
