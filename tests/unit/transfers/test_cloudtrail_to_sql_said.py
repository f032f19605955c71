"""What an export of log files says of its run: in its log, its summary and its errors."""

from __future__ import annotations

import logging

import pytest

from airflow_provider_cloudtrail.exceptions import CloudTrailError
from tests.support.face import ONE_REGION
from tests.support.face import export_operator as operator
from tests.support.log_files import ACCOUNT
from tests.support.log_files import event as record


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        pytest.param({"regions": ["eu-wset-1"]}, ["eu-wset-1"], id="the only Region"),
        pytest.param({"regions": ["eu-wset-1", "eu-west-1"]}, ["eu-wset-1"], id="one of the Regions"),
        pytest.param({"account_ids": [ACCOUNT, "999900001111"]}, ["999900001111"], id="account"),
        pytest.param({**ONE_REGION, "account_ids": [ACCOUNT, "999900001111"]}, ["999900001111"], id="with Region"),
        pytest.param(ONE_REGION, [], id="none"),
        pytest.param({}, [], id="not named"),
    ],
)
@pytest.mark.parametrize("stamp", ["20260203T1000Z", "20260103T1000Z"])
def test_names_of_which_nothing_was_ever_delivered_are_said(
    trail, warehouse, caplog, capsys, arguments, missing, stamp
):
    trail.deliver(stamp, record("a"))
    task = operator(trail, **arguments)
    if isinstance(task.log, logging.Logger):  # Airflow 2; Airflow 3 logs to the standard output
        task.log.propagate = True
    assert task.execute({})["without_folder"] == missing
    text = caplog.text + capsys.readouterr().out
    assert ("Nothing was ever delivered of" in text) is bool(missing)
    assert not missing or f"Nothing was ever delivered of {missing[0]}: there is no such folder" in text


def test_log_says_what_was_done(trail, warehouse, caplog, capsys):
    trail.deliver("20260203T1000Z", record("a"))
    task = operator(trail)
    if isinstance(task.log, logging.Logger):  # Airflow 2; Airflow 3 logs to the standard output
        task.log.propagate = True
    with caplog.at_level(logging.INFO):
        task.execute({})
    text = caplog.text + capsys.readouterr().out
    assert "1 records = 1 loaded + 0 duplicate + 0 filtered + 0 quarantined" in text
    assert "Batch 1: 1 files" in text
    assert "Spent: 0 LIST and 0 GET requests" in text


def test_summary_says_what_was_spent(trail, warehouse):
    trail.deliver("20260203T1000Z", record("a"))
    summary = operator(trail).execute({})
    assert summary["requests"] == {"LIST": 0, "GET": 0}
    parts = ("listing", "asking", "writing", "getting", "unpacking", "parsing")
    assert all(summary[f"seconds_{part}"] >= 0 for part in parts)
    assert summary["unpacked_bytes"] > summary["bytes"] > 0


def test_unexpected_error_shows_no_values(trail, warehouse, monkeypatch):
    trail.deliver("20260203T1000Z", record("a"))

    def fail(*_, **__):
        raise KeyError("secret-value")

    monkeypatch.setattr("airflow_provider_cloudtrail.export.log_files.export_log_files", fail)
    with pytest.raises(CloudTrailError, match="unexpected KeyError in") as raised:
        operator(trail).execute({})
    assert "secret-value" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_worker_that_lacks_memory_is_told_so(trail, warehouse, monkeypatch):
    trail.deliver("20260203T1000Z", record("a"))

    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr("airflow_provider_cloudtrail.export.log_files.read_log_file", fail)
    with pytest.raises(CloudTrailError, match=r"The worker is out of memory: .* \(MemoryError in .*\)") as raised:
        operator(trail).execute({})
    assert "please report" not in str(raised.value)
