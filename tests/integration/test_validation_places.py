"""The validation of many accounts and Regions: the same as one after the other, and the ledger is asked rarely."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
from airflow_provider_cloudtrail.trail.log_file import TrailLocation
from airflow_provider_cloudtrail.trail.public_keys import KeyRing
from airflow_provider_cloudtrail.trail.store import ListedObject, StoreError
from airflow_provider_cloudtrail.validation.run import Validation
from airflow_provider_cloudtrail.validation.summary import ValidationSummary
from airflow_provider_cloudtrail.validation.validate import validate_trail
from airflow_provider_cloudtrail.warehouse.base import Warehouse
from airflow_provider_cloudtrail.warehouse.evidence import Evidence
from tests.support.signed_trail import BUCKET, HOUR, Hour, MemoryStore, SignedTrail
from tests.support.tables import query

ENGINE = "sqlite"
BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
HOURS = 8
WINDOW = DeliveryWindow(BEGIN, BEGIN + HOURS * HOUR, lookback=timedelta(days=1))
PLACES = [(f"{account:012d}", region) for account in range(1, 6) for region in ("eu-west-1", "us-east-1")]


def organization() -> list[SignedTrail]:
    """Return accounts and Regions, in each of which something else is wrong, and in each second one nothing."""
    made = []
    for number, (account, region) in enumerate(PLACES):
        trail = SignedTrail(account, region, bucket=BUCKET)
        trail.hours = [Hour(BEGIN + timedelta(minutes=5) + hour * HOUR) for hour in range(-2, HOURS + 3)]
        for hour in trail.hours:
            trail.add_file(hour, hour.start + HOUR / 2)
        trail.build()
        if number % 2 == 0:
            trail.delete(trail.logs(4)[0])
            forged = trail.log_key(trail.hours[5].start + HOUR / 3, "A" * 16)
            trail.objects[forged] = trail.objects[trail.logs(6)[0]]
        if number % 4 == 0:
            trail.sign(trail.digests[5], "00" * 256)
            trail.delete(trail.digests[7])
        if number % 6 == 0:
            trail.delete(*trail.digests[8:])
        made.append(trail)
    return made


class Asked:
    """What was asked and told of the ledger, in one run."""

    def __init__(self, store: MemoryStore, warehouse: Warehouse, made: list[SignedTrail]) -> None:
        self.asked: list[int] = []
        asked = self.asked

        class Counting(Evidence):
            def loaded_files(self, uris: Sequence[str]) -> dict[str, tuple[Any, ...]]:
                asked.append(len(uris))
                return super().loaded_files(uris)

        self.evidence = Counting(warehouse)
        self.evidence.prepare()
        self._run = Validation(
            location=TrailLocation(BUCKET),
            window=WINDOW,
            store_of=lambda _: store,
            evidence=self.evidence,
            ring=KeyRing(lambda *_: made[0].public_keys(), WINDOW.start, WINDOW.end),
        )

    def summary(self) -> ValidationSummary:
        return validate_trail(self._run)


def findings(warehouse: Warehouse, evidence: Evidence) -> list[tuple[Any, ...]]:
    columns = ("kind", "account_id", "region", "object_uri", "message")
    return sorted(rows(warehouse, evidence.findings.name, columns), key=repr)


def rows(warehouse: Warehouse, table: str, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    return query(warehouse, f"SELECT {', '.join(columns)} FROM {table}")


def place_of(finding: str) -> tuple[str, ...]:
    return next(place for place in PLACES if f"/{place[0]}/" in finding and f"/{place[1]}/" in finding)


def test_together_the_same_in_the_same_order(
    new_warehouse: Callable[[str], Warehouse], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = organization()
    runs = []
    for digests in (1, 7, 400):
        monkeypatch.setattr("airflow_provider_cloudtrail.validation.digest_batches._BATCH_DIGESTS", digests)
        warehouse, store = new_warehouse(ENGINE), MemoryStore(*made)
        run = Asked(store, warehouse, made)
        summary = run.summary()
        runs.append((
            summary.as_dict() | {"seconds": 0},
            findings(warehouse, run.evidence),
            sorted(store.gets),
            sorted(store.listings),
        ))
        asked = run.asked
    assert runs[0] == runs[1] == runs[2]
    # Of all of them together once, where it was once for each.
    assert len(asked) == 1
    summary = runs[0][0]
    assert (summary["digests_invalid"], summary["digests_missing"]) == (3, 2)
    assert summary["accounts_and_regions"] == len(PLACES)
    for kind in ("deleted", "unlisted", "invalid", "missing"):
        places = [place_of(finding) for finding in summary["found"][kind]]
        assert len(places) >= 2
        assert places == sorted(places)
    gaps = [finding.split()[:2] for finding in summary["found"]["gap"]]
    assert gaps == sorted(gaps)


class FailingStore(MemoryStore):
    """A bucket that stops to answer in the folder of one account."""

    fails_in = ""

    def folders(self, prefix: str) -> list[str]:
        self._may_fail(prefix)
        return super().folders(prefix)

    def objects(self, prefix: str, start_after: str = "", **arguments: bool) -> Iterator[ListedObject]:
        for listed in super().objects(prefix, start_after, **arguments):
            self._may_fail(prefix)
            yield listed

    def _may_fail(self, prefix: str) -> None:
        if prefix == self.fails_in:
            raise StoreError("no answer")


@pytest.mark.parametrize("fails_in", ["CloudTrail-Digest/us-east-1/", "CloudTrail/us-east-1/", "CloudTrail/"])
@pytest.mark.parametrize("digests", [1, 400])
def test_accounts_before_a_failure_are_recorded(
    new_warehouse: Callable[[str], Warehouse], monkeypatch: pytest.MonkeyPatch, fails_in: str, digests: int
) -> None:
    monkeypatch.setattr("airflow_provider_cloudtrail.validation.digest_batches._BATCH_DIGESTS", digests)
    made, warehouse = organization(), new_warehouse(ENGINE)
    expected = Asked(MemoryStore(*made), warehouse, made)
    expected.summary()
    before = PLACES[: 7 if "us-east-1" in fails_in else 6]
    columns = ("account_id", "region", "digest_uri", "status")
    wanted = rows(warehouse, expected.evidence.digests, columns)

    broken_off, store = new_warehouse(ENGINE), FailingStore(*made)
    store.fails_in = f"AWSLogs/{PLACES[6][0]}/{fails_in}"
    run = Asked(store, broken_off, made)
    with pytest.raises(StoreError, match="no answer"):
        run.summary()
    found = rows(broken_off, run.evidence.digests, columns)
    assert sorted(found) == sorted(row for row in wanted if row[:2] in before)
    assert len(found) > 6 * HOURS / 2
