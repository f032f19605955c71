"""A bucket of which some objects may not be read, what digests say of it, a warehouse behind which the process ends."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from airflow_provider_cloudtrail.audit_event import FileRows, LedgerEntry
from airflow_provider_cloudtrail.trail.object_uris import object_uri
from airflow_provider_cloudtrail.trail.public_keys import PublicKey
from airflow_provider_cloudtrail.trail.store import ObjectError, StoredObject
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from tests.support.digest_oracle import Oracle
from tests.support.exports import WatchedWarehouse
from tests.support.log_files import ACCOUNT, REGION
from tests.support.promised import Promised
from tests.support.signed_trail import BUCKET, MemoryStore


class DenyingStore(MemoryStore):
    """
    A bucket in memory.

    :param promised: says which of its objects may not be read.
    """

    def __init__(self, promised: Promised) -> None:
        super().__init__()
        self._promised = promised

    def get(self, key: str, most_bytes: int | None = None) -> StoredObject:
        found = super().get(key, most_bytes)
        if object_uri(BUCKET, key) in self._promised.denied:
            raise ObjectError("access_denied", f"{key}: AccessDenied")
        return found


class StoppedError(Exception):
    """Stands for the end of the process."""


class StoppingWarehouse(WatchedWarehouse):
    """
    A warehouse behind which the process ends at a write.

    :param at: at which, from 1.
    :param is_stored: whether it ends behind the write.
    """

    def __init__(self, warehouse: Warehouse, at: int, is_stored: bool) -> None:
        super().__init__(warehouse)
        self._at, self._is_stored = at, is_stored
        self.stored: list[str] = []
        """URIs of the files that were."""

    def write(self, files: list[FileRows]) -> list[LedgerEntry]:
        is_last = len(self.batches) + 1 == self._at
        if is_last and not self._is_stored:
            raise StoppedError
        entries = super().write(files)
        self.stored += self.batches[-1]
        if is_last:
            raise StoppedError
        return entries


def verdicts(
    promised: Promised,
    bucket: MemoryStore,
    keys: Sequence[PublicKey],
    window: tuple[datetime, datetime],
    settle: timedelta,
) -> dict[str, str]:
    """Return what a validation of one account and Region must say of log files that were read, by URI."""
    root = f"AWSLogs/{ACCOUNT}/"
    objects = {key: found for key, found in bucket.contents.items() if key.startswith(root) and REGION in key}
    read = {
        uri.removeprefix(object_uri(BUCKET, "")): said.sha256
        for uri, said in promised.ledger.items()
        if said.status != "quarantined" and said.sha256 is not None
    }
    expected = Oracle(BUCKET, objects, keys, read).expected(*window, settle=settle, chains_before=True)
    digests = [json.loads(gzip.decompress(found.body)) for key, found in objects.items() if "-Digest/" in key]
    listed = {file["s3Object"] for digest in digests for file in digest["logFiles"]}
    # What gave rows and was taken away since; the oracle sees what is in the bucket.
    of_place = object_uri(BUCKET, f"{root}CloudTrail/{REGION}/")
    gave_rows = {uri for uri in promised.events.values() if uri.startswith(of_place)}
    gone = {uri.removeprefix(object_uri(BUCKET, "")) for uri in gave_rows} - set(objects)
    expected.unlisted |= gone - listed
    return {
        object_uri(BUCKET, key): status
        for status in ("unlisted", "verified", "deleted", "altered")
        for key in getattr(expected, status) & set(read)
    }
