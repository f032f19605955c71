from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from airflow_provider_cloudtrail.trail.local_store import LocalStore
from airflow_provider_cloudtrail.trail.store import ListingDeniedError, ObjectError, StoreError
from tests.support.buckets import KEYS, folder_of_keys
from tests.support.log_files import FolderTrail


@pytest.fixture
def folder(trail: FolderTrail) -> LocalStore:
    return folder_of_keys(trail)


@pytest.mark.parametrize(
    "prefix",
    [
        pytest.param("", id="all"),
        pytest.param("AWSLogs/", id="AWSLogs"),
        pytest.param("AWSLogs/1/", id="account"),
        pytest.param("AWSLogs/1/CloudTrail/eu-west-1/2026/02/03/a.json.gz", id="one key"),
        pytest.param("AWSLogs/1/CloudTrail/eu-west-1/2026/02/03", id="the begin of names"),
        pytest.param("AWSLogs/1/CloudTrail", id="the begin of folders"),
        pytest.param("AWSLogs/1/CloudTrail/", id="logs"),
        pytest.param("AWSLogs/2/", id="nothing there"),
    ],
)
@pytest.mark.parametrize("start_after", ["", *KEYS, "AWSLogs/1/CloudTrail/eu-west-1/2026/02/03", "AWSLogs/1/CloudTrail/f", "zzz"])  # fmt: skip  # noqa: E501
def test_folder_is_listed_in_the_order_of_s3(folder: LocalStore, prefix: str, start_after: str) -> None:
    listed = [entry.key for entry in folder.objects(prefix, start_after)]
    assert listed == sorted(key for key in KEYS if key.startswith(prefix) and key > start_after)


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        pytest.param("", ["AWSLogs", "other"], id="root"),
        pytest.param("AWSLogs/", ["1", "10", "o-abc"], id="accounts"),
        pytest.param("AWSLogs/1/CloudTrail/", ["eu-west-1", "us-east-1"], id="Regions"),
        pytest.param("AWSLogs/2/", [], id="nothing there"),
    ],
)
def test_folders_of_a_folder(folder: LocalStore, prefix: str, names: list[str]) -> None:
    assert folder.folders(prefix) == names


def test_get_from_a_folder_gives_what_the_listing_said(folder: LocalStore) -> None:
    for entry in folder.objects(""):
        stored = folder.get(entry.key)
        assert (stored.body, stored.etag, len(stored.body)) == (entry.key.encode(), entry.etag, entry.size_bytes)


def test_etag_of_a_file_changes_with_the_file(trail: FolderTrail) -> None:
    path = trail.folder / "x"
    path.write_bytes(b"one")
    os.utime(path, ns=(1, 1))
    before = trail.store.get("x").etag
    os.utime(path, ns=(2, 2))
    assert trail.store.get("x").etag != before


@pytest.mark.parametrize("key", ["../outside", "AWSLogs/../../outside", "/etc/hostname"])
def test_no_key_leads_out_of_the_folder(trail: FolderTrail, key: str) -> None:
    (trail.folder.parent / "outside").write_bytes(b"x")
    (trail.folder / "AWSLogs").mkdir(parents=True)
    assert list(trail.store.objects(key)) == []
    with pytest.raises(ObjectError) as raised:
        trail.store.get(key)
    assert raised.value.code == "not_found"


def test_missing_file(trail: FolderTrail) -> None:
    with pytest.raises(ObjectError, match="AWSLogs/x: the file is not there") as caught:
        trail.store.get("AWSLogs/x")
    assert caught.value.code == "not_found"
    assert pickle.loads(pickle.dumps(caught.value)).code == "not_found"


def test_file_that_is_too_large(trail: FolderTrail) -> None:
    (trail.folder / "x").write_bytes(bytes(101))
    with pytest.raises(ObjectError, match="x: it has 101 bytes, more than max_file_bytes=100") as caught:
        trail.store.get("x", 100)
    assert caught.value.code == "too_large"
    assert len(trail.store.get("x", 101).body) == 101


def test_file_that_is_a_folder(trail: FolderTrail) -> None:
    (trail.folder / "AWSLogs").mkdir()
    with pytest.raises(StoreError, match="AWSLogs: Is a directory"):
        trail.store.get("AWSLogs")


def test_link_whose_file_is_gone_is_listed_and_not_there(trail: FolderTrail) -> None:
    """As an object that cannot be read it is put into quarantine, and does not end the run."""
    for name in ("a", "c"):
        (trail.folder / name).write_bytes(b"1")
    (trail.folder / "b").symlink_to(trail.folder / "elsewhere")
    assert [entry.key for entry in trail.store.objects("")] == ["a", "b", "c"]
    with pytest.raises(ObjectError, match="b: the file is not there"):
        trail.store.get("b")


def test_file_that_is_deleted_while_its_folder_is_listed(trail: FolderTrail) -> None:
    for name in ("a", "b", "c"):
        (trail.folder / name).write_bytes(b"1")
    listing = trail.store.objects("")
    assert next(listing).key == "a"
    (trail.folder / "b").unlink()
    assert [entry.key for entry in listing] == ["c"]


def test_link_that_leads_to_itself(trail: FolderTrail) -> None:
    (trail.folder / "a").symlink_to("a")
    with pytest.raises(StoreError, match=r"listing file:///.*/a: Too many levels of symbolic links"):
        list(trail.store.objects(""))


def test_folder_that_must_not_be_read(trail: FolderTrail, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    # As root, who may read everything, a test cannot do without.
    monkeypatch.setattr(os, "scandir", denied)
    monkeypatch.setattr(Path, "iterdir", denied)
    for listing in (trail.store.folders, lambda prefix: list(trail.store.objects(prefix))):
        with pytest.raises(ListingDeniedError, match=rf"listing file:///.*: no permission to read {trail.folder}"):
            listing("")


def test_folder_with_a_space(tmp_path: Path) -> None:
    (tmp_path / "a copy").mkdir()
    (tmp_path / "a copy" / "x").write_bytes(b"1")
    assert LocalStore(f"file://{tmp_path}/a%20copy").get("x").body == b"1"
    assert LocalStore(f"file://{tmp_path}/a copy").get("x").body == b"1"
