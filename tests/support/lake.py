"""A trail in S3 with its table in the stand-in of Athena, and the operators that load it."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from airflow_provider_cloudtrail.operators.athena import AthenaMwaaAuditEventsOperator
from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator
from tests.support.athena_tables import Table
from tests.support.athena_tasks import expire
from tests.support.engines import athena_extra
from tests.support.face import DAY
from tests.support.log_files import key_of, listed, log_bytes
from tests.support.pushdown import trail_rows
from tests.support.s3 import client_of


class Lake:
    """The stand-in of Athena with a trail's table, S3 for the trail itself, and connections to both."""

    def __init__(self, stand_in: Any, place: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self.stand_in = stand_in
        self.s3 = client_of(place["s3"])
        self.bucket = place["bucket"]
        self.root = uuid.uuid4().hex[:8]
        self.table = f"audit_{self.root}"
        self.trail_table = f"trail_{self.root}"
        self.staging_uri = f"s3://{place['bucket']}/staging"
        extra = {"endpoint_url": place["s3"], "region_name": "eu-west-1"}
        connection = {"login": "example", "password": "example"}
        for name, entry in {
            "LAKE": {"conn_type": "athena", "schema": "audit", "extra": athena_extra(place), **connection},
            "TRAIL": {"conn_type": "aws", "extra": extra, **connection},
            "AWS_DEFAULT": {"conn_type": "aws"},
        }.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(entry))
        self._rows: list[Any] = []
        stand_in.catalog[f"audit.{self.trail_table}"] = Table({}, "s3://example-trail/", external=False)
        self._run(lambda cursor: cursor.execute(f"CREATE TABLE audit.{self.trail_table} AS FROM delivered"), [])

    def _run(self, work: Any, files: list[Any]) -> None:
        cursor = self.stand_in._database.cursor()
        cursor.register("delivered", trail_rows(files))
        work(cursor)
        cursor.close()

    def deliver(self, stamp: str, *records: Any) -> str:
        """Put a log file into the bucket, where the trail's table shows it."""
        file = listed(key_of(stamp, root=f"{self.root}/AWSLogs/"), self.bucket)
        content = log_bytes(*records)
        self.s3.put_object(Bucket=self.bucket, Key=file.key, Body=content)
        self._run(
            lambda cursor: cursor.execute(f"INSERT INTO audit.{self.trail_table} FROM delivered"), [(file, content)]
        )
        return file.uri

    def events(self, **arguments: Any) -> AthenaMwaaAuditEventsOperator:
        return AthenaMwaaAuditEventsOperator(
            task_id="events",
            **{
                "trail_table": self.trail_table,
                "conn_id": "lake",
                "aws_conn_id": "trail",
                "table": self.table,
                "staging_uri": self.staging_uri,
                **DAY,
                **arguments,
            },
        )

    def export(self, **arguments: Any) -> CloudTrailToSqlOperator:
        return CloudTrailToSqlOperator(
            task_id="export",
            bucket=self.bucket,
            prefix=self.root,
            conn_id="lake",
            aws_conn_id="trail",
            table=self.table,
            staging_uri=self.staging_uri,
            **DAY,
            **arguments,
        )

    def drop_column(self, column: str) -> None:
        """Have the audit table be one of an older version."""
        cursor = self.stand_in._database.cursor()
        cursor.execute(f'ALTER TABLE audit."{self.table}" DROP COLUMN "{column}"')
        del self.stand_in.catalog[f"audit.{self.table}"].columns[column]

    def let_lock_expire(self) -> None:
        """Have the lock of a run hold no longer."""
        expire(self.s3, self.bucket, f"staging/cloudtrail-locks/audit.{self.table}.json")

    def rows(self, suffix: str = "") -> list[dict[str, Any]]:
        cursor = self.stand_in._database.cursor()
        cursor.execute(f'SELECT * FROM audit."{self.table}{suffix}" ORDER BY 1')
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
