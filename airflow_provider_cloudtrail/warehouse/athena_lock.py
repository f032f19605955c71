"""
The lock of the writers of an audit table in Athena: an object in the staging folder.

Why one is needed: a transaction here is several statements, each of which commits on its own, and Athena knows
no lock but the optimistic one of the Glue catalog
(https://docs.aws.amazon.com/athena/latest/ug/querying-iceberg.html). Whether two MERGE that insert the same new
id can both succeed depends on what the engine validates when it commits. Trino, which Athena is made from, looks for
new data files where the table's property ``write.delete.isolation-level`` says serializable (``finishWrite`` of its
``IcebergMetadata``); what Athena does is not documented, and it takes no such property
(https://docs.aws.amazon.com/athena/latest/ug/querying-iceberg-alter-table-set-properties.html). A conflict of two
MERGE has also been reported to damage a table of Trino (https://github.com/trinodb/trino/issues/26853). What the
engine does validate remains the second line.

S3 stores an object only if there is none (``If-None-Match: *``) or if it is the one that was seen (``If-Match``;
https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html): one of several writers gets the
lock. It is deleted in the same way (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-deletes.html).
It holds as long as it is renewed, by the clock of S3. In it stand the ids of its writer's statements and, from before
it is sent until its id is known, the request of one: SQL and where its result goes. Rows are in it only if they are
few; more are staged in the same folder. Who finds the lock expired stops all of that (see
:mod:`~airflow_provider_cloudtrail.warehouse.athena_endings`) and takes it over.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from airflow_provider_cloudtrail.warehouse.athena_endings import LeftBehind
from airflow_provider_cloudtrail.warehouse.base import WarehouseError

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=90)
"""How long a lock holds that is not renewed, because its writer was killed."""

# Kept in it: a transaction has few statements, and of those before the last all have ended.
_QUERIES = 8
_REFUSED = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
_GONE = frozenset({"NoSuchKey", "404"})
_CONDITIONAL = ("before-call.s3.PutObject", "before-call.s3.DeleteObject")


class WriterLock:
    """
    A lock, not acquired yet.

    :param client: boto3 client of S3, of this lock alone.
    :param bucket: bucket of the object.
    :param key: its key.
    :param lease: how long it holds without being renewed.
    """

    def __init__(self, client: Any, bucket: str, key: str, lease: timedelta = LEASE) -> None:
        self._client = client
        self._bucket = bucket
        self._key = key
        self._lease = lease.total_seconds()
        self._owner = uuid.uuid4().hex
        self._queries: list[str] = []
        self._request: dict[str, Any] | None = None
        self._region: str | None = None
        self._etag: str | None = None
        self._until = 0.0
        self._guard = threading.Lock()
        self._released = threading.Event()
        self._condition: dict[str, str] = {}
        # As headers: versions of boto3 that MWAA has know only one of the two parameters.
        for event in _CONDITIONAL:
            client.meta.events.register(event, self._add_condition)

    def acquire(self, end: Callable[[LeftBehind], bool]) -> bool:
        """
        Try to get the lock.

        :param end: stops what the one whose lock has expired has left behind, and tells whether all of it has ended.
        :return: whether this writer has it now.
        :raises WarehouseError: if the object cannot be read or written, or ``end`` says so.
        """
        if not self._put({"If-None-Match": "*"}):
            expired = self._expired()
            if expired is None:
                return False
            etag, left = expired
            if not end(left) or not self._put({"If-Match": etag}):
                return False
            log.warning("Took over %s: its writer has not renewed it for %.0f seconds", left.lock, left.seconds)
        threading.Thread(target=self._keep_renewing, name="cloudtrail-lock", daemon=True).start()
        return True

    def is_held(self) -> bool:
        """Tell whether nobody else can have the lock."""
        return self._etag is not None and time.monotonic() < self._until

    def announce(self, request: dict[str, Any], region: str) -> None:
        """
        Write down a statement before it is sent, so that its id can be learned by who takes the lock over.

        :param request: all parameters of StartQueryExecution, its token among them.
        :param region: where it is sent to.
        :raises WarehouseError: if the object cannot be written.
        """
        with self._guard:
            self._request, self._region = request, region
            self._renew()

    def note(self, query: str) -> None:
        """
        Write down the statement that was announced by its id, so that it can be stopped by who takes the lock over.

        :raises WarehouseError: if the object cannot be written.
        """
        with self._guard:
            self._queries, self._request = [*self._queries, query][-_QUERIES:], None
            self._renew()

    def release(self, *, keep: bool) -> None:
        """
        Give the lock back, or give up getting it.

        :param keep: leave it to expire, because a statement may still run.
        """
        self._released.set()
        with self._guard:
            try:
                if self.is_held() and not keep:
                    self._delete()
            except Exception as error:
                log.warning("Could not remove s3://%s/%s: %s", self._bucket, self._key, error)
            finally:
                self._etag = None
                for event in _CONDITIONAL:
                    self._client.meta.events.unregister(event, self._add_condition)

    # -- the object --------------------------------------------------------------------------------

    def _keep_renewing(self) -> None:
        while not self._released.wait(self._lease / 4):
            with self._guard:
                if self._released.is_set() or self._etag is None:
                    return
                try:
                    self._renew()
                except WarehouseError as error:
                    # Tried again, as long as it holds.
                    log.warning("%s", error)

    def _renew(self) -> None:
        if self._etag is not None and not self._put({"If-Match": self._etag}):
            self._etag = None

    def _put(self, condition: dict[str, str]) -> bool:
        """Store the object under a condition; False: the condition does not hold."""
        from botocore.exceptions import BotoCoreError, ClientError

        # Before the request: S3 counts from a later moment.
        until = time.monotonic() + self._lease * 0.8
        self._condition = condition
        content = {"owner": self._owner, "queries": self._queries, "lease": self._lease, "at": time.time()}
        if self._request is not None:
            content |= {"request": self._request, "region": self._region}
        # A statement has up to 262,144 bytes, of which escapes would make more.
        body = json.dumps(content, ensure_ascii=False).encode()
        try:
            answer = self._client.put_object(Bucket=self._bucket, Key=self._key, Body=body)
        except ClientError as error:
            if error.response["Error"]["Code"] in _REFUSED | _GONE:
                # A request that was sent twice is refused because of itself. Gone: whoever had it has given it back.
                return self._is_ours(until)
            raise self._failed("PutObject", error) from None
        except BotoCoreError as error:
            raise self._failed("PutObject", error) from None
        self._etag, self._until = answer["ETag"], until
        return True

    def _delete(self) -> None:
        from botocore.exceptions import ClientError

        for _ in range(2):
            # A request that is sent again, because its answer was lost, finds the lock of the next writer.
            self._condition = {"If-Match": str(self._etag)}
            try:
                self._client.delete_object(Bucket=self._bucket, Key=self._key)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code not in _REFUSED | _GONE:
                    raise
                # It was renewed by a request whose answer was lost.
                if code in _REFUSED and self._is_ours(self._until):
                    continue
            return

    def _is_ours(self, until: float) -> bool:
        found = self._get()
        if found is None or found[1].get("owner") != self._owner:
            return False
        self._etag, self._until = found[0], until
        return True

    def _expired(self) -> tuple[str, LeftBehind] | None:
        """Return the ETag of a lock that holds no longer, and what stands in it."""
        found = self._get()
        if found is None:
            return None
        etag, content, age = found
        # Its own lease counts, which another version may have chosen differently.
        if age <= content.get("lease", self._lease):
            return None
        lock = f"s3://{self._bucket}/{self._key}"
        return etag, LeftBehind(lock, content.get("queries", []), content.get("request"), content.get("region"), age)

    def _get(self) -> tuple[str, dict[str, Any], float] | None:
        """Return ETag, content and age in seconds, None if it is gone."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key)
            content = json.loads(answer["Body"].read())
        except ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                return None
            raise self._failed("GetObject", error) from None
        except BotoCoreError as error:
            raise self._failed("GetObject", error) from None
        except ValueError:
            content = {}
        # Both by the clock of S3; the worker's may be wrong.
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        return answer["ETag"], content, (now - answer["LastModified"]).total_seconds()

    def _add_condition(self, params: dict[str, Any], **_: Any) -> None:
        params["headers"].update(self._condition)

    def _failed(self, action: str, error: Exception) -> WarehouseError:
        return WarehouseError(f"cannot lock with s3://{self._bucket}/{self._key}: s3:{action} failed: {error}")
