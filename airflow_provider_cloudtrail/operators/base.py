"""What the operators share of their task: its name for the tables, its warehouse, what is told when it fails."""

from __future__ import annotations

import sys
import traceback
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator

from airflow_provider_cloudtrail import parameters
from airflow_provider_cloudtrail._compat import (
    AirflowException,
    AirflowNotFoundException,
    BaseHook,
    ends_killed_tasks,
)
from airflow_provider_cloudtrail.exceptions import CloudTrailWarehouseError
from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.shortage import shortage
from airflow_provider_cloudtrail.warehouse.choose import open_warehouse

if TYPE_CHECKING:
    from airflow_provider_cloudtrail._compat import Context
    from airflow_provider_cloudtrail.warehouse.base import Warehouse
    from airflow_provider_cloudtrail.warehouse.staging import StagingFolder


# Airflow knows these types of connections, and no hook for them: its own error would be an AttributeError.
_WITHOUT_HOOK = ("email", "generic")


class WarehouseOperator(AwsBaseOperator[CloudTrailHook]):
    """
    Base of the operators that write into a warehouse: they end at once when their task is killed.

    Airflow 2 ends a task that is cleared, marked or out of time with an exception, whereupon a running statement is
    stopped, a lock given back, what was staged removed. Airflow 3 only calls ``on_kill``, lets the task go on, and
    after five seconds kills its process: the statement would run on, and cost, until somebody else stops it.
    """

    aws_hook_class = CloudTrailHook
    _at_work = False

    @abstractmethod
    def work(self, context: Context) -> dict[str, Any]:
        """Do what the task is for."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Do what the task is for, until it is done or killed."""
        # Made here, so that a botocore_config that can be none is refused by name before any work.
        _ = self.hook
        self._at_work = True
        try:
            return self.work(context)
        finally:
            self._at_work = False

    def on_kill(self) -> None:
        """End the task; called by the handler of SIGTERM, and when it has ended because of its execution_timeout."""
        if self._at_work and not ends_killed_tasks():
            # Once: what tidies up is not disturbed.
            self._at_work = False
            # Not an error, which somebody might handle. Airflow tries such a task again, if it has retries left.
            sys.exit("the task was told to end")


def run_of(context: Context) -> str | None:
    """Return DAG, task and run, for the columns that say who loaded or verified; None outside of a task."""
    instance = context.get("ti")
    if instance is None:
        return None
    index = getattr(instance, "map_index", -1)
    mapped = f"[{index}]" if isinstance(index, int) and index >= 0 else ""
    return f"{instance.dag_id}.{instance.task_id}{mapped} {instance.run_id}"


def push_of_failing(task: AwsBaseOperator[Any], context: Context, key: str, value: Any) -> None:
    """Push what a task has found that is about to fail: its return value is lost."""
    if "ti" in context and task.do_xcom_push:
        context["ti"].xcom_push(key=key, value=value)


def where(error: Exception) -> str:
    """Return kind and place of an unexpected error, without its text and any value, or what the machine lacks."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = ", ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in reversed(frames))
    if (lacking := shortage(error)) is not None:
        return f"{lacking} ({type(error).__name__} in {places})"
    return f"unexpected {type(error).__name__} in {places}; what was stored before is complete, please report this"


def warehouse_of(conn_id: str, table: str, schema: str | None, staging: StagingFolder | None = None) -> Warehouse:
    """
    Return the warehouse of a connection; nothing is connected yet.

    :param conn_id: its connection.
    :param table: name of the audit table.
    :param schema: its schema; None, or what a template makes of it: the connection's default.
    :param staging: S3 folder for engines that bulk-load through one.
    :raises ValueError: if a name is missing or no plain identifier, or the connection is not one of a database.
    :raises CloudTrailWarehouseError: if there is no such connection, or no provider for its type.
    """
    name = parameters.identifier("table", table)
    return open_warehouse(hook_of(conn_id), name, parameters.text(schema), staging, conn_id=conn_id)


def hook_of(conn_id: str | None) -> Any:
    """
    Return the hook of a warehouse's connection; for a type that has none the connection, which is no database either.

    :param conn_id: its connection.
    :raises ValueError: if it is not given.
    :raises CloudTrailWarehouseError: if there is no such connection, or no provider for its type.
    """
    if (conn_id := parameters.text(conn_id)) is None:
        raise ValueError("conn_id is not set; give the id of the connection of the warehouse")
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        variable = f"AIRFLOW_CONN_{conn_id.upper()}"
        raise CloudTrailWarehouseError(
            f"there is no connection conn_id={conn_id!r}; create it for your warehouse, for instance with "
            f'{variable}=\'{{"conn_type": "duckdb", "host": "/path/audit.duckdb"}}\' or '
            f"{variable}=postgresql://user:password@host/database"
        ) from None
    if connection.conn_type in _WITHOUT_HOOK:
        return connection
    try:
        return connection.get_hook()  # type: ignore[no-untyped-call]
    except AirflowException:
        raise CloudTrailWarehouseError(
            f"connection {conn_id!r} has the type {connection.conn_type!r}, for which no provider is installed here; "
            "install it, for instance airflow-provider-cloudtrail[duckdb] or [postgres]"
        ) from None


def require_athena(conn_id: str, engine: str | None) -> None:
    """
    Refuse a connection that is none to Athena.

    :param engine: type of the connection.
    :raises ValueError: with what to use instead.
    """
    if engine != "athena":
        raise ValueError(
            f"conn_id={conn_id!r} is a connection of type {engine!r}; filling the table by SQL alone needs one of type "
            "'athena', CloudTrailToSqlOperator loads into all others"
        )
