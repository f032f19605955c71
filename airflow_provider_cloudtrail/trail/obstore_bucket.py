"""
An S3 bucket that is read through ``obstore``, as boto3 would read it.

The one place that knows whether ``obstore`` is installed and what it cannot read as S3 does.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import timedelta
from importlib.util import find_spec
from typing import Any, TypeVar

from airflow_provider_cloudtrail.trail.obstore_settings import fits_obstore, obstore_store, settings_of
from airflow_provider_cloudtrail.trail.s3_errors import (
    NO_BUCKET,
    answer_in,
    disordered,
    etag_of,
    first_line,
    is_of_other_region,
    missing,
    refused,
)
from airflow_provider_cloudtrail.trail.store import ListedObject, StoredObject, plain_etag, refuse_above

log = logging.getLogger(__name__)

OBSTORE_INSTALLED = find_spec("obstore") is not None

_Answer = TypeVar("_Answer")

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
# What rustls calls a certificate that it does not take, such as one that vouches for itself; OpenSSL may take it.
_BAD_CERTIFICATE = re.compile(r"InvalidCertificate\(\s*(\w+)")
# What S3 gives with one request at most.
_PAGE = 1_000
# Credentials that have expired when they are handed out are asked for again by the next request.
_AT_ONCE = timedelta(seconds=-1)


def is_plain_key(key: str) -> bool:
    """Tell whether obstore asks for this key as it is."""
    return _PLAIN_KEY.fullmatch(key) is not None


def is_plain_listing(prefix: str, start_after: str) -> bool:
    """Tell whether obstore lists this as S3 does: whole folders, from names that it does not normalise."""
    return (
        prefix.endswith("/")
        and is_plain_key(prefix[:-1])
        and (not start_after or is_plain_key(start_after.rstrip("/")))
    )


class UnsureEndError(Exception):
    """Raised behind a listing of which obstore cannot tell whether it has ended, or S3 has answered something else."""


class OnlyForBoto3Error(Exception):
    """Raised when obstore had no answer that boto3 may still get; says why."""


def only_for_boto3(error: BaseException) -> str | None:
    """Return why boto3 may have an answer where obstore has this error; None: it meets the error as well."""
    code, said = answer_in(error)
    if is_of_other_region(error):
        # Only with an endpoint of the connection: otherwise the Region was asked for.
        return f"{said}. Set region_name of the connection"
    certificate = None if code else _BAD_CERTIFICATE.search(str(error))
    return certificate and f"obstore does not take the certificate of the server ({certificate[1]})"


def interruptible(ask: Callable[[], _Answer]) -> _Answer:
    """
    Return what a call returns that waits for obstore; what the main thread is interrupted by is raised at once.

    Airflow ends a task by an exception from a signal handler, and obstore lets no handler run while S3 does not answer,
    which can be minutes. The thread that asks is left to itself then: nothing ends a request.
    """
    if threading.current_thread() is not threading.main_thread():
        return ask()
    future: Future[_Answer] = Future()

    def carry_out() -> None:
        try:
            future.set_result(ask())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=carry_out, name="cloudtrail-obstore", daemon=True).start()
    return future.result()


class CountingCredentials:
    """
    Credentials for listings, which obstore asks for once for each page, in the thread that waits for it.

    How many pages there were is nothing that it tells otherwise.

    :param session: boto3 session that they come from.
    """

    def __init__(self, session: Any) -> None:
        from obstore.auth.boto3 import Boto3CredentialProvider

        self._credentials = Boto3CredentialProvider(session, ttl=_AT_ONCE)
        self._of_thread = threading.local()

    def __call__(self) -> Any:
        """Return credentials that are to be asked for again."""
        self._of_thread.pages = getattr(self._of_thread, "pages", 0) + 1
        return self._credentials()

    def counting(self, ask: Callable[[], _Answer]) -> tuple[_Answer, int]:
        """Return what a call returns, and how many pages it has asked for."""
        self._of_thread.pages = 0
        answer = ask()
        return answer, self._of_thread.pages


class ObstoreBucket:
    """
    What reads a bucket through obstore.

    :param client: boto3 S3 client whose endpoint, Region and settings hold.
    :param bucket: name of the bucket.
    :param session: boto3 session that the client comes from; gives the credentials.
    :param verify: False for no TLS verification, or the path of a CA bundle.
    """

    def __init__(self, client: Any, bucket: str, session: Any, verify: bool | str | None) -> None:
        from obstore.auth.boto3 import Boto3CredentialProvider

        self._bucket = bucket
        credentials = Boto3CredentialProvider(session, ttl=_CREDENTIALS_LIFETIME)
        settings = settings_of(client, bucket, session, verify)
        self._store = obstore_store(settings, credentials, retries=8)
        self._credentials = CountingCredentials(session)
        # What it cannot list is listed by boto3, which tries again in its own way.
        self._listing = obstore_store(settings, self._credentials, retries=1)

    def objects(self, prefix: str, start_after: str, asked: Callable[[], None]) -> Iterator[ListedObject]:
        """
        Yield the objects under a prefix, one request for 1,000 of them.

        :param asked: called behind each request.
        :raises UnsureEndError: behind a page that may have held nothing. obstore takes any XML for a page, if need be
            an empty one, and S3 may send an error with the status of success.
        :raises StoreError: if keys are not in their order; a page that follows itself would do so for ever.
        """
        import obstore

        entries = requests = 0
        last = start_after
        listed = iter(obstore.list(self._listing, prefix, offset=start_after or None, chunk_size=_PAGE))
        while True:
            found, pages = interruptible(lambda: self._credentials.counting(lambda: next(listed, ())))
            for _ in range(pages):
                asked()
            requests += pages
            if not found:
                break
            entries += len(found)
            for entry in found:
                key = entry["path"]
                if key > last:
                    last = key
                    yield ListedObject(key, entry["size"], plain_etag(entry["e_tag"]))
                # obstore starts behind the name without its last slash; a folder's marker has lost it, and its place.
                elif key > start_after and not (entry["size"] == 0 and key != last and last.startswith(key)):
                    raise disordered(self._bucket, prefix, key, last)
        # S3 may give less than whole pages, and go on. What fits into fewer pages than there were tells nothing, nor do
        # pages that could not be counted.
        if not (requests and (requests - 1) * _PAGE < entries <= requests * _PAGE):
            raise UnsureEndError(f"{entries} objects in {requests} pages, which may not be all")

    def get(self, key: str, most_bytes: int | None) -> StoredObject:
        """
        Read one object with one GET; of one with more bytes only its head.

        :raises OnlyForBoto3Error: if boto3 is to be asked.
        """
        from obstore.exceptions import BaseError, PermissionDeniedError

        try:
            result = interruptible(lambda: self._store.get(key))
            described = result.meta
            refuse_above(most_bytes, described["size"], f"s3://{self._bucket}/{key}")
            # One copy, so that every reader behind gets plain bytes.
            body = bytes(interruptible(result.bytes))
            etag = etag_of(described["e_tag"], self._bucket, key)
            metadata = {
                str(name).lower(): str(value)
                for name, value in result.attributes.items()
                if str(name).lower() not in _SYSTEM_METADATA
            }
        except FileNotFoundError as error:
            raise missing(self._bucket, key, in_no_bucket=answer_in(error)[0] == NO_BUCKET) from None
        except BaseError as error:
            if (why := only_for_boto3(error)) is not None:
                raise OnlyForBoto3Error(why) from None
            # The text holds the key, too, which has no such brackets as an answer.
            is_denied = isinstance(error, PermissionDeniedError)
            raise refused(self._bucket, key, *answer_in(error), is_denied=is_denied) from None
        return StoredObject(body, etag, metadata)


def obstore_bucket(client: Any, bucket: str, session: Any, verify: bool | str | None) -> ObstoreBucket | None:
    """
    Return what reads a bucket through obstore; None: it cannot honour what is said.

    The parameters are those of :class:`ObstoreBucket`.
    """
    from botocore.exceptions import BotoCoreError
    from obstore.exceptions import BaseError

    if not fits_obstore(client):
        return None
    try:
        return ObstoreBucket(client, bucket, session, verify)
    except (BaseError, BotoCoreError, OSError, ValueError) as error:
        # Older versions take no CA bundle. What can be no bucket boto3 names when it is asked.
        log.info(
            "Bucket %s is read through boto3 alone, because obstore cannot be set up: %s", bucket, first_line(error)
        )
        return None
