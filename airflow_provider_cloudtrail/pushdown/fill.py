"""
The way of the pushdown: span by span, what is wanted, rows, ledger.

Statements are not one transaction. Rows go first and only once, the ledger last and only for files whose wanted
events are all in the table, so that a run that breaks off anywhere and is run again gives the same tables.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, Protocol

from airflow_provider_cloudtrail.pushdown.records import Records, halves
from airflow_provider_cloudtrail.pushdown.sql import StatementTooLongError
from airflow_provider_cloudtrail.pushdown.statements import (
    MOST_DAYS,
    known_selections,
    merge_events,
    merge_files,
    survey,
    written,
)
from airflow_provider_cloudtrail.pushdown.unfit import MEANINGS
from airflow_provider_cloudtrail.trail.selection import Selection

log = logging.getLogger(__name__)


class Engine(Protocol):
    """What runs the statements."""

    def read(self, doing: str, statement: str) -> Sequence[Sequence[Any]]:
        """
        Return the rows of a question.

        :param doing: what it is for, for errors.
        """

    def write(self, doing: str, statements: Sequence[str]) -> None:
        """
        Run statements one after another, while no other writer of the table is at work.

        Each can be run again at any moment; the last is the ledger's.

        :param doing: what they do, for errors.
        """


_NAMED_FILES = 1_000
_MOST_UNREADABLE = 99
"""
Files in quarantine that one set of statements is to pass over, if its span has more than one day.

Each is named, in a statement of 262,144 bytes. And Trino, from which Athena is made, had for a long time no use for a
condition on "$path" that leaves more than 100 ranges: it opened the files nevertheless
(https://github.com/trinodb/trino/pull/18024 made it 1,000).
"""


@dataclass
class PushdownSummary:
    """
    What a run did. Counts of records are those of the files that it wrote into the ledger.

    :param files: log files that it wrote into the ledger.
    :param files_known: files of the window that the ledger had already for at least this selection, or that others
        wrote into it meanwhile: a statement of a run before, for one, that was killed.
    :param files_left: files that are left to the worker path, because SQL cannot read a wanted record of them as the
        worker path does, because some of their records are in quarantine, or because they were read for a selection
        that a later version has written.
    :param records: their records; ``records = loaded + duplicate + filtered``.
    :param loaded: rows of the table that came from them.
    :param duplicate: selected events that another file brought already.
    :param filtered: records that were not selected.
    :param left: URIs of files that are left to the worker path, the first thousand.
    :param reasons: how many files are left for which reason; see :data:`~..pushdown.unfit.MEANINGS`.
    """

    files: int = 0
    files_known: int = 0
    files_left: int = 0
    records: int = 0
    loaded: int = 0
    duplicate: int = 0
    filtered: int = 0
    left: list[str] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as JSON types."""
        return asdict(self)


def fill_audit_table(
    records: Sequence[Records],
    *,
    events: str,
    engine: Engine,
    loaded_by: str | None = None,
    log: logging.Logger = log,
) -> PushdownSummary:
    """
    Load what spans of delivery bring into the audit table, each event once, and write the ledger.

    :param records: what to read, one for each span; see :func:`~.records.spans`.
    :param events: quoted name of the audit table.
    :param engine: runs the statements.
    :param loaded_by: who loads, for the columns of that name.
    :param log: receives one line for each span.
    """
    summary = PushdownSummary()
    for of_span in records:
        _Span(of_span, events, engine, loaded_by, summary, log).load()
    return summary


class _Span:
    def __init__(
        self,
        records: Records,
        events: str,
        engine: Engine,
        loaded_by: str | None,
        summary: PushdownSummary,
        log: logging.Logger,
    ) -> None:
        self._records = records
        self._events = events
        self._engine = engine
        self._loaded_by = loaded_by
        self._summary = summary
        self._log = log
        self._where = f"{records.span.start:%Y-%m-%dT%H:%MZ} to {records.span.end:%Y-%m-%dT%H:%MZ}"

    def load(self) -> None:
        known = self._engine.read(f"reading {self._records.files}", known_selections(self._records))
        unreadable = sum(uri is not None for _, uri, *_ in known)
        parts = halves(self._records.span) if unreadable > _MOST_UNREADABLE else None
        for part in parts or ():
            of_part = replace(self._records, span=part)
            _Span(of_part, self._events, self._engine, self._loaded_by, self._summary, self._log).load()
        if parts is not None:
            return
        for records, there in self._to_read(known):
            try:
                self._read(records, there)
            except StatementTooLongError as error:
                if not records.unreadable:
                    raise
                raise StatementTooLongError(
                    f"delivered {self._where}: {len(records.unreadable)} log files are in quarantine, and a statement "
                    "that names them, to pass them over, is longer than Athena takes. Give a part of account_ids or of "
                    "regions to each of several tasks, or leave this time to CloudTrailToSqlOperator"
                ) from error

    def _read(self, records: Records, there: int) -> None:
        # Milliseconds, as Athena stores them: the entries of this run are found again by it.
        now = datetime.now(timezone.utc)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        days = self._survey(records)
        portions = [days[start : start + MOST_DAYS] for start in range(0, len(days), MOST_DAYS)]
        merges = [
            merge_events(records, self._events, portion[0], portion[-1], now, self._loaded_by) for portion in portions
        ]
        # Of files without a wanted event none is looked for: any day will do.
        first, last = (days[0], days[-1]) if days else [f"{records.span.start:%Y-%m-%d}"] * 2
        ledger = merge_files(records, self._events, first, last, now, self._loaded_by)
        self._engine.write(f"writing {self._events}", [*merges, ledger])
        self._count(records, now, there)

    def _to_read(self, known: Sequence[Sequence[Any]]) -> list[tuple[Records, int]]:
        """
        Return what to read: files that the ledger does not have, and those that it has for something else.

        With the first goes how many it has, with each of the others how many it has for that.
        """
        unreadable: list[str] = []
        earlier: list[tuple[str, int]] = []
        there = 0
        for selection, uri, files, with_quarantine in sorted(known, key=lambda row: (row[0], row[1] or "")):
            there += files
            if uri is not None:
                unreadable.append(uri)
                self._summary.files_known += files
            elif (before := _selection_of(selection)) is None:
                # Written by a later version, which the worker path reads again; here it cannot be said in SQL.
                self._leave("selection", files)
            elif before.covers(self._records.selection):
                self._summary.files_known += files
            else:
                earlier.append((selection, files - with_quarantine))
                self._leave("quarantined_records", with_quarantine)
        new = replace(self._records, unreadable=tuple(unreadable))
        return [(new, there), *((new.with_earlier(selection), files) for selection, files in earlier)]

    def _survey(self, records: Records) -> list[str]:
        """Return the days of the events that are wanted, in order; note the files that are left to the worker path."""
        days: set[str] = set()
        left: dict[str, str] = {}
        for uri, reason, day in self._engine.read(f"reading {records.trail}", survey(records)):
            if uri is None:
                days.add(day)
            else:
                left.setdefault(uri, reason)
        for uri, reason in sorted(left.items()):
            self._leave(reason, 1)
            if len(self._summary.left) < _NAMED_FILES:
                self._summary.left.append(uri)
                self._log.warning("Left to CloudTrailToSqlOperator: %s (%s)", uri, MEANINGS[reason])
        return sorted(days)

    def _leave(self, reason: str, files: int) -> None:
        if files:
            self._summary.files_left += files
            self._summary.reasons[reason] = self._summary.reasons.get(reason, 0) + files

    def _count(self, records: Records, loaded_at: datetime, before: int) -> None:
        ((files, *counts, after),) = self._engine.read(f"reading {records.files}", written(records, loaded_at))
        # Entries that somebody else has written since the ledger was asked: of a run that was killed its last
        # statement may have been waited for.
        others = max(after - before - files if records.before is None else before - after - files, 0)
        summary = self._summary
        summary.files += files
        summary.files_known += others
        summary.records += counts[0]
        summary.loaded += counts[1]
        summary.duplicate += counts[2]
        summary.filtered += counts[3]
        self._log.info(
            "Delivered %s: %s files, %s records = %s loaded + %s duplicate + %s filtered", self._where, files, *counts
        )
        if others:
            self._log.info("Delivered %s: %s files were written into the ledger meanwhile", self._where, others)


def _selection_of(text: str) -> Selection | None:
    """Return a selection as the ledger keeps it; None: this version does not know such."""
    try:
        return Selection.from_text(text)
    except ValueError:
        return None
