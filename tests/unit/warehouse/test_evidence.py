from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.audit_event import MAX_KEY_LENGTH, DigestEntry, FileRows, LedgerEntry, columns_of
from airflow_provider_cloudtrail.warehouse.evidence import Evidence, FileVerdict, LoadedFile, RecordedChain
from tests.support.engines import ENGINES
from tests.support.tables import query

AT = datetime(2026, 2, 3, 10, 5, 12, tzinfo=timezone.utc)


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
            [FileVerdict(uri, "s3://example-trail/0001.json.gz", "verified", AT) for uri in uris[1:]]
            + [FileVerdict(uris[0], None, "unlisted", AT), FileVerdict("s3://b/unknown", None, "unlisted", AT)],
        )
    evidence.write([], [])

    assert query(warehouse, f"SELECT count(*) FROM {evidence.digests}") == [(602,)]
    counts = f"SELECT digest_status, digest_uri, count(*) FROM {warehouse.files} GROUP BY 1, 2 ORDER BY 3"
    assert query(warehouse, counts) == [
        ("unlisted", None, 1),
        ("verified", "s3://example-trail/0001.json.gz", 1_199),
    ]
    assert evidence.chains_since(AT) == [RecordedChain("111122223333", "eu-west-1", "audit", "eu-central-1")]
    assert evidence.chains_since(AT + timedelta(hours=599)) == []


def test_only_the_key_of_a_table_is_a_key():
    assert [column.name for column in columns_of(DigestEntry) if column.kind.value == "key"] == ["digest_uri"]
    assert [column.name for column in columns_of(LedgerEntry) if column.kind.value == "key"] == ["log_file_uri"]
    # Prefix, organization, account, trail name at their longest.
    assert MAX_KEY_LENGTH > 5 + 63 + 200 + 12 + 12 + 20 + 14 + 10 + 12 + 18 + 14 + 128 + 14 + 26
