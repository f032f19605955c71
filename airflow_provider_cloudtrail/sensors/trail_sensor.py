"""What the sensors share: where the trail lies, and how they wait in each mode."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.sensors.base_aws import AwsBaseSensor
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_provider_cloudtrail import parameters
from airflow_provider_cloudtrail._compat import (
    AirflowException,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
    triggerer_imports,
)
from airflow_provider_cloudtrail.exceptions import CloudTrailTriggerError
from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.triggers.questions import Answer, TrailParameters

if TYPE_CHECKING:
    from airflow_provider_cloudtrail._compat import Context
    from airflow_provider_cloudtrail.triggers.waiting import Seen, WaitingTrigger

# A trigger that cannot look hands over to the worker; if the worker can, it tries the trigger again so often.
_MOST_HAND_OVERS = 3
# What Airflow calls instead of a method when the trigger failed or was not there.
_TRIGGER_FAILED = "__fail__"
# Airflow takes a poke_interval of zero, and the triggerer waits for many.
_LEAST_PAUSE = 1.0
# Airflow's own limit is only for a trigger that does not end by itself.
_GRACE = timedelta(minutes=1)


class TrailSensor(AwsBaseSensor[CloudTrailHook]):
    """
    Base of the sensors that look into the bucket of a trail.

    All modes ask the same question: ``look`` in poke and reschedule mode, and the trigger of ``trigger``
    when deferred. What the trigger cannot find out it leaves to the worker, so that an error has the type
    and text, and with ``soft_fail`` the consequence, that it has in the other modes.
    """

    aws_hook_class = CloudTrailHook
    template_fields: Sequence[str] = aws_template_fields(
        "bucket", "prefix", "organization_id", "trail_name", "account_ids", "regions"
    )
    ui_color = "#f9c5dc"
    _said = ""
    _first_look = True

    def __init__(
        self,
        *,
        bucket: str | None = None,
        prefix: str = "",
        organization_id: str | None = None,
        trail_name: str | None = None,
        account_ids: Sequence[str] | str | None = None,
        regions: Sequence[str] | str | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bucket = bucket
        self.prefix = prefix
        self.organization_id = organization_id
        self.trail_name = trail_name
        self.account_ids = account_ids
        self.regions = regions
        self.deferrable = parameters.switch("deferrable", deferrable)
        self.trigger_is_missing = self.deferrable and not triggerer_imports(__file__)
        if self.trigger_is_missing:
            # Here, not when the task runs: the scheduler has to know that the sensor reschedules.
            self.deferrable = False
            self.mode = "reschedule"

    @abstractmethod
    def look(self) -> Answer:
        """Look once."""

    @abstractmethod
    def trigger(self, deadline: datetime) -> WaitingTrigger:
        """Return what looks in the triggerer until a moment."""

    def found(self, context: Context, files: list[str], receipts: Sequence[str]) -> Any:  # noqa: ARG002
        """Return the XCom of a sensor that is done."""
        return files

    def never_there(self) -> str:
        """Return what is to be said of what is waited for and may never be there, such as a misspelt name."""
        return ""

    @property
    def trail(self) -> TrailParameters:
        """Where the trail lies, as it was given."""
        return TrailParameters(
            bucket=self.bucket,
            prefix=self.prefix,
            organization_id=self.organization_id,
            trail_name=self.trail_name,
            account_ids=self.account_ids,
            regions=self.regions,
        )

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once; in a backlog again and again for as long as the pause until the next poke."""
        until = time.monotonic() + self.poke_interval
        answer = self._look()
        while answer.more and time.monotonic() < until:
            answer = self._look()
        # Airflow 2 does not tell a task that is rescheduled how often it was.
        before = context.get("task_reschedule_count", 1 if self.reschedule else 0)
        if not answer.done and self._first_look and not before:
            # Not at each poke, because it costs requests; and not only at the end, which may be days away.
            self._first_look = False
            if missing := self.never_there():
                self.log.warning("Waiting, but %s", missing)
        found = self.found(context, answer.files, answer.receipts) if answer.done else None
        return PokeReturnValue(is_done=answer.done, xcom_value=found)

    def execute(self, context: Context) -> Any:
        """Look once, then wait in the way that the sensor was told to."""
        if self.deferrable:
            return self._look_or_defer(context, datetime.now(timezone.utc) + timedelta(seconds=self.timeout), 0)
        if self.trigger_is_missing and not context.get("task_reschedule_count"):
            self.log.warning(
                "deferrable=True needs the package where the triggerer finds it, which on Airflow 3 is not the DAG "
                "folder; waiting in reschedule mode. Install airflow-provider-cloudtrail, on MWAA through "
                "requirements.txt or plugins.zip, to defer"
            )
        try:
            return super().execute(context)
        except AirflowSensorTimeout as error:
            raise AirflowSensorTimeout(f"{error} {self._last_words()}".rstrip()) from None

    def execute_complete(self, context: Context, event: Seen, deadline: str | None = None, hand_overs: int = 0) -> Any:
        """
        Go on when the trigger has found what is waited for, could not look, or has reached the deadline.

        :param event: what the trigger says.
        :param deadline: end of the sensor's timeout, ISO 8601. `airflow dags test` passes on nothing but the event:
            then the timeout begins again, unless the trigger says that it is over.
        :param hand_overs: how often in a row the trigger could not look, without a look that succeeded in between.
        """
        self._first_look = False
        if event["status"] == "done":
            self.log.info("%s", event["said"])
            # A trigger of an earlier version, whose sensor goes on after an upgrade, says nothing of receipts.
            return self.found(context, event["files"], event.get("receipts", ()))
        if event["status"] == "failed":
            hand_overs = 1 if event.get("looked") else hand_overs + 1
            self.log.warning("The trigger could not look, so this task does: %s", event["said"])
            if hand_overs > _MOST_HAND_OVERS:
                self._overlook_or_raise(
                    CloudTrailTriggerError(
                        f"the triggerer could not look {hand_overs} times in a row, while this worker could; what it "
                        f"said last: {event['said']}. Check connection, role and network of the triggerer, or set "
                        "deferrable=False"
                    )
                )
        if deadline is None:
            left = timedelta(0) if event["status"] == "late" else timedelta(seconds=self.timeout)
            return self._look_or_defer(context, datetime.now(timezone.utc) + left, hand_overs)
        return self._look_or_defer(context, datetime.fromisoformat(deadline), hand_overs)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Go on after a deferral.

        Passes by the base class's method, which with ``soft_fail`` skips the task for errors that fail it in
        the other modes.

        :raises CloudTrailTriggerError: if the trigger ended without an answer; with ``silent_fail`` too, because
            Airflow does not pass on what is needed to wait on.
        """
        try:
            return super(BaseSensorOperator, self).resume_execution(next_method, next_kwargs, context)
        except AirflowException as error:
            if next_method != _TRIGGER_FAILED:
                raise
            if "timeout" in str(error).lower():
                return self._time_is_over()
            message = (
                f"the trigger ended without an answer ({error}); its own error stands above. If it could not be "
                "imported, install airflow-provider-cloudtrail where the triggerer runs"
            )
            if self._never_fails:
                raise AirflowSkipException(message) from None
            raise CloudTrailTriggerError(message) from None

    def _look_or_defer(self, context: Context, deadline: datetime, hand_overs: int) -> Any:
        found = self._poke_once(context)
        if found:
            return found.xcom_value
        left = deadline - datetime.now(timezone.utc)
        if left <= timedelta(0):
            return self._time_is_over()
        trigger = self.trigger(deadline)
        if hand_overs:
            # This worker has just looked; a disturbance of the triggerer is given the time to pass.
            trigger.first_look = (datetime.now(timezone.utc) + timedelta(seconds=self.poke_interval)).isoformat()
        self.defer(
            trigger=trigger,
            method_name="execute_complete",
            kwargs={"deadline": deadline.isoformat(), "hand_overs": hand_overs},
            timeout=left + _GRACE,
        )
        return None

    def _look(self) -> Answer:
        try:
            answer = self.look()
        except Exception as error:
            # With silent_fail the sensor goes on, and may say it at its timeout.
            self._said = f"{type(error).__name__}: {error}"
            raise
        self._said = answer.said
        self.log.info("%s", answer.said)
        return answer

    def _last_words(self) -> str:
        """Return what the last look has found, and what may be wrong with what is waited for, or nothing."""
        said = f"The last look: {self._said}." if self._said else ""
        missing = self.never_there()
        return f"{said} Perhaps a name is wrong: {missing}." if missing else said

    def _poke_once(self, context: Context) -> PokeReturnValue:
        """Look as the other modes do: the same errors skip or fail the task."""
        try:
            return self.poke(context)
        except AirflowSkipException:
            raise
        except (AirflowFailException, AirflowTaskTimeout) as error:
            # The latter is the task's execution_timeout.
            if self.soft_fail or self._never_fails:
                raise AirflowSkipException(str(error)) from error
            raise
        except Exception as error:
            self._overlook_or_raise(error)
            return PokeReturnValue(is_done=False)

    def _overlook_or_raise(self, error: Exception) -> None:
        """Do with the error of a look what Airflow's sensors do: go on, skip or fail."""
        if getattr(self, "silent_fail", False):
            self.log.error("Looking failed; the sensor goes on, because silent_fail is set", exc_info=error)
        elif self._never_fails:
            raise AirflowSkipException(str(error)) from error
        else:
            raise error

    @property
    def _never_fails(self) -> bool:
        return bool(getattr(self, "never_fail", False))

    def _time_is_over(self) -> None:
        message = f"not there after {self.timeout:.0f} seconds, the sensor's timeout. {self._last_words()}".rstrip(". ")
        if self.soft_fail or self._never_fails:
            raise AirflowSkipException(message)
        raise AirflowSensorTimeout(message)

    def trigger_arguments(self, deadline: datetime) -> dict[str, Any]:
        """Return what every trigger is told: all that the sensor was given, in types of JSON."""
        max_wait = getattr(self, "max_wait", None)
        return {
            "bucket": parameters.text(self.bucket),
            "prefix": parameters.text(self.prefix) or "",
            "organization_id": parameters.text(self.organization_id),
            "trail_name": parameters.text(self.trail_name),
            "account_ids": parameters.account_ids("account_ids", self.account_ids),
            "regions": parameters.regions("regions", self.regions),
            "deadline": deadline.isoformat(),
            "poke_interval": max(self.poke_interval, _LEAST_PAUSE),
            "exponential_backoff": bool(self.exponential_backoff),
            "max_wait": max_wait.total_seconds() if max_wait else None,
            "aws_conn_id": self.aws_conn_id,
            "region_name": parameters.text(self.region_name),
            "verify": parameters.verify(self.verify),
            "botocore_config": self.botocore_config,
        }
