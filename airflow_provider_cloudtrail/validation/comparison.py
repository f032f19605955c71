"""What digests list, held against the ledger: what was loaded must be what CloudTrail delivered."""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from airflow_provider_cloudtrail.audit_event import (
    ALTERED,
    DELETED,
    DIGEST_INVALID,
    NOT_LOADED,
    VERIFIED,
    DigestEntry,
    HashEntry,
)
from airflow_provider_cloudtrail.trail.bucket_threads import AT_FIRST, BucketThreads
from airflow_provider_cloudtrail.trail.codec import CODEC, DAMAGED, MalformedError
from airflow_provider_cloudtrail.trail.digest_chain import CheckedDigest
from airflow_provider_cloudtrail.trail.log_file import log_file
from airflow_provider_cloudtrail.trail.object_uris import object_uri, split_uri
from airflow_provider_cloudtrail.trail.store import ObjectError, is_as_listed, refuse_unless_listed
from airflow_provider_cloudtrail.validation.digest_batches import UNSEEN, DigestWithFiles
from airflow_provider_cloudtrail.validation.findings import About, Findings
from airflow_provider_cloudtrail.validation.run import Validation
from airflow_provider_cloudtrail.validation.summary import ValidationSummary
from airflow_provider_cloudtrail.warehouse.evidence import FileVerdicts, HashedFile, LoadedFile

_HANDED_ON = 1_000
# Log files that are fetched ahead.
_AHEAD = 16
# What the reader found in a file that it could not unpack: it is not what CloudTrail wrote.
_DAMAGED = tuple(f"{code}:" for code in DAMAGED)
# What is there, but nobody here can say what it holds.
_UNREADABLE = ("access_denied", "archived", "too_large")


class _File(NamedTuple):
    """
    A log file that is looked at closely.

    :param sha256: SHA-256 (hex) that a digest says it has.
    :param etag: ETag with which it lies in the bucket; None: it does not; or ``UNSEEN``.
    :param known: what the ledger knows of it.
    """

    uri: str
    sha256: str
    etag: str | None
    known: LoadedFile | None


class _Held(NamedTuple):
    """
    A digest whose files were held against the ledger.

    :param verified: URIs of those that are what was loaded, as nearly all are.
    :param doubtful: the others.
    """

    checked: CheckedDigest
    verified: list[str]
    doubtful: list[_File]


class Comparison:
    """
    Holds the files of some digests after those of others against the ledger, and records what that gives.

    :param run: the validation.
    :param summary: takes the counts.
    :param findings: takes what is wrong.
    :param pool: fetches what must be fetched.
    """

    def __init__(self, run: Validation, summary: ValidationSummary, findings: Findings, pool: BucketThreads) -> None:
        self._run = run
        self._summary = summary
        self._findings = findings
        self._pool = pool
        self.accounted_for: set[str] = set()
        """URIs of log files without a digest in the ledger that one lists, or that lie in the bucket without one."""
        self._bucket = run.location.bucket
        # Many may be fetched at the same time, but each can unpack to tens of megabytes.
        self._unpacking = threading.Semaphore(AT_FIRST)
        # Airflow 3.0 asks for connections over one channel, which two threads must not use at a time.
        self._turn = run.ring.turn
        self._held: Iterator[_Held] = iter(())
        self._hashed: dict[str, HashedFile] = {}
        self._entries: dict[str, DigestEntry] = {}
        self._verdicts: list[FileVerdicts] = []
        self._hashes: dict[str, HashEntry] = {}

    def ask(self, digests: Sequence[DigestWithFiles]) -> None:
        """
        Hold the files of some digests against the ledger; what that gives is then reported, digest by digest.

        :param digests: each with those of its files that it is asked about.
        """
        uris = dict.fromkeys(itertools.chain.from_iterable(digest.uris for digest in digests))
        with self._turn:
            loaded = self._run.evidence.loaded_files(list(uris))
        held = [_held(digest, loaded) for digest in digests]
        self._hashed = self._hashes_of(held)
        self._held = iter(held)

    def report(self, number: int) -> None:
        """Report what was found out about the next digests of those that were asked about."""
        hashed, now = self._hashed, self._run.now
        for checked, verified, doubtful in itertools.islice(self._held, number):
            uri = self.uri_of(checked)
            counts = Counter({VERIFIED: len(verified)})
            self._verdicts.append(FileVerdicts(verified, uri, VERIFIED, now))
            for file in doubtful:
                found = hashed.get(file.uri)
                status = _status(file, found) if checked.valid else DIGEST_INVALID
                counts[status or NOT_LOADED] += 1
                self._report(file, status, checked, uri, found)
                if status is not None and file.known is not None:
                    self._verdicts.append(FileVerdicts([file.uri], uri, status, now))
                elif file.known is not None:
                    self.accounted_for.add(file.uri)
                # Who can read it tomorrow compares it then.
                if found is not None and found.fault not in _UNREADABLE and status in (VERIFIED, ALTERED):
                    self._hashes[file.uri] = HashEntry(*found, uri, status, now, self._run.verified_by)
            if checked.valid:
                self._summary.files_listed += counts.total()
                self._summary.files_verified += counts[VERIFIED]
            self._entries[uri] = self._entry(checked, uri, counts)

    def store(self) -> None:
        """Store what was reported since the last call, and the findings with it."""
        entries, verdicts, hashes = list(self._entries.values()), self._verdicts, list(self._hashes.values())
        self._entries, self._verdicts, self._hashes = {}, [], {}
        with self._turn:
            self._run.evidence.write(entries, verdicts, self._findings.take(), hashes)

    def uri_of(self, checked: CheckedDigest) -> str:
        """Return the URI of a digest."""
        return object_uri(checked.key.bucket or self._bucket, checked.key.key)

    def _hashes_of(self, held: Sequence[_Held]) -> dict[str, HashedFile]:
        """Return what is in the files that the ledger does not answer for: fetched, or known from an earlier run."""
        wanted = {
            file.uri: file.etag
            for checked, _, doubtful in held
            for file in doubtful
            if checked.valid and file.etag not in (None, UNSEEN) and self._must_fetch(file.etag, file.known)
        }
        with self._turn:
            before = self._run.evidence.hashed_files(list(wanted))
        known = {
            uri: hashed for uri, hashed in before.items() if hashed.etag is not None and hashed.etag == wanted[uri]
        }
        to_fetch = [(uri, etag) for uri, etag in wanted.items() if uri not in known]
        self._summary.files_downloaded += len(to_fetch)
        fetched = self._pool.map(lambda file: self._hash(*file), to_fetch, ahead=_AHEAD)
        return known | {hashed.log_file_uri: hashed for hashed in fetched}

    def _must_fetch(self, etag: str | None, known: LoadedFile | None) -> bool:
        if known is None or (known.sha256 is None and not (known.reason or "").startswith(_DAMAGED)):
            return self._run.download_missing
        return known.etag is not None and known.etag != etag

    def _hash(self, uri: str, etag: str | None) -> HashedFile:
        bucket, key = self._object(uri)
        store = self._run.store_of(bucket)
        try:
            with self._pool.answering():
                stored = store.get(key, self._run.max_file_bytes)
        except ObjectError as error:
            return HashedFile(uri, etag, None, error.code)
        if not is_as_listed(stored, etag):
            # Or a file would be called altered that is not.
            refuse_unless_listed(store, key, uri, stored, was_listed=True)
        try:
            with self._unpacking:
                sha256 = hashlib.sha256(CODEC.gunzip(stored.body, self._run.max_file_bytes)).hexdigest()
        except MalformedError as error:
            if error.code in DAMAGED:
                refuse_unless_listed(store, key, uri, stored)
            return HashedFile(uri, stored.etag, None, error.code)
        return HashedFile(uri, stored.etag, sha256, None)

    def _object(self, uri: str) -> tuple[str, str]:
        """Return bucket and key of a URI."""
        folder = object_uri(self._bucket, "")
        return (self._bucket, uri[len(folder) :]) if uri.startswith(folder) else split_uri(uri)

    def _report(
        self, file: _File, status: str | None, checked: CheckedDigest, digest_uri: str, found: HashedFile | None
    ) -> None:
        summary, chain = self._summary, checked.key.chain
        about = About(checked.start, checked.end, chain.account_id, chain.region, chain.trail_name, file.uri)
        if status == ALTERED:
            summary.files_altered += 1
            if found is not None and found.fault in _UNREADABLE:
                message = f"listed by {digest_uri}, replaced since it was loaded, and cannot be compared: {found.fault}"
            else:
                message = f"is not what {digest_uri} lists"
            self._findings.add(ALTERED, about, message)
        elif status == DELETED:
            summary.files_deleted += 1
            self._findings.add(DELETED, about, f"listed by {digest_uri}")
        elif status is None and self._belongs_to_window(file, checked):
            summary.files_not_loaded += 1
            self._findings.add(NOT_LOADED, about, f"listed by {digest_uri}, but never loaded")
            if len(summary.not_loaded) < _HANDED_ON:
                summary.not_loaded.append(file.uri)

    def _belongs_to_window(self, file: _File, checked: CheckedDigest) -> bool:
        """Tell whether a file should have been loaded with this window; digests at its border list others, too."""
        window, parsed = self._run.window, log_file(*self._object(file.uri))
        if parsed is None or window.covers(parsed.delivered_at):
            return True
        return parsed.delivered_at < window.start <= checked.start

    def _entry(self, checked: CheckedDigest, uri: str, counts: Counter[str]) -> DigestEntry:
        chain, digest = checked.key.chain, checked.digest
        previous = None
        if digest is not None and digest.previous_key is not None:
            same = digest.previous_bucket in (None, digest.bucket)
            lies_in = checked.key.bucket or self._bucket if same else str(digest.previous_bucket)
            previous = object_uri(lies_in, digest.previous_key)
        return DigestEntry(
            digest_uri=uri,
            account_id=chain.account_id,
            region=chain.region,
            trail_name=chain.trail_name,
            home_region=chain.home_region,
            backfill=chain.backfill,
            covered_from=checked.start,
            covered_to=checked.end,
            status=checked.status.value,
            reason=str(checked.fault) if checked.fault is not None else None,
            proof=checked.proof.value if checked.proof is not None else None,
            sha256=digest.sha256 if digest is not None else None,
            public_key_fingerprint=digest.fingerprint if digest is not None else None,
            previous_digest_uri=previous,
            files_listed=counts.total() if checked.valid else None,
            files_verified=counts[VERIFIED] if checked.valid else None,
            files_altered=counts[ALTERED] if checked.valid else None,
            files_deleted=counts[DELETED] if checked.valid else None,
            files_not_loaded=counts[NOT_LOADED] if checked.valid else None,
            verified_at=self._run.now,
            verified_by=self._run.verified_by,
        )


def _held(digest: DigestWithFiles, loaded: Mapping[str, tuple[Any, ...]]) -> _Held:
    held = _Held(digest.checked, [], [])
    valid = digest.checked.valid
    for uri, sha256, etag in zip(digest.uris, digest.sha256, digest.etags, strict=True):
        row = loaded.get(uri)
        if row is not None and valid:
            _, loaded_etag, loaded_sha256, reason = row
            unchanged = etag is not None and loaded_etag in (None, etag)
            if loaded_sha256 == sha256 and reason is None and (unchanged or etag == UNSEEN):
                held.verified.append(uri)
                continue
        held.doubtful.append(_File(uri, sha256, etag, None if row is None else LoadedFile(*row)))
    return held


def _status(file: _File, found: HashedFile | None) -> str | None:
    """Return the verdict on a log file that a valid digest lists; None: there is nothing to compare."""
    known = file.known
    hashes = {known.sha256} if known is not None and known.sha256 is not None else set()
    damaged = known is not None and (known.reason or "").startswith(_DAMAGED)
    if found is not None:
        if found.fault == "not_found":
            return DELETED
        if found.fault in _UNREADABLE:
            # Of what was loaded it is known that another object lies in its place.
            return ALTERED if hashes else None
        hashes.add(found.sha256 or "")
        if damaged and hashes == {file.sha256}:
            # Put right since then, but what is in it was never loaded.
            return None
    if damaged or hashes - {file.sha256}:
        return ALTERED
    if file.etag is None:
        return DELETED
    return VERIFIED if hashes else None
