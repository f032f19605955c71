"""What the tests of the validation share: a signed trail in memory, a warehouse, the operators between them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_provider_cloudtrail.exceptions import CloudTrailIntegrityError
from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.operators.cloudtrail import CloudTrailValidateLogsOperator
from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator
from tests.support.engines import SqliteHook
from tests.support.signed_trail import BUCKET, HOUR, WINDOW, MemoryStore, SignedTrail


class World:
    """A trail in memory, a warehouse, and the operators between them."""

    def __init__(self, hook: SqliteHook, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hook = hook
        self.store = MemoryStore()
        self.trails: list[SignedTrail] = []
        self.pushed = {}
        self.stores: dict[str, MemoryStore] = {}
        """Of buckets that have one of their own."""
        monkeypatch.setattr(CloudTrailHook, "get_store", lambda _, bucket: self.stores.get(bucket, self.store))
        monkeypatch.setattr(CloudTrailToSqlOperator, "_persist_links", lambda *_: None)
        monkeypatch.setattr(CloudTrailHook, "list_public_keys", lambda _, *question: self.public_keys(*question))

    def public_keys(self, region, start, end):
        return [key for trail in self.trails if trail.region == region for key in trail.public_keys()]

    def use(self, *trails: SignedTrail) -> None:
        self.trails = list(trails)
        self.store = MemoryStore(*trails)

    def load(self, **arguments):
        window = {"delivered_from": WINDOW[0] - 4 * HOUR, "delivered_to": WINDOW[1] + 4 * HOUR}
        CloudTrailToSqlOperator(task_id="load", **{"bucket": BUCKET, **window, **arguments}).execute({})
        self.store.gets.clear()

    def validate(self, run_id="r", **arguments):
        window = {"delivered_from": WINDOW[0], "delivered_to": WINDOW[1]}
        operator = CloudTrailValidateLogsOperator(task_id="validate", **{"bucket": BUCKET, **window, **arguments})
        instance = SimpleNamespace(
            dag_id="d", task_id="t", run_id=run_id, xcom_push=lambda key, value: self.pushed.update({key: value})
        )
        return operator.execute({"ti": instance})

    def fails(self, **arguments):
        """Validate, expect it to fail, and return the text and the summary."""
        with pytest.raises(CloudTrailIntegrityError) as raised:
            self.validate(**arguments)
        return str(raised.value), self.pushed["summary"]

    def statuses(self) -> dict[str, str]:
        rows = self.hook.rows("SELECT log_file_uri, digest_status FROM mwaa_audit_events_files")
        return {uri.partition(f"{BUCKET}/")[2]: status for uri, status in rows if status is not None}

    def digests(self) -> dict[str, tuple[str, str | None]]:
        rows = self.hook.rows("SELECT digest_uri, status, reason FROM mwaa_audit_events_digests")
        return {
            uri.partition(f"{BUCKET}/")[2]: (status, reason and reason.partition(":")[0])
            for uri, status, reason in rows
        }

    def findings(self) -> dict[tuple[str, str], bool]:
        """Return the open findings: kind and what they are about, with whether they fail."""
        rows = self.hook.rows(
            "SELECT kind, coalesce(object_uri, trail_name || ' ' || substr(covered_from, 12, 5), "
            "account_id || ' ' || region, account_id, region, location), fails "
            "FROM mwaa_audit_events_findings WHERE resolved_at IS NULL"
        )
        assert len({row[:2] for row in rows}) == len(rows)
        return {(kind, what.removeprefix(f"s3://{BUCKET}/")): bool(fails) for kind, what, fails in rows}
