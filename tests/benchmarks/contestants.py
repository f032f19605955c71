"""
The contestants that run in the project's own environment: the floors, and the project.

Each is a generator: what is before its first ``yield`` is preparation, the second yields the result.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

CORES = 2
Task = dict[str, Any]


def log_files(task: Task) -> list[Path]:
    """Return the log files of a corpus, the first part of them if the task says so."""
    files = sorted(Path(task["folder"]).rglob("*.json.gz"))
    return files[: max(1, round(len(files) * task.get("share", 1)))]


# -- floors ------------------------------------------------------------------------------------------


def gunzip(task: Task) -> Iterator[Any]:
    """Unpack all files on both cores, nothing else."""
    from isal import isal_zlib

    files = log_files(task)
    yield
    with ThreadPoolExecutor(CORES) as pool:
        yield {"bytes": sum(pool.map(lambda path: len(isal_zlib.decompress(path.read_bytes(), 31)), files))}


def floor(task: Task) -> Iterator[Any]:
    """Unpack and hash: integrity needs no less."""
    from isal import isal_zlib

    files = log_files(task)
    yield

    def unpack(path: Path) -> int:
        document = isal_zlib.decompress(path.read_bytes(), 31)
        hashlib.sha256(document).hexdigest()
        return len(document)

    with ThreadPoolExecutor(CORES) as pool:
        yield {"bytes": sum(pool.map(unpack, files))}


def duckdb_floor(task: Task) -> Iterator[Any]:
    """Insert finished rows from a Parquet file into the same table, in one transaction; ``memory``: within a bound."""
    warehouse, hook = _duckdb(task)
    warehouse.prepare()
    yield
    connection = hook.get_conn()
    if "memory" in task:
        connection.execute(f"SET memory_limit = '{task['memory']}'")
    connection.execute("BEGIN TRANSACTION")
    connection.execute(f"INSERT INTO {warehouse.events} SELECT * FROM read_parquet('{task['parquet']}')")
    connection.execute("COMMIT")
    ((rows,),) = connection.execute(f"SELECT COUNT(*) FROM {warehouse.events}").fetchall()
    connection.close()
    yield {"rows": rows}


def postgres_floor(task: Task) -> Iterator[Any]:
    """COPY finished rows into a table with the same key."""
    import psycopg

    warehouse = _postgres(task)
    warehouse.prepare()
    yield
    with psycopg.connect(task["postgres"]) as connection, connection.cursor() as cursor:
        with Path(task["copy"]).open("rb") as rows, cursor.copy(f"COPY {warehouse.events} FROM STDIN") as copy:
            while portion := rows.read(256 * 1024):
                copy.write(portion)
        connection.commit()
        cursor.execute(f"SELECT COUNT(*) FROM {warehouse.events}")
        (rows_there,) = cursor.fetchone() or (0,)
    _drop(task, warehouse)
    yield {"rows": rows_there}


def iceberg_floor(task: Task) -> Iterator[Any]:
    """Append finished rows from a Parquet file to the same table, in one commit."""
    import pyarrow.parquet

    from tests.support.iceberg import catalog

    warehouse = _iceberg(task)
    warehouse.prepare()
    table = catalog(warehouse.hook.uri).load_table(warehouse.events)
    schema = table.schema().as_arrow()
    yield
    rows = pyarrow.parquet.read_table(task["parquet"])
    table.append(rows.select(schema.names).cast(schema))
    yield {"rows": rows.num_rows}


def iceberg_floor_in_parts(task: Task) -> Iterator[Any]:
    """The same a part at a time, so that never more than one is in memory; still in one commit."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    from tests.benchmarks.finished import ROWS_OF_A_PART
    from tests.support.iceberg import catalog

    warehouse = _iceberg(task)
    warehouse.prepare()
    table = catalog(warehouse.hook.uri).load_table(warehouse.events)
    schema = table.schema().as_arrow()
    idle_worker(task)
    yield
    rows = 0
    with table.transaction() as transaction, ParquetFile(task["parts"]) as finished:
        for part in finished.iter_batches(ROWS_OF_A_PART, columns=schema.names):
            transaction.append(pyarrow.Table.from_batches([part]).select(schema.names).cast(schema))
            rows += part.num_rows
    yield {"rows": rows}


# -- the project -------------------------------------------------------------------------------------


def project_reading(task: Task) -> Iterator[Any]:
    """Read a local folder as the operator does, and store nothing."""
    from tests.support.exports import NoWarehouse

    yield from _project(task, NoWarehouse())


def project_duckdb(task: Task) -> Iterator[Any]:
    """Load into DuckDB: rows, ledger, quarantine."""
    warehouse, _ = _duckdb(task)
    warehouse.prepare()
    yield from _project(task, warehouse)


def project_postgres(task: Task) -> Iterator[Any]:
    """Load into PostgreSQL."""
    warehouse = _postgres(task)
    warehouse.prepare()
    yield from _project(task, warehouse)
    _drop(task, warehouse)


def project_iceberg(task: Task) -> Iterator[Any]:
    """Load into Iceberg tables of a catalog in SQLite, with their files beside it."""
    warehouse = _iceberg(task)
    warehouse.prepare()
    yield from _project(task, warehouse)


def _project(task: Task, warehouse: Any) -> Iterator[Any]:
    idle_worker(task)
    from datetime import timedelta

    from airflow_provider_cloudtrail.export.log_files import export_log_files
    from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
    from airflow_provider_cloudtrail.trail.listing import list_log_files
    from airflow_provider_cloudtrail.trail.local_store import LocalStore
    from airflow_provider_cloudtrail.trail.log_file import TrailLocation
    from airflow_provider_cloudtrail.trail.selection import Selection
    from tests.benchmarks.corpora import START

    if "endpoint" in task:
        bucket = "bench"
        store: Any = s3_store(task, bucket)
    else:
        bucket = f"file://{task['folder']}"
        store = LocalStore(bucket)
    window = DeliveryWindow(START, START + timedelta(days=1))
    selection = Selection.of(event_sources=None) if task.get("all") else Selection.of()
    yield

    def run() -> dict[str, Any]:
        return export_log_files(
            list_log_files(store, TrailLocation(bucket), window),
            store_of=lambda _: store,
            warehouse=warehouse,
            selection=selection,
        ).as_dict()

    summary = run()
    kept = ("files", "files_read", "duplicate", "records", *(name for name in summary if name.startswith("seconds")))
    yield {"rows": summary["loaded"], **{name: summary[name] for name in kept if name in summary}}


def listing(task: Task) -> Iterator[Any]:
    """List the log files of a day, and nothing else."""
    idle_worker(task)
    from datetime import timedelta

    from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
    from airflow_provider_cloudtrail.trail.listing import list_log_files
    from airflow_provider_cloudtrail.trail.log_file import TrailLocation
    from tests.benchmarks.corpora import START

    store = s3_store(task, "bench")
    window = DeliveryWindow(START, START + timedelta(days=1))
    yield
    yield {"rows": sum(1 for _ in list_log_files(store, TrailLocation("bench"), window))}


def idle_worker(task: Task) -> None:
    """Import what every task of Airflow with an AWS operator has in memory before it does anything."""
    if not task.get("bare"):
        import airflow_provider_cloudtrail.transfers.cloudtrail_to_sql  # noqa: F401


def s3_store(task: Task, bucket: str) -> Any:
    """Return a store of the static server."""
    import boto3
    from botocore.config import Config

    from airflow_provider_cloudtrail.trail.s3_store import S3Store, read_times_quickly

    session = boto3.Session(aws_access_key_id="bench", aws_secret_access_key="bench", region_name="us-east-1")
    read_times_quickly(session)  # as CloudTrailHook does
    config = Config(s3={"addressing_style": "path"}, proxies={}, max_pool_connections=32)
    return S3Store(session.client("s3", endpoint_url=task["endpoint"], config=config), bucket, session=session)


def boto3_threads(task: Task) -> Iterator[Any]:
    """Get every object with boto3 and 16 threads, and unpack it; nothing is parsed."""
    import gzip

    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=task["endpoint"],
        region_name="us-east-1",
        aws_access_key_id="bench",
        aws_secret_access_key="bench",
        config=Config(s3={"addressing_style": "path"}, proxies={}, max_pool_connections=16),
    )
    yield

    def get(key: str) -> int:
        return len(gzip.decompress(client.get_object(Bucket="bench", Key=key)["Body"].read()))

    pages = client.get_paginator("list_objects_v2").paginate(Bucket="bench", Prefix="AWSLogs/")
    keys = [entry["Key"] for page in pages for entry in page["Contents"]]
    with ThreadPoolExecutor(16) as pool:
        yield {"bytes": sum(pool.map(get, keys))}


# -- warehouses --------------------------------------------------------------------------------------


def _duckdb(task: Task) -> tuple[Any, Any]:
    # DuckDB's own threads are as many as there are cores.
    from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
    from tests.support.engines import DuckDBHook

    path = Path(task["scratch"]) / f"audit-{os.getpid()}.duckdb"
    hook = DuckDBHook(task.get("database") or str(path))
    return open_warehouse(hook, "audit"), hook


def _iceberg(task: Task) -> Any:
    from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
    from tests.support.iceberg import OldIcebergHook, catalog, sql_catalog

    folder = Path(task["scratch"]) / f"iceberg-{os.getpid()}"
    folder.mkdir()
    address = json.dumps(sql_catalog(str(folder / "catalog")))
    catalog(address)
    return open_warehouse(OldIcebergHook(address), "audit")


def _postgres(task: Task) -> Any:
    from airflow_provider_cloudtrail.warehouse.choose import open_warehouse
    from tests.support.engines import PostgresHook

    return open_warehouse(PostgresHook(task["postgres"], "psycopg"), f"audit_{os.getpid()}")


def _drop(task: Task, warehouse: Any) -> None:
    import psycopg

    with psycopg.connect(task["postgres"]) as connection:
        for table in (warehouse.events, warehouse.files, warehouse.quarantine):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
