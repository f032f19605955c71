"""Exports whose store and warehouse are watched: how many GETs, how many at once, how far ahead, in which batches."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from airflow_provider_cloudtrail.audit_event import FileRows, KnownFile, LedgerEntry
from airflow_provider_cloudtrail.export.log_files import export_log_files
from airflow_provider_cloudtrail.export.summary import ExportSummary
from airflow_provider_cloudtrail.trail.log_file import LogFile
from airflow_provider_cloudtrail.trail.selection import Selection
from airflow_provider_cloudtrail.trail.store import ListedObject, StoredObject
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from tests.support.log_files import FolderTrail, event, foreign, key_of, listed
from tests.support.rows import MWAA


class WatchedStore:
    """A store that counts its GETs and can be told to fail."""

    def __init__(self, trail: FolderTrail) -> None:
        self._store = trail.store
        self._lock = threading.Lock()
        self.gets: Counter[str] = Counter()
        self.faults: dict[str, Exception] = {}
        self.running = self.most_running = 0

    def folders(self, prefix: str) -> list[str]:
        return self._store.folders(prefix)

    def objects(self, prefix: str, start_after: str = "", *, make_sure: bool = True) -> Iterator[ListedObject]:
        return self._store.objects(prefix, start_after, make_sure=make_sure)

    def get(self, key: str, most_bytes: int | None = None) -> StoredObject:
        with self._lock:
            self.gets[key] += 1
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            if key in self.faults:
                raise self.faults[key]
            return self._store.get(key, most_bytes)
        finally:
            with self._lock:
                self.running -= 1

    def taken(self) -> Counter[str]:
        """Return the GETs since the last call."""
        gets, self.gets = self.gets, Counter()
        return gets


class WatchedWarehouse:
    """A warehouse that remembers its batches."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse
        self.limits = warehouse.limits
        self.batches: list[list[str]] = []
        self.asked: list[int] = []
        self.before_write: Callable[[list[FileRows]], None] = lambda _: None

    def session(self, *, together: bool) -> AbstractContextManager[None]:
        return self._warehouse.session(together=together)

    def pending(self) -> bool:
        return self._warehouse.pending()

    def overdue(self) -> bool:
        return self._warehouse.overdue()

    def store(self) -> None:
        self._warehouse.store()

    def known_files(self, uris: list[str]) -> dict[str, KnownFile]:
        self.asked.append(len(uris))
        return self._warehouse.known_files(uris)

    def write(self, files: list[FileRows]) -> list[LedgerEntry]:
        self.before_write(files)
        self.batches.append([file.entry.log_file_uri for file in files])
        return self._warehouse.write(files)


class NoWarehouse:
    """A warehouse that takes everything and keeps nothing, so that reading alone is measured."""

    limits = Warehouse.limits

    def __init__(self) -> None:
        self.loaded = 0

    def session(self, *, together: bool) -> AbstractContextManager[None]:
        return nullcontext()

    def pending(self) -> bool:
        return False

    def overdue(self) -> bool:
        return False

    def store(self) -> None:
        pass

    def known_files(self, uris: list[str]) -> dict[str, KnownFile]:
        return {}

    def write(self, files: list[FileRows]) -> list[LedgerEntry]:
        self.loaded += sum(len(file.events) for file in files)
        return [
            file.entry._replace(loaded=len(file.events), duplicate=0) if file.entry.records is not None else file.entry
            for file in files
        ]


class EndlessTrail(WatchedStore):
    """A store of files that differ in nothing but their events, and that waits until many are asked for."""

    def __init__(self, body_of: Callable[[int], bytes]) -> None:
        self._body_of = body_of
        self._sizes: dict[str, int] = {}
        self._lock = threading.Lock()
        self.gets = Counter()
        self.faults = {}
        self.running = self.most_running = 0
        self.started = self.most_ahead = 0
        self.taken_from_listing = 0
        self.stored = 0

    def files(self, number: int, size_bytes: int) -> Iterator[LogFile]:
        for index in range(number):
            self.taken_from_listing += 1
            self.most_ahead = max(self.most_ahead, self.taken_from_listing - self.stored)
            stamp = f"202602{1 + index // 1440:02}T{index // 60 % 24:02}{index % 60:02}Z"
            file = listed(bucket="example-trail", size_bytes=size_bytes, etag="e", key=self.key(index, stamp))
            yield file

    @staticmethod
    def key(index: int, stamp: str) -> str:
        return key_of(stamp, unique=f"{index:016}")

    def objects(self, prefix: str, start_after: str = "", *, make_sure: bool = True) -> Iterator[ListedObject]:
        # Files are given with the size that a test wants: they look as if they had been overwritten since.
        yield ListedObject(prefix, self._sizes.pop(prefix), "e")

    def get(self, key: str, most_bytes: int | None = None) -> StoredObject:
        index = int(key[-24:-8])
        with self._lock:
            self.started += 1
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            stored = StoredObject(self._body_of(index), "e")
            self._sizes[key] = len(stored.body)
            return stored
        finally:
            with self._lock:
                self.running -= 1


def fill(trail: FolderTrail, number: int, events: int = 2) -> list[LogFile]:
    """Deliver log files, one a minute, each of some events and a foreign one."""
    return [
        trail.deliver(
            f"20260203T{minute // 60:02}{minute % 60:02}Z", *[event(f"{minute}-{i}") for i in range(events)], foreign()
        )
        for minute in range(number)
    ]


def export(
    files: Iterable[LogFile], store: WatchedStore, warehouse: Any, selection: Selection = MWAA, **arguments: Any
) -> ExportSummary:
    return export_log_files(
        files,
        store_of=lambda _: store,
        warehouse=warehouse,
        selection=selection,
        **arguments,  # type: ignore[arg-type,return-value]
    )
