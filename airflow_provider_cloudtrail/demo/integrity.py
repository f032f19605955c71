"""
The demo's proof: the trail is held against its signed digests, damaged, and held against them again.

The key that signed the digests is the demo's own, so it is handed over here; in AWS the operator asks
``ListPublicKeys`` for it.
"""

from __future__ import annotations

import gzip
import logging
from pathlib import Path
from typing import Any

from airflow_provider_cloudtrail.demo.digests import SigningKey
from airflow_provider_cloudtrail.demo.expected import Expected
from airflow_provider_cloudtrail.demo.plan import TrailPlan
from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
from airflow_provider_cloudtrail.trail.log_file import TrailLocation
from airflow_provider_cloudtrail.trail.public_keys import KeyRing, PublicKey
from airflow_provider_cloudtrail.trail.s3_store import S3Store
from airflow_provider_cloudtrail.validation.run import Validation
from airflow_provider_cloudtrail.validation.summary import ValidationSummary
from airflow_provider_cloudtrail.validation.validate import validate_trail
from airflow_provider_cloudtrail.warehouse.duckdb import DuckDBWarehouse
from airflow_provider_cloudtrail.warehouse.evidence import Evidence


class _File:
    """What a warehouse needs of Airflow's DuckDBHook."""

    placeholder = "?"

    def __init__(self, database: Path) -> None:
        self._database = str(database.resolve())

    def get_database(self) -> str:
        return self._database

    def get_conn(self) -> Any:
        import duckdb

        return duckdb.connect(self._database)


def prove(plan: TrailPlan, client: Any, key: SigningKey, database: Path) -> ValidationSummary:
    """
    Hold the whole trail against its digests and the ledger, and record what that gives.

    :param client: boto3 S3 client of the trail's bucket.
    :param key: what its digests are signed with.
    :param database: DuckDB file that the trail was loaded into.
    """
    evidence = Evidence(DuckDBWarehouse(_File(database)))
    evidence.prepare()
    public = PublicKey(key.fingerprint, key.public_key)
    quiet = logging.getLogger(f"{__name__}.findings")
    quiet.setLevel(logging.CRITICAL)
    return validate_trail(
        Validation(
            location=TrailLocation(plan.bucket, plan.prefix),
            window=DeliveryWindow(plan.start, plan.end),
            store_of=lambda bucket: S3Store(client, bucket),
            evidence=evidence,
            ring=KeyRing(lambda *_: [public], plan.start, plan.end),
            log=quiet,
        )
    )


def damage(plan: TrailPlan, client: Any, planted: Expected) -> None:
    """Do what an intruder would: hide the events of one log file, and delete a digest of the same Region."""
    victim = next(key for key, file in sorted(planted.files.items()) if file.code is None and file.selected)
    content = gzip.decompress(client.get_object(Bucket=plan.bucket, Key=victim)["Body"].read())
    forged = content.replace(b"airflow.amazonaws.com", b"signin.amazonaws.com")
    client.put_object(Bucket=plan.bucket, Key=victim, Body=gzip.compress(forged, mtime=0))
    folder = victim.replace("/CloudTrail/", "/CloudTrail-Digest/").rpartition(f"{plan.first_day:%Y/%m/%d}/")[0]
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=plan.bucket, Prefix=folder)
    digests = sorted(entry["Key"] for page in pages for entry in page["Contents"])
    client.delete_object(Bucket=plan.bucket, Key=digests[len(digests) // 2])


def described(intact: ValidationSummary, damaged: ValidationSummary) -> str:
    """Return both findings as text; of the second, what the first did not have."""
    caught = [
        f"  {kind + ':':<9} {_short(kind, text)}"
        for kind in ("altered", "missing", "gap", "unlisted")
        for text in damaged.found.get(kind, ())
        if text not in intact.found.get(kind, ())
    ]
    return "\n".join([
        "Is this what CloudTrail wrote?",
        (
            f"  {intact.digests_valid:,} of {intact.digests:,} signed digests are valid; {intact.files_verified:,} of "
            f"the {intact.files_listed:,} log files that they list are verified,"
        ),
        f"  {intact.files_altered} are not: those in quarantine. No time is without a digest."
        if not intact.gaps
        else f"  {intact.files_altered} are not; {intact.gaps} times are without a digest.",
        "",
        "And after an intruder has hidden the events of one log file, and deleted a digest?",
        *caught,
    ])


def _short(kind: str, text: str) -> str:
    """Return a finding without what a reader of the demo does not need: folders and reasons."""
    return text.partition(", ")[0].partition("): ")[2] if kind == "gap" else text.partition(": ")[0].rpartition("/")[2]
