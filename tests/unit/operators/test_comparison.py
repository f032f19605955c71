"""What is in the bucket, held against the ledger: never loaded, replaced, altered, deleted, unlisted."""

from __future__ import annotations

import gzip
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.trail.store import ObjectError
from tests.support.signed_trail import (
    BUCKET,
    FIRST,
    LAST,
    WINDOW,
    SignedTrail,
)

MIDDLE = 6
DIGESTS = LAST - FIRST + 1
VALID = "SELECT count(*) FROM mwaa_audit_events_digests WHERE status = 'valid'"


def test_what_was_never_loaded_is_handed_on(world, trail):
    summary = world.validate()
    inside = [key for key in trail.in_window() if WINDOW[0] <= stamp(key) < WINDOW[1]]
    assert summary["not_loaded"] == [f"s3://{BUCKET}/{key}" for key in inside]
    assert (summary["files_verified"], summary["files_not_loaded"]) == (0, len(inside))
    text, _ = world.fails(fail_on="not_loaded")
    assert f"not_loaded: {len(inside)}" in text

    world.load(files=summary["not_loaded"])
    assert world.validate()["not_loaded"] == []


@pytest.mark.parametrize("fault", ["access_denied", "too_large"])
def test_what_was_loaded_and_replaced_by_what_nobody_can_read_is_no_never_loaded_file(world, trail, monkeypatch, fault):
    world.load()
    replaced = trail.logs(MIDDLE)[1]
    original = trail.objects[replaced]
    trail.replace(replaced, gzip.compress(b'{"Records":[]}' + b" " * 10_000_000))
    world.use(trail)
    if fault == "access_denied":
        get = world.store.get

        def denied(key, *_):
            if key == replaced:
                raise ObjectError("access_denied", f"{key}: AccessDenied")
            return get(key)

        monkeypatch.setattr(world.store, "get", denied)
    for run_id in ("first", "again"):
        text, summary = world.fails(run_id=run_id, max_file_bytes=1_000_000)
        assert f"cannot be compared: {fault}" in text
        assert (summary["files_altered"], summary["files_not_loaded"], summary["files_downloaded"]) == (1, 0, 1)
        assert world.statuses()[replaced] == "altered"
    # Put back, or readable again: proven.
    trail.objects[replaced] = original
    world.use(trail)
    assert world.validate(run_id="after")["files_altered"] == 0
    assert world.statuses()[replaced] == "verified"
    assert world.findings() == {}


def test_what_was_damaged_when_it_was_loaded_and_put_right_since_has_still_to_be_loaded(world, trail):
    damaged = trail.logs(MIDDLE)[1]
    original = trail.objects[damaged]
    trail.replace(damaged, original.body[:-20])
    world.use(trail)
    world.load(fail_on_quarantine=False)
    assert damaged in world.fails()[0]
    assert world.statuses()[damaged] == "altered"

    # What can be unpacked again is not put right by that.
    trail.replace(damaged, gzip.compress(b'{"Records":[{}]}'))
    world.use(trail)
    _, summary = world.fails(run_id="replaced")
    assert (summary["files_altered"], summary["files_not_loaded"], summary["files_downloaded"]) == (1, 0, 1)

    trail.objects[damaged] = original
    world.use(trail)
    summary = world.validate(run_id="put right")
    assert (summary["files_verified"], summary["files_altered"]) == (len(trail.in_window()) - 1, 0)
    # In quarantine is still what CloudTrail did not deliver.
    assert summary["not_loaded"] == [f"s3://{BUCKET}/{damaged}"]
    assert world.statuses()[damaged] == "altered"

    world.load()
    assert world.validate(run_id="loaded")["files_verified"] == len(trail.in_window())
    assert world.statuses()[damaged] == "verified"
    assert world.findings() == {}


def stamp(key: str) -> datetime:
    return datetime.strptime(key.split("_")[3], "%Y%m%dT%H%MZ").replace(tzinfo=timezone.utc)


def test_what_was_never_loaded_is_downloaded_on_request(world, trail):
    altered, behind, gone, *_ = trail.in_window()[2:]
    trail.flip(altered)
    trail.append(behind, gzip.compress(b'{"Records":[]}'))
    world.use(trail)
    world.store.contents.pop(gone)
    text, summary = world.fails(download_missing=True)
    listed = len(trail.in_window())
    assert (summary["files_downloaded"], summary["files_verified"]) == (listed - 1, listed - 3)
    assert (summary["files_altered"], summary["files_deleted"], summary["files_not_loaded"]) == (2, 1, 0)
    assert altered in text
    assert behind in text


@pytest.mark.parametrize("code", ["access_denied", "archived"])
def test_what_cannot_be_downloaded_is_not_compared(world, trail, monkeypatch, code):
    closed = trail.logs(MIDDLE)[0]
    get = world.store.get

    def refuse(key, *_):
        if key == closed:
            raise ObjectError(code, f"s3://{BUCKET}/{key}: made up")
        return get(key)

    monkeypatch.setattr(world.store, "get", refuse)
    summary = world.validate(download_missing=True)
    assert (summary["files_altered"], summary["files_not_loaded"]) == (0, 1)
    assert summary["not_loaded"] == [f"s3://{BUCKET}/{closed}"]
    assert summary["files_verified"] == len(trail.in_window()) - 1


@pytest.mark.parametrize("loaded", [pytest.param(True, id="loaded"), pytest.param(False, id="never loaded")])
def test_a_log_file_that_is_deleted_before_it_is_fetched(world, trail, monkeypatch, loaded):
    """A listing still had it."""
    gone = trail.logs(MIDDLE)[0]
    if loaded:
        world.load()
        trail.replace(gone, gzip.compress(b'{"Records":[{}]}'))
        world.use(trail)
    get = world.store.get

    def deleted(key, *_):
        if key == gone:
            raise ObjectError("not_found", f"s3://{BUCKET}/{key}: made up")
        return get(key)

    monkeypatch.setattr(world.store, "get", deleted)
    text, summary = world.fails(download_missing=True)
    assert f"{gone}: listed by s3://{BUCKET}/{digest(trail)}" in text
    assert (summary["files_deleted"], summary["files_altered"], summary["files_not_loaded"]) == (1, 0, 0)
    assert world.findings() == {("deleted", gone): True}


def test_what_was_downloaded_is_not_downloaded_again_and_can_still_be_loaded(world, trail):
    altered, behind = trail.logs(MIDDLE)[0], trail.logs(MIDDLE + 2)[0]
    trail.flip(altered)
    trail.append(behind, gzip.compress(b'{"Records":[]}'))
    world.use(trail)
    listed = len(trail.in_window())
    _, first = world.fails(download_missing=True)
    _, again = world.fails(download_missing=True)
    assert (first["files_downloaded"], again["files_downloaded"]) == (listed, 0)
    assert first["files_verified"] == again["files_verified"] == listed - 2
    assert first["found"] == again["found"]
    verdicts = "SELECT digest_status, fault, count(*) FROM mwaa_audit_events_hashes GROUP BY 1, 2 ORDER BY 1, 2"
    expected = [("altered", None, 1), ("altered", "bytes_behind_gzip", 1), ("verified", None, listed - 2)]
    assert world.hook.rows(verdicts) == expected
    assert world.hook.rows("SELECT count(*) FROM mwaa_audit_events_files") == [(0,)]

    # What has been written again since then is fetched again.
    trail.replace(altered, trail.objects[trail.logs(MIDDLE)[1]].body)
    world.use(trail)
    _, third = world.fails(download_missing=True)
    assert third["files_downloaded"] == 1

    # Nothing of it was loaded, so an export loads all of it.
    world.load(fail_on_quarantine=False)
    everything = sum(len(hour.files) for hour in trail.hours)
    balance = (
        "SELECT count(*), sum(records) - sum(loaded) - sum(duplicate) - sum(filtered) - sum(quarantined) "
        "FROM mwaa_audit_events_files"
    )
    assert world.hook.rows(balance) == [(everything, 0)]
    assert world.hook.rows("SELECT count(*) FROM mwaa_audit_events") == [(everything - 2,)]
    _, last = world.fails(download_missing=True)
    assert (last["files_downloaded"], last["files_verified"], last["files_altered"]) == (0, listed - 2, 2)


def test_the_gravest_verdict_on_a_file_stays(world, trail):
    """Whoever can write to the bucket can add a digest that lists what it likes; it must not cover anything up."""
    world.load()
    altered, verified = trail.logs(MIDDLE)
    forged = SignedTrail(trail_name="forged").build()
    for number, key in enumerate(forged.digests):
        forged.sign(key, "00" * 256)
        if number != MIDDLE + 1:
            forged.delete(key)
    lists = SignedTrail(trail_name="forged")
    lists.hours[MIDDLE + 1].files = lists.hours[MIDDLE].files
    lists.build()
    forged.objects[forged.digests[MIDDLE + 1]] = lists.objects[lists.digests[MIDDLE + 1]]
    forged.sign(forged.digests[MIDDLE + 1], "00" * 256)
    trail.replace(altered, gzip.compress(b"{}"))
    world.use(forged, trail)
    _, summary = world.fails()
    statuses = world.statuses()
    assert (statuses[altered], statuses[verified]) == ("altered", "verified")
    # What it lists counts nowhere.
    assert (summary["files_listed"], summary["files_verified"]) == (len(trail.in_window()), len(trail.in_window()) - 1)


@pytest.mark.parametrize("when", ["before-loading", "after-loading"])
@pytest.mark.parametrize(
    "damage",
    [
        SignedTrail.flip,
        SignedTrail.flip_raw,
        lambda trail, key: trail.append(key, gzip.compress(b'{"Records":[]}')),
        lambda trail, key: trail.append(key, b"\0padding"),
        lambda trail, key: trail.replace(key, b'{"Records":[]}'),
        lambda trail, key: trail.replace(key, b""),
    ],
    ids=["flipped", "flipped-raw", "second-member", "leftover-bytes", "not-gzip", "empty"],
)
def test_an_altered_log_file(world, trail, damage, when):
    key = trail.logs(MIDDLE)[1]
    if when == "after-loading":
        world.load()
    damage(trail, key)
    world.use(trail)
    if when == "before-loading":
        world.load(fail_on_quarantine=False)

    text, summary = world.fails()

    assert (summary["files_altered"], summary["digests_invalid"]) == (1, 0)
    assert summary["found"] == {"altered": [f"s3://{BUCKET}/{key}: is not what s3://{BUCKET}/{digest(trail)} lists"]}
    assert key in text
    assert world.statuses() == dict.fromkeys(trail.in_window(), "verified") | {key: "altered"}
    # Only what has changed since it was loaded is read.
    read = [name for name in world.store.gets if "/CloudTrail/" in name]
    assert read == ([key] if when == "after-loading" else [])


def digest(trail):
    return trail.digests[MIDDLE]


def test_an_object_written_again_with_the_same_content_is_no_alarm(world, trail):
    world.load()
    key = trail.logs(MIDDLE)[0]
    trail.replace(key, gzip.compress(gzip.decompress(trail.objects[key].body), 1, mtime=5))
    world.use(trail)
    summary = world.validate()
    assert (summary["files_altered"], summary["files_downloaded"]) == (0, 1)


def test_a_deleted_log_file(world, trail):
    world.load()
    key = trail.logs(MIDDLE)[0]
    trail.delete(key)
    world.use(trail)
    text, summary = world.fails()
    assert summary["files_deleted"] == 1
    assert key in text
    assert world.statuses()[key] == "deleted"


def test_a_log_file_that_no_digest_lists(world, trail):
    forged = trail.log_key(trail.hours[MIDDLE].start + timedelta(minutes=10), "A" * 16)
    trail.objects[forged] = trail.objects[trail.logs(MIDDLE)[0]]
    world.use(trail)
    world.load()
    text, summary = world.fails()
    assert summary["files_unlisted"] == 1
    assert forged in text
    assert world.statuses() == dict.fromkeys(trail.in_window(), "verified") | {forged: "unlisted"}


def test_a_file_listed_by_the_digest_of_another_hour_is_listed(world):
    trail = SignedTrail()
    trail.add_file(trail.hours[MIDDLE], trail.hours[MIDDLE].end + timedelta(minutes=5))
    trail.add_file(trail.hours[LAST], trail.hours[MIDDLE - 2].start + timedelta(minutes=5))
    trail.add_file(trail.hours[FIRST], trail.hours[LAST - 1].start + timedelta(minutes=5))
    world.use(trail.build())
    world.load()
    assert world.validate()["files_verified"] == len(trail.in_window())
