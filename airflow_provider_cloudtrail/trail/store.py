"""
What the readers of a trail need of a bucket: list objects and get them, whatever it lies in.

``local_store`` has it for a local copy of a bucket, ``s3_store`` for one in S3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class StoreError(Exception):
    """Raised when the bucket, not one object, cannot be read: the run cannot go on."""


class ListingDeniedError(StoreError):
    """Raised when a folder must not be listed; others of the bucket may be."""


class ObjectError(Exception):
    """
    Raised when one object cannot be read; the others can.

    :param code: ``not_found``, ``access_denied``, ``archived`` or ``too_large``.
    :param message: names bucket, key and cause.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[ObjectError], tuple[str, str]]:
        return type(self), (self.code, str(self))


def refuse_above(most_bytes: int | None, size_bytes: int, uri: str) -> None:
    """
    Refuse an object before it is read.

    :raises ObjectError: ``too_large``.
    """
    if most_bytes is not None and size_bytes > most_bytes:
        raise ObjectError("too_large", f"{uri}: it has {size_bytes} bytes, more than max_file_bytes={most_bytes}")


class ListedObject(NamedTuple):
    """An object of a listing: key, size in bytes, ETag without quotes."""

    key: str
    size_bytes: int
    etag: str


@dataclass(frozen=True)
class StoredObject:
    """
    An object that was read.

    :param body: its bytes, as stored.
    :param etag: ETag without quotes.
    :param metadata: user metadata, lower-case names (CloudTrail keeps digest signatures there).
    """

    body: bytes
    etag: str | None
    metadata: Mapping[str, str] = field(default_factory=dict)


class Store(Protocol):
    """What the readers of a trail need of a bucket."""

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders directly under a prefix that ends in a slash, sorted."""

    def objects(self, prefix: str, start_after: str = "", *, make_sure: bool = True) -> Iterator[ListedObject]:
        """
        Yield the objects under a prefix in the order of their keys, from the first key behind ``start_after``.

        :param make_sure: whether an end that may be none costs a request more; not for who looks again anyway.
        :raises StoreError: if the store does not answer, or with something else.
        """

    def get(self, key: str, most_bytes: int | None = None) -> StoredObject:
        """
        Read one object with one request.

        :param most_bytes: a larger object is not read: it could be larger than the memory; None: any is.
        :raises ObjectError: if this object is not there, must not be read or is too large.
        :raises StoreError: if the store does not answer, after retries.
        """


def plain_etag(etag: str | None) -> str:
    """Return an ETag without quotes, and without the mark of a weak one; "" if there is none."""
    return (etag or "").removeprefix("W/").strip('"')


def is_as_listed(stored: StoredObject, etag: str | None, size_bytes: int | None = None) -> bool:
    """
    Tell whether an object can be the one of a listing.

    :param etag: ETag as listed; None or "": it is not known.
    :param size_bytes: size as listed; None: it is not known.
    """
    # Not every store that answers like S3 gives an ETag each time.
    return (not (etag and stored.etag) or etag == stored.etag) and size_bytes in (None, len(stored.body))


def refuse_unless_listed(store: Store, key: str, uri: str, stored: StoredObject, *, was_listed: bool = False) -> None:
    """
    Refuse what was answered, unless the bucket lists it so: then the object itself is broken, or was overwritten.

    What stands between the worker and S3 can cut a body short, convert it or put another in its place, all with headers
    that fit. Costs a request, where something is wrong.

    :param was_listed: whether a listing gave the key. Else who may not list believes what was answered.
    :raises StoreError: unless the bucket lists it so.
    """
    now = "the bucket lists nothing there"
    try:
        listed = next(iter(store.objects(key)), None)
    except ListingDeniedError:
        listed, now = None, "this key alone may not be listed (s3:ListBucket), although its folder may"
    if listed is None or listed.key != key:
        if not was_listed:
            return
    elif is_as_listed(stored, listed.etag, listed.size_bytes):
        return
    else:
        now = f"the bucket lists {listed.size_bytes} bytes with ETag {listed.etag}"
    raise StoreError(
        f"{uri}: {len(stored.body)} bytes with ETag {stored.etag} were answered, {now}. Run this "
        "again; if it stays, look what stands between the worker and S3 (a proxy, the endpoint_url of the connection)"
    )
