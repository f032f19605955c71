"""
List and get the objects of a trail bucket, in S3 or in a local copy of one.

The one place that knows whether ``obstore`` is installed. GETs and listings of objects go through it where it
is there and can honour everything that the AWS connection says, otherwise through boto3; the requests are
the same either way.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from airflow_provider_cloudtrail.trail.log_file import local_folder

if TYPE_CHECKING:
    import obstore.store

log = logging.getLogger(__name__)

ATTEMPTS = 4
"""How often a GET is tried as a whole, beside the retries of the client below it."""

OBSTORE_INSTALLED = find_spec("obstore") is not None

# obstore normalises keys; those outside of this go through boto3, which sends them as they are.
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.=-]+(?:/[A-Za-z0-9_.=-]+)*")
# obstore returns these beside the user's metadata.
_SYSTEM_METADATA = frozenset({
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "storage-class",
})
# What boto3 promises of refreshable credentials is that 10 minutes are left when they are handed out.
_CREDENTIALS_LIFETIME = timedelta(minutes=8)
# What S3 says of an object that must be restored before it can be read; its status is that of a denied one.
_ARCHIVED = "InvalidObjectState"
_NO_BUCKET = "NoSuchBucket"
# What S3 gives with one request.
_PAGE = 1_000


class StoreError(Exception):
    """Raised when the bucket, not one object, cannot be read: the run cannot go on."""


class ObjectError(Exception):
    """
    Raised when one object cannot be read; the others can.

    :param code: ``not_found``, ``access_denied`` or ``archived``.
    :param message: names bucket, key and cause.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def __reduce__(self) -> tuple[type[ObjectError], tuple[str, str]]:
        return type(self), (self.code, str(self))


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

    def objects(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        """Yield the objects under a prefix in the order of their keys, from the first key behind ``start_after``."""

    def get(self, key: str) -> StoredObject:
        """
        Read one object with one request.

        :raises ObjectError: if this object is not there or must not be read.
        :raises StoreError: if the store does not answer, after retries.
        """


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
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []

    def objects(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        """Yield the files under ``prefix``; their ETag says when they were written and how long they are."""
        # Folder by folder, as S3 sorts: by the whole key, in which "/" is a character like others.
        yield from self._walk(self._folder / prefix, prefix, start_after)

    def _walk(self, folder: Path, prefix: str, start_after: str) -> Iterator[ListedObject]:
        if not folder.is_dir():
            return
        with os.scandir(folder) as entries:
            names = sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries)
        for name in names:
            key = prefix + name
            if name.endswith("/"):
                if key > start_after or start_after.startswith(key):
                    yield from self._walk(folder / name, key, start_after)
            elif key > start_after:
                stat = os.stat(f"{folder}/{name}")  # noqa: PTH116 - a Path for each file takes longer than the call
                yield ListedObject(key, stat.st_size, self._etag(stat))

    @staticmethod
    def _etag(stat: os.stat_result) -> str:
        return f"{stat.st_mtime_ns:x}-{stat.st_size:x}"

    def get(self, key: str) -> StoredObject:
        """Read a file."""
        try:
            with open(f"{self._folder}/{key}", "rb", buffering=0) as file:  # noqa: PTH123 - see _walk
                return StoredObject(file.read(), self._etag(os.fstat(file.fileno())))
        except FileNotFoundError:
            raise ObjectError("not_found", f"{self._bucket}/{key}: the file is not there") from None
        except PermissionError:
            raise ObjectError("access_denied", f"{self._bucket}/{key}: no permission to read the file") from None
        except OSError as error:
            raise StoreError(f"{self._bucket}/{key}: {error.strerror}") from error


def read_times_quickly(session: Any) -> None:
    """
    Have the clients of a session read times in ISO 8601 as Python does.

    To be called before a client is made. botocore's own parser guesses the format, which is two thirds of
    what listing a bucket costs; it stays in charge of whatever is not ISO 8601.
    """
    from botocore.utils import parse_timestamp

    def parse(value: Any) -> datetime:
        try:
            moment = datetime.fromisoformat(value)
        except (TypeError, ValueError):
            return parse_timestamp(value)
        return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)

    session._session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=parse)


class S3Store:
    """
    An S3 bucket, read with the client of an AWS connection.

    :param client: boto3 S3 client, for the Region of the bucket; its endpoint, TLS and proxy settings
        and its credentials, refreshed as boto3 refreshes them, also hold for GETs through obstore.
    :param bucket: name of the bucket.
    :param session: boto3 session that the client comes from; None: GETs go through boto3.
    :param verify: as in boto3: False for no TLS verification, or the path of a CA bundle.
    :param sleep: waits between attempts; takes seconds.
    """

    def __init__(
        self,
        client: Any,
        bucket: str,
        *,
        session: Any = None,
        verify: bool | str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._sleep = sleep
        self.requests: Counter[str] = Counter()
        """Requests so far, retries by this class included: LIST and GET."""
        self._counting = threading.Lock()
        self._obstore: obstore.store.S3Store | None = None
        self._listing: obstore.store.S3Store | None = None
        if OBSTORE_INSTALLED and session is not None and _fits_obstore(client, verify):
            self._obstore = _obstore_store(client, bucket, session, verify, retries=8)
            # What it cannot list is listed by boto3, which tries again in its own way.
            self._listing = _obstore_store(client, bucket, session, verify, retries=1)
        log.debug("Objects of %s are read through %s", bucket, "obstore" if self._obstore else "boto3")

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders under ``prefix``, page by page of 1,000."""
        names: list[str] = []
        for page in self._pages(prefix, Delimiter="/"):
            names += (folder["Prefix"][len(prefix) : -1] for folder in page.get("CommonPrefixes", ()))
        return sorted(names)

    def objects(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        """Yield the objects under ``prefix``, one request for 1,000 of them, made when they are asked for."""
        if self._listing is not None and _is_plain_listing(prefix, start_after):
            from obstore.exceptions import BaseError

            try:
                for listed in self._objects_through_obstore(self._listing, prefix, start_after):
                    start_after = listed.key
                    yield listed
                return
            except (BaseError, OSError, ValueError) as error:
                # A key that obstore does not take, or an error that boto3 meets as well and names as all others.
                log.debug("Listing s3://%s/%s goes on through boto3: %s", self._bucket, prefix, _first_line(error))
        after = {"StartAfter": start_after} if start_after else {}
        for page in self._pages(prefix, **after):
            for entry in page.get("Contents", ()):
                yield ListedObject(entry["Key"], entry["Size"], entry["ETag"].strip('"'))

    def _objects_through_obstore(
        self, store: obstore.store.S3Store, prefix: str, start_after: str
    ) -> Iterator[ListedObject]:
        import obstore

        pages = iter(obstore.list(store, prefix, offset=start_after or None, chunk_size=_PAGE))
        page = next(pages, ())
        self._count("LIST")
        while page:
            for entry in page:
                # obstore starts behind the name without its last slash.
                if entry["path"] > start_after:
                    yield ListedObject(entry["path"], entry["size"], (entry["e_tag"] or "").strip('"'))
            page = next(pages, ())
            if page:
                self._count("LIST")

    def _pages(self, prefix: str, **arguments: str) -> Iterator[Mapping[str, Any]]:
        from botocore.exceptions import BotoCoreError, ClientError

        paginator = self._client.get_paginator("list_objects_v2")
        try:
            for page in paginator.paginate(Bucket=self._bucket, Prefix=prefix, **arguments):
                self._count("LIST")
                yield page
        except ClientError as error:
            raise StoreError(f"listing s3://{self._bucket}/{prefix}: {_describe(error)}") from error
        except BotoCoreError as error:
            raise StoreError(f"listing s3://{self._bucket}/{prefix}: {error}") from error

    def get(self, key: str) -> StoredObject:
        """Read one object with one GET; throttling, resets and server errors are tried again with back-off."""
        for attempt in range(1, ATTEMPTS + 1):
            self._count("GET")
            try:
                if self._obstore is not None and _PLAIN_KEY.fullmatch(key):
                    return self._get_through_obstore(self._obstore, key)
                return self._get_through_boto3(key)
            except StoreError as error:
                if attempt == ATTEMPTS:
                    raise
                seconds = 2.0 ** (attempt - 1)
                log.warning("%s; trying again in %s seconds (attempt %s of %s)", error, seconds, attempt, ATTEMPTS)
                self._sleep(seconds)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _count(self, method: str) -> None:
        with self._counting:
            self.requests[method] += 1

    def _get_through_obstore(self, store: obstore.store.S3Store, key: str) -> StoredObject:
        from obstore.exceptions import BaseError, PermissionDeniedError

        try:
            result = store.get(key)
            # One copy, so that every reader behind gets plain bytes.
            body = bytes(result.bytes())
            etag = result.meta["e_tag"]
            metadata = {
                str(name).lower(): str(value)
                for name, value in result.attributes.items()
                if str(name).lower() not in _SYSTEM_METADATA
            }
        except FileNotFoundError as error:
            raise self._missing(key, in_no_bucket=f"<Code>{_NO_BUCKET}</Code>" in str(error)) from None
        except PermissionDeniedError as error:
            # The text holds the key, too, which has no such brackets.
            if f"<Code>{_ARCHIVED}</Code>" in str(error):
                raise self._archived(key) from None
            if not _is_about_credentials(str(error)):
                raise self._denied(key) from None
            raise StoreError(f"s3://{self._bucket}/{key}: the credentials are not accepted") from None
        except BaseError as error:
            raise StoreError(f"s3://{self._bucket}/{key}: {_first_line(error)}") from None
        return StoredObject(body, etag.strip('"') if etag else None, metadata)

    def _get_through_boto3(self, key: str) -> StoredObject:
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
        from urllib3.exceptions import HTTPError

        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
            return StoredObject(answer["Body"].read(), answer["ETag"].strip('"'), answer.get("Metadata", {}))
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if code in ("NoSuchKey", _NO_BUCKET, "404"):
                raise self._missing(key, in_no_bucket=code == _NO_BUCKET) from None
            if code == _ARCHIVED:
                raise self._archived(key) from None
            if status == 403 and not _is_about_credentials(code):
                raise self._denied(key) from None
            raise StoreError(f"s3://{self._bucket}/{key}: {_describe(error)}") from None
        except (BotoCoreError, HTTPClientError, HTTPError, OSError) as error:
            raise StoreError(f"s3://{self._bucket}/{key}: {_first_line(error)}") from None

    def _missing(self, key: str, *, in_no_bucket: bool) -> ObjectError:
        what = f"there is no bucket {self._bucket}" if in_no_bucket else "the object is not there any more"
        return ObjectError("not_found", f"s3://{self._bucket}/{key}: {what}")

    def _archived(self, key: str) -> ObjectError:
        return ObjectError(
            "archived",
            f"s3://{self._bucket}/{key}: the object lies in an archive storage class (such as Glacier) and has to be "
            "restored before it can be read",
        )

    def _denied(self, key: str) -> ObjectError:
        return ObjectError(
            "access_denied",
            f"s3://{self._bucket}/{key}: AccessDenied; the role needs s3:GetObject on it and, for SSE-KMS, "
            "kms:Decrypt on its key",
        )


def _is_plain_listing(prefix: str, start_after: str) -> bool:
    """Tell whether obstore lists this as S3 does: whole folders, from names that it does not normalise."""
    return (
        prefix.endswith("/")
        and _PLAIN_KEY.fullmatch(prefix[:-1]) is not None
        and (not start_after or _PLAIN_KEY.fullmatch(start_after.rstrip("/")) is not None)
    )


def _fits_obstore(client: Any, verify: bool | str | None) -> bool:
    """Tell whether obstore can honour the settings of the client; proxies and signing by others stay with boto3."""
    from botocore import UNSIGNED

    config = client.meta.config
    return not (
        config.proxies
        or getattr(config, "proxies_config", None)
        or getattr(config, "client_cert", None)
        or config.signature_version in (UNSIGNED, "s3", "v2")
        # A CA bundle replaces the trusted roots in boto3, obstore would only add to them.
        or isinstance(verify, str)
    )


def _obstore_store(
    client: Any, bucket: str, session: Any, verify: bool | str | None, *, retries: int
) -> obstore.store.S3Store:
    from obstore.auth.boto3 import Boto3CredentialProvider
    from obstore.store import S3Store as ObstoreS3Store

    config = client.meta.config
    # Who reads is told alike by both, as far as a header can.
    agent = str(config.user_agent or "")
    options: dict[str, Any] = {"user_agent": agent} if agent and agent.isascii() and agent.isprintable() else {}
    options |= {
        "allow_http": client.meta.endpoint_url.startswith("http://"),
        "allow_invalid_certificates": verify is False,
        "connect_timeout": timedelta(seconds=config.connect_timeout or 60),
        # Of the whole request, where boto3's is of one read.
        "timeout": timedelta(seconds=max(300, config.read_timeout or 0)),
    }
    return ObstoreS3Store(
        bucket,
        # What boto3 resolved: a private endpoint, FIPS, dual stack, another partition.
        endpoint=client.meta.endpoint_url,
        region=client.meta.region_name,
        virtual_hosted_style_request=False,
        credential_provider=Boto3CredentialProvider(session, ttl=_CREDENTIALS_LIFETIME),
        client_options=cast("obstore.store.ClientConfig", options),
        retry_config={"max_retries": retries, "retry_timeout": timedelta(minutes=2)},
    )


def _is_about_credentials(text: str) -> bool:
    return any(
        code in text
        for code in ("ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "TokenRefresh")
    )


def _describe(error: Any) -> str:
    details = error.response.get("Error", {})
    return f"{details.get('Code', 'error')}: {details.get('Message', '')}".rstrip(": ")


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
