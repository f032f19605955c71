"""
The contestants that run in the peers' environment: what users would pick instead. Imports nothing of the project.

Reading means: find the events of MWAA in all files. Who works on one core only gets a process for each core.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.benchmarks.contestants import CORES, Task, log_files

MWAA = ("airflow.amazonaws.com", "airflow-serverless.amazonaws.com")
# How many files one query or data frame takes in at once, so that memory is not what is measured.
TOGETHER = 20


def _in_processes(task: Task, count: Callable[[Path], int]) -> Iterator[Any]:
    files = log_files(task)
    with ProcessPoolExecutor(CORES) as pool:
        # Started, and its imports done, before the clock is.
        list(pool.map(count, files[:1] * CORES))
        yield
        rows = sum(pool.map(count, files, chunksize=4))
        pool.shutdown()
        yield {"rows": rows, "files": len(files)}


def _portions(files: list[Path]) -> Iterator[list[str]]:
    for start in range(0, len(files), TOGETHER):
        yield [str(path) for path in files[start : start + TOGETHER]]


# -- reading -----------------------------------------------------------------------------------------


def stdlib(task: Task) -> Iterator[Any]:
    """Gzip and json of the standard library."""
    yield from _in_processes(task, count_with_json)


def count_with_json(path: Path) -> int:
    import gzip
    import json

    with gzip.open(path) as stream:
        return sum(record["eventSource"] in MWAA for record in json.load(stream)["Records"])


def orjson(task: Task) -> Iterator[Any]:
    """Gzip of the standard library and orjson."""
    yield from _in_processes(task, count_with_orjson)


def count_with_orjson(path: Path) -> int:
    import gzip

    import orjson

    return sum(record["eventSource"] in MWAA for record in orjson.loads(gzip.decompress(path.read_bytes()))["Records"])


def pandas(task: Task) -> Iterator[Any]:
    """Json of the standard library and pandas.json_normalize."""
    yield from _in_processes(task, count_with_pandas)


def count_with_pandas(path: Path) -> int:
    import gzip
    import json

    import pandas

    with gzip.open(path) as stream:
        frame = pandas.json_normalize(json.load(stream)["Records"])
    return int(frame["eventSource"].isin(MWAA).sum())


def duckdb_read_json(task: Task) -> Iterator[Any]:
    """DuckDB's read_json, columns of type JSON from the second level on."""
    yield from _duckdb(
        task,
        "SELECT COUNT(*) FROM (SELECT unnest(Records) AS record FROM read_json(?, maximum_depth=2, "
        "maximum_object_size=268435456)) WHERE record->>'eventSource' IN (?, ?)",
    )


def duckdb_read_json_objects(task: Task) -> Iterator[Any]:
    """DuckDB's read_json_objects, and a path into each record."""
    yield from _duckdb(
        task,
        "SELECT COUNT(*) FROM (SELECT unnest(json_extract(json, '$.Records[*]')) AS record FROM "
        "read_json_objects(?, maximum_object_size=268435456)) WHERE record->>'eventSource' IN (?, ?)",
    )


def _duckdb(task: Task, query: str) -> Iterator[Any]:
    import duckdb

    files = log_files(task)
    connection = duckdb.connect()
    yield
    rows = 0
    for portion in _portions(files):
        rows += connection.execute(query, [portion, *MWAA]).fetchall()[0][0]
    yield {"rows": rows, "files": len(files)}


def polars(task: Task) -> Iterator[Any]:
    """Polars' read_json, which unpacks nothing itself; it has threads of its own."""
    import gzip

    import polars

    files = log_files(task)
    yield
    rows = 0
    for path in files:
        frame = polars.read_json(gzip.decompress(path.read_bytes()), infer_schema_length=None)
        rows += frame["Records"].explode().struct.field("eventSource").is_in(MWAA).sum()
    yield {"rows": rows, "files": len(files)}


# -- the full load -----------------------------------------------------------------------------------

_KEYED = """CREATE TABLE audit (event_id VARCHAR PRIMARY KEY, event_time TIMESTAMPTZ, event_source VARCHAR,
 event_name VARCHAR, aws_region VARCHAR, recipient_account_id VARCHAR, source_ip_address VARCHAR, user_agent VARCHAR,
 error_code VARCHAR, user_identity JSON, request_parameters JSON, response_elements JSON, resources JSON,
 raw_event JSON)"""
_INSERT = """INSERT INTO audit SELECT
 record->>'eventID', CAST(record->>'eventTime' AS TIMESTAMPTZ), record->>'eventSource', record->>'eventName',
 record->>'awsRegion', record->>'recipientAccountId', record->>'sourceIPAddress', record->>'userAgent',
 record->>'errorCode', record->'userIdentity', record->'requestParameters', record->'responseElements',
 record->'resources', record
 FROM (SELECT unnest(Records) AS record FROM read_json(?, maximum_depth=2, maximum_object_size=268435456))
 WHERE record->>'eventID' IS NOT NULL ON CONFLICT DO NOTHING"""


def duckdb_load(task: Task) -> Iterator[Any]:
    """DuckDB's read_json into a table with a primary key, one transaction; a third of the project's columns."""
    import duckdb

    files = log_files(task)
    connection = duckdb.connect(f"{task['scratch']}/peer-{os.getpid()}.duckdb")
    connection.execute(_KEYED)
    yield
    connection.execute("BEGIN")
    for portion in _portions(files):
        connection.execute(_INSERT, [portion])
    connection.execute("COMMIT")
    ((rows,),) = connection.execute("SELECT COUNT(*) FROM audit").fetchall()
    connection.close()
    yield {"rows": rows, "files": len(files)}


def dlt(task: Task) -> Iterator[Any]:
    """Dlt: filesystem source, merge on eventID into DuckDB, max_table_nesting=0."""
    folder = f"{task['scratch']}/dlt-{os.getpid()}"
    os.environ |= {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
        "DLT_DATA_DIR": folder,
        "HOME": folder,
    }
    import gzip

    import dlt
    import orjson
    from dlt.sources.filesystem import filesystem

    files = log_files(task)
    wanted = {path.name for path in files}

    @dlt.transformer(primary_key="eventID", write_disposition="merge", max_table_nesting=0)
    def records(items: Any) -> Iterator[Any]:
        for item in items:
            if item["file_name"].rpartition("/")[2] in wanted:
                body = Path(item["file_url"].removeprefix("file://")).read_bytes()
                # Records of eventVersion 1.0 have no id to merge on.
                yield [record for record in orjson.loads(gzip.decompress(body))["Records"] if "eventID" in record]

    pipeline = dlt.pipeline(
        "bench", destination=dlt.destinations.duckdb(f"{folder}.duckdb"), dataset_name="audit", pipelines_dir=folder
    )
    yield
    pipeline.run(filesystem(bucket_url=f"file://{task['folder']}", file_glob="**/*.json.gz") | records)
    with pipeline.sql_client() as client:
        ((rows,),) = client.execute_sql("SELECT COUNT(*) FROM records")
    yield {"rows": rows, "files": len(files)}


def awswrangler(task: Task) -> Iterator[Any]:
    """Awswrangler: s3.read_json, and an insert that leaves out what is there into PostgreSQL."""
    import awswrangler
    import boto3
    import pandas
    import pg8000

    names = sorted(str(path.relative_to(task["folder"])) for path in log_files(task))
    awswrangler.config.s3_endpoint_url = task["s3"]
    session = boto3.Session(aws_access_key_id="bench", aws_secret_access_key="bench", region_name="us-east-1")
    server = urlsplit(task["postgres"])
    connection = pg8000.connect("postgres", host=server.hostname, port=server.port, database="postgres")
    table = f"peer_{os.getpid()}"
    cursor = connection.cursor()
    columns = ("eventID", "eventTime", "eventSource", "eventName", "awsRegion", "userIdentity", "requestParameters")
    # It does not quote the column of the conflict.
    lower = [column.lower() for column in columns]
    cursor.execute(f"CREATE TABLE {table} (eventid TEXT PRIMARY KEY, {', '.join(f'{c} TEXT' for c in lower[1:])})")
    connection.commit()
    yield
    for start in range(0, len(names), TOGETHER):
        paths = [f"s3://bench/{name}" for name in names[start : start + TOGETHER]]
        read = awswrangler.s3.read_json(paths, boto3_session=session, orient="columns")
        frame = pandas.DataFrame(list(read["Records"]))[list(columns)].dropna(subset=["eventID"]).astype(str)
        frame.columns = lower
        awswrangler.postgresql.to_sql(
            frame.drop_duplicates("eventid"),
            connection,
            table,
            "public",
            mode="append",
            use_column_names=True,
            insert_conflict_columns=["eventid"],
            commit_transaction=True,
        )
    cursor.execute(f"SELECT COUNT(*) FROM {table}")
    rows = cursor.fetchone()[0]
    cursor.execute(f"DROP TABLE {table}")
    connection.commit()
    yield {"rows": rows, "files": len(names)}
