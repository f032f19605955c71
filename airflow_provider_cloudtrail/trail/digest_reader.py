"""
A digest as it is read from the bucket: its form, its name and its place are checked, before anything is proven.

Whoever can write to the bucket can have put it there: what is larger, or packed tighter, than a digest can be is not
unpacked or decoded.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow_provider_cloudtrail.trail.codec import CODEC, DAMAGED, MalformedError, StandardCodec
from airflow_provider_cloudtrail.trail.digest import Digest, DigestKey, Fault, FetchedDigest, ListedFiles
from airflow_provider_cloudtrail.trail.log_file import UNFIT
from airflow_provider_cloudtrail.trail.object_uris import is_own_name, object_uri
from airflow_provider_cloudtrail.trail.store import ObjectError, Store, StoredObject, is_as_listed, refuse_unless_listed

MAX_DIGEST_BYTES = 64 * 1024 * 1024
"""Most bytes that a digest may have when unpacked; one listed file takes about 500."""

# Nothing makes the hash of a listed file shorter than 32 bytes, and a file takes some 700 at most.
_HIGHEST_RATIO = 32
# Of the texts in it: a key has at most 1,024 bytes, and so many digits has the signature of a key of 4,096 bits.
_LONGEST_TEXT = 1_024
# A listed file has a value in 50 bytes. Decoded, the shortest values take 70 bytes each, whatever their text.
_BYTES_OF_A_VALUE = 16
_VALUES_OF_NO_FILE = 100

# When a backfill digest may have been made, seen from the end of what it covers. Beyond, there are no keys to ask for.
_BACKFILLED_FROM, _BACKFILLED_TO = timedelta(days=-1), timedelta(days=3660)


def fetch_digest(store: Store, bucket: str, key: DigestKey, codec: StandardCodec = CODEC) -> FetchedDigest | None:
    """
    Read a digest and check its form, its name and its place.

    :param bucket: bucket that it lies in; of a copy (``file://``) and behind an access point its own name is not known.
    :return: None if it is not there.
    :raises StoreError: if the bucket does not answer.
    """
    stored = get_digest(store, key)
    return read_digest(store, bucket, key, stored, codec) if stored is not None else None


def get_digest(store: Store, key: DigestKey, most_bytes: int = MAX_DIGEST_BYTES) -> StoredObject | Fault | None:
    """
    Get the object of a digest, or why it cannot be read, or None if it is not there.

    :param most_bytes: a larger object is not read, and has the fault ``too_large``.
    :raises StoreError: if the bucket does not answer.
    """
    try:
        return store.get(key.key, most_bytes)
    except ObjectError as error:
        if error.code == "not_found":
            return None
        # No limit of the user's, as the store's text would have it.
        return Fault(error.code, "it has more bytes than a digest does" if error.code == "too_large" else str(error))


def read_digest(
    store: Store, bucket: str, key: DigestKey, stored: StoredObject | Fault, codec: StandardCodec = CODEC
) -> FetchedDigest:
    """
    Check the form, the name and the place of a digest.

    :param store: the bucket, which is asked once more about what was not listed so, or cannot be unpacked.
    :param bucket: bucket that it lies in; of a copy (``file://``) and behind an access point its own name is not known.
    :param stored: its object, or why it cannot be read.
    :raises StoreError: if it is not what the bucket lists.
    """
    if isinstance(stored, Fault):
        return FetchedDigest(key, None, fault=stored)
    if not is_as_listed(stored, key.etag):
        refuse_unless_listed(store, key.key, object_uri(bucket, key.key), stored, was_listed=True)
    signature = stored.metadata.get("signature")
    generated_at = _generated_at(stored.metadata.get("backfill-generation-timestamp"), key.end)
    try:
        digest = parse_digest(
            codec.gunzip(stored.body, min(MAX_DIGEST_BYTES, _HIGHEST_RATIO * len(stored.body))), codec
        )
    except MalformedError as error:
        if error.code in DAMAGED:
            refuse_unless_listed(store, key.key, object_uri(bucket, key.key), stored)
        message = "it unpacks to more than a digest does" if error.code == "too_large" else str(error)
        return FetchedDigest(key, None, signature, generated_at, Fault("invalid_format", message))
    fault = None
    if digest.key != key.key or (digest.bucket != bucket and is_own_name(bucket)):
        fault = Fault("moved", f"it was delivered as {object_uri(digest.bucket, digest.key)}")
    elif key.chain.backfill and signature is not None and generated_at is None:
        fault = Fault("invalid_format", "a backfill digest without a usable backfill-generation-timestamp")
    return FetchedDigest(key, digest, signature, generated_at, fault)


def parse_digest(content: bytes, codec: StandardCodec = CODEC) -> Digest:
    """
    Read the document of a digest.

    :param content: its uncompressed bytes.
    :raises MalformedError: ``invalid_format``, or what decoding it gave.
    """
    values = sum(content.count(mark) for mark in (b",", b"[", b"{"))
    if values > len(content) // _BYTES_OF_A_VALUE + _VALUES_OF_NO_FILE:
        raise MalformedError("invalid_format", "the document is not one of a digest")
    document = codec.decode(content)
    try:
        return Digest(
            start=_time(document["digestStartTime"]),
            end=_time(document["digestEndTime"]),
            end_text=_text(document["digestEndTime"]),
            bucket=_text(document["digestS3Bucket"]),
            key=_text(document["digestS3Object"]),
            fingerprint=_text(document["digestPublicKeyFingerprint"]),
            previous_bucket=_text_or_none(document.get("previousDigestS3Bucket")),
            previous_key=_text_or_none(document.get("previousDigestS3Object")),
            previous_sha256=_text_or_none(document.get("previousDigestHashValue")),
            previous_signature=_text_or_none(document["previousDigestSignature"]),
            files=_listed_files(document["logFiles"] or ()),
            sha256=hashlib.sha256(content).hexdigest(),
        )
    except KeyError as error:
        raise MalformedError("invalid_format", f"the document lacks {error.args[0]}") from None
    except (TypeError, ValueError, AttributeError):
        raise MalformedError("invalid_format", "the document is not one of a digest") from None


def _listed_files(files: Any) -> ListedFiles:
    if any(file["hashAlgorithm"] != "SHA-256" for file in files):
        raise ValueError
    return ListedFiles(
        tuple([_text(file["s3Bucket"]) for file in files]),
        tuple([_text(file["s3Object"]) for file in files]),
        tuple([_text(file["hashValue"]).lower() for file in files]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    if value.isascii() and value.isprintable() and len(value) <= _LONGEST_TEXT:
        return value
    if UNFIT.search(value) or len(value.encode()) > _LONGEST_TEXT:
        raise ValueError
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _time(value: Any) -> datetime:
    found = datetime.fromisoformat(_text(value))
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def _generated_at(value: str | None, covered_to: datetime) -> datetime | None:
    """Return when a backfill digest says that it was made; None if it does not, or says what cannot be."""
    try:
        found = None if value is None else _time(value)
    except ValueError:
        return None
    if found is None or not _BACKFILLED_FROM <= found - covered_to <= _BACKFILLED_TO:
        return None
    return found
