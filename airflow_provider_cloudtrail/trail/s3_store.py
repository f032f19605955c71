"""
An S3 bucket, read with the client of an AWS connection.

GETs and listings of objects go through ``obstore`` where it is there and can honour everything that the AWS
connection says, otherwise through boto3; the requests are the same either way.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import datetime, timezone
from functools import partial
from typing import Any

from airflow_provider_cloudtrail.trail.obstore_bucket import (
    OBSTORE_INSTALLED,
    ObstoreBucket,
    OnlyForBoto3Error,
    UnsureEndError,
    is_plain_key,
    is_plain_listing,
    obstore_bucket,
    only_for_boto3,
)
from airflow_provider_cloudtrail.trail.s3_errors import (
    NO_BUCKET,
    describe,
    disordered,
    etag_of,
    first_line,
    missing,
    no_answer,
    refused,
    unanswered,
    unlisted,
)
from airflow_provider_cloudtrail.trail.store import ListedObject, StoredObject, StoreError, plain_etag, refuse_above

log = logging.getLogger(__name__)

# Members of every listing, also of one without objects; what has none of them is another document.
_LISTING = frozenset({"IsTruncated", "KeyCount", "Name"})

ATTEMPTS = 4
"""How often a GET is tried as a whole, beside the retries of the client below it."""


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
        self._obstore: ObstoreBucket | None = None
        # That there are no credentials is said by boto3, when it is asked.
        can_sign = session is not None and session.get_credentials() is not None
        if OBSTORE_INSTALLED and can_sign:
            self._obstore = obstore_bucket(client, bucket, session, verify)
        log.debug("Objects of %s are read through %s", bucket, "obstore" if self._obstore else "boto3")

    def folders(self, prefix: str) -> list[str]:
        """Return the names of the folders under ``prefix``, page by page of 1,000."""
        names: list[str] = []
        for page in self._pages(prefix, Delimiter="/"):
            names += (folder["Prefix"][len(prefix) : -1] for folder in page.get("CommonPrefixes", ()))
        return sorted(names)

    def objects(self, prefix: str, start_after: str = "", *, make_sure: bool = True) -> Iterator[ListedObject]:
        """
        Yield the objects under ``prefix``, one request for 1,000 of them, made when they are asked for.

        :param make_sure: whether boto3 is asked as well where obstore cannot tell that this is all.
        :raises StoreError: if S3 does not answer, or with something else, or not in the order of the keys.
        """
        # Another thread may leave it meanwhile.
        obstore = self._obstore
        if obstore is not None and is_plain_listing(prefix, start_after):
            from obstore.exceptions import BaseError

            try:
                for listed in obstore.objects(prefix, start_after, partial(self._count, "LIST")):
                    start_after = listed.key
                    yield listed
                return
            except UnsureEndError as end:
                if not make_sure:
                    return
                log.debug("Listing s3://%s/%s: boto3 is asked for more: %s", self._bucket, prefix, end)
            except (BaseError, OSError, ValueError) as error:
                if (why := only_for_boto3(error)) is not None:
                    self._leave_obstore(why)
                # A key that obstore does not take, or an error that boto3 meets as well and names as all others.
                log.debug("Listing s3://%s/%s goes on through boto3: %s", self._bucket, prefix, first_line(error))
        yield from self._objects_through_boto3(prefix, start_after)

    def _objects_through_boto3(self, prefix: str, start_after: str) -> Iterator[ListedObject]:
        last = start_after
        after = {"StartAfter": start_after} if start_after else {}
        for page in self._pages(prefix, **after):
            for entry in page.get("Contents", ()):
                key = entry["Key"]
                if key > last:
                    last = key
                    yield ListedObject(key, entry["Size"], plain_etag(entry.get("ETag")))
                # Not every server knows where to start.
                elif key > start_after:
                    raise disordered(self._bucket, prefix, key, last)

    def _pages(self, prefix: str, **arguments: str) -> Iterator[Mapping[str, Any]]:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        paginator = self._client.get_paginator("list_objects_v2")
        try:
            for page in paginator.paginate(Bucket=self._bucket, Prefix=prefix, **arguments):
                self._count("LIST")
                if not _LISTING.intersection(page):
                    raise StoreError(
                        f"listing s3://{self._bucket}/{prefix}: the answer is no listing of S3; look what stands "
                        "between the worker and S3 (a proxy, the endpoint_url of the connection)"
                    )
                yield page
                if page.get("IsTruncated") and not page.get("NextContinuationToken"):
                    raise StoreError(
                        f"listing s3://{self._bucket}/{prefix}: the answer says that it goes on, and not how; an "
                        "endpoint_url of the connection has to lead to what knows ListObjectsV2"
                    )
        except ClientError as error:
            # Else the role is assumed anew in between.
            is_listing = error.operation_name == "ListObjectsV2"
            code = error.response.get("Error", {}).get("Code", "") if is_listing else ""
            raise unlisted(self._bucket, prefix, code, describe(error)) from error
        except BotoCoreError as error:
            raise StoreError(f"listing s3://{self._bucket}/{prefix}: {unanswered(error)}") from error
        except (ResponseParserError, KeyError) as error:
            # Newer versions of botocore try again themselves; also what STS answers when a role is assumed anew.
            raise StoreError(f"listing s3://{self._bucket}/{prefix}: {no_answer(error)}") from None

    def get(self, key: str, most_bytes: int | None = None) -> StoredObject:
        """Read one object with one GET; throttling, resets and server errors are tried again with back-off."""
        for attempt in range(1, ATTEMPTS + 1):
            self._count("GET")
            try:
                return self._get(key, most_bytes)
            except StoreError as error:
                if attempt == ATTEMPTS:
                    raise
                seconds = 2.0 ** (attempt - 1)
                log.warning("%s; trying again in %s seconds (attempt %s of %s)", error, seconds, attempt, ATTEMPTS)
                self._sleep(seconds)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _get(self, key: str, most_bytes: int | None) -> StoredObject:
        obstore = self._obstore
        if obstore is not None and is_plain_key(key):
            try:
                return obstore.get(key, most_bytes)
            except OnlyForBoto3Error as error:
                self._leave_obstore(str(error))
                self._count("GET")
        return self._get_through_boto3(key, most_bytes)

    def _leave_obstore(self, why: str) -> None:
        with self._counting:
            left, self._obstore = self._obstore, None
        if left is not None:
            log.warning("Bucket %s is read through boto3 alone, which takes longer: %s", self._bucket, why)

    def _count(self, method: str) -> None:
        with self._counting:
            self.requests[method] += 1

    def _get_through_boto3(self, key: str, most_bytes: int | None) -> StoredObject:
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
        from botocore.parsers import ResponseParserError
        from urllib3.exceptions import HTTPError

        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
            with closing(answer["Body"]) as body:
                refuse_above(most_bytes, answer.get("ContentLength", 0), f"s3://{self._bucket}/{key}")
                etag = etag_of(answer.get("ETag"), self._bucket, key)
                return StoredObject(body.read(), etag, answer.get("Metadata", {}))
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if error.operation_name != "GetObject":
                # The role is assumed anew in between.
                raise StoreError(f"s3://{self._bucket}/{key}: {error}") from None
            if code in ("NoSuchKey", NO_BUCKET, "404"):
                raise missing(self._bucket, key, in_no_bucket=code == NO_BUCKET) from None
            raise refused(self._bucket, key, code, describe(error), is_denied=status == 403) from None
        except (BotoCoreError, HTTPClientError, HTTPError, OSError) as error:
            raise StoreError(f"s3://{self._bucket}/{key}: {unanswered(error)}") from None
        except (ResponseParserError, KeyError) as error:
            # Of STS, where the role is assumed anew and something else answers.
            raise StoreError(f"s3://{self._bucket}/{key}: {no_answer(error)}") from None
