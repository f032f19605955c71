"""What the README promises of log files, worked out slowly and anew: which events are in the table, and why."""

from __future__ import annotations

import gzip
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airflow_provider_cloudtrail.trail.selection import Selection
from tests.support.log_files import MWAA, document, event, foreign, id_of
from tests.support.tables import Tables

EC2 = "ec2.amazonaws.com"
Wanted = frozenset[str]
"""Names of selections, of which a record must fulfil one."""


def _of_mwaa(record: dict[str, Any]) -> bool:
    return bool(record["eventSource"] == MWAA)


SELECTIONS: dict[str, tuple[Selection, Callable[[dict[str, Any]], bool]]] = {
    "tokens": (
        Selection.of(event_names=["CreateCliToken"]),
        lambda record: _of_mwaa(record) and record["eventName"] == "CreateCliToken",
    ),
    "orders": (
        Selection.of(environment_names=["orders"]),
        lambda record: _of_mwaa(record) and record["requestParameters"] == {"Name": "orders"},
    ),
    "mwaa": (Selection.of(), _of_mwaa),
    "ec2": (Selection.of(event_sources=[EC2]), lambda record: bool(record["eventSource"] == EC2)),
    "all": (Selection.of(event_sources=None), lambda _: True),
}
"""Selections, each with what it wants."""
_COVERED = {name: {name} for name in SELECTIONS} | {"mwaa": {"tokens", "orders", "mwaa"}, "all": set(SELECTIONS)}

_TIMES = [f"2026-02-03T{1 + number // 3:02}:{number % 3 * 20:02}:00Z" for number in range(10)]
RECORDS: list[Any] = [
    *(event(id_of(number), eventName="CreateCliToken", eventTime=_TIMES[number]) for number in range(3)),
    *(event(id_of(number), eventName="UpdateEnvironment", eventTime=_TIMES[number]) for number in range(3, 5)),
    *(event(id_of(number), requestParameters={"Name": "billing"}, eventTime=_TIMES[number]) for number in range(5, 7)),
    *(foreign(id_of(number), eventTime=_TIMES[number]) for number in range(7, 10)),
    event(id_of(10), eventTime="soon"),
    7,
]
"""Records that log files and Event history of a test are made of: few, so that the same event is in many files."""


def selection_of(wanted: Wanted) -> Selection:
    """Return the selection of what at least one of some wants."""
    first, *others = (SELECTIONS[name][0] for name in sorted(wanted))
    for other in others:
        first |= other
    return first


def packed(*numbers: int) -> bytes:
    """Return the bytes of a log file with some of the records."""
    return gzip.compress(document(*[RECORDS[number] for number in numbers]), mtime=0)


DAMAGED = {
    b"": "not_gzip",
    b"no gzip": "not_gzip",
    packed(0, 7)[:-9]: "truncated_gzip",
    packed(1, 8) + packed(): "bytes_behind_gzip",
    gzip.compress(b'{"Records":7,"of":"airflow.amazonaws.com"}', mtime=0): "no_records",
}
"""What may lie in the place of a log file, and why it is in quarantine then."""


@dataclass(frozen=True)
class Stored:
    """
    An object of the bucket.

    :param numbers: its records; None: it is damaged.
    """

    body: bytes
    numbers: tuple[int, ...] | None = None

    @property
    def etag(self) -> str:
        return hashlib.md5(self.body).hexdigest()


@dataclass(frozen=True)
class Said:
    """What the ledger must say of a log file, but for who was first to bring an event."""

    status: str
    etag: str | None
    wanted: Wanted
    code: str | None = None
    sha256: str | None = None
    events: tuple[str, ...] = ()
    filtered: int = 0
    quarantined: tuple[int, ...] = ()


def _looked_for(wanted: Iterable[str]) -> set[str]:
    """Return the texts of which a file must hold one, or it is not parsed; every file holds the empty one."""
    return {{"all": "", "ec2": EC2}.get(name, MWAA) for name in wanted}


def _without_covered(wanted: Iterable[str]) -> Wanted:
    names = set(wanted)
    return frozenset(name for name in names if not any(name in _COVERED[other] for other in names - {name}))


@dataclass
class Promised:
    """
    What the tables must hold.

    :param bucket: objects by the URI of their log file.
    :param denied: URIs of what may not be read.
    """

    bucket: dict[str, Stored] = field(default_factory=dict)
    denied: set[str] = field(default_factory=set)
    ledger: dict[str, Said] = field(default_factory=dict)
    events: dict[str, str] = field(default_factory=dict)
    """By event what brought it first."""
    verdicts: dict[str, str] = field(default_factory=dict)
    """What validations have said of log files, as they were read last."""

    def within(self, start: datetime, end: datetime) -> set[str]:
        """Return the URIs of the log files in the bucket that were delivered in a window."""
        stamps = {uri: uri.rsplit("_", 2)[1] for uri in self.bucket}
        return {uri for uri, stamp in stamps.items() if f"{start:%Y%m%dT%H%MZ}" <= stamp < f"{end:%Y%m%dT%H%MZ}"}

    def load(self, files: Iterable[tuple[str, str | None]], name: str) -> list[str]:
        """
        Load log files, given with the ETag of their listing, and return which of them were asked for.

        :param name: of the selection.
        """
        asked = []
        for uri, etag in files:
            wanted = self._to_read(uri, etag, name)
            if wanted is None:
                continue
            asked.append(uri)
            found = self._read(uri, etag, wanted)
            if not self._is_kept(self.ledger.get(uri), found):
                self.ledger[uri] = found
                self.verdicts.pop(uri, None)
                for event_id in found.events:
                    self.events.setdefault(event_id, uri)
        return asked

    def take(self, uri: str, other: Promised) -> None:
        """Take over what another one, of the same bucket, says of a log file."""
        self.ledger[uri] = other.ledger[uri]
        self.verdicts.pop(uri, None)
        if uri in other.verdicts:
            self.verdicts[uri] = other.verdicts[uri]

    def _to_read(self, uri: str, etag: str | None, name: str) -> Wanted | None:
        known = self.ledger.get(uri)
        if known is None:
            return frozenset((name,))
        wanted = _without_covered({*known.wanted, name})
        changed = None not in (etag, known.etag) and etag != known.etag
        if known.status == "quarantined":
            again = changed or etag is None or known.code in ("access_denied", "not_found")
            return wanted if again else None
        searched = known.status == "no_match" and _looked_for((name,)) <= _looked_for(known.wanted)
        covered = any(name in _COVERED[before] for before in known.wanted)
        return None if changed or covered or searched else wanted

    def _read(self, uri: str, etag: str | None, wanted: Wanted) -> Said:
        stored = self.bucket.get(uri)
        if stored is None or uri in self.denied:
            return Said("quarantined", etag, wanted, "not_found" if stored is None else "access_denied")
        code = DAMAGED.get(stored.body)
        content = gzip.decompress(stored.body) if code in (None, "no_records") else b""
        sha256 = hashlib.sha256(content).hexdigest() if content else None
        if content and not any(source.encode() in content for source in _looked_for(wanted)):
            return Said("no_match", stored.etag, wanted, sha256=sha256)
        if stored.numbers is None:
            return Said("quarantined", stored.etag, wanted, code, sha256)
        events, filtered, quarantined = [], 0, []
        for index, number in enumerate(stored.numbers):
            record = RECORDS[number]
            if not isinstance(record, dict):
                quarantined.append(index)
            elif not any(SELECTIONS[name][1](record) for name in wanted):
                filtered += 1
            elif record["eventTime"] == "soon":
                quarantined.append(index)
            else:
                events.append(record["eventID"])
        return Said("loaded", stored.etag, wanted, None, sha256, tuple(events), filtered, tuple(quarantined))

    @staticmethod
    def _is_kept(known: Said | None, found: Said) -> bool:
        """Tell whether what was loaded before stays, because what lies there now is something else or unreadable."""
        if known is None or known.status == "quarantined":
            return False
        if None not in (known.etag, found.etag) and known.etag != found.etag:
            return True
        return found.status == "quarantined" and not (known.status == "no_match" and found.sha256 is not None)


def assert_kept(promised: Promised, tables: Tables) -> None:
    """Check that the tables hold what was promised of log files, no more and no less."""
    assert len(tables.events) == len(promised.events)
    assert {row["event_id"]: row["log_file_uri"] for row in tables.events} == promised.events
    brought = Counter(promised.events.values())
    assert {row["log_file_uri"] for row in tables.files} == set(promised.ledger)
    for row in tables.files:
        uri = row["log_file_uri"]
        said = promised.ledger[uri]
        assert (row["status"], row["etag"], row["sha256"]) == (said.status, said.etag, said.sha256)
        assert (row["reason"] or "").partition(":")[0] == (said.code or "")
        assert Selection.from_text(row["selection"]) == selection_of(said.wanted)
        assert said.status == "quarantined" or row["digest_status"] == promised.verdicts.get(uri)
        counts = [row[name] for name in ("records", "loaded", "duplicate", "filtered", "quarantined")]
        found, quarantined = len(said.events), len(said.quarantined)
        balance = [
            found + said.filtered + quarantined,
            brought[uri],
            found - brought[uri],
            said.filtered,
            quarantined,
        ]
        assert counts == (balance if said.status == "loaded" else [None] * 5)
    of_files = [(row["log_file_uri"], row["record_index"]) for row in tables.quarantine]
    assert Counter(row for row in of_files if row[0] in promised.ledger) == Counter(
        (uri, index)
        for uri, said in promised.ledger.items()
        for index in ((None,) if said.status == "quarantined" else said.quarantined)
    )
