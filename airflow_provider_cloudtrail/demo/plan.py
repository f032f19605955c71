"""What a synthetic trail shall be like: its size, its place in a bucket, and what is wrong with it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from enum import Enum


class Fault(Enum):
    """Something wrong with a file or a record: the reason code of its quarantine, and what it is."""

    SECOND_MEMBER = ("bytes_behind_gzip", "a gzip member with forged records behind the signed one")
    BYTES_BEHIND = ("bytes_behind_gzip", "bytes that are no gzip behind the end")
    TRUNCATED = ("truncated_gzip", "the last third is missing")
    BAD_CHECKSUM = ("truncated_gzip", "the checksum at the end is another one")
    NOT_GZIP = ("not_gzip", "stored without compression")
    EMPTY_OBJECT = ("not_gzip", "no byte at all")
    NOT_JSON = ("not_json", "the document ends in the middle")
    NO_RECORDS = ("no_records", "the list has another name")
    BARE_LIST = ("no_records", "the list stands alone")
    LIST_IS_OBJECT = ("no_records", "an object in place of the list")
    TOO_DEEP = ("nested_too_deeply", "brackets in brackets in brackets")
    RECORD_NO_OBJECT = ("not_an_object", "a record that is text, a number, a list or null")
    RECORD_WITHOUT_TIME = ("no_event_time", "a record without eventTime")
    RECORD_WITH_BAD_TIME = ("no_event_time", "a record whose eventTime is none")
    RECORD_NOT_UTF8 = ("invalid_utf8", "a record with bytes that are not UTF-8")
    RECORD_OUT_OF_RANGE = ("number_out_of_range", "a record with a number that no engine stores")

    @property
    def code(self) -> str:
        """Reason code of the quarantine entry."""
        return self.value[0]

    @property
    def of_record(self) -> bool:
        """Whether one record is wrong, not the whole file."""
        return self.name.startswith("RECORD_")


DEMO_FAULTS = frozenset({Fault.SECOND_MEMBER, Fault.TRUNCATED, Fault.RECORD_NO_OBJECT})
HOSTILE = frozenset(Fault)


@dataclass(frozen=True)
class TrailPlan:
    """
    A synthetic trail; equal plans give equal log files.

    :param accounts: ids of the accounts of the organization.
    :param regions: Regions that each account uses; the first is the trail's home.
    :param first_day: first day of delivery, UTC.
    :param days: number of days.
    :param organization_id: ``o-...``; None: the layout without organization.
    :param prefix: log file prefix of the trail.
    :param bucket: name of the bucket.
    :param trail_name: name of the trail, which the digests carry.
    :param seed: another seed, another trail.
    :param files_per_day: log files for each account, Region and day, beside those that single events need.
    :param records_per_file: median of the records of a file; the mean is about 2.5 times as large.
    :param mwaa_share: share of the records that are everyday events of MWAA environments, beside some
        60 of the story itself and a third as many of what environments do in AWS.
    :param faults: what is wrong somewhere in it; :data:`HOSTILE` is everything.
    """

    accounts: tuple[str, ...] = ("111122223333", "444455556666", "777788889999")
    regions: tuple[str, ...] = ("eu-west-1", "us-east-1", "ap-southeast-2")
    first_day: date = date(2026, 2, 2)
    days: int = 2
    organization_id: str | None = "o-exampleorgid"
    prefix: str = ""
    bucket: str = "example-organization-trail"
    trail_name: str = "organization-audit"
    seed: int = 2026
    files_per_day: int = 82
    records_per_file: int = 31
    mwaa_share: float = 0.004
    faults: frozenset[Fault] = DEMO_FAULTS

    @property
    def start(self) -> datetime:
        """First moment of delivery."""
        return datetime.combine(self.first_day, time(), timezone.utc)

    @property
    def end(self) -> datetime:
        """End of the last day; what happens in its last minutes is delivered shortly after."""
        return self.start + timedelta(days=self.days)

    def moment(self, day: int, clock: str) -> datetime:
        """
        Return a moment of the trail.

        :param day: number of the day, from 0; a day behind the last is the last.
        :param clock: time of day, ``HH:MM`` or ``HH:MM:SS``, UTC.
        """
        at = time.fromisoformat(clock).replace(tzinfo=timezone.utc)
        return datetime.combine(self.first_day + timedelta(days=min(day, self.days - 1)), at)

    def account(self, number: int) -> str:
        """Return the account of that number; there are always enough."""
        return self.accounts[number % len(self.accounts)]

    def region(self, number: int) -> str:
        """Return the Region of that number; there are always enough."""
        return self.regions[number % len(self.regions)]

    def random(self, *names: object) -> random.Random:
        """Return the random numbers for one purpose, so that one part of the trail does not change another."""
        return random.Random(":".join(map(str, (self.seed, *names))))  # noqa: S311
