"""What a damaged trail must be reported for, worked out slowly and anew from the objects in its bucket."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from airflow_provider_cloudtrail.trail.public_keys import PublicKey
from tests.support.signed_trail import Object

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
_DIGEST = re.compile(r".*_CloudTrail-Digest_(?P<chain>.+)_(?P<stamp>\d{8}T\d{6})Z(?P<backfill>_backfill)?\.json\.gz")
_LOG = re.compile(r".*_CloudTrail_[a-z0-9-]+_(?P<stamp>\d{8}T\d{4})Z_\w+\.json\.gz")


@dataclass
class Expected:
    """Keys by what must be said of them, and how many times have no digest."""

    invalid: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    altered: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    unlisted: set[str] = field(default_factory=set)
    verified: set[str] = field(default_factory=set)
    doubted: set[str] = field(default_factory=set)
    """Log files that only digests that are not valid list."""
    gaps: int = 0

    def kinds(self) -> dict[str, set[str]]:
        named = ("invalid", "missing", "altered", "deleted", "unlisted")
        return {name: found for name in named if (found := getattr(self, name))}


@dataclass
class _Digest:
    key: str
    chain: tuple[str, bool]
    end: datetime
    stored: Object
    document: dict[str, Any] | None
    sha256: str = ""
    valid: bool = False

    @property
    def start(self) -> datetime:
        if self.valid and self.document is not None:
            return datetime.fromisoformat(self.document["digestStartTime"])
        return self.end - HOUR

    @property
    def signature(self) -> str | None:
        return self.stored.metadata.get("signature")

    def listed(self) -> dict[str, str]:
        files = (self.document or {}).get("logFiles") or []
        return {file["s3Object"]: file["hashValue"] for file in files}


class Oracle:
    """
    Judges the objects of one account and Region.

    :param objects: all that is in the bucket.
    :param keys: the public keys of the Region.
    :param loaded: SHA-256 by key of what was loaded.
    """

    def __init__(
        self, bucket: str, objects: Mapping[str, Object], keys: Sequence[PublicKey], loaded: Mapping[str, str]
    ) -> None:
        self._bucket = bucket
        self._objects = objects
        self._keys = {key.fingerprint: load_der_public_key(key.der) for key in keys}
        self._loaded = loaded
        self._digests = sorted(
            (self._digest(key) for key in objects if "/CloudTrail-Digest/" in key), key=lambda one: (one.end, one.key)
        )

    def expected(self, start: datetime, end: datetime, *, settle: timedelta, chains_before: bool) -> Expected:
        """
        Return what a run must report.

        :param chains_before: whether an earlier run has seen all chains that there ever were.
        """
        result = Expected()
        read = [one for one in self._digests if min(start - settle, start - 2 * HOUR) < one.end <= end + 2 * HOUR]
        by_chain: dict[tuple[str, bool], list[_Digest]] = {}
        for one in read:
            by_chain.setdefault(one.chain, []).append(one)
        for of_chain in by_chain.values():
            for number, one in enumerate(of_chain):
                one.valid = self._is_valid(one, of_chain[:number], [*of_chain[number + 1 :], None][0])
        within = [one for one in read if one.end > start and one.start < end]
        for one in within:
            if not one.valid:
                result.invalid.add(one.key)
        for of_chain in by_chain.values():
            for one in of_chain:
                before = self._believed_previous(one, start)
                if before is not None and before not in self._objects:
                    stamp = _moment(_DIGEST.fullmatch(before)["stamp"])  # type: ignore[index]
                    if stamp > start and stamp - HOUR < end:
                        result.missing.add(before)
        self._files(result, read, within, start, end, settle)
        self._gaps(result, within, start, end, chains_before=chains_before)
        return result

    # -- digests -----------------------------------------------------------------------------------

    def _digest(self, key: str) -> _Digest:
        found = _DIGEST.fullmatch(key)
        assert found is not None
        stored = self._objects[key]
        one = _Digest(key, (found["chain"], bool(found["backfill"])), _moment(found["stamp"]), stored, None)
        content = _unpacked(stored.body)
        if content is not None:
            one.sha256 = hashlib.sha256(content).hexdigest()
            one.document = _document(content)
        return one

    def _in_place(self, one: _Digest) -> bool:
        document = one.document
        if document is None or (document["digestS3Bucket"], document["digestS3Object"]) != (self._bucket, one.key):
            return False
        return not one.chain[1] or one.signature is None or "backfill-generation-timestamp" in one.stored.metadata

    def _signed(self, one: _Digest, signature: str | None) -> bool:
        document = one.document
        if document is None or signature is None:
            return False
        key = self._keys.get(document["digestPublicKeyFingerprint"])
        previous = document["previousDigestSignature"]
        text = "\n".join((
            document["digestEndTime"],
            f"{document['digestS3Bucket']}/{document['digestS3Object']}",
            one.sha256,
            "null" if previous is None else previous,
        ))
        try:
            key.verify(bytes.fromhex(signature), text.encode(), PKCS1v15(), SHA256())  # type: ignore[union-attr,call-arg,arg-type]
        except (AttributeError, ValueError, InvalidSignature):
            return False
        return True

    def _is_valid(self, one: _Digest, earlier: list[_Digest], following: _Digest | None) -> bool:
        if not self._in_place(one):
            return False
        assert one.document is not None
        if one.signature is not None:
            if not self._signed(one, one.signature):
                return False
        elif not self._vouched(one, following):
            return False
        for before in earlier:
            if before.key == one.document["previousDigestS3Object"] and before.valid:
                said = one.document["previousDigestHashValue"], one.document["previousDigestSignature"]
                return said == (before.sha256, said[1] if before.signature is None else before.signature)
        return True

    def _vouched(self, one: _Digest, following: _Digest | None) -> bool:
        if following is None or following.document is None:
            return False
        named = following.document
        if named["previousDigestS3Object"] != one.key or named["previousDigestSignature"] is None:
            return False
        by_hash = named["previousDigestHashValue"] == one.sha256 and self._in_place(following)
        return self._signed(one, named["previousDigestSignature"]) or (
            by_hash and self._signed(following, following.signature)
        )

    def _believed_previous(self, one: _Digest, floor: datetime) -> str | None:
        """Return the key of the digest before, if one says so that can be believed."""
        if not self._in_place(one) or (one.signature is not None and not self._signed(one, one.signature)):
            return None
        assert one.document is not None
        name = one.document["previousDigestS3Object"]
        found = _DIGEST.fullmatch(name) if name is not None else None
        if found is None or datetime.fromisoformat(one.document["digestStartTime"]) <= floor:
            return None
        same = (found["chain"], bool(found["backfill"])) == one.chain and _moment(found["stamp"]) < one.end
        return str(name) if same else None

    # -- log files ---------------------------------------------------------------------------------

    def _files(
        self,
        result: Expected,
        read: list[_Digest],
        within: list[_Digest],
        start: datetime,
        end: datetime,
        settle: timedelta,
    ) -> None:
        claimed = {key for one in read if one.valid for key in one.listed()}
        claimed |= {key for one in within if not one.valid for key in self._near(one)}
        for key in self._objects:
            found = _LOG.fullmatch(key) if "/CloudTrail/" in key else None
            if found is not None and start - settle <= _stamp_of(key) < end and key not in claimed:
                result.unlisted.add(key)
        for one in within:
            if not one.valid:
                recent = {key for key in self._near(one) if _stamp_of(key) >= one.end - 6 * HOUR}
                result.doubted |= recent & set(self._objects)
                continue
            for key, sha256 in one.listed().items():
                hashes = {self._loaded.get(key, sha256)}
                if key in self._objects:
                    content = _unpacked(self._objects[key].body)
                    hashes.add("" if content is None else hashlib.sha256(content).hexdigest())
                if hashes != {sha256}:
                    result.altered.add(key)
                elif key not in self._objects:
                    result.deleted.add(key)
                else:
                    result.verified.add(key)

    @staticmethod
    def _near(one: _Digest) -> set[str]:
        """Return what a digest that is not valid may stand for: log files of about its time."""
        return {key for key in one.listed() if _LOG.fullmatch(key) and _stamp_of(key) < one.end + 3 * HOUR}

    def _gaps(
        self, result: Expected, within: list[_Digest], start: datetime, end: datetime, *, chains_before: bool
    ) -> None:
        known = {one.chain for one in self._digests if one.end <= start and not one.chain[1]}
        chains = {one.chain for one in self._digests if not one.chain[1] and one.end <= end + 2 * HOUR}
        if not chains:
            result.gaps = chains_before + bool(result.unlisted)
        for chain in chains:
            reached, first = start, True
            for one in within:
                if one.chain != chain:
                    continue
                begins = one.valid and one.document is not None and one.document["previousDigestS3Object"] is None
                allowed = timedelta(0) if begins and not first else MINUTE
                if one.start > reached + allowed:
                    is_new = first and begins and chain not in known and not chains_before
                    result.gaps += reached < end and not is_new
                reached, first = max(reached, one.end), False
            expected = chain in known or chains_before
            result.gaps += reached + MINUTE < end and (expected or not first)


def _stamp_of(key: str) -> datetime:
    found = _LOG.fullmatch(key)
    assert found is not None
    return _moment(found["stamp"])


def _moment(stamp: str) -> datetime:
    form = "%Y%m%dT%H%M%S" if len(stamp) == 15 else "%Y%m%dT%H%M"
    return datetime.strptime(stamp, form).replace(tzinfo=timezone.utc)


def _unpacked(body: bytes) -> bytes | None:
    """Return what a single gzip member holds; None for anything else."""
    stream = io.BytesIO(body)
    try:
        with gzip.GzipFile(fileobj=stream) as file:
            content = file.read()
    except (OSError, EOFError, ValueError, zlib.error):
        return None
    # A second member, or what follows, is a change: the same content in one member is as long as it is.
    whole = zlib.decompressobj(31)
    whole.decompress(body)
    return content if whole.eof and not whole.unused_data else None


def _document(content: bytes) -> dict[str, Any] | None:
    needed = ("digestStartTime", "digestEndTime", "digestS3Bucket", "digestS3Object", "digestPublicKeyFingerprint")
    try:
        document = json.loads(content.decode())
        for name in needed:
            assert isinstance(document[name], str)
        datetime.fromisoformat(document["digestStartTime"])
        datetime.fromisoformat(document["digestEndTime"])
        for file in document["logFiles"] or ():
            assert all(isinstance(file[name], str) for name in ("s3Bucket", "s3Object", "hashValue"))
            assert file["hashAlgorithm"] == "SHA-256"
        previous = document["previousDigestSignature"]
        assert previous is None or isinstance(previous, str)
    except (ValueError, KeyError, TypeError, AssertionError):
        return None
    return dict(document)
