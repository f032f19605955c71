"""A local copy of a trail bucket: lists and gets its files as S3 does its objects."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_provider_cloudtrail.trail.object_uris import local_folder
from airflow_provider_cloudtrail.trail.store import (
    ListedObject,
    ListingDeniedError,
    ObjectError,
    StoredObject,
    StoreError,
    refuse_above,
)


class LocalStore:
    """
    A folder that holds a copy of a trail bucket, for instance made by ``aws s3 sync``.

    :param bucket: ``file://`` URI of the folder.
    """

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._folder = Path(local_folder(bucket))

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders under ``prefix``."""
        folder = self._folder / prefix
        with self._listing(prefix):
            return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []

    def objects(self, prefix: str, start_after: str = "", *, make_sure: bool = True) -> Iterator[ListedObject]:  # noqa: ARG002
        """Yield the files under ``prefix``; their ETag says when they were written and how long they are."""
        # Folder by folder, as S3 sorts: by the whole key, in which "/" is a character like others.
        folder = prefix[: prefix.rfind("/") + 1]
        if not _leads_out(folder):
            with self._listing(prefix):
                yield from self._walk(self._folder / folder, folder, start_after, prefix)

    @contextmanager
    def _listing(self, prefix: str) -> Iterator[None]:
        try:
            yield
        except PermissionError as error:
            raise ListingDeniedError(
                f"listing {self._bucket}/{prefix}: no permission to read {error.filename}; who runs the worker needs it"
            ) from None
        except OSError as error:
            raise StoreError(f"listing {self._bucket}/{prefix}: {error.filename}: {error.strerror}") from error

    def _walk(self, folder: Path, prefix: str, start_after: str, wanted: str = "") -> Iterator[ListedObject]:
        if not folder.is_dir():
            return
        with os.scandir(folder) as entries:
            names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries)
        for name in names:
            key = prefix + name
            if not key.startswith(wanted):
                continue
            if name.endswith("/"):
                if key > start_after or start_after.startswith(key):
                    yield from self._walk(folder / name, key, start_after)
            elif key > start_after:
                path = f"{folder}/{name}"
                try:
                    stat = os.stat(path)  # noqa: PTH116 - a Path for each file takes longer than the call
                except FileNotFoundError:
                    # Who has deleted it since has done so before it was listed; but a link whose file is gone is there.
                    if not os.path.islink(path):  # noqa: PTH114
                        continue
                    stat = os.lstat(path)
                yield ListedObject(key, stat.st_size, self._etag(stat))

    @staticmethod
    def _etag(stat: os.stat_result) -> str:
        return f"{stat.st_mtime_ns:x}-{stat.st_size:x}"

    def get(self, key: str, most_bytes: int | None = None) -> StoredObject:
        """Read a file."""
        if _leads_out(key):
            raise ObjectError("not_found", f"{self._bucket}/{key}: no key in a copy of a bucket")
        try:
            with open(f"{self._folder}/{key}", "rb", buffering=0) as file:  # noqa: PTH123 - see _walk
                stat = os.fstat(file.fileno())
                refuse_above(most_bytes, stat.st_size, f"{self._bucket}/{key}")
                return StoredObject(file.read(), self._etag(stat))
        except FileNotFoundError:
            raise ObjectError("not_found", f"{self._bucket}/{key}: the file is not there") from None
        except PermissionError:
            raise ObjectError("access_denied", f"{self._bucket}/{key}: no permission to read the file") from None
        except OSError as error:
            raise StoreError(f"{self._bucket}/{key}: {error.strerror}") from error


def _leads_out(path: str) -> bool:
    """Tell whether a path can leave the folder; in S3 two dots are a name like others."""
    return path.startswith("/") or ".." in path.split("/")
