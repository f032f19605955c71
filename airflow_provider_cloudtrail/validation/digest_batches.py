"""
The digests of accounts and Regions, checked, with the log files that they list, batch by batch.

Reads the bucket and asks for keys, but neither asks nor tells ledger or findings: a thread can make the next batch
while the ledger is asked about this one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from airflow_provider_cloudtrail.trail.bucket_threads import BucketThreads
from airflow_provider_cloudtrail.trail.delivered import DeliveredFiles, probe
from airflow_provider_cloudtrail.trail.digest import DigestKey, Fault, FetchedDigest, ListedFiles
from airflow_provider_cloudtrail.trail.digest_chain import ChainVerifier, CheckedDigest
from airflow_provider_cloudtrail.trail.digest_reader import fetch_digest, get_digest, read_digest
from airflow_provider_cloudtrail.trail.digest_signature import verified_early
from airflow_provider_cloudtrail.trail.object_uris import object_uri
from airflow_provider_cloudtrail.trail.store import StoredObject, StoreError
from airflow_provider_cloudtrail.validation.run import Validation

_Place = TypeVar("_Place")
_FetchedAhead = Callable[[], FetchedDigest | None]

# Digests that are fetched ahead, so that the bucket has something to do while log files are listed.
_AHEAD = 32
# So many of them are held at once, unpacked and taken apart: of larger ones only the object, of very large ones
# nothing. Nobody has proven yet that they are CloudTrail's; its own list some hundred files in so many bytes.
_SMALL_BYTES = 32 * 1024
_MOST_BYTES_AHEAD = 2 * 1024 * 1024
# For each batch the ledger is opened twice, which takes DuckDB as long as what it is asked then.
_BATCH_FILES = 20_000
_BATCH_DIGESTS = 400
_APART = ListedFiles((), (), ())

UNSEEN = ""
"""In the place of the ETag of a log file in a bucket that cannot be listed: whether it is there is not known."""


class DigestWithFiles(NamedTuple):
    """
    A digest of the window, and those of its files that the ledger is asked about, column by column.

    :param checked: without its files, which would be held a second time.
    :param uris: of a valid digest all that it lists; of another one those that are there.
    :param sha256: SHA-256 (hex) that it says they have.
    :param etags: ETags with which they lie in the bucket; None: they do not; or ``UNSEEN``.
    """

    checked: CheckedDigest
    uris: list[str]
    sha256: list[str]
    etags: list[str | None]


@dataclass
class Part(Generic[_Place]):
    """
    What a batch holds of one account and Region.

    :param files: its log files; when it has ended, those that are left over.
    :param ended: whether these are its last digests.
    """

    place: _Place
    files: DeliveredFiles
    digests: list[DigestWithFiles] = field(default_factory=list)
    ended: bool = False


class PlaceDigests:
    """
    The digests of one account and Region, to be gone through once; the first ones are fetched at once.

    :param run: the validation.
    :param chains: keys of the digests of each chain, in the order of their ends.
    :param files: the log files that are there; when the digests have ended, it has been read to its end.
    :param listed_outside: takes the URIs of log files of the window that digests outside of it list.
    :param pool: fetches digests.
    """

    def __init__(
        self,
        run: Validation,
        chains: Collection[list[DigestKey]],
        files: DeliveredFiles,
        listed_outside: set[str],
        pool: BucketThreads,
    ) -> None:
        self._run = run
        self.files = files
        self._listed_outside = listed_outside
        self._pool = pool
        self._bucket = run.location.bucket
        self._store = run.store_of(self._bucket)
        self._closed: set[str] = set()
        self._fetched = [pool.map(self._fetch_ahead, keys, ahead=_AHEAD) for keys in chains]

    def __iter__(self) -> Iterator[DigestWithFiles]:
        """
        Yield the digests of the window in the order of their ends.

        :raises StoreError: if the bucket does not answer.
        """
        window = self._run.window
        for checked in heapq.merge(*map(self._checked, self._fetched), key=lambda checked: checked.end):
            in_window = checked.end > window.start and checked.start < window.end
            self.files.move_to(checked.end)
            if not (in_window or checked.valid):
                # It is not reported here, and must not vouch for anything unseen.
                continue
            # Those outside are not reported, but what they list is not unlisted.
            found = self._with_files(checked)
            if in_window:
                yield found
            else:
                self._listed_outside.update(found.uris)
        self.files.finish()

    # -- digests -----------------------------------------------------------------------------------

    def _checked(self, fetched: Iterator[_FetchedAhead]) -> Iterator[CheckedDigest]:
        verifier = ChainVerifier(self._run.ring, self._fetch, self._run.window.start)
        return verifier.check(filter(None, (digest() for digest in fetched)))

    def _fetch_ahead(self, key: DigestKey) -> _FetchedAhead:
        """Return what gives the digest when its turn has come."""
        with self._pool.answering():
            stored = get_digest(self._store, key, _MOST_BYTES_AHEAD)
        if stored is None:
            return lambda: None
        if isinstance(stored, Fault) and stored.code == "too_large":
            return partial(self._fetch, key)
        if isinstance(stored, StoredObject) and len(stored.body) > _SMALL_BYTES:
            return partial(read_digest, self._store, self._bucket, key, stored)
        found = verified_early(read_digest(self._store, self._bucket, key, stored), self._run.ring)
        return lambda: found

    def _fetch(self, key: DigestKey) -> FetchedDigest | None:
        if key.bucket is None:
            return fetch_digest(self._store, self._bucket, key)
        if self._bucket.startswith("file://"):
            return None
        try:
            # The trail delivered there before, and who reads its bucket now may not be allowed to.
            return fetch_digest(self._run.store_of(key.bucket), key.bucket, key)
        except StoreError as error:
            return FetchedDigest(key, None, fault=Fault("bucket_not_readable", str(error)))

    # -- log files ---------------------------------------------------------------------------------

    def _with_files(self, checked: CheckedDigest) -> DigestWithFiles:
        digest, valid = checked.digest, checked.valid
        if digest is None:
            return DigestWithFiles(checked, [], [], [])
        found = DigestWithFiles(replace(checked, digest=replace(digest, files=_APART)), [], [], [])
        # A copy of a bucket does not know the name of its original.
        buckets = {digest.bucket: checked.key.bucket or self._bucket}
        folders: dict[str, str] = {}
        for delivered_to, key, sha256 in zip(*digest.files, strict=True):
            bucket = buckets.get(delivered_to, delivered_to)
            if bucket == self._bucket:
                etag = self.files.claim(key, believed=valid)
            else:
                etag = self._elsewhere(bucket, key) if valid else None
            # Not believed, but not unlisted either: the digest itself is what is reported.
            if valid or etag is not None:
                if bucket not in folders:
                    folders[bucket] = object_uri(bucket, "")
                found.uris.append(folders[bucket] + key)
                found.sha256.append(sha256)
                found.etags.append(etag)
        return found

    def _elsewhere(self, bucket: str, key: str) -> str | None:
        """Return the ETag of a log file that was delivered to another bucket, which the trail has left since."""
        if bucket not in self._closed and not self._bucket.startswith("file://"):
            try:
                found = probe(self._run.store_of(bucket), bucket, key)
                return found[2] if found is not None else None
            except StoreError as error:
                self._closed.add(bucket)
                self._run.log.warning("Only the ledger knows the log files of the bucket %s: %s", bucket, error)
        return UNSEEN


def in_batches(places: Iterable[tuple[_Place, PlaceDigests]]) -> Iterator[list[Part[_Place]]]:
    """
    Yield batches of digests, none empty: a large account and Region in several of them, small ones together.

    The digests of the next account and Region are fetched while those before are gone through.

    :param places: whatever an account and Region is to the caller, and its digests.
    :raises StoreError: if the bucket does not answer; what was read before is yielded first.
    """
    batch: list[Part[_Place]] = []
    digests = files = 0
    try:
        for place, of_place in _one_begun_ahead(places):
            batch.append(part := Part(place, of_place.files))
            for found in of_place:
                part.digests.append(found)
                digests += 1
                files += len(found.uris)
                if files >= _BATCH_FILES or digests >= _BATCH_DIGESTS:
                    yield batch
                    batch, digests, files = [part := Part(place, of_place.files)], 0, 0
            part.ended = True
            # One without a digest takes its place as well, and the names of its unlisted files are held.
            digests += 1
            files += len(of_place.files.unlisted)
            if files >= _BATCH_FILES or digests >= _BATCH_DIGESTS:
                yield batch
                batch, digests, files = [], 0, 0
    except StoreError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _one_begun_ahead(places: Iterable[_Place]) -> Iterator[_Place]:
    """Yield each when the next one is there, too; what is raised instead of the next one comes behind it."""
    coming = iter(places)
    begun = list(islice(coming, 1))
    while begun:
        try:
            following = list(islice(coming, 1))
        except StoreError:
            yield begun[0]
            raise
        yield begun[0]
        begun = following
