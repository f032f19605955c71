"""What becomes of a task that Airflow kills: cleared, marked, out of time, or on a worker that is shut down."""

from __future__ import annotations

import signal

import pytest
from airflow import __version__ as airflow_version

from airflow_provider_cloudtrail.operators.athena import AthenaMwaaAuditEventsOperator
from airflow_provider_cloudtrail.operators.cloudtrail import CloudTrailValidateLogsOperator
from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator
from airflow_provider_cloudtrail.transfers.event_history_to_sql import CloudTrailEventHistoryToSqlOperator

OPERATORS = (
    AthenaMwaaAuditEventsOperator,
    CloudTrailEventHistoryToSqlOperator,
    CloudTrailToSqlOperator,
    CloudTrailValidateLogsOperator,
)


@pytest.fixture
def at_work(monkeypatch):
    """Return what gives a task of an operator with something else to do, with the handler that Airflow 3 sets."""
    before = signal.getsignal(signal.SIGTERM)

    def make(operator, work):
        monkeypatch.setattr(operator, "work", lambda self, context: work(self))
        task = operator(task_id="task")
        signal.signal(signal.SIGTERM, lambda *_: task.on_kill())
        return task

    yield make
    signal.signal(signal.SIGTERM, before)


@pytest.mark.skipif(airflow_version.startswith("2."), reason="Airflow 2 ends the task itself")
@pytest.mark.parametrize("operator", [pytest.param(operator, id=operator.__name__) for operator in OPERATORS])
def test_what_is_being_done_is_broken_off_once_and_can_tidy_up(at_work, operator):
    done = []

    def work(_):
        try:
            signal.raise_signal(signal.SIGTERM)
            done.append("went on")
        finally:
            # A second signal does not disturb this.
            signal.raise_signal(signal.SIGTERM)
            done.append("tidied up")

    with pytest.raises(SystemExit, match="told to end"):
        at_work(operator, work).execute({})
    assert done == ["tidied up"]


def test_a_task_that_is_done_stays_done(at_work):
    task = at_work(CloudTrailToSqlOperator, lambda _: {"files": 1})
    assert task.execute({}) == {"files": 1}
    signal.raise_signal(signal.SIGTERM)


def test_a_task_that_is_out_of_time_says_so(at_work):
    class OutOfTimeError(BaseException):
        """As Airflow raises it: no Exception."""

    def work(_):
        raise OutOfTimeError

    task = at_work(CloudTrailToSqlOperator, work)
    with pytest.raises(OutOfTimeError):
        task.execute({})
    # Airflow calls it then as well, and raises the timeout further.
    task.on_kill()


@pytest.mark.skipif(not airflow_version.startswith("2."), reason="Airflow 3 does not end the task")
def test_airflow_2_ends_the_task_itself(at_work):
    task = at_work(CloudTrailToSqlOperator, lambda task: task.on_kill() or {"files": 1})
    assert task.execute({}) == {"files": 1}
