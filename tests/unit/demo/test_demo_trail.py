"""The synthetic trail: the same for equal plans, well named, well signed, and what it says of itself is so."""

from __future__ import annotations

import gzip
import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cloudtrail import export
from airflow_provider_cloudtrail.demo.digests import SigningKey, string_to_sign
from airflow_provider_cloudtrail.demo.expected import Expected, expected
from airflow_provider_cloudtrail.demo.plan import HOSTILE, TrailPlan
from airflow_provider_cloudtrail.demo.trail import TrailObject, generate, write_folder
from airflow_provider_cloudtrail.trail.codec import AcceleratedCodec, StandardCodec
from airflow_provider_cloudtrail.trail.listing import list_log_files
from airflow_provider_cloudtrail.trail.log_file import DeliveryWindow, Folder, TrailLocation, log_file, parse_key
from airflow_provider_cloudtrail.trail.reader import read_log_file
from airflow_provider_cloudtrail.trail.selection import Selection
from airflow_provider_cloudtrail.trail.store import LocalStore
from airflow_provider_cloudtrail.warehouse.choose import open_warehouse

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
    other = logs(TrailPlan(**{**SMALL.__dict__, "seed": SMALL.seed + 1}))
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
    plan = TrailPlan(**{**SMALL.__dict__, "faults": frozenset()})
    lags = []
    for key, body in logs(plan).items():
        delivered_at = log_file("b", key).delivered_at
        for record in json.loads(gzip.decompress(body), strict=False)["Records"]:
            lags.append(delivered_at - datetime.fromisoformat(record["eventTime"]).replace(tzinfo=timezone.utc))
    assert min(lags) >= timedelta(0)
    assert sum(lag <= timedelta(minutes=11) for lag in lags) > 0.95 * len(lags)
    assert max(lags) > timedelta(hours=3)


def test_digest_chain_verifies() -> None:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    plan = TrailPlan(**{**SMALL.__dict__, "faults": frozenset()})
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


class SQLiteHook:
    """What a warehouse needs of Airflow's hook."""

    conn_type = "sqlite"
    placeholder = "?"

    def __init__(self, path: Path) -> None:
        self.path = path

    def get_conn(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path)

    def rows(self, statement: str) -> list[sqlite3.Row]:
        with closing(self.get_conn()) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(statement).fetchall()


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bucket")
    write_folder(SMALL, folder)
    return folder.as_uri()


@pytest.fixture(params=[StandardCodec, AcceleratedCodec])
def codec(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandardCodec]:
    codec = request.param()
    monkeypatch.setattr(export, "read_log_file", partial(read_log_file, codec=codec))
    return codec


SELECTIONS = {
    "mwaa": (Selection.of(), {}),
    "activity": (Selection.of(include_environment_activity=True), {"activity": True}),
    "all": (Selection.of(None), {"all_events": True}),
}


@pytest.mark.parametrize("selection", SELECTIONS)
def test_export_finds_what_the_plan_says(selection: str, codec: StandardCodec, bucket: str, tmp_path: Path) -> None:
    wanted, options = SELECTIONS[selection]
    truth = expected(SMALL, **options)
    hook = SQLiteHook(tmp_path / "audit.db")
    warehouse = open_warehouse(hook)
    warehouse.prepare()
    store = LocalStore(bucket)
    location = TrailLocation(bucket, SMALL.prefix, SMALL.organization_id)
    window = DeliveryWindow(SMALL.start, SMALL.end, settle=timedelta(hours=1))
    summary = export.export_log_files(
        list_log_files(store, location, window), store_of=lambda _: store, warehouse=warehouse, selection=wanted
    )
    check_ledger(truth, hook, bucket)
    check_rows(truth, hook)
    check_quarantine(truth, hook, bucket)
    assert summary.loaded == truth.rows
    assert summary.loaded + summary.duplicate == truth.selected
    everything = "\n".join(hook.path.read_bytes().decode("latin-1").splitlines())
    assert truth.secrets
    assert not [secret for secret in truth.secrets if secret in everything]


def check_ledger(truth: Expected, hook: SQLiteHook, bucket: str) -> None:
    ledger = {
        row["log_file_uri"].removeprefix(f"{bucket}/"): row
        for row in hook.rows("SELECT * FROM mwaa_audit_events_files")
    }
    assert set(ledger) == set(truth.files)
    for key, file in truth.files.items():
        row = ledger[key]
        assert (row["status"], row["records"]) == (file.status, file.records), key
        if file.code is not None:
            assert row["reason"].startswith(f"{file.code}: "), key
        elif file.records is not None:
            assert row["loaded"] + row["duplicate"] == file.selected, key
            assert (row["filtered"], row["quarantined"]) == (file.filtered, len(file.quarantined)), key


def check_rows(truth: Expected, hook: SQLiteHook) -> None:
    rows = {row["event_id"]: row for row in hook.rows("SELECT * FROM mwaa_audit_events")}
    assert len(rows) == truth.rows
    assert set(truth.events) <= set(rows)
    assert sum(row["redacted"] for row in rows.values()) == truth.redacted > 0
    for event_id, planted in truth.events.items():
        for name, value in planted.columns.items():
            if isinstance(value, datetime):
                value = value.isoformat(timespec="microseconds")  # noqa: PLW2901
            assert rows[event_id][name] == value, (planted.body, name)
        raw_event = rows[event_id]["raw_event"]
        if planted.secrets or b"\\u" in planted.body:
            assert set(json.loads(raw_event)) == set(json.loads(planted.body))
        else:
            assert raw_event.encode() == planted.body


def check_quarantine(truth: Expected, hook: SQLiteHook, bucket: str) -> None:
    found = {
        (row["log_file_uri"].removeprefix(f"{bucket}/"), row["record_index"]): row["reason"].partition(":")[0]
        for row in hook.rows("SELECT * FROM mwaa_audit_events_quarantine")
    }
    files = {(key, None): code for key, code in truth.quarantined_files.items()}
    assert found == files | truth.quarantined_records
    assert set(found.values()) == {fault.code for fault in HOSTILE}
