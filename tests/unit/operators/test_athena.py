"""The operators of Athena: parameters, the API's way, and a whole run over the stand-in of Athena."""

from __future__ import annotations

import inspect
import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("duckdb", minversion="1.4")
pytest.importorskip("pyarrow")
pytest.importorskip("moto")
pytest.importorskip("pyathena")
pytest.importorskip("sqlglot")

from airflow_provider_cloudtrail.exceptions import (
    CloudTrailBucketError,
    CloudTrailTrailNotFoundError,
    CloudTrailWarehouseError,
)
from airflow_provider_cloudtrail.operators.athena import AthenaCloudTrailTableOperator, AthenaMwaaAuditEventsOperator
from tests.support.face import DAY
from tests.support.lake import Lake
from tests.support.log_files import event, foreign, id_of, key_of, log_bytes

OPERATORS = (AthenaCloudTrailTableOperator, AthenaMwaaAuditEventsOperator)


class TestParameters:
    @pytest.mark.parametrize("operator", [pytest.param(operator, id=operator.__name__) for operator in OPERATORS])
    def test_all_texts_are_templated_and_keyword_only(self, operator):
        own = [
            name
            for name, parameter in inspect.signature(operator.__init__).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        ]
        plain = {"lookback", "settle", "include_environment_activity", "days_at_once"}
        assert set(own) - plain <= set(operator.template_fields)
        assert {"aws_conn_id", "region_name", "verify"} <= set(operator.template_fields)

    @pytest.mark.parametrize("operator", [pytest.param(operator, id=operator.__name__) for operator in OPERATORS])
    def test_templates_are_rendered_and_kept_until_then(self, operator):
        fields = [name for name in operator.template_fields if name not in ("verify", "aws_conn_id", "region_name")]
        task = operator(task_id="t", **dict.fromkeys(fields, "{{ wanted }}"))
        assert all(getattr(task, name) == "{{ wanted }}" for name in fields)
        task.render_template_fields({"wanted": "given"})
        assert all(getattr(task, name) == "given" for name in fields)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            pytest.param({"table": "a-b"}, "table='a-b'", id="table"),
            pytest.param({"table": ""}, "table is not set", id="no-table"),
            pytest.param({"schema": 'x"'}, "schema=", id="schema"),
            pytest.param({"regions": "here"}, "'here' is no Region", id="region"),
            pytest.param({"since": "soon"}, "since='soon' is no time", id="since"),
            pytest.param({"since": None}, "since is not set.*00Z$", id="no-since"),
            pytest.param({"bucket": None}, "neither bucket nor trail_name", id="bucket"),
            pytest.param({"bucket": "s3://x"}, "is no bucket name", id="uri"),
            pytest.param({"account_projection": "all"}, "enum or injected", id="projection"),
        ],
    )
    def test_wrong_parameters_of_the_table(self, arguments, message):
        task = AthenaCloudTrailTableOperator(
            task_id="t", **{"bucket": "b", "account_ids": "111122223333", "regions": "eu-west-1", **arguments}
        )
        with pytest.raises(ValueError, match=message):
            task.execute({})

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            pytest.param({"trail_table": "a.b"}, "trail_table='a.b'", id="trail-table"),
            pytest.param({"trail_schema": "a.b"}, "trail_schema='a.b'", id="trail-schema"),
            pytest.param({"days_at_once": 0}, "days_at_once=0", id="days"),
            pytest.param({"days_at_once": "7"}, "days_at_once='7' is no whole number", id="days-is-text"),
            pytest.param({"include_environment_activity": "no"}, "neither True nor False", id="switch-is-text"),
            pytest.param({"event_sources": []}, "event_sources is empty", id="sources"),
            pytest.param({"event_names": ["INVOKERESTAPI"]}, "write 'InvokeRestApi'", id="name-in-capitals"),
            pytest.param({"delivered_to": DAY["delivered_from"]}, "window is empty", id="window"),
            pytest.param({"delivered_from": "None"}, "delivered_from is not set.*00Z$", id="no-interval"),
        ],
    )
    def test_wrong_parameters_of_the_events(self, arguments, message):
        task = AthenaMwaaAuditEventsOperator(task_id="t", **{**DAY, **arguments})
        with pytest.raises(ValueError, match=message):
            task.execute({})

    def test_a_connection_to_something_else_is_refused(self, monkeypatch, tmp_path):
        monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "x")}))
        task = AthenaMwaaAuditEventsOperator(task_id="t", conn_id="elsewhere", **DAY)
        with pytest.raises(ValueError, match=r"type 'sqlite'.*CloudTrailToSqlOperator"):
            task.execute({})
        table = AthenaCloudTrailTableOperator(
            task_id="t", conn_id="elsewhere", bucket="b", account_ids="111122223333", regions="eu-west-1"
        )
        with pytest.raises(ValueError, match="type 'sqlite'"):
            table.execute({})


@pytest.fixture
def lake(athena, athena_address, monkeypatch) -> Lake:
    return Lake(athena, json.loads(athena_address), monkeypatch)


class TestEvents:
    def test_a_window_is_loaded_once(self, lake):
        first = lake.deliver("20260203T1000Z", event(id_of(1)), event(id_of(2)), foreign(id_of(3)))
        lake.deliver("20260203T1100Z", event(id_of(2)))
        task = SimpleNamespace(dag_id="d", task_id="events", run_id="r", map_index=-1)
        summary = lake.events().execute({"ti": task, "outlet_events": {}})
        assert (summary["files"], summary["records"], summary["loaded"]) == (2, 4, 2)
        assert (summary["duplicate"], summary["filtered"], summary["left"]) == (1, 1, [])
        rows = lake.rows()
        assert [(row["event_id"], row["log_file_uri"]) for row in rows] == [(id_of(1), first), (id_of(2), first)]
        assert {row["loaded_by"] for row in rows} == {"d.events r"}
        again = lake.events().execute({})
        assert (again["files"], again["files_known"], lake.rows()) == (0, 2, rows)

    def test_the_worker_path_reads_what_is_left_and_nothing_else(self, lake):
        lake.deliver("20260203T1000Z", event(id_of(1)))
        left = lake.deliver("20260203T1100Z", event(id_of(2), eventTime="2026-02-03T10:58:00.25Z"), event(id_of(1)))
        summary = lake.events().execute({})
        assert (summary["left"], summary["reasons"]) == ([left], {"event_time": 1})
        exported = lake.export().execute({})
        assert (exported["files_known"], exported["files_read"], exported["loaded"]) == (1, 1, 1)
        assert [row["event_id"] for row in lake.rows()] == [id_of(1), id_of(2)]
        for entry in lake.rows("_files"):
            parts = [entry[name] for name in ("loaded", "duplicate", "filtered", "quarantined")]
            assert entry["records"] == sum(parts)

    def test_what_the_worker_path_has_is_not_read(self, lake):
        lake.deliver("20260203T1000Z", event(id_of(1)), event(id_of(2)))
        assert lake.export().execute({})["loaded"] == 2
        before = lake.rows("_files")
        lake.deliver("20260203T1100Z", event(id_of(2)), event(id_of(3)))
        summary = lake.events().execute({})
        assert (summary["files_known"], summary["files"], summary["loaded"], summary["duplicate"]) == (1, 1, 1, 1)
        assert lake.rows("_files")[0] == before[0]
        assert len(lake.rows()) == 3

    @pytest.mark.parametrize("ran", [pytest.param(False, id="not-run"), pytest.param(True, id="run")])
    @pytest.mark.parametrize("statement", [pytest.param(3, id="rows"), pytest.param(4, id="ledger")])
    def test_a_connection_that_breaks_anywhere_is_made_up_for(self, lake, statement, ran):
        lake.deliver("20260203T1000Z", event(id_of(1)), event(id_of(2)), foreign(id_of(3)))
        lake.export(files=[]).execute({})
        lake.stand_in.die_after(statement, ran=ran)
        try:
            with pytest.raises(CloudTrailWarehouseError):
                lake.events().execute({})
        finally:
            lake.stand_in.revive()
        lake.let_lock_expire()
        lake.events().execute({})
        assert [row["event_id"] for row in lake.rows()] == [id_of(1), id_of(2)]
        (entry,) = lake.rows("_files")
        assert [entry[name] for name in ("records", "loaded", "duplicate", "filtered")] == [3, 2, 0, 1]

    @pytest.mark.parametrize("suffix", [pytest.param("", id="rows"), pytest.param("_files", id="ledger")])
    def test_a_statement_that_fails_behind_its_commit_counts(self, lake, suffix, monkeypatch):
        left = [1]

        def fails(text: str) -> bool:
            return text.startswith(f'MERGE INTO "{lake.table}{suffix}" ') and bool(left and left.pop())

        monkeypatch.setattr(lake.stand_in, "fails_behind", fails)
        lake.deliver("20260203T1000Z", event(id_of(1)), event(id_of(2)), foreign(id_of(3)))
        lake.deliver("20260203T1100Z", event(id_of(2)))
        summary = lake.events().execute({})
        assert left == []
        names = ("files", "records", "loaded", "duplicate", "filtered")
        assert [summary[name] for name in names] == [2, 4, 2, 1, 1]
        assert [row["event_id"] for row in lake.rows()] == [id_of(1), id_of(2)]
        assert [[entry[name] for name in names[1:]] for entry in lake.rows("_files")] == [[3, 2, 0, 1], [1, 0, 1, 0]]

    def test_a_log_file_that_athena_cannot_read_is_named_and_no_value_of_it(self, lake, monkeypatch):
        uri = lake.deliver("20260203T1000Z", event(id_of(1)))
        run = type(lake.stand_in)._run

        def fail(stand_in, query):
            if lake.trail_table in query.text:
                query.state = "FAILED"
                query.reason = f"HIVE_CURSOR_ERROR: Row is not a valid JSON Object: 'a secret' in {uri} (offset=0)"
            else:
                run(stand_in, query)

        monkeypatch.setattr(type(lake.stand_in), "_run", fail)
        with pytest.raises(CloudTrailWarehouseError) as caught:
            lake.events().execute({})
        assert uri in str(caught.value)
        assert "it is enough to run this again. Otherwise" in str(caught.value)
        assert "fail_on_quarantine=False" in str(caught.value)
        assert "a secret" not in str(caught.value)

    def test_a_failure_is_told_by_its_code_alone(self, lake):
        with pytest.raises(CloudTrailWarehouseError, match="TABLE_NOT_FOUND"):
            lake.events(trail_table="nowhere").execute({})

    def test_margins_reach_athena(self, lake):
        lake.events(lookback=timedelta(days=2), settle=timedelta(hours=3), days_at_once=1).execute({})
        asked = [text for text in lake.stand_in.statements if lake.trail_table in text]
        assert "'20260201T0000Z'" in asked[0]
        assert "'20260204T0300Z'" in asked[-1]


class TestTable:
    def table(self, lake: Lake, **arguments: Any) -> AthenaCloudTrailTableOperator:
        given = {"bucket": "example-trail", "account_ids": "111122223333", "regions": "eu-west-1", "table": "logs"}
        return AthenaCloudTrailTableOperator(
            task_id="table", conn_id="lake", aws_conn_id="trail", **{**given, **arguments}
        )

    @pytest.fixture
    def moto_athena(self, lake, monkeypatch):
        """Athena's API as moto has it: it accepts statements and gives them states."""
        from moto import mock_aws

        extra = {"region_name": "eu-west-1", "s3_staging_dir": "s3://example-results/", "poll_interval": 0.01}
        entry = {"conn_type": "athena", "schema": "audit", "login": "x", "password": "y", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps(entry))
        with mock_aws():
            import boto3

            yield boto3.client("athena", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="y")

    def test_statements_go_the_way_of_the_api(self, lake, moto_athena):
        found = self.table(lake).execute({})
        assert found == {
            "table": "logs",
            "location": "s3://example-trail/AWSLogs/",
            "account_ids": ["111122223333"],
            "regions": ["eu-west-1"],
        }
        ids = moto_athena.list_query_executions()["QueryExecutionIds"]
        executions = [moto_athena.get_query_execution(QueryExecutionId=one)["QueryExecution"] for one in ids]
        assert {one["Query"].split("`")[0].strip() for one in executions} == {
            "CREATE EXTERNAL TABLE IF NOT EXISTS",
            "ALTER TABLE",
        }
        assert {one["Status"]["State"] for one in executions} == {"SUCCEEDED"}

    def test_a_failure_has_the_reason(self, lake, monkeypatch):
        def refuse(stand_in, query):
            query.state, query.reason = "FAILED", "FAILED: SemanticException [Error 10072]: Database does not exist: x"

        monkeypatch.setattr(type(lake.stand_in), "_run", refuse)
        with pytest.raises(CloudTrailWarehouseError, match=r"`x`\.`logs`.*Database does not exist: x"):
            self.table(lake, schema="x").execute({})

    @pytest.mark.parametrize(
        ("first", "done"),
        [pytest.param("CREATE", "created", id="create"), pytest.param("ALTER", "brought up to date", id="update")],
    )
    def test_what_was_not_done_is_said(self, lake, monkeypatch, first, done):
        def refuse(stand_in, query):
            failed = query.text.startswith(first)
            query.state, query.reason = ("FAILED", "It broke") if failed else ("SUCCEEDED", None)
            query.kind = "DDL"

        monkeypatch.setattr(type(lake.stand_in), "_run", refuse)
        with pytest.raises(
            CloudTrailWarehouseError, match=rf"`logs` was not {done}: .*It broke\. When.*run this again"
        ):
            self.table(lake).execute({})

    def test_accounts_and_regions_are_found_out(self, lake, moto_trail):
        table = self.table(lake, bucket=moto_trail, prefix=lake.root, account_ids=None, regions=None)
        shown = table._accounts_and_regions(*table.hook.locate(moto_trail, lake.root, None, None, None), None)
        assert shown == (["111122223333", "444455556666"], ["eu-west-1", "us-east-1"])

    def test_an_organization_is_a_layout_of_its_own(self, lake, moto_trail, monkeypatch):
        table = self.table(lake)
        location, accounts = table.hook.locate(moto_trail, lake.root, "o-example", None, None)
        assert table._accounts_and_regions(location, accounts, None) == (["777788889999"], ["eu-west-1"])
        location, accounts = table.hook.locate(moto_trail, lake.root, None, None, None)
        told: list[str] = []
        monkeypatch.setattr(table.log, "warning", lambda text, *values: told.append(text % values))
        table._accounts_and_regions(location, accounts, None)
        assert told == [f"Not shown by this table: the log files below {lake.root}/AWSLogs/o-example/"]

    def test_a_folder_without_log_files_is_refused(self, lake, moto_trail):
        with pytest.raises(CloudTrailTrailNotFoundError, match="no log files below empty/AWSLogs/"):
            self.table(lake, bucket=moto_trail, prefix="empty", account_ids=None).execute({})

    def test_a_bucket_that_is_not_there_is_refused(self, lake):
        with pytest.raises(CloudTrailBucketError):
            self.table(lake, bucket="not-there-at-all", account_ids=None).execute({})

    @pytest.fixture
    def moto_trail(self, lake) -> str:
        root = f"{lake.root}/AWSLogs/"
        for place in (
            {"root": root},
            {"root": root, "account": "444455556666", "region": "us-east-1"},
            {"root": f"{root}o-example/", "account": "777788889999"},
        ):
            lake.s3.put_object(Bucket=lake.bucket, Key=key_of(**place), Body=log_bytes(event()))
        return lake.bucket
