"""A run of the integrity example DAG by an Airflow, over a signed trail in a real S3 API."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cloudtrail.demo.server import s3_server
from tests.mwaa.commands import CommandError, clean_environment, run
from tests.support.aws_stand_in import StandIn, stand_in
from tests.support.signed_trail import BUCKET, HOUR, Hour, SignedTrail

DAG = "mwaa_audit_integrity_daily"
DAILY_DAG = "mwaa_audit_export_daily"
WAIT_FOR_DIGESTS = {"AIRFLOW__CLOUDTRAIL__WAIT_FOR": "digests"}
TABLE = "mwaa_audit_events"
TRAIL_NAME = "audit-trail"
REGIONS = ("eu-west-1", "us-east-1")
BEGIN = datetime(2026, 2, 2, 22, 5, 12, tzinfo=timezone.utc)
MORNING = "2026-02-04"
"""The run that is made for it has the day before as its data interval."""
HOURS = 28
DIGESTS_OF_THE_DAY = 25
COMMAND_SECONDS = 600


@dataclass(frozen=True)
class IntegrityRun:
    """
    Runs of the integrity DAG.

    :param airflow: the ``airflow`` command.
    :param dags: folder of the example DAGs.
    :param warehouse: yields the database.
    :param home: folder of this Airflow's home.
    :param daily_first: whether the daily DAG loads the day before, when it has waited for the digests.
    """

    airflow: Path
    dags: Path
    warehouse: Callable[[], Any]
    home: Path
    daily_first: bool = False

    def show(self) -> str:
        """
        Run the DAG over a trail that is as it should be, then over one with a deleted log file and digest.

        :return: a line that says what was proven.
        :raises CommandError: if a command fails that must not.
        :raises AssertionError: if the tables are not as they must be.
        """
        trails = [_trail(region) for region in REGIONS]
        with s3_server("eu-west-1") as server, stand_in() as api, self.warehouse() as warehouse:
            client = server.client()
            _make_bucket(client)
            for trail in trails:
                for key, stored in trail.objects.items():
                    client.put_object(Bucket=BUCKET, Key=key, Body=stored.body, Metadata=stored.metadata)
            api.serve(trails[0])
            api.others = server.url
            _make_trail(server.url)
            environment = self._environment(server.url, api, warehouse.connection)
            self._airflow(environment, "db", "migrate")
            self._airflow(environment, "dags", "reserialize")
            if self.daily_first:
                self._airflow(environment | WAIT_FOR_DIGESTS, "dags", "test", DAILY_DAG, MORNING)
                ((loaded,),) = warehouse.rows(f"SELECT count(*) FROM {TABLE}")
                assert loaded >= len(REGIONS) * DIGESTS_OF_THE_DAY, loaded
            self._airflow(environment, "dags", "test", DAG, MORNING)
            verified = _check_proven(warehouse)

            hour = trails[0].hours[10]
            gone = next(iter(hour.files)), trails[0].digest_key(trails[0].hours[20])
            for key in gone:
                client.delete_object(Bucket=BUCKET, Key=key)
            with pytest.raises(CommandError, match="deleted: 1"):
                self._airflow(environment, "dags", "test", DAG, MORNING)
            _check_found(warehouse, gone)
        return f"{verified} log files of {len(REGIONS)} Regions verified; what was deleted then was found"

    def _airflow(self, environment: dict[str, str], *arguments: str) -> None:
        run(self.airflow, *arguments, env=environment, limit=COMMAND_SECONDS)

    def _environment(self, s3: str, api: StandIn, warehouse: dict[str, str]) -> dict[str, str]:
        cloudtrail = api.environment(BUCKET)["AWS_ENDPOINT_URL_CLOUDTRAIL"]
        services = {"s3": {"endpoint_url": s3}, "cloudtrail": {"endpoint_url": cloudtrail}}
        aws = {
            "conn_type": "aws",
            "login": "example",
            "password": "example",
            "extra": {"region_name": "eu-west-1", "service_config": services},
        }
        return clean_environment() | {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CLOUDTRAIL__BUCKET": BUCKET,
            "AIRFLOW__CLOUDTRAIL__TRAIL_NAME": TRAIL_NAME,
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws),
            "AIRFLOW_CONN_CLOUDTRAIL_WAREHOUSE": json.dumps(warehouse),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }


def _trail(region: str) -> SignedTrail:
    trail = SignedTrail(region=region, hours=[Hour(BEGIN + number * HOUR) for number in range(HOURS)])
    for hour in trail.hours:
        trail.add_file(hour, hour.start + HOUR / 2)
    return trail.build()


def _make_bucket(client: Any) -> None:
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    blocks = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    client.put_public_access_block(Bucket=BUCKET, PublicAccessBlockConfiguration=dict.fromkeys(blocks, True))


def _make_trail(endpoint: str) -> None:
    """Make a trail that records what an audit needs, in the API that answers the coverage check."""
    import boto3

    client = boto3.client(
        "cloudtrail",
        endpoint_url=endpoint,
        region_name="eu-west-1",
        aws_access_key_id="example",
        aws_secret_access_key="example",
    )
    client.create_trail(Name=TRAIL_NAME, S3BucketName=BUCKET, IsMultiRegionTrail=True, EnableLogFileValidation=True)
    client.start_logging(Name=TRAIL_NAME)
    fields = [
        [("eventCategory", "Management")],
        [("eventCategory", "Data"), ("resources.type", "AWS::MWAA::Environment")],
    ]
    selectors = [{"FieldSelectors": [{"Field": name, "Equals": [value]} for name, value in one]} for one in fields]
    client.put_event_selectors(TrailName=TRAIL_NAME, AdvancedEventSelectors=selectors)


def _check_proven(warehouse: Any) -> int:
    """Check that the whole day was loaded and is proven; return the number of verified log files."""
    digests = len(REGIONS) * DIGESTS_OF_THE_DAY
    assert warehouse.rows(f"SELECT status, count(*) FROM {TABLE}_digests GROUP BY status") == [("valid", digests)]
    assert warehouse.rows(f"SELECT count(*) FROM {TABLE}_findings") == [(0,)]
    ((verified,),) = warehouse.rows(f"SELECT count(*) FROM {TABLE}_files WHERE digest_status = 'verified'")
    # Each digest of the day lists one file.
    assert verified == digests, verified
    return verified


def _check_found(warehouse: Any, gone: tuple[str, str]) -> None:
    """Check that the deleted log file and digest are on record."""
    rows = warehouse.rows(f"SELECT kind, object_uri FROM {TABLE}_findings WHERE resolved_at IS NULL")
    found = {uri.partition(f"{BUCKET}/")[2]: kind for kind, uri in rows if uri is not None}
    assert (found[gone[0]], found[gone[1]]) == ("deleted", "missing"), rows
    assert "gap" in {kind for kind, _ in rows}, rows
