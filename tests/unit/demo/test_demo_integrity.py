from __future__ import annotations

from pathlib import Path

from airflow_provider_cloudtrail.demo.integrity import _File


def test_the_demo_names_its_database_by_an_absolute_path(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert _File(Path(".demo/audit.duckdb")).get_database() == str(tmp_path / ".demo" / "audit.duckdb")
