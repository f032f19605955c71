"""The synthetic trail: the same for equal plans, well named, well signed, and what it says of itself is so."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest

from airflow_provider_cloudtrail.demo.digests import SigningKey, string_to_sign
from airflow_provider_cloudtrail.demo.expected import Expected, expected
from airflow_provider_cloudtrail.demo.plan import HOSTILE, TrailPlan
from airflow_provider_cloudtrail.demo.story import happenings
from airflow_provider_cloudtrail.demo.trail import TrailObject, generate, write_folder
from airflow_provider_cloudtrail.export import log_files
from airflow_provider_cloudtrail.export.summary import ExportSummary
from airflow_provider_cloudtrail.trail.codec import AcceleratedCodec, StandardCodec
from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
from airflow_provider_cloudtrail.trail.listing import list_log_files
from airflow_provider_cloudtrail.trail.local_store import LocalStore
from airflow_provider_cloudtrail.trail.log_file import Folder, TrailLocation, log_file, parse_key
from airflow_provider_cloudtrail.trail.reader import read_log_file
from airflow_provider_cloudtrail.trail.selection import Selection
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from tests.support.engines import ONE_OF_EACH
from tests.support.tables import Row, Tables, assert_balanced, read_table

SMALL = TrailPlan(
    accounts=("111122223333", "444455556666"),
    regions=("eu-west-1", "us-east-1"),
    days=2,
    prefix="audit/logs",
    files_per_day=6,
    records_per_file=5,
    mwaa_share=0.2,
    faults=HOSTILE,
)


def logs(plan: TrailPlan) -> dict[str, bytes]:
    return {found.key: found.body for found in generate(plan) if log_file("b", found.key)}


def test_equal_plans_give_equal_bytes() -> None:
    assert logs(SMALL) == logs(SMALL)
    other = logs(replace(SMALL, seed=SMALL.seed + 1))
    assert not set(other) & set(logs(SMALL))


def test_default_plan_is_the_promised_size() -> None:
    found = expected(TrailPlan(), all_events=True)
    assert 90_000 <= found.rows <= 110_000
    assert 1_500 <= len(found.files) <= 1_900
    of_mwaa = expected(TrailPlan())
    assert 300 <= of_mwaa.rows <= 600
    assert 0.02 <= len(of_mwaa.duplicates) / of_mwaa.rows <= 0.08
    assert sorted(of_mwaa.quarantined_files.values()) == ["bytes_behind_gzip", "truncated_gzip"]
    assert list(of_mwaa.quarantined_records.values()) == ["not_an_object"]


def test_nothing_happens_to_an_environment_that_was_deleted() -> None:
    told = [planted for happening in happenings(TrailPlan(), 400) for planted in happening.planted]
    deleted = {
        planted.columns["environment_name"]: planted.event_time
        for planted in told
        if b'"DeleteEnvironment"' in planted.body and planted.columns.get("outcome") != "denied"
    }
    assert len(deleted) == 2
    for planted in told:
        name = planted.columns.get("environment_name")
        assert name not in deleted or planted.event_time <= deleted[name]


def test_keys_follow_the_grammar_and_digests_carry_signatures() -> None:
    objects = list(generate(SMALL, SigningKey.generate()))
    folders = Counter()
    for found in objects:
        parsed = parse_key(found.key)
        if parsed is None:
            assert found.key.endswith("README.txt")
            continue
        folders[parsed.folder] += 1
        assert (parsed.prefix, parsed.organization_id) == (SMALL.prefix, SMALL.organization_id)
        assert bool(found.metadata) == (parsed.folder is Folder.DIGEST)
    assert len({found.key for found in objects}) == len(objects)
    assert set(folders) == {Folder.LOG, Folder.DIGEST, Folder.INSIGHT, Folder.NETWORK_ACTIVITY}
    assert folders[Folder.LOG] == len(expected(SMALL).files)


def test_events_are_delivered_a_few_minutes_later() -> None:
    plan = replace(SMALL, faults=frozenset())
    lags = []
    for key, body in logs(plan).items():
        delivered_at = log_file("b", key).delivered_at
        for record in json.loads(gzip.decompress(body))["Records"]:
            lags.append(delivered_at - datetime.fromisoformat(record["eventTime"]).replace(tzinfo=timezone.utc))
    assert min(lags) >= timedelta(0)
    assert sum(lag <= timedelta(minutes=11) for lag in lags) > 0.95 * len(lags)
    assert max(lags) > timedelta(hours=3)


def test_digest_chain_verifies() -> None:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    plan = replace(SMALL, faults=frozenset())
    key = SigningKey.generate()
    listed = key.listed(plan)["PublicKeyList"][0]
    public_key = load_der_public_key(listed["Value"])
    objects = {found.key: found for found in generate(plan, key)}
    chains: dict[tuple[str, str], list[TrailObject]] = {}
    for found in objects.values():
        parsed = parse_key(found.key)
        if parsed is not None and parsed.folder is Folder.DIGEST:
            chains.setdefault((parsed.account_id, parsed.region), []).append(found)
    listed_files: list[str] = []
    for chain in chains.values():
        previous: tuple[TrailObject, dict[str, Any]] | None = None
        for found in sorted(chain, key=lambda found: found.key):
            content = gzip.decompress(found.body)
            digest = json.loads(content)
            assert digest["digestPublicKeyFingerprint"] == listed["Fingerprint"]
            assert digest["digestS3Object"] == found.key
            signature = found.metadata["signature"]
            public_key.verify(bytes.fromhex(signature), string_to_sign(digest, content), PKCS1v15(), SHA256())
            if previous is None:
                assert digest["previousDigestS3Object"] is None
            else:
                assert digest["previousDigestS3Object"] == previous[0].key
                assert digest["previousDigestHashValue"] == sha256(gzip.decompress(previous[0].body))
                assert digest["previousDigestSignature"] == previous[0].metadata["signature"]
                assert digest["digestStartTime"] == previous[1]["digestEndTime"]
            for file in digest["logFiles"]:
                assert file["hashValue"] == sha256(gzip.decompress(objects[file["s3Object"]].body))
                listed_files.append(file["s3Object"])
            previous = (found, digest)
        assert len(chain) >= 24 * plan.days
    assert sorted(listed_files) == sorted(expected(plan).files)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bucket")
    write_folder(SMALL, folder)
    return folder.as_uri()


SELECTIONS = {
    "mwaa": (Selection.of(), {}),
    "activity": (Selection.of(include_environment_activity=True), {"activity": True}),
    "all": (Selection.of(None), {"all_events": True}),
}


def export_all(bucket: str, warehouse: Warehouse, selection: Selection) -> ExportSummary:
    warehouse.prepare()
    store = LocalStore(bucket)
    location = TrailLocation(bucket, SMALL.prefix, SMALL.organization_id)
    window = DeliveryWindow(SMALL.start, SMALL.end, settle=timedelta(hours=1))
    listed = list_log_files(store, location, window)
    return log_files.export_log_files(listed, store_of=lambda _: store, warehouse=warehouse, selection=selection)


@pytest.mark.parametrize("codec", [StandardCodec, AcceleratedCodec])
@pytest.mark.parametrize("selection", SELECTIONS)
def test_export_finds_what_the_plan_says(
    selection: str,
    codec: type[StandardCodec],
    bucket: str,
    new_warehouse: Callable[[str], Warehouse],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_files, "read_log_file", partial(read_log_file, codec=codec()))
    wanted, options = SELECTIONS[selection]
    warehouse = new_warehouse("sqlite")
    summary = export_all(bucket, warehouse, wanted)
    truth = expected(SMALL, **options)
    check(read_table(warehouse), truth, bucket)
    assert (summary.loaded, summary.loaded + summary.duplicate) == (truth.rows, truth.selected)


@pytest.mark.parametrize("engine", ONE_OF_EACH)
def test_every_engine_holds_what_the_plan_says(
    engine: str, bucket: str, new_warehouse: Callable[[str], Warehouse]
) -> None:
    warehouse = new_warehouse(engine)
    export_all(bucket, warehouse, Selection.of())
    check(read_table(warehouse), expected(SMALL), bucket)


def check(tables: Tables, truth: Expected, bucket: str) -> None:
    assert_balanced(tables)
    check_ledger({key_of(row, bucket): row for row in tables.files}, truth)
    check_events({row["event_id"]: row for row in tables.events}, truth)
    quarantine = {(key_of(row, bucket), row["record_index"]): code_of(row["reason"]) for row in tables.quarantine}
    files = {(key, None): code for key, code in truth.quarantined_files.items()}
    assert quarantine == files | truth.quarantined_records
    assert set(quarantine.values()) == {fault.code for fault in SMALL.faults}
    everything = repr(tables)
    assert truth.secrets
    assert not [secret for secret in truth.secrets if secret in everything]


def key_of(row: Row, bucket: str) -> str:
    return row["log_file_uri"].removeprefix(f"{bucket}/")


def code_of(reason: str) -> str:
    return reason.partition(":")[0]


def check_ledger(ledger: dict[str, Row], truth: Expected) -> None:
    assert set(ledger) == set(truth.files)
    for key, file in truth.files.items():
        row = ledger[key]
        assert (row["status"], row["records"], row["filtered"]) == (file.status, file.records, file.filtered), key
        if file.code is not None:
            assert code_of(row["reason"]) == file.code, key
        elif file.records is not None:
            assert row["loaded"] + row["duplicate"] == file.selected, key
            assert row["quarantined"] == len(file.quarantined), key


def check_events(rows: dict[str, Row], truth: Expected) -> None:
    assert len(rows) == truth.rows
    assert sum(row["redacted"] for row in rows.values()) == truth.redacted > 0
    for event_id, planted in truth.events.items():
        row = rows[event_id]
        for name, value in planted.columns.items():
            assert row[name] == value, (planted.body, name)
        if planted.secrets or b"\\u" in planted.body:
            assert set(json.loads(row["raw_event"])) == set(json.loads(planted.body))
        else:
            assert row["raw_event"].encode() == planted.body
    nameless = [row["raw_event"].encode() for event_id, row in rows.items() if event_id.startswith("derived-")]
    assert truth.nameless <= set(nameless)
