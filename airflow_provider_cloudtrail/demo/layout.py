"""Which log files a synthetic trail has and which records lie where, before any of them is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from random import Random

from airflow_provider_cloudtrail.demo.plan import Fault, TrailPlan
from airflow_provider_cloudtrail.demo.records import Planted
from airflow_provider_cloudtrail.demo.story import Happening, happenings

_SPREAD = 1.35
_MEAN_OF_MEDIAN = 2.5
_MOST_RECORDS = 30
_EARLIEST, _LATEST = timedelta(minutes=1), timedelta(minutes=10)
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True)
class PlannedFile:
    """
    A log file of the trail.

    :param key: its key.
    :param delivered_at: its stamp.
    :param background: number of records that are of no interest.
    :param planted: the others, by their position in the file.
    :param fault: what is wrong with the file.
    """

    key: str
    account: str
    region: str
    delivered_at: datetime
    background: int
    planted: dict[int, Planted]
    fault: Fault | None = None

    @property
    def records(self) -> int:
        """Number of records."""
        return self.background + len(self.planted)


@dataclass
class _Draft:
    delivered_at: datetime
    happenings: list[Happening]
    closed: bool = False


def account_root(plan: TrailPlan, account: str) -> str:
    """Return the key prefix of an account's folder, ending in a slash."""
    return "/".join(filter(None, (plan.prefix.strip("/"), "AWSLogs", plan.organization_id, account))) + "/"


@lru_cache(maxsize=8)
def layout(plan: TrailPlan) -> dict[tuple[str, str], list[PlannedFile]]:
    """Return the log files of each account and Region, in the order of their stamps."""
    regular = len(plan.accounts) * len(plan.regions) * plan.days * plan.files_per_day
    everyday = round(regular * plan.records_per_file * _MEAN_OF_MEDIAN * plan.mwaa_share)
    by_place: dict[tuple[str, str], list[Happening]] = {
        (account, region): [] for account in plan.accounts for region in plan.regions
    }
    for happening in happenings(plan, everyday):
        by_place[happening.account, happening.region].append(happening)
    return {place: list(_files(plan, *place, told)) for place, told in by_place.items()}


def _files(plan: TrailPlan, account: str, region: str, told: list[Happening]) -> Iterator[PlannedFile]:
    rng = plan.random("files", account, region)
    drafts = [
        _Draft(plan.start + timedelta(days=day, minutes=rng.randrange(24 * 60)), [])
        for day in range(plan.days)
        for _ in range(plan.files_per_day)
    ]
    by_minute: dict[datetime, list[_Draft]] = {}
    for draft in drafts:
        by_minute.setdefault(draft.delivered_at, []).append(draft)
    for happening in sorted(told, key=lambda happening: (happening.apart, happening.delivered_at)):
        chosen = None if happening.apart else _file_for(happening, by_minute, rng)
        if chosen is None:
            chosen = _Draft(happening.delivered_at, [], closed=happening.apart)
            drafts.append(chosen)
            by_minute.setdefault(chosen.delivered_at, []).append(chosen)
        chosen.happenings.append(happening)
    # Files that single events needed take their share of the background from the others.
    regular = plan.files_per_day * plan.days
    median = plan.records_per_file * (1 - plan.mwaa_share) * regular / max(len(drafts), 1)
    for draft in sorted(drafts, key=lambda draft: draft.delivered_at):
        yield _planned(plan, account, region, draft, median, rng)


def _file_for(happening: Happening, by_minute: dict[datetime, list[_Draft]], rng: Random) -> _Draft | None:
    """Return a file that can hold what happened, if one is delivered one to ten minutes later."""
    if not _EARLIEST <= happening.delay <= _LATEST:
        return None
    event_time = max(planted.event_time for planted in happening.planted)
    first = (event_time + _EARLIEST + timedelta(seconds=59)).replace(second=0, microsecond=0)
    fitting = [
        draft
        for minute in range(9)
        for draft in by_minute.get(first + timedelta(minutes=minute), ())
        if not draft.closed and all(other.planted != happening.planted for other in draft.happenings)
    ]
    return rng.choice(fitting) if fitting else None


def _planned(plan: TrailPlan, account: str, region: str, draft: _Draft, median: float, rng: Random) -> PlannedFile:
    stamp = draft.delivered_at
    name = f"{account}_CloudTrail_{region}_{stamp:%Y%m%dT%H%MZ}_{''.join(rng.choices(_ALPHABET, k=16))}.json.gz"
    background = round(median * min(rng.lognormvariate(0, _SPREAD), _MOST_RECORDS))
    planted = [planted for happening in draft.happenings for planted in happening.planted]
    positions = sorted(rng.sample(range(background + len(planted)), len(planted)))
    return PlannedFile(
        f"{account_root(plan, account)}CloudTrail/{region}/{stamp:%Y/%m/%d}/{name}",
        account,
        region,
        stamp,
        background,
        dict(zip(positions, planted, strict=True)),
        next((happening.fault for happening in draft.happenings if happening.fault is not None), None),
    )
