"""Exports, validations and lookups in any order over a bucket that changes meanwhile, held against the promises."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from airflow_provider_cloudtrail.audit_event import FileRows
from airflow_provider_cloudtrail.export.log_files import Limits, export_log_files
from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
from airflow_provider_cloudtrail.trail.listing import EmptyTrailError, list_log_files
from airflow_provider_cloudtrail.trail.log_file import LogFile, TrailLocation, log_file_of_uri
from airflow_provider_cloudtrail.trail.object_uris import object_uri
from airflow_provider_cloudtrail.trail.public_keys import KeyRing, PublicKey
from airflow_provider_cloudtrail.validation.run import Validation
from airflow_provider_cloudtrail.validation.validate import validate_trail
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.evidence import Evidence
from airflow_provider_cloudtrail.warehouse.lookups import Lookups
from tests.support.exports import WatchedWarehouse
from tests.support.log_files import ACCOUNT, OTHER_ACCOUNT, REGION
from tests.support.promised import DAMAGED, SELECTIONS, Promised, Stored, assert_kept, packed, selection_of
from tests.support.promised_bucket import DenyingStore, StoppedError, StoppingWarehouse, verdicts
from tests.support.promised_history import BEGIN, END, HOURS, HistoryRules, minutes, names, numbers
from tests.support.signed_trail import BUCKET, HOUR, Hour, Object, SignedTrail, signing_key
from tests.support.tables import add_column, execute, query, read_table

ENGINE = os.environ.get("CLOUDTRAIL_PROMISES_ENGINE", "sqlite")
EXAMPLES, STEPS = (int(number) for number in os.environ.get("CLOUDTRAIL_PROMISES", "60,30").split(","))
"""How often, and how much each time; for those who change what is tested here for instance 2000,60."""

SETTLE = timedelta(hours=2)
LOCATION = TrailLocation(BUCKET)
PLACES = [(ACCOUNT, REGION, "AWSLogs/"), (ACCOUNT, "us-east-1", "AWSLogs/"), (OTHER_ACCOUNT, REGION, "AWSLogs/o-abc/")]
"""Where files are delivered to; digests are of the first."""
windows = (
    st.just((0, HOURS * 60, 0))
    | st.just((0, HOURS * 60, 0))
    | st.tuples(minutes, st.integers(1, HOURS * 60), st.sampled_from([0, 60]))
)
"""Where they begin, how long they and their look-back are, in minutes; most of them of all, so that they meet."""
Window = tuple[int, int, int]


class Promises(HistoryRules):
    """A trail, an audit table, and all that may happen to both."""

    new_warehouse: Callable[[], Warehouse]

    def __init__(self) -> None:
        super().__init__()
        self.warehouse = self.new_warehouse()
        self.evidence = Evidence(self.warehouse)
        self.evidence.prepare()
        Lookups(self.warehouse).prepare()
        self.promised = Promised()
        self.bucket = DenyingStore(self.promised)
        self.objects: dict[str, Stored] = {}
        self.validated = 0
        self.reviewed: dict[str, set[str]] = {self.warehouse.events: set(), self.warehouse.files: set()}
        for table in self.reviewed:
            add_column(self.warehouse, table, "reviewed_by", "TEXT")

    # -- the trail ---------------------------------------------------------------------------------

    @initialize(
        files=st.lists(st.tuples(st.sampled_from(PLACES), minutes, numbers), min_size=8, max_size=14),
        late=st.sampled_from([0, 0, 3, 9]),
    )
    def begin(self, files: list[tuple[tuple[str, str, str], int, tuple[int, ...]]], late: int) -> None:
        """Have CloudTrail write files, of which some are delivered late."""
        signed = SignedTrail(hours=[Hour(BEGIN + number * HOUR) for number in range(HOURS)])
        self.undelivered: dict[str, Object] = {}
        for unique, ((account, region, root), minute, records) in enumerate(files):
            place = SignedTrail(account=account, region=region, root=root, hours=signed.hours)
            key = place.log_key(BEGIN + timedelta(minutes=minute), f"{unique:016}")
            self.objects[key] = Stored(packed(*records), records)
            self.undelivered[key] = Object(self.objects[key].body)
            if (account, region, root) == PLACES[0]:
                signed.hours[minute // 60].files[key] = gzip.decompress(self.objects[key].body)
        self.undelivered |= {key: found for key, found in signed.build().objects.items() if key not in self.undelivered}
        for key in sorted(self.undelivered)[late:]:
            self.deliver_one(key)

    def put(self, key: str, stored: Stored) -> None:
        self.bucket.contents[key] = Object(stored.body)
        self.promised.bucket[object_uri(BUCKET, key)] = stored

    @precondition(lambda self: self.undelivered)
    @rule(data=st.data(), number=st.integers(1, 6))
    def deliver(self, data: st.DataObject, number: int) -> None:
        """Deliver files and digests, in any order."""
        for key in data.draw(st.permutations(sorted(self.undelivered)))[:number]:
            self.deliver_one(key)

    def deliver_one(self, key: str) -> None:
        stored = self.undelivered.pop(key)
        if key in self.objects:
            self.put(key, self.objects[key])
        else:
            self.bucket.contents[key] = stored

    @rule(
        data=st.data(),
        what=st.sampled_from(["overwrite", "damage", "put right", "delete", "delete digest", "plant", "deny"]),
        records=numbers,
        minute=minutes,
    )
    def tamper(self, data: st.DataObject, what: str, records: tuple[int, ...], minute: int) -> None:
        """Do something to an object, or put one there that CloudTrail has not written."""
        kind = "/CloudTrail-Digest/" if what == "delete digest" else "/CloudTrail/"
        keys = [key for key in sorted(self.bucket.contents) if kind in key]
        if what == "plant":
            place = SignedTrail(hours=[Hour(BEGIN)])
            keys = [place.log_key(BEGIN + timedelta(minutes=minute), "Forged")]
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        if what in ("overwrite", "plant"):
            self.put(key, Stored(packed(*records), records))
        elif what == "damage":
            self.put(key, Stored(data.draw(st.sampled_from(list(DAMAGED)))))
        elif what == "put right":
            self.put(key, self.objects.get(key, Stored(packed(), ())))
        elif what == "deny":
            self.promised.denied ^= {object_uri(BUCKET, key)}
        else:
            del self.bucket.contents[key]
            self.promised.bucket.pop(object_uri(BUCKET, key), None)

    # -- exports -----------------------------------------------------------------------------------

    def listed(self, start: int, length: int, lookback: int) -> list[LogFile]:
        begin = BEGIN + timedelta(minutes=start)
        window = DeliveryWindow(begin, begin + timedelta(minutes=length), timedelta(minutes=lookback), timedelta(0))
        files: list[LogFile] = []
        with suppress(EmptyTrailError):
            files = list(list_log_files(self.bucket, LOCATION, window))
        end = begin + timedelta(minutes=length)
        assert {file.uri for file in files} == self.promised.within(begin - timedelta(minutes=lookback), end)
        return files

    def load(self, files: list[LogFile], name: str, size: int, warehouse: Any = None) -> None:
        export_log_files(
            files,
            store_of=lambda _: self.bucket,
            warehouse=warehouse or self.warehouse,
            selection=SELECTIONS[name][0],
            limits=Limits(threads=2, files_asked=max(size, 2), batch_files=size),
        )

    @rule(window=windows, name=names, size=st.integers(1, 4))
    def export(self, window: Window, name: str, size: int) -> None:
        self._export(self.listed(*window), name, size)

    @rule(data=st.data(), name=names, size=st.integers(1, 4))
    def export_named(self, data: st.DataObject, name: str, size: int) -> None:
        """Name files, also some that are not there."""
        uris = sorted({object_uri(BUCKET, key) for key in self.objects})
        chosen = data.draw(st.lists(st.sampled_from(uris), max_size=4))
        self._export([log_file_of_uri(uri) for uri in chosen], name, size)

    def _export(self, files: list[LogFile], name: str, size: int) -> None:
        given = list({file.uri: (file.uri, file.etag) for file in files}.values())
        # Once more nothing is asked for but what could not be read, and nothing changes.
        for _ in range(2):
            self.bucket.gets.clear()
            self.load(files, name, size)
            asked = Counter(object_uri(BUCKET, key) for key in self.bucket.gets)
            assert asked == Counter(self.promised.load(given, name))
            self.check()

    @rule(window=windows, name=names, size=st.integers(1, 2), at=st.integers(1, 5), is_stored=st.booleans())
    def export_that_is_stopped(self, window: Window, name: str, size: int, at: int, is_stored: bool) -> None:
        files = self.listed(*window)
        stopping = StoppingWarehouse(self.warehouse, at, is_stored)
        with suppress(StoppedError):
            self.load(files, name, size, stopping)
        self.promised.load([(file.uri, file.etag) for file in files if file.uri in stopping.stored], name)

    @rule(windows=st.tuples(windows, windows), name=names, other=names, size=st.integers(1, 2), at=st.integers(1, 4))
    def two_exports_at_once(self, windows: tuple[Window, Window], name: str, other: str, size: int, at: int) -> None:
        files, of_other = self.listed(*windows[0]), self.listed(*windows[1])
        watched, mine = WatchedWarehouse(self.warehouse), self.warehouse

        def before_write(_: list[FileRows]) -> None:
            if len(watched.batches) == at - 1 and not met:
                met.append(True)
                self.load(of_other, other, size, type(mine)(mine.hook, mine.table, mine.schema))

        met: list[bool] = []
        watched.before_write = before_write
        self.load(files, name, size, watched)
        exports = [
            ([(file.uri, file.etag) for file in given], name) for given, name in ((files, name), (of_other, other))
        ]
        mine_first = deepcopy(self.promised)
        for promised, order in ((mine_first, exports), (self.promised, exports[::-1])):
            for given, selection in order if met else exports[:1]:
                promised.load(given, selection)
        # Which of them was first to read a file or to bring an event is nobody's promise.
        tables = read_table(self.warehouse)
        for row in tables.files:
            if row["selection"] == selection_of(mine_first.ledger[row["log_file_uri"]].wanted).to_text():
                self.promised.take(row["log_file_uri"], mine_first)
        for row in tables.events:
            if not row["log_file_uri"].startswith("event-history:"):
                assert row["event_id"] in self.promised.ledger[row["log_file_uri"]].events
                self.promised.events[row["event_id"]] = row["log_file_uri"]

    # -- the others --------------------------------------------------------------------------------

    @rule(download=st.booleans())
    def validate(self, download: bool) -> None:
        # What may not be read then is a subject of its own.
        self.promised.denied.clear()
        before = read_table(self.warehouse)
        signer = signing_key(0)
        keys = [PublicKey(signer.fingerprint, signer.public_key)]
        validate_trail(
            Validation(
                location=LOCATION,
                window=DeliveryWindow(BEGIN, END, HOUR, SETTLE),
                store_of=lambda _: self.bucket,
                evidence=self.evidence,
                ring=KeyRing(lambda *_: keys, BEGIN, END),
                account_ids=[ACCOUNT],
                regions=[REGION],
                download_missing=download,
                now=END + timedelta(days=1, seconds=self.validated),
            )
        )
        self.validated += 1
        self.promised.verdicts |= verdicts(self.promised, self.bucket, keys, (BEGIN, END), SETTLE)
        after = read_table(self.warehouse)
        assert (after.events, after.quarantine) == (before.events, before.quarantine)

    @precondition(lambda self: self.warehouse.engine != "iceberg")
    @rule(data=st.data())
    def review(self, data: st.DataObject) -> None:
        """Have the user write into a column of his own."""
        tables = {self.warehouse.events: ("event_id", self.promised.events)}
        tables[self.warehouse.files] = ("log_file_uri", self.promised.ledger)  # type: ignore[assignment]
        for table, (column, keys) in tables.items():
            if keys:
                key = data.draw(st.sampled_from(sorted(keys)))
                execute(self.warehouse, f"UPDATE {table} SET reviewed_by = 'me' WHERE {column} = '{key}'")
                self.reviewed[table].add(key)

    # -- what must hold ----------------------------------------------------------------------------

    @invariant()
    def check(self) -> None:
        tables = read_table(self.warehouse)
        assert_kept(self.promised, tables)
        quarantined = Counter(row["log_file_uri"] for row in tables.quarantine)
        assert +self.quarantined_lookups == Counter({
            uri: number for uri, number in quarantined.items() if uri not in self.promised.ledger
        })
        for table, keys in self.reviewed.items():
            column = "event_id" if table == self.warehouse.events else "log_file_uri"
            found_keys = query(self.warehouse, f"SELECT {column} FROM {table} WHERE reviewed_by = 'me'")
            assert {key for (key,) in found_keys} == keys


def test_promises(new_warehouse: Callable[[str], Warehouse]) -> None:
    class Machine(Promises):
        """One with an engine."""

        new_warehouse = staticmethod(lambda: new_warehouse(ENGINE))

    run_state_machine_as_test(
        Machine, settings=settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None)
    )
