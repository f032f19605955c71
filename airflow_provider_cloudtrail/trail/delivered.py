"""
What lies in the bucket, beside what the digests list: digests and log files of one account and Region.

Both are listed in the order of their stamps and held against each other in one pass, so that the memory
that this takes does not grow with the window.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import NamedTuple

from airflow_provider_cloudtrail.one_ahead import one_ahead
from airflow_provider_cloudtrail.trail.bucket_threads import BucketThreads
from airflow_provider_cloudtrail.trail.day_folders import day_folder, first_key, is_behind
from airflow_provider_cloudtrail.trail.digest import Chain, DigestKey, digest_key
from airflow_provider_cloudtrail.trail.listing import is_organization, layouts
from airflow_provider_cloudtrail.trail.listings_ahead import listings_ahead
from airflow_provider_cloudtrail.trail.log_file import (
    Folder,
    TrailLocation,
    log_file,
    stamps_of,
)
from airflow_provider_cloudtrail.trail.object_uris import object_uri
from airflow_provider_cloudtrail.trail.store import Store

SLACK = timedelta(hours=3)
"""How far the stamp of a log file may lie from the time that its digest covers without costing a request."""

_PAGE = 1_000

MOST_UNLISTED = 20_000
"""Unlisted log files of one account and Region that are kept by name; of more, only the number is known."""


PresentFile = tuple[str, datetime, str]
"""
A log file that lies in the bucket: its key, its stamp (UTC) and its ETag.

A plain tuple, which the garbage collector looks at once; it keeps looking at objects of all other kinds, and of these
some hours are held.
"""


class UnlistedFile(NamedTuple):
    """
    A log file that no digest lists.

    :param bucket: name of the bucket, or ``file://`` URI of a local copy.
    :param key: key in the bucket.
    :param delivered_at: stamp in the name, UTC.
    :param etag: ETag as listed, without quotes.
    """

    bucket: str
    key: str
    delivered_at: datetime
    etag: str

    @property
    def uri(self) -> str:
        """``s3://bucket/key``; ``file:///folder/key`` for a local copy."""
        return object_uri(self.bucket, self.key)


@dataclass(frozen=True)
class AccountRegion:
    """
    The folders of one account and Region: one, or several if it delivers to several layouts.

    The management account of an organization may have a trail of its own, and a trail that becomes one of
    the organization goes on in the other layout.

    :param digests: key prefixes of its digests, ``.../ACCOUNT/CloudTrail-Digest/REGION/``.
    :param logs: key prefixes of its log files.
    """

    account_id: str
    region: str
    digests: tuple[str, ...]
    logs: tuple[str, ...]


def account_regions(
    store: Store,
    location: TrailLocation,
    account_ids: Collection[str] | None = None,
    regions: Collection[str] | None = None,
    pool: BucketThreads | None = None,
) -> Iterator[AccountRegion]:
    """
    Yield where digests or log files lie, account by account.

    :param account_ids: accounts; None: all that have a folder.
    :param regions: Regions; None: all that have a folder of digests or of log files.
    :param pool: looks for the folders of the next accounts; None: nothing is done ahead.
    """
    roots: dict[str, list[str]] = {}
    for layout in layouts(store, location):
        for account_id in account_ids if account_ids is not None else store.folders(layout):
            if account_ids is not None or not is_organization(account_id):
                roots.setdefault(account_id, []).append(f"{layout}{account_id}/")

    def of_account(account: tuple[str, list[str]]) -> Iterator[AccountRegion]:
        account_id, folders = account
        places: dict[str, list[str]] = {}
        for root in folders:
            kinds = (f"{root}{kind.value}/" for kind in (Folder.DIGEST, Folder.LOG))
            present = {region for kind in kinds for region in store.folders(kind)}
            for region in present if regions is None else present.intersection(regions):
                places.setdefault(region, []).append(root)
        for region, of_region in sorted(places.items()):
            yield AccountRegion(
                account_id,
                region,
                tuple(f"{root}{Folder.DIGEST.value}/{region}/" for root in of_region),
                tuple(f"{root}{Folder.LOG.value}/{region}/" for root in of_region),
            )

    for _, places in listings_ahead(of_account, sorted(roots.items()), pool):
        yield from places


def list_digests(store: Store, folders: Iterable[str], start: datetime, end: datetime) -> list[DigestKey]:
    """
    Return the digests whose end lies between two times, both included, in the order of their ends.

    A list: there are 24 for each day and trail, of about 400 bytes.

    :param folders: key prefixes of an account's digests of one Region.
    """
    found = []
    chains: dict[Chain, Chain] = {}
    for folder in folders:
        for listed in store.objects(folder, f"{folder}{day_folder(start)}/"):
            if is_behind(listed.key, folder, end):
                break
            key = digest_key(listed.key)
            if key is not None and start <= key.end <= end:
                # Equal ones are kept once.
                found.append(replace(key, chain=chains.setdefault(key.chain, key.chain), etag=listed.etag))
    # Names begin with the trail: within a day, those of several trails are not in the order of time.
    return sorted(found, key=lambda key: (key.end, key.key))


def list_logs(store: Store, place: AccountRegion, start: datetime, end: datetime) -> Iterator[PresentFile]:
    """Yield the log files of one account and Region with a stamp between two times, the end not included."""
    folders = [_list_folder(store, place, folder, start, end) for folder in place.logs]
    return heapq.merge(*folders, key=lambda file: file[1]) if len(folders) > 1 else folders[0]


def _list_folder(
    store: Store, place: AccountRegion, folder: str, start: datetime, end: datetime
) -> Iterator[PresentFile]:
    floor = start.replace(second=0, microsecond=0)
    stamp_of = stamps_of(folder, place.account_id, place.region)
    for key, _, etag in store.objects(folder, first_key(folder, place.account_id, place.region, floor)):
        if is_behind(key, folder, end):
            return
        delivered_at = stamp_of(key)
        if delivered_at is not None and floor <= delivered_at < end:
            yield key, delivered_at, etag


def one_page_ahead(files: Iterator[PresentFile]) -> Iterator[PresentFile]:
    """
    Yield log files while a thread lists the next thousand.

    :param files: a listing; it is not asked by two threads at the same time.
    :raises StoreError: as the listing does.
    """
    for page in one_ahead(iter(lambda: list(islice(files, _PAGE)), [])):
        yield from page


def probe(store: Store, bucket: str, key: str) -> PresentFile | None:
    """Return one log file as a listing of its key gives it, or None if it is not there."""
    for listed in store.objects(key):
        parsed = log_file(bucket, key) if listed.key == key else None
        return (key, parsed.delivered_at, listed.etag) if parsed is not None else None
    return None


class DeliveredFiles:
    """
    The log files of one account and Region, taken from a listing while digests claim them.

    :param listed: all with a stamp from ``floor`` on to ``ceiling``, as they are listed.
    :param store: the bucket, for what a digest lists outside of that.
    :param bucket: its name, or ``file://`` URI.
    :param logs: key prefixes of the log files.
    """

    def __init__(
        self,
        listed: Iterator[PresentFile],
        store: Store,
        bucket: str,
        logs: tuple[str, ...],
        floor: datetime,
        ceiling: datetime,
    ) -> None:
        self._listed = listed
        self._store = store
        self._bucket = bucket
        self._logs = logs
        self._floor = floor
        self._ceiling = ceiling
        self._begun = False
        self._next: PresentFile | None = None
        self._taken = self._oldest = floor
        self._present: dict[str, PresentFile] = {}
        self._claimed: dict[str, PresentFile] = {}
        self.unlisted: dict[str, UnlistedFile] = {}
        """Log files that no digest has listed so far."""
        self.unlisted_beyond = 0
        """More of them, delivered within the window, whose names are not kept."""

    def move_to(self, end: datetime) -> None:
        """Read on for digests that end at a time; files too old for them are unlisted."""
        self._take(min(end + SLACK, self._ceiling))
        self._oldest = max(self._oldest, end - 2 * SLACK)
        for file in self._too_old(self._present):
            self._drop(self._present.pop(file[0]))
        for key, _, _ in self._too_old(self._claimed):
            del self._claimed[key]

    def claim(self, key: str, *, believed: bool = True) -> str | None:
        """
        Return the ETag of a log file that a digest lists, or None if it is not in the bucket.

        :param believed: whether the bucket is asked for what the listing does not show: who writes what
            nobody has signed does not decide what this program asks for, nor how often.
        """
        found = self._present.pop(key, None) or self._claimed.get(key)
        if found is None and (late := self.unlisted.pop(key, None)) is not None:
            found = (key, late.delivered_at, late.etag)
        if found is None and believed and not self._would_have_seen(key):
            found = probe(self._store, self._bucket, key)
        if found is None:
            return None
        self._claimed[key] = found
        return found[2]

    def finish(self) -> None:
        """Read to the end; what nobody has claimed is unlisted."""
        self._take(self._floor)
        while self._present or self._next is not None:
            for file in self._present.values():
                self._drop(file)
            self._present = {}
            if self._next is not None:
                self._take(self._next[1] + SLACK)

    def _take(self, before: datetime) -> None:
        # Not sooner: while the first page is listed, the first digests are fetched.
        file = self._next if self._begun else next(self._listed, None)
        while file is not None and file[1] < before:
            if file[0] not in self._claimed:
                self._present[file[0]] = file
            file = next(self._listed, None)
        self._begun, self._next = True, file
        self._taken = max(self._taken, before)

    def _too_old(self, files: dict[str, PresentFile]) -> list[PresentFile]:
        # In the order of stamps: the first that is young enough ends it.
        return list(takewhile(lambda file: file[1] < self._oldest, files.values()))

    def _drop(self, file: PresentFile) -> None:
        key, delivered_at, etag = file
        if len(self.unlisted) < MOST_UNLISTED:
            self.unlisted[key] = UnlistedFile(self._bucket, key, delivered_at, etag)
        elif self._floor + SLACK <= delivered_at < self._ceiling - SLACK:
            self.unlisted_beyond += 1

    def _would_have_seen(self, key: str) -> bool:
        """Tell whether the listing has passed the place of a file and its name was kept."""
        parsed = log_file(self._bucket, key) if key.startswith(self._logs) else None
        # An older file may have been claimed by another digest, and been forgotten since.
        return parsed is not None and self._oldest <= parsed.delivered_at < min(self._taken, self._ceiling)
