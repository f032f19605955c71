"""Which digests are verified, and what is said where some are missing, wrong or elsewhere."""

from __future__ import annotations

import gzip
import hashlib
import re
import threading
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from airflow_provider_cloudtrail._compat import AirflowFailException
from airflow_provider_cloudtrail.exceptions import (
    CloudTrailBucketError,
    CloudTrailDigestsPendingError,
    CloudTrailError,
    CloudTrailIntegrityError,
)
from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.operators.cloudtrail import CloudTrailValidateLogsOperator
from airflow_provider_cloudtrail.trail import digest_reader
from airflow_provider_cloudtrail.trail.store import StoreError
from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator
from airflow_provider_cloudtrail.validation import digest_batches
from airflow_provider_cloudtrail.validation import run as validation_run
from tests.support.face import sqlite_warehouse
from tests.support.signed_trail import (
    ACCOUNT,
    BUCKET,
    EMPTY,
    FIRST,
    HOME,
    LAST,
    REGION,
    TRAIL,
    WINDOW,
    Hour,
    SignedTrail,
    signing_key,
)

MIDDLE = 6
DIGESTS = LAST - FIRST + 1
VALID = "SELECT count(*) FROM mwaa_audit_events_digests WHERE status = 'valid'"


def damaged(trail, *keys):
    """Return what the digests that are in the window shall have as status, beside the damaged ones."""
    return {key: ("valid", None) for key in trail.digests[FIRST : LAST + 1] if key not in keys}


def test_a_loaded_window_is_proven_without_reading_a_log_file(world, trail):
    world.load()
    summary = world.validate()

    assert [key for key in world.store.gets if "/CloudTrail/" in key] == []
    assert (summary["digests"], summary["digests_valid"], summary["gaps"]) == (DIGESTS, DIGESTS, 0)
    files = trail.in_window()
    assert (summary["files_listed"], summary["files_verified"]) == (len(files), len(files))
    assert world.statuses() == dict.fromkeys(files, "verified")
    assert world.digests() == damaged(trail)
    rows = world.hook.rows(
        "SELECT digest_uri, verified_at IS NOT NULL FROM mwaa_audit_events_files "
        f"WHERE log_file_uri LIKE '%{trail.logs(MIDDLE)[0]}'"
    )
    assert rows == [(f"s3://{BUCKET}/{trail.digests[MIDDLE]}", 1)]
    counts = world.hook.rows(
        "SELECT files_listed, files_verified, verified_by, previous_digest_uri FROM mwaa_audit_events_digests "
        f"WHERE digest_uri LIKE '%{trail.digests[MIDDLE]}'"
    )
    assert counts == [(2, 2, "d.t r", f"s3://{BUCKET}/{trail.digests[MIDDLE - 1]}")]


def test_what_proves_a_digest_is_kept(world, trail):
    world.load()
    trail.lose_metadata(trail.digests[MIDDLE + 1])
    world.use(trail)
    world.validate()
    kept = (
        "account_id, region, trail_name, home_region, backfill, covered_from, covered_to, reason, proof, sha256, "
        "public_key_fingerprint"
    )
    rows = world.hook.rows(f"SELECT digest_uri, {kept} FROM mwaa_audit_events_digests ORDER BY digest_uri")
    rows = {uri.partition(f"{BUCKET}/")[2]: row for uri, *row in rows}
    for number, proof in ((MIDDLE, "own_signature"), (MIDDLE + 1, "next_digest")):
        hour, key = trail.hours[number], trail.digests[number]
        times = [moment.isoformat(timespec="microseconds") for moment in (hour.start, hour.end)]
        content = gzip.decompress(trail.objects[key].body)
        proven_by = [proof, hashlib.sha256(content).hexdigest(), signing_key(0).fingerprint]
        assert rows[key] == [ACCOUNT, REGION, TRAIL, HOME, 0, *times, None, *proven_by]


def test_again_gives_the_same(world, trail):
    world.load()
    first, again = world.validate(), world.validate()
    assert {**first, "seconds": 0} == {**again, "seconds": 0}
    assert world.hook.rows(VALID) == [(DIGESTS,)]


def test_one_batch_per_digest_gives_the_same(world, trail, monkeypatch):
    monkeypatch.setattr(digest_batches, "_BATCH_FILES", 1)
    world.load()
    assert world.validate()["files_verified"] == len(trail.in_window())


@pytest.mark.parametrize(
    ("most_ahead", "gets"),
    [pytest.param(100_000, 1, id="their objects are fetched"), pytest.param(0, 2, id="nothing of them is held")],
)
def test_large_digests_are_taken_apart_when_their_turn_has_come(world, trail, monkeypatch, most_ahead, gets):
    monkeypatch.setattr(digest_batches, "_SMALL_BYTES", 0)
    monkeypatch.setattr(digest_batches, "_MOST_BYTES_AHEAD", most_ahead)
    parse, threads = digest_reader.parse_digest, []

    def parsed(*arguments):
        threads.append(threading.current_thread().name)
        return parse(*arguments)

    monkeypatch.setattr(digest_reader, "parse_digest", parsed)
    world.load()
    summary = world.validate()
    assert (summary["digests_valid"], summary["files_verified"]) == (DIGESTS, len(trail.in_window()))
    # Those that fetch have names of their own.
    assert len(threads) == len(world.store.gets) / gets
    assert not any(name.startswith("cloudtrail_") for name in threads)


@pytest.mark.parametrize("in_one_batch", [1, 400])
def test_what_was_read_before_the_bucket_failed_is_recorded(world, trail, monkeypatch, in_one_batch):
    monkeypatch.setattr(digest_batches, "_BATCH_DIGESTS", in_one_batch)
    world.load()
    get = world.store.get

    def fail(key, *_):
        if key == trail.digests[MIDDLE]:
            raise StoreError("503: slow down")
        return get(key)

    monkeypatch.setattr(world.store, "get", fail)
    with pytest.raises(CloudTrailBucketError, match="slow down"):
        world.validate()
    # The one before may have to be proven by the one that did not come.
    before = trail.digests[FIRST : MIDDLE - 1]
    assert world.digests() == dict.fromkeys(before, ("valid", None))
    assert set(world.statuses().values()) == {"verified"}


@pytest.mark.parametrize("missing", [(MIDDLE,), (MIDDLE, MIDDLE + 1), (FIRST,), (LAST,), range(LAST - 2, 17)])
def test_deleted_digests_fail_the_task(world, trail, missing):
    world.load()
    trail.delete(*(trail.digests[number] for number in missing))
    world.use(trail)
    text, summary = world.fails()
    assert summary["gaps"] == 1
    assert "no digest from" in text
    lost = sum(len(trail.logs(number)) for number in missing if number <= LAST)
    assert summary["files_unlisted"] in range(lost - 2, lost + 1)


def test_all_digests_deleted_fails_the_task(world, trail):
    world.load()
    trail.delete(*trail.digests)
    world.use(trail)
    text, _ = world.fails()
    assert "no digest at all" in text
    # Whatever else is asked for.
    assert "no digest at all" in world.fails(fail_on=[])[0]


def test_all_digests_and_log_files_deleted_is_known_from_the_table(world, trail):
    other = SignedTrail(region="us-east-1").build()
    world.use(trail, other)
    world.load()
    world.validate()
    world.use(other)
    world.trails.append(trail)
    text, summary = world.fails()
    assert f"{ACCOUNT} {REGION} (trail audit_trail): no digest" in text
    assert summary["gaps"] == 1


def test_an_empty_bucket_fails_the_task(world):
    text, _ = world.fails()
    assert "no digest at all" in text
    # A wrong prefix looks the same.
    assert re.search(r"below s3://\S+/AWSLogs/\S*; check bucket, prefix", text)


@pytest.mark.parametrize(
    "arguments", [{"account_ids": "111122223333,999999999999"}, {"regions": "eu-west-1,us-east-1"}]
)
def test_accounts_and_regions_given_must_have_digests(world, trail, arguments):
    text, summary = world.fails(**arguments)
    assert "no digest at all" in text
    assert summary["gaps"] == 1


def test_a_region_that_fell_silent(world, trail):
    other = SignedTrail(region="us-east-1")
    del other.hours[FIRST - 1 :]
    world.use(trail, other.build())
    world.load()
    text, summary = world.fails()
    assert "us-east-1 (trail audit_trail): no digest from 2026-02-03T00:00:00+00:00" in text
    assert "unlike in the days before" in text
    assert summary["gaps"] == 1


def test_an_account_that_is_new(world, trail):
    other = SignedTrail(account="444455556666")
    del other.hours[:MIDDLE]
    world.use(trail, other.build())
    world.load()
    summary = world.validate()
    assert summary["gaps"] == 0
    assert summary["began"][0].startswith("444455556666 eu-west-1")


def test_an_invalid_digest_does_not_prove_its_files(world, trail):
    world.load()
    trail.sign(trail.digests[MIDDLE], "00" * 256)
    world.use(trail)
    text, summary = world.fails()
    assert (summary["digests_invalid"], summary["files_unlisted"], summary["gaps"]) == (1, 0, 0)
    assert "wrong_signature" in text
    expected = dict.fromkeys(trail.in_window(), "verified") | dict.fromkeys(trail.logs(MIDDLE), "digest_invalid")
    assert world.statuses() == expected
    assert world.digests()[trail.digests[MIDDLE]] == ("invalid", "wrong_signature")


def test_only_what_fail_on_names_fails(world, trail):
    world.load()
    trail.sign(trail.digests[MIDDLE], "00" * 256)
    world.use(trail)
    summary = world.validate(fail_on="altered, deleted")
    assert summary["digests_invalid"] == 1
    with pytest.raises(ValueError, match="there is no wrong; write some of invalid"):
        world.validate(fail_on="wrong")


def test_a_switch_that_is_a_text_is_refused(world):
    with pytest.raises(ValueError, match="download_missing='False' is neither True nor False"):
        world.validate(download_missing="False")


@pytest.mark.parametrize("missing", [None, "None", ["None"]])
def test_what_fails_the_task_is_not_left_to_a_missing_value(world, missing):
    said = r"fail_on (is not set; write some of invalid.*, or \[\] to fail only where there is no digest|holds None)"
    with pytest.raises(ValueError, match=said):
        world.validate(fail_on=missing)


def test_what_is_no_region_fails_before_any_work(world):
    with pytest.raises(ValueError, match="'eu-west1' is no Region"):
        world.validate(regions="eu-west1")
    assert world.hook.rows("SELECT name FROM sqlite_master") == []


def test_backfill_is_a_chain_of_its_own(world):
    trail = SignedTrail()
    for number in (MIDDLE, MIDDLE + 2):
        hour = Hour(trail.hours[number].start, backfill=True, signed_by=1)
        trail.add_file(hour, hour.start + timedelta(minutes=30))
        trail.hours.append(hour)
    world.use(trail.build())
    world.load()
    summary = world.validate()
    assert (summary["digests_backfill"], summary["digests"], summary["gaps"]) == (2, DIGESTS + 2, 0)
    assert summary["files_unlisted"] == 0

    trail.delete(trail.backfills[0])
    world.use(trail)
    text, summary = world.fails()
    assert (summary["digests_missing"], summary["files_unlisted"]) == (1, 1)
    assert trail.backfills[0] in text


def test_the_key_of_a_backfill_digest_is_of_the_time_when_it_was_made(world, monkeypatch):
    trail = SignedTrail()
    hour = Hour(trail.hours[MIDDLE].start, backfill=True, signed_by=1)
    trail.hours.append(hour)
    world.use(trail.build())
    asked = []

    def public_keys(region, start, end):
        asked.append((start, end))
        wanted = signing_key(0 if len(asked) == 1 else 1).fingerprint
        return [key for key in trail.public_keys() if key.fingerprint == wanted]

    monkeypatch.setattr(CloudTrailHook, "list_public_keys", lambda _, *question: public_keys(*question))
    assert world.validate()["digests_invalid"] == 0
    made = datetime(2026, 2, 3, 23, tzinfo=timezone.utc)
    assert asked[1] == (made - timedelta(hours=2), made + timedelta(hours=3))


def test_two_trails_in_one_bucket(world, trail):
    other = SignedTrail(trail_name="second_one")
    for hour in other.hours:
        hour.files.clear()
    world.use(trail, other.build())
    world.load()
    assert world.validate()["digests_valid"] == 2 * DIGESTS

    other.delete(*other.digests[LAST - 2 :])
    world.use(trail, other)
    text, _ = world.fails()
    assert "(trail second_one): no digest" in text


def test_organization_layout_with_a_prefix(world):
    trails = [
        SignedTrail(account=account, region=region, root="audit/x/AWSLogs/o-exampleorgid/").build()
        for account in (ACCOUNT, "444455556666")
        for region in (REGION, "us-east-1")
    ]
    world.use(*trails)
    world.load(prefix="audit/x")
    for organization_id in ("o-exampleorgid", None):
        summary = world.validate(prefix="audit/x", organization_id=organization_id)
        assert (summary["accounts_and_regions"], summary["digests_valid"]) == (4, 4 * DIGESTS)
        assert summary["files_verified"] == 4 * len(trails[0].in_window())
    assert [key for key in world.store.gets if "/CloudTrail/" in key] == []


def test_the_newest_digests_may_still_come(world, trail, monkeypatch):
    world.load()
    trail.delete(*trail.digests[LAST:])
    world.use(trail)
    now = WINDOW[1] + timedelta(minutes=10)
    monkeypatch.setattr(validation_run, "datetime", SimpleNamespace(now=lambda zone: now))
    with pytest.raises(CloudTrailDigestsPendingError) as raised:
        world.validate()
    assert not isinstance(raised.value, AirflowFailException)
    assert isinstance(raised.value, CloudTrailError)
    assert "audit_trail" in str(raised.value)
    monkeypatch.setattr(validation_run, "datetime", SimpleNamespace(now=lambda zone: now + timedelta(hours=2)))
    assert "the newest are missing" in world.fails()[0]


def test_a_copy_of_a_bucket_in_a_folder(tmp_path, monkeypatch):
    sqlite_warehouse(tmp_path / "audit.sqlite", monkeypatch)
    trail = SignedTrail().build()
    trail.write(tmp_path / "copy")
    monkeypatch.setattr(CloudTrailHook, "list_public_keys", lambda *_: trail.public_keys())
    arguments = {"bucket": f"file://{tmp_path}/copy", "delivered_from": WINDOW[0], "delivered_to": WINDOW[1]}
    CloudTrailToSqlOperator(task_id="load", **arguments).execute({})

    summary = CloudTrailValidateLogsOperator(task_id="validate", **arguments).execute({})

    assert (summary["digests_valid"], summary["digests_vouched"]) == (DIGESTS, DIGESTS)
    assert summary["files_verified"] == len(trail.in_window())
    trail.flip(trail.digests[MIDDLE])
    trail.write(tmp_path / "copy")
    with pytest.raises(CloudTrailIntegrityError, match="wrong_signature"):
        CloudTrailValidateLogsOperator(task_id="validate", **arguments).execute({})


def test_the_hour_without_log_files_is_covered(world, trail):
    assert trail.logs(EMPTY) == []
    world.load()
    world.validate()
    rows = world.hook.rows(
        f"SELECT status, files_listed FROM mwaa_audit_events_digests WHERE digest_uri LIKE '%{trail.digests[EMPTY]}'"
    )
    assert rows == [("valid", 0)]
