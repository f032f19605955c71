"""The rows of the corpus ``all`` as the project stores them, as files that the floors load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.benchmarks.corpora import Written

ROWS_OF_A_PART = 10_240


def finished_rows(folder: Path, written: Written, postgres: str) -> dict[str, str]:
    """
    Load the corpus once, and write its rows as Parquet files and as the text of a COPY.

    :param postgres: URI of a server.
    :return: what tasks are told about the files; those of ``parts`` can be read within little memory.
    """
    name = Path(written.folder).name
    parquet, parts, copy = (folder / f"{name}.{ending}" for ending in ("parquet", "parts.parquet", "copy"))
    if not all(file.exists() for file in (parquet, parts, copy)):
        _write(folder, written, postgres, parquet, parts, copy)
    return {"parquet": str(parquet), "parts": str(parts), "copy": str(copy)}


def _write(folder: Path, written: Written, postgres: str, parquet: Path, parts: Path, copy: Path) -> None:
    import psycopg

    from airflow_provider_cloudtrail.export.log_files import export_log_files
    from airflow_provider_cloudtrail.trail.selection import Selection
    from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
    from tests.support.engines import DuckDBHook, PostgresHook
    from tests.support.log_files import FolderTrail

    trail = FolderTrail(Path(written.folder))
    database = folder / "finished.duckdb"
    database.unlink(missing_ok=True)
    hooks: tuple[Any, ...] = (DuckDBHook(str(database)), PostgresHook(postgres, "psycopg"))
    for hook in hooks:
        warehouse = open_warehouse(hook, "finished")
        warehouse.prepare()
        export_log_files(
            trail.files(),
            store_of=lambda _: trail.store,
            warehouse=warehouse,
            selection=Selection.of(event_sources=None),
        )
    with hooks[0].get_conn() as connection:
        connection.execute(f"COPY finished TO '{parquet}' (FORMAT parquet)")
        connection.execute(f"COPY finished TO '{parts}' (FORMAT parquet, ROW_GROUP_SIZE {ROWS_OF_A_PART})")
    database.unlink()
    with psycopg.connect(postgres) as connection, connection.cursor() as cursor, copy.open("wb") as rows:
        with cursor.copy("COPY finished TO STDOUT") as portions:
            for portion in portions:
                rows.write(portion)
        for table in ("finished", "finished_files", "finished_quarantine"):
            cursor.execute(f"DROP TABLE {table}")
