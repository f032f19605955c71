from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.audit_event import (
    MAX_KEY_LENGTH,
    DigestEntry,
    FileRows,
    FindingEntry,
    LedgerEntry,
    columns_of,
)
from airflow_provider_cloudtrail.warehouse.evidence import Evidence, FileVerdicts, LoadedFile, RecordedChain
from airflow_provider_cloudtrail.warehouse.findings import Examined
from tests.support.engines import ENGINES
from tests.support.tables import query

AT = datetime(2026, 2, 3, 10, 5, 12, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


def digest(number: int, **others) -> DigestEntry:
    entry = DigestEntry(
        digest_uri=f"s3://example-trail/{number:04}.json.gz",
        account_id="111122223333",
        region="eu-west-1",
        trail_name="audit",
        home_region="eu-central-1",
        backfill=False,
        covered_from=AT + (number - 1) * timedelta(hours=1),
        covered_to=AT + number * timedelta(hours=1),
        status="valid",
        reason=None,
        proof="own_signature",
        sha256="ab" * 32,
        public_key_fingerprint="cd" * 16,
        previous_digest_uri=None,
        files_listed=2,
        files_verified=2,
        files_altered=0,
        files_deleted=0,
        files_not_loaded=0,
        verified_at=AT,
        verified_by="dag.task run",
    )
    return entry._replace(**others)


def ledger(number: int) -> LedgerEntry:
    return LedgerEntry(
        f"s3://example-trail/log-{number:04}",
        "etag",
        10,
        f"{number:064}",
        *("111122223333", "eu-west-1", AT, 1, 0, 0, 1, 0, "loaded", None, "{}", AT, None, None, None, None),
    )


def finding(name: str, *, seen: datetime = AT, hour: int = 0, **others) -> FindingEntry:
    entry = FindingEntry(
        finding_id=name,
        kind="altered",
        fails=True,
        location="s3://example-trail/AWSLogs/",
        account_id="111122223333",
        region="eu-west-1",
        trail_name="audit",
        object_uri=f"s3://example-trail/{name}",
        covered_from=AT + hour * HOUR,
        covered_to=AT + (hour + 1) * HOUR,
        objects=1,
        message="is not what it was",
        first_seen_at=seen,
        last_seen_at=seen,
        last_seen_by="dag.task run",
        resolved_at=None,
        resolved_by=None,
    )
    return entry._replace(**others)


def examined(seen: datetime, **others) -> Examined:
    whole = Examined("s3://example-trail/", AT, AT + 24 * HOUR, AT, None, None, (), seen, "dag.task later")
    return whole._replace(**others)


@pytest.mark.parametrize("engine", ENGINES)
def test_findings_are_kept_until_they_are_gone(engine, new_warehouse):
    evidence = Evidence(new_warehouse(engine))
    evidence.prepare()
    findings, warehouse = evidence.findings, evidence._warehouse
    gap = {"kind": "gap", "object_uri": None}
    absent = {**gap, "trail_name": None}
    found = [
        *(finding(f"file-{number:04}", hour=number % 24) for number in range(1_200)),
        finding("gap", **gap),
        finding("silent", **absent, account_id=None, region="eu-west-1"),
        finding("empty", **absent, account_id=None, region=None),
        finding("next-day", hour=24),
        finding("elsewhere", location="s3://example%trail/AWSLogs/"),
    ]
    evidence.write([], [], found)
    later = AT + timedelta(days=2)
    again = [one._replace(fails=False, first_seen_at=later, last_seen_at=later) for one in found[:600]]
    # The same gap, as a window sees it that begins later.
    again.append(finding("gap-of-another-window", seen=later, **gap, covered_from=AT + HOUR / 2))
    evidence.write([], [], again)

    def open_ones(condition: str) -> list[str]:
        rows = query(
            warehouse,
            f"SELECT finding_id FROM {findings.name} WHERE resolved_at IS NULL AND {condition} ORDER BY finding_id",
        )
        return [row[0] for row in rows]

    of_files = f"object_uri IS NOT NULL AND location = '{found[0].location}' AND finding_id LIKE 'file%'"
    others = "finding_id NOT LIKE 'file%'"
    everything_else = ["elsewhere", "empty", "gap", "gap-of-another-window", "next-day", "silent"]
    for other in (
        examined(later, location="s3://other-trail/"),
        examined(later, account_ids=["444455556666"]),
        examined(later, regions=["us-east-1"]),
        examined(later, start=AT - HOUR, end=AT),
        examined(AT),
    ):
        findings.resolve(other)
        assert len(open_ones(of_files)) == 1_200
    findings.resolve(examined(later, account_ids=["111122223333"], regions=["us-east-1", "eu-west-1"]))
    assert open_ones(of_files) == [one.finding_id for one in found[:600]]
    assert open_ones(others) == everything_else
    # Only a digest proves that there is one.
    findings.resolve(examined(later, with_digests=[("111122223333", "us-east-1")]))
    assert open_ones(others) == ["elsewhere", "gap", "gap-of-another-window", "next-day", "silent"]
    findings.resolve(examined(later, with_digests=[("111122223333", "eu-west-1")]))
    assert open_ones(others) == ["elsewhere", "gap", "gap-of-another-window", "next-day"]

    counted = f"SELECT fails, count(*) FROM {findings.name} WHERE first_seen_at < last_seen_at GROUP BY 1 ORDER BY 1"
    assert [(bool(fails), number) for fails, number in query(warehouse, counted)] == [(False, 600), (True, 1)]
    resolved = f"SELECT resolved_by, count(*) FROM {findings.name} WHERE resolved_at IS NOT NULL GROUP BY 1"
    assert query(warehouse, resolved) == [("dag.task later", 602)]
    evidence.write([], [], [found[700]._replace(last_seen_at=later + HOUR)])
    assert len(open_ones(of_files)) == 601

    young = finding("young", kind="unlisted", hour=-1)
    evidence.write([], [], [young])
    assert findings.still_there(["young", "unknown"], later, young.last_seen_by) == set()
    assert findings.still_there(["young", "unknown"], later, None) == set()
    findings.resolve(examined(later))
    assert "young" in open_ones(others)
    findings.resolve(examined(later, unlisted_from=AT - HOUR))
    assert "young" not in open_ones(others)
    assert findings.still_there(["young", "unknown"], later, "dag.task another") == {"young"}
    findings.resolve(examined(later, unlisted_from=AT - HOUR))
    assert "young" in open_ones(others)


@pytest.mark.parametrize("engine", ENGINES)
def test_digests_and_verdicts_are_stored_once(engine, new_warehouse):
    warehouse = new_warehouse(engine)
    evidence = Evidence(warehouse)
    evidence.prepare()
    evidence.prepare()
    files = [ledger(number) for number in range(1_200)]
    warehouse.write([FileRows(file, [], []) for file in files])
    uris = [file.log_file_uri for file in files]

    loaded = evidence.loaded_files([*uris, "s3://example-trail/unknown"])
    assert len(loaded) == len(files)
    assert loaded[uris[7]] == LoadedFile(uris[7], "etag", f"{7:064}", None)
    assert evidence.loaded_files([]) == {}

    for _ in range(2):
        entries = [digest(number) for number in range(600)]
        entries += [digest(700, status="missing"), digest(701, backfill=True, trail_name="other")]
        evidence.write(
            entries,
            [
                FileVerdicts(uris[1:600], "s3://example-trail/0000.json.gz", "verified", AT),
                # Listed twice.
                FileVerdicts(uris[1:], "s3://example-trail/0001.json.gz", "verified", AT),
                FileVerdicts([uris[0], "s3://b/unknown"], None, "unlisted", AT),
                FileVerdicts([], "s3://example-trail/0002.json.gz", "altered", AT),
            ],
        )
    evidence.write([], [])

    assert query(warehouse, f"SELECT count(*) FROM {evidence.digests}") == [(602,)]
    counts = f"SELECT digest_status, digest_uri, count(*) FROM {warehouse.files} GROUP BY 1, 2 ORDER BY 3"
    assert query(warehouse, counts) == [
        ("unlisted", None, 1),
        ("verified", "s3://example-trail/0001.json.gz", 1_199),
    ]
    recorded = evidence.chains_between(AT, AT + timedelta(days=60), "s3://example-trail/")
    assert recorded == [RecordedChain("111122223333", "eu-west-1", "audit", "eu-central-1")]
    assert evidence.chains_between(AT, AT + timedelta(days=60), "s3://other-trail/") == []
    assert evidence.chains_between(AT + timedelta(hours=599), AT + timedelta(days=60), "s3://example-trail/") == []


@pytest.mark.parametrize("engine", ENGINES)
def test_the_gravest_verdict_of_a_run_stays_until_the_next_run(engine, new_warehouse):
    warehouse = new_warehouse(engine)
    evidence = Evidence(warehouse)
    evidence.prepare()
    files = [ledger(number) for number in range(240)]
    warehouse.write([FileRows(file, [], []) for file in files])
    uris = [file.log_file_uri for file in files]
    evidence.write([], [FileVerdicts(uris[::2], "s3://b/altered", "altered", AT)])

    def verdicts() -> list[tuple]:
        return query(
            warehouse, f"SELECT digest_status, min(digest_uri), count(*) FROM {warehouse.files} GROUP BY 1 ORDER BY 1"
        )

    # Each listed by a digest of its own, all by the same one.
    evidence.write([], [FileVerdicts([uri], f"s3://b/{number:03}", "verified", AT) for number, uri in enumerate(uris)])
    assert verdicts() == [("altered", "s3://b/altered", 120), ("verified", "s3://b/001", 120)]
    evidence.write([], [FileVerdicts(uris, "s3://b/all", "verified", AT)])
    assert verdicts() == [("altered", "s3://b/altered", 120), ("verified", "s3://b/all", 120)]
    evidence.write([], [FileVerdicts(uris, "s3://b/later", "verified", AT + HOUR)])
    assert verdicts() == [("verified", "s3://b/later", 240)]


KEPT = {
    ("altered", "verified"): "altered",
    ("deleted", "verified"): "deleted",
    ("verified", "altered"): "altered",
    ("verified", "deleted"): "deleted",
    ("verified", "digest_invalid"): "verified",
    ("altered", "digest_invalid"): "altered",
    ("deleted", "digest_invalid"): "deleted",
    ("digest_invalid", "verified"): "verified",
}
"""Verdicts of one run on a file, and which of them stays."""


@pytest.mark.parametrize("engine", ENGINES)
def test_which_verdict_of_a_run_stays(engine, new_warehouse):
    warehouse = new_warehouse(engine)
    evidence = Evidence(warehouse)
    evidence.prepare()
    files = [ledger(number) for number in range(len(KEPT))]
    warehouse.write([FileRows(file, [], []) for file in files])
    uris = [file.log_file_uri for file in files]

    def statuses():
        rows = query(warehouse, f"SELECT digest_status FROM {warehouse.files} ORDER BY log_file_uri")
        return [row[0] for row in rows]

    for said in zip(*KEPT, strict=True):
        verdicts = [FileVerdicts([uri], None, status, AT) for uri, status in zip(uris, said, strict=True)]
        evidence.write([], verdicts)
    assert statuses() == list(KEPT.values())
    evidence.write([], [FileVerdicts(uris, None, "digest_invalid", AT + HOUR)])
    assert statuses() == ["digest_invalid"] * len(KEPT)


def test_only_the_key_of_a_table_is_a_key():
    assert [column.name for column in columns_of(DigestEntry) if column.kind.value == "key"] == ["digest_uri"]
    assert [column.name for column in columns_of(FindingEntry) if column.kind.value == "key"] == ["finding_id"]
    assert [column.name for column in columns_of(LedgerEntry) if column.kind.value == "key"] == ["log_file_uri"]
    # Prefix, organization, account, trail name at their longest.
    assert MAX_KEY_LENGTH > 5 + 63 + 200 + 12 + 12 + 20 + 14 + 10 + 12 + 18 + 14 + 128 + 14 + 26
