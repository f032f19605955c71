from __future__ import annotations

import re
import runpy

import airflow
import pytest
from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator

from airflow_provider_cloudtrail import __version__
from airflow_provider_cloudtrail._compat import BaseSensorOperator
from airflow_provider_cloudtrail.get_provider_info import get_provider_info
from airflow_provider_cloudtrail.settings import OPTIONS, check, listed, one_of, option, switched_on, whole_number
from tests.support.engines import REPOSITORY

# As far as they are there: they are not part of an installation.
README = REPOSITORY / "README.md"
EXAMPLES = sorted((REPOSITORY / "dags").glob("*.py"))
DAGS = [pytest.param(path, id=path.stem) for path in EXAMPLES if "lookback_days" in path.read_text(encoding="utf-8")]


def test_defaults_stand_without_configuration():
    assert option("table") == "mwaa_audit_events"
    assert option("bucket") is None
    assert listed("regions") is None
    assert switched_on("fail_on_quarantine") is True


def test_options_come_from_the_configuration(monkeypatch):
    monkeypatch.setenv("AIRFLOW__CLOUDTRAIL__REGIONS", "eu-west-1, us-east-1,")
    monkeypatch.setenv("AIRFLOW__CLOUDTRAIL__FAIL_ON_QUARANTINE", "no")
    assert listed("regions") == ["eu-west-1", "us-east-1"]
    assert switched_on("fail_on_quarantine") is False


@pytest.mark.parametrize("name", OPTIONS)
def test_white_space_around_a_value_is_none_of_it(name, monkeypatch):
    about = OPTIONS[name]
    monkeypatch.setenv(f"AIRFLOW__CLOUDTRAIL__{name.upper()}", " \n ")
    assert option(name) == about.default
    check(name, " \n ")
    value = about.example or about.default
    monkeypatch.setenv(f"AIRFLOW__CLOUDTRAIL__{name.upper()}", f" {value}\n")
    assert option(name) == value
    check(name, f" {value}\n")


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("quote", ["'", '"'])
def test_quotes_around_a_value_are_named(name, quote, monkeypatch):
    value = f"{quote}{OPTIONS[name].example or OPTIONS[name].default}{quote}"
    monkeypatch.setenv(f"AIRFLOW__CLOUDTRAIL__{name.upper()}", value)
    message = rf"\[cloudtrail\] {name} is .*, with quotes around it; write it without"
    with pytest.raises(ValueError, match=message):
        option(name)
    with pytest.raises(ValueError, match=message):
        check(name, value)


@pytest.mark.parametrize("quotes", ["''", '""'])
def test_quotes_around_nothing_are_named(quotes, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CLOUDTRAIL__PREFIX", quotes)
    with pytest.raises(ValueError, match=r"\[cloudtrail\] prefix is .*, with quotes around it; write it without"):
        option("prefix")


def test_a_switch_is_true_or_false(monkeypatch):
    monkeypatch.setenv("AIRFLOW__CLOUDTRAIL__FAIL_ON_QUARANTINE", "maybe")
    with pytest.raises(ValueError, match="write True or False"):
        switched_on("fail_on_quarantine")


def test_a_number_is_a_whole_one(monkeypatch):
    assert whole_number("lookback_days") == 7
    monkeypatch.setenv("AIRFLOW__CLOUDTRAIL__LOOKBACK_DAYS", " 14 ")
    assert whole_number("lookback_days") == 14


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("7 days", id="with its unit"),
        pytest.param("1.5", id="fraction"),
        pytest.param("-1", id="negative"),
        pytest.param("100000", id="beyond all durations"),
    ],
)
def test_what_is_no_whole_number_is_named(monkeypatch, value):
    monkeypatch.setenv("AIRFLOW__CLOUDTRAIL__LOOKBACK_DAYS", value)
    with pytest.raises(ValueError, match=rf"\[cloudtrail\] lookback_days is '{value}'; write a whole number"):
        whole_number("lookback_days")


@pytest.mark.parametrize("path", DAGS)
def test_dags_say_so(monkeypatch, path):
    monkeypatch.setenv("AIRFLOW__CLOUDTRAIL__BUCKET", "example-trail")
    monkeypatch.setenv("AIRFLOW__CLOUDTRAIL__LOOKBACK_DAYS", "7 days")
    with pytest.raises(ValueError, match="lookback_days is '7 days'; write a whole number, such as 7"):
        runpy.run_path(str(path))


@pytest.mark.skipif(not EXAMPLES, reason="the example DAGs are not part of an installation")
def test_all_that_load_into_the_table_select_the_same(monkeypatch):
    """Else whichever comes later reads the files of the others again."""
    monkeypatch.setenv("AIRFLOW__CLOUDTRAIL__BUCKET", "example-trail")
    monkeypatch.setenv("AIRFLOW__CLOUDTRAIL__INCLUDE_ENVIRONMENT_ACTIVITY", "True")
    selected = {}
    for path in EXAMPLES:
        found = runpy.run_path(str(path)).values()
        dag = next(task.dag for task in found if isinstance(task, BaseSensorOperator | AwsBaseOperator))
        for task in dag.tasks:
            given = getattr(task, "partial_kwargs", vars(task))
            if task.task_type in {"CloudTrailToSqlOperator", "CloudTrailEventHistoryToSqlOperator"}:
                selected[path.stem] = given.get("include_environment_activity")
    assert selected == dict.fromkeys((path.stem for path in EXAMPLES), True)


@pytest.mark.skipif(not EXAMPLES, reason="the example DAGs are not part of an installation")
@pytest.mark.skipif(airflow.__version__.startswith("2."), reason="watchers came with Airflow 3")
@pytest.mark.parametrize(
    ("name", "value", "watchers"),
    [
        ("TABLE", "events", 0),
        ("BUCKET", "example-trail", 1),
        ("TRAIL_NAME", "audit", 1),
        ("QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/111122223333/log-files", 1),
    ],
)
def test_a_watcher_needs_something_to_watch(name, value, watchers, monkeypatch):
    monkeypatch.setenv(f"AIRFLOW__CLOUDTRAIL__{name}", value)
    (path,) = (path for path in EXAMPLES if path.stem == "mwaa_audit_export_on_delivery")
    found = runpy.run_path(str(path))
    assert len(found["watchers"]) == watchers
    assert (found["schedule"] is None) is (watchers == 0)


def test_a_choice_is_one_of_its_words(monkeypatch):
    assert one_of("wait_for", "files", "digests") == "files"
    monkeypatch.setenv("AIRFLOW__CLOUDTRAIL__WAIT_FOR", " Digests")
    assert one_of("wait_for", "files", "digests") == "digests"
    check("wait_for", " Digests")
    monkeypatch.setenv("AIRFLOW__CLOUDTRAIL__WAIT_FOR", "digest")
    with pytest.raises(ValueError, match="wait_for is 'digest'; write files or digests"):
        one_of("wait_for", "files", "digests")


@pytest.mark.parametrize("name", OPTIONS)
def test_nothing_stands_for_the_default(name, monkeypatch):
    monkeypatch.setenv(f"AIRFLOW__CLOUDTRAIL__{name.upper()}", "")
    check(name, "")
    assert option(name) == OPTIONS[name].default


def test_provider_info_names_every_option_and_only_what_is_there():
    info = get_provider_info()
    assert info["package-name"] == "airflow-provider-cloudtrail"
    assert info["versions"] == [__version__]
    assert set(info["config"]["cloudtrail"]["options"]) == set(OPTIONS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lookback_days", "seven"),
        ("fail_on_quarantine", "ja"),
        ("wait_for", "digest"),
        ("bucket", "s3://example-trail/audit"),
        ("bucket", "arn:aws:s3:::example-trail"),
        ("prefix", "audit/AWSLogs/"),
        ("organization_id", "O-EXAMPLEORGID"),
        ("queue_url", "arn:aws:sqs:eu-west-1:111122223333:log-files"),
        ("regions", "eu-west-1,eu-west1"),
        ("account_ids", '["111122223333"]'),
        ("table", "audit.events"),
        ("staging_uri", "my-bucket/cloudtrail-staging"),
        ("staging_uri", "arn:aws:s3:::my-bucket"),
        ("staging_role", "redshift copy"),
    ],
)
def test_values_that_no_dag_could_use_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        check(name, value)


def test_examples_and_defaults_can_be_set():
    for name, about in OPTIONS.items():
        for value in filter(None, (about.default, about.example)):
            check(name, value)


@pytest.mark.skipif(not README.exists(), reason="the README is not part of an installation")
def test_the_readme_names_every_option():
    text = README.read_text(encoding="utf-8")
    rows = "".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `cloudtrail."))
    assert set(re.findall(r"[`.]([a-z_]+)`", rows)) == set(OPTIONS)
