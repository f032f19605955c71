"""What an export did: counts, times and what they cost, for the log, XCom and lineage."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any

from airflow_provider_cloudtrail.audit_event import NO_MATCH, QUARANTINED, FileRows, KnownFile, LedgerEntry

# Asked of every event: these take a third of the time of a loop.
_REDACTED, _EVENT_TIME = map(attrgetter, ("redacted", "event_time"))

NAMED_FILES = 10
"""How much of what lies in quarantine is named."""


@dataclass
class ExportSummary:
    """
    What a run did. Counts of records are those of the files that this run read.

    :param files: log files given, each once.
    :param files_known: of these, not read because the ledger has them.
    :param files_read: read by this run; each cost one GET.
    :param files_without_match: of these, not parsed because no wanted event source occurs in their bytes.
    :param files_quarantined: of these, put into quarantine as a whole; not those that were there for the same reason.
    :param files_not_read_again: wanted for a wider selection, but not readable any more; what was
        loaded from them stays.
    :param files_changed: loaded before, and another object now lies under their key.
    :param bytes: size of the files that were read, in bytes, compressed.
    :param unpacked_bytes: the same, uncompressed.
    :param records: records in the files that were parsed;
        ``records = loaded + duplicate + filtered + quarantined``.
    :param loaded: rows that this run added.
    :param duplicate: selected events that were there already.
    :param filtered: records that were not selected.
    :param quarantined: records that could not be read.
    :param redacted: secret values that were replaced.
    :param first_event_time: earliest selected event, UTC.
    :param last_event_time: latest selected event, UTC.
    :param seconds: how long it took.
    :param seconds_listing: of these, waiting for the next log files of the listing.
    :param seconds_getting: fetching log files; this and the next two are added up over the threads.
    :param seconds_unpacking: unpacking, hashing and searching.
    :param seconds_parsing: making rows.
    :param seconds_asking: asking the ledger which files it knows.
    :param seconds_writing: storing batches, waiting for other writers included.
    :param requests: LIST and GET requests to S3; filled in by who knows the stores, as the operator does.
    :param without_folder: accounts and Regions that were named, and of which nothing was ever delivered; filled in by
        who has listed, as the operator does.
    :param quarantine: reasons of the first files and records that this run put into quarantine.
    :param known_quarantined: files given that an earlier run put into quarantine, as a whole or records of them, the
        first of them.
    """

    files: int = 0
    files_known: int = 0
    files_read: int = 0
    files_without_match: int = 0
    files_quarantined: int = 0
    files_not_read_again: int = 0
    files_changed: int = 0
    bytes: int = 0
    unpacked_bytes: int = 0
    records: int = 0
    loaded: int = 0
    duplicate: int = 0
    filtered: int = 0
    quarantined: int = 0
    redacted: int = 0
    first_event_time: datetime | None = None
    last_event_time: datetime | None = None
    seconds: float = 0.0
    seconds_listing: float = 0.0
    seconds_getting: float = 0.0
    seconds_unpacking: float = 0.0
    seconds_parsing: float = 0.0
    seconds_asking: float = 0.0
    seconds_writing: float = 0.0
    requests: dict[str, int] = field(default_factory=dict)
    without_folder: list[str] = field(default_factory=list)
    quarantine: list[str] = field(default_factory=list)
    known_quarantined: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as JSON types, times in ISO 8601."""
        values = asdict(self)
        for name in ("first_event_time", "last_event_time"):
            values[name] = values[name].isoformat() if values[name] else None
        values |= {name: round(value, 3) for name, value in values.items() if name.startswith("seconds")}
        return values

    def balance(self) -> dict[str, int]:
        """Return the counts of records, of which the first is the sum of the others."""
        names = ("records", "loaded", "duplicate", "filtered", "quarantined")
        return {name: getattr(self, name) for name in names}

    def add_all(self, other: ExportSummary) -> None:
        """Count what another summary has counted: of other files, at other times."""
        for name, value in vars(other).items():
            # Whatever is no list, dict or moment is a count or seconds: no kind of number is left out.
            if value is not None and not isinstance(value, (list, dict, datetime)):
                setattr(self, name, getattr(self, name) + value)
        self.quarantine = [*self.quarantine, *other.quarantine][:NAMED_FILES]
        self.known_quarantined = [*self.known_quarantined, *other.known_quarantined][:NAMED_FILES]
        if other.first_event_time is not None and other.last_event_time is not None:
            self._widen(other.first_event_time, other.last_event_time)

    def add(self, rows: FileRows, entry: LedgerEntry) -> None:
        """
        Count a file that was stored.

        :param rows: what was read.
        :param entry: what the ledger says of it now.
        """
        self.files_read += 1
        self.files_without_match += entry.status == NO_MATCH
        self.bytes += entry.size_bytes or 0
        self.unpacked_bytes += rows.unpacked_bytes
        self.seconds_getting += rows.getting
        self.seconds_unpacking += rows.unpacking
        self.seconds_parsing += rows.parsing
        if entry.status == QUARANTINED:
            self.files_quarantined += not was_in_quarantine(rows.previous, entry)
        elif entry.records is not None:
            # Rows that an earlier read of the file loaded are no news of this run. Some drivers give decimals.
            earlier = rows.rows_there
            if earlier is None:
                earlier = int(rows.previous.loaded or 0) if rows.previous is not None else 0
            self.records += entry.records
            self.loaded += (entry.loaded or 0) - earlier
            self.duplicate += (entry.duplicate or 0) + earlier
            self.filtered += entry.filtered or 0
            self.quarantined += entry.quarantined or 0
        if rows.events:
            self.redacted += sum(map(_REDACTED, rows.events))
            times = list(map(_EVENT_TIME, rows.events))
            self._widen(min(times), max(times))

    def _widen(self, first: datetime, last: datetime) -> None:
        self.first_event_time = min(filter(None, (self.first_event_time, first)))
        self.last_event_time = max(filter(None, (self.last_event_time, last)))


def was_in_quarantine(previous: KnownFile | None, entry: LedgerEntry) -> bool:
    """Tell whether a file was in quarantine as a whole before it was tried again, for the same kind of reason."""
    if previous is None or previous.status != QUARANTINED or entry.status != QUARANTINED:
        return False
    return (previous.reason or "").partition(":")[0] == (entry.reason or "").partition(":")[0]
