"""The records of a span of delivery that the ledger does not have yet: where every statement of the pushdown begins."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta, timezone

from airflow_provider_cloudtrail.pushdown import audit_events, unfit
from airflow_provider_cloudtrail.pushdown.selected import candidates, wanted
from airflow_provider_cloudtrail.pushdown.sql import among, first_match, text_literal, time_literal
from airflow_provider_cloudtrail.trail.day_folders import day_folder
from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
from airflow_provider_cloudtrail.trail.selection import Selection

# The grammar of the names of log files, see trail.log_file; Athena shows only what lies in the partitions.
_STAMP = first_match('"$path"', r"_CloudTrail_[A-Za-z0-9-]+_([0-9]{8}T[0-9]{4}Z)_?[A-Za-z0-9_]+[.]json[.]gz\z", 1)
# Of the column of accounts nothing but what it equals may be asked where they are injected
# (https://docs.aws.amazon.com/athena/latest/ug/partition-projection-dynamic-id-partitioning.html).
_ACCOUNT = first_match('"$path"', r"/([^/]+)/CloudTrail/[^/]+/[0-9]{4}/[0-9]{2}/[0-9]{2}/[^/]+\z", 1)
_OF_ITS_FOLDER = f"""strpos("$path", concat('/', {_ACCOUNT}, '_CloudTrail_', "region", '_')) > 0"""


def _delivered_at(stamp: str) -> str:
    parts = ((1, 4), (5, 2), (7, 2), (10, 2), (12, 2))
    year, month, day, hour, minute = (f"substr({stamp}, {start}, {length})" for start, length in parts)
    text = f"concat({year}, '-', {month}, '-', {day}, ' ', {hour}, ':', {minute}, ':00')"
    return f"TRY_CAST({text} AS timestamp(6))"


# As trail.log_file has it: around midnight the folder of the day before, or behind, will do.
_NEAR_MIDNIGHT = timedelta(hours=1)
_OF_ITS_DAY = (
    f"replace(\"day\", '/', '') IN (substr({_STAMP}, 1, 8),"
    f" date_format({_delivered_at(_STAMP)} - INTERVAL '1' HOUR, '%Y%m%d'),"
    f" date_format({_delivered_at(_STAMP)} + INTERVAL '1' HOUR, '%Y%m%d'))"
)


def _between(start: datetime, end: datetime) -> str:
    return f"delivered_at >= {time_literal(start)} AND delivered_at < {time_literal(end)}"


@dataclass(frozen=True)
class Span:
    """
    A span of delivery time, half open, that one set of statements reads; both ends are on the minute.

    :param start: first stamp, UTC.
    :param end: end of the stamps (not included), UTC.
    """

    start: datetime
    end: datetime


def spans(window: DeliveryWindow, days: int) -> Iterator[Span]:
    """
    Yield the spans of a window, its margins included, each of so many days of delivery.

    :param window: which deliveries.
    :param days: most days in a span, so that no statement runs into Athena's time limit.
    """
    start, end = window.floor, window.ceiling
    if end.second or end.microsecond:
        # Stamps have no seconds: the minute that has begun belongs to the window.
        end = end.replace(second=0, microsecond=0) + timedelta(minutes=1)
    while start < end:
        midnight = datetime.combine(start.date() + timedelta(days=days), time(), timezone.utc)
        yield Span(start, min(midnight, end))
        start = midnight


def halves(span: Span) -> tuple[Span, Span] | None:
    """
    Return the two halves of a span, or None if it is of a single day.

    They meet at a midnight, so that neither reads, and pays for, a day of the other.
    """
    days = ((span.end - timedelta(minutes=1)).date() - span.start.date()).days + 1
    if days < 2:
        return None
    middle = datetime.combine(span.start.date() + timedelta(days=days // 2), time(), timezone.utc)
    return Span(span.start, middle), Span(middle, span.end)


@dataclass(frozen=True)
class Records:
    """
    Which records a statement reads.

    :param trail: quoted name of the trail's table.
    :param files: quoted name of the ledger.
    :param span: when they were delivered.
    :param selection: which of them are wanted.
    :param account_ids: accounts; None: all of the table.
    :param regions: Regions; None: all of the table.
    :param before: read the files that the ledger has with this selection; None: those that it does not have.
    :param unreadable: log files that are in quarantine, which Athena is not to open.
    """

    trail: str
    files: str
    span: Span
    selection: Selection
    account_ids: Collection[str] | None = None
    regions: Collection[str] | None = None
    before: str | None = None
    unreadable: Collection[str] = ()

    def with_earlier(self, before: str) -> Records:
        """Return the records of files that were read for another selection, wanted for both."""
        return replace(self, selection=self.selection | Selection.from_text(before), before=before)

    @property
    def in_span(self) -> str:
        """Condition on the ledger: files of the span."""
        return _between(self.span.start, self.span.end)

    @property
    def asked_for(self) -> str:
        """Condition on the ledger: files of the span, of the accounts and Regions that are read."""
        return " AND ".join([self.in_span, *self._of_places("account_id", "region")])

    @property
    def opened(self) -> str:
        """
        Condition on the ledger: files that Athena opens for the span.

        These are all of its days, because only of a partition and of a whole path can it tell without opening them.
        """
        start, last = (datetime.combine(day.date(), time(), timezone.utc) for day in (self.span.start, self._last))
        # As far as a folder reaches beyond its day.
        within = _between(start - _NEAR_MIDNIGHT, last + timedelta(days=1) + _NEAR_MIDNIGHT)
        return " AND ".join([within, *self._of_places("account_id", "region")])

    @property
    def _last(self) -> datetime:
        return self.span.end - timedelta(minutes=1)

    def _of_places(self, account: str, region: str) -> list[str]:
        """Return conditions on columns: the accounts and Regions that are read."""
        return [
            *([among(account, self.account_ids)] if self.account_ids is not None else []),
            *([among(region, self.regions)] if self.regions is not None else []),
        ]

    def query(self, *, every: bool) -> str:
        """
        Return the common table expressions of a query, the last of which is ``fit``.

        Its columns are those of the trail's table, scrubbed, and ``wanted``, ``reason`` (why SQL cannot read a wanted
        record), ``log_file_uri``, ``account_id``, ``file_region``, ``delivered_at``, and what the
        expressions of ``audit_events`` ask for.

        :param every: also records that are not wanted, to be counted.
        """
        columns = ", ".join(f'"{name}"' for name in audit_events.SOURCE_COLUMNS)
        objects = ", ".join(f"{self._object(name)} AS {name}" for name in audit_events.SOURCE_COLUMNS)
        cleaned = ", ".join(f"{self._clean(name)} AS {name}" for name in audit_events.SOURCE_COLUMNS)
        return (
            f'WITH record AS (SELECT {columns}, "$path" AS log_file_uri,'
            f' "account" AS account_id, "region" AS file_region, {_delivered_at(_STAMP)} AS delivered_at,'
            f" {candidates(self.selection)} AS candidate FROM {self.trail} WHERE {self._delivered}), "
            f"callers AS (SELECT record.*, CASE WHEN candidate THEN {audit_events.IDENTITY_TEXT} END AS identity_text"
            f" FROM record WHERE {self._in_ledger}{'' if every else ' AND candidate'}), "
            f"texts AS (SELECT callers.*, CASE WHEN candidate THEN {audit_events.RECORD_TEXT} END AS record_text"
            " FROM callers), "
            f"kept AS (SELECT {objects}, {', '.join(_BESIDE)}, {unfit.NO_OBJECT} AS no_object,"
            f" {audit_events.SECRETS} AS secrets, {audit_events.SECRET_FOUND} AS secret_found FROM texts), "
            # Before secrets are taken out: what makes a record wanted stays as it is.
            f"called AS (SELECT kept.*, {audit_events.SECRET} AS secret, {audit_events.ARN_FOUND} AS arn_found,"
            f" {audit_events.REST_STATUS} AS rest_status FROM kept), "
            f"named AS (SELECT called.*, {audit_events.ENVIRONMENT_NAME} AS environment_name FROM called), "
            f"chosen AS (SELECT named.*, {wanted(self.selection)} AS wanted FROM named), "
            f"clean AS (SELECT {cleaned}, {', '.join((*_BESIDE, *_FOUND))} FROM chosen), "
            f"fit AS (SELECT clean.*, CASE WHEN wanted THEN {unfit.reason()} END AS reason FROM clean)"
        )

    @staticmethod
    def _object(name: str) -> str:
        return f"CASE WHEN starts_with({name}, '{{') THEN {name} END" if name in unfit.DOCUMENTS else name

    @staticmethod
    def _clean(name: str) -> str:
        return audit_events.without_secret(name) if name in audit_events.SCRUBBED else name

    @property
    def _delivered(self) -> str:
        start, end = self.span.start, self.span.end
        # Partitions first: they alone decide what is read, and paid for.
        conditions = [
            f'"day" BETWEEN {text_literal(day_folder(start))} AND {text_literal(day_folder(self._last))}',
            *self._of_places('"account"', '"region"'),
            *(["NOT " + among('"$path"', self.unreadable)] if self.unreadable else []),
            f"{_STAMP} >= '{start:%Y%m%dT%H%MZ}'",
            f"{_STAMP} < '{end:%Y%m%dT%H%MZ}'",
            _OF_ITS_FOLDER,
            _OF_ITS_DAY,
        ]
        return " AND ".join(conditions)

    @property
    def _in_ledger(self) -> str:
        known = f"SELECT log_file_uri FROM {self.files} WHERE {self.in_span}"
        if self.before is None:
            return f"delivered_at IS NOT NULL AND log_file_uri NOT IN ({known})"
        # As a value: DuckDB, on which the tests run this, takes minutes to plan it as a join.
        return f"delivered_at IS NOT NULL AND COALESCE(log_file_uri IN ({known} AND {self.was_read_before}), false)"

    @property
    def was_read_before(self) -> str:
        """Condition on the ledger: files that were read for the earlier selection, without any quarantine."""
        return (
            f"selection = {text_literal(self.before or '')} AND status IN ('loaded', 'no_match')"
            " AND COALESCE(quarantined, 0) = 0"
        )


_BESIDE = (
    "log_file_uri",
    "account_id",
    "file_region",
    "delivered_at",
    "candidate",
    "record_text",
    "identity_text",
)
_FOUND = ("no_object", "secrets", "secret", "arn_found", "rest_status", "environment_name", "wanted")
