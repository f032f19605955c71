"""A run of the daily DAG that defers: its log files come when the sensor already waits in the triggerer."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow_provider_cloudtrail.demo.server import s3_server, upload
from airflow_provider_cloudtrail.demo.trail import generate
from tests.mwaa.commands import CommandError, tail
from tests.mwaa.daily_run import COMMAND_SECONDS, DAG, PLAN, TABLE, AirflowOf, check

# Airflow 2 says the one, Airflow 3 the other.
DEFERRED = ("running trigger in line", "Pausing task as DEFERRED")


@dataclass(frozen=True)
class DeferredRun:
    """
    A run of the daily DAG with ``[operators] default_deferrable``.

    :param airflow: what runs it.
    :param warehouse: yields the database.
    """

    airflow: AirflowOf
    warehouse: Callable[[], Any]

    def show(self) -> str:
        """
        Run the DAG, deliver when it has deferred, and see it resume and end well.

        :return: a line that says what was loaded.
        :raises CommandError: if it does not defer, or does not end well.
        :raises AssertionError: if nothing was loaded, or another run does not load the rest.
        """
        airflow = replace(self.airflow, settings={"AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "True"})
        path = airflow.deployed.dags / f"{DAG}.py"
        text = path.read_text()
        assert '"poke_interval": 600' in text
        path.write_text(text.replace('"poke_interval": 600', '"poke_interval": 1'))
        try:
            with s3_server() as server, self.warehouse() as warehouse:
                client = server.client()
                client.create_bucket(Bucket=PLAN.bucket)
                # The day before is there, so that the trail is found.
                for written in generate(PLAN, None):
                    if f"/{PLAN.first_day:%Y/%m/%d}/" in written.key:
                        client.put_object(Bucket=PLAN.bucket, Key=written.key, Body=written.body)
                connections = {
                    "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(server.connection()),
                    "AIRFLOW_CONN_CLOUDTRAIL_WAREHOUSE": json.dumps(warehouse.connection),
                }
                morning = (PLAN.first_day + timedelta(days=PLAN.days)).isoformat()
                arguments = ("dags", "test", DAG, morning)
                _run_and_deliver(airflow, arguments, connections, lambda: upload(PLAN, client))
                ((loaded,),) = warehouse.rows(f"SELECT count(*) FROM {TABLE}")
                assert loaded, "nothing was loaded"
                # The first file wakes the run up, the others may come behind it.
                airflow.run(*arguments, **connections)
                check(warehouse)
        finally:
            path.write_text(text)
        return "deferred, resumed when log files came, loaded"


def _run_and_deliver(
    airflow: AirflowOf, arguments: tuple[str, ...], connections: dict[str, str], deliver: Callable[[], None]
) -> None:
    command = [airflow.python.with_name("airflow"), *arguments]
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        process = subprocess.Popen(
            command, env=airflow.environment(**connections), stdout=log, stderr=subprocess.STDOUT, cwd="/"
        )
        try:
            deadline = time.monotonic() + COMMAND_SECONDS
            while not any(text in (said := Path(log.name).read_text(errors="replace")) for text in DEFERRED):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise CommandError(f"the run did not defer:\n{tail(said)}")
                time.sleep(0.2)
            deliver()
            if process.wait(COMMAND_SECONDS):
                raise CommandError(f"the run failed:\n{tail(Path(log.name).read_text(errors='replace'))}")
        except subprocess.TimeoutExpired:
            raise CommandError(f"the run did not resume:\n{tail(Path(log.name).read_text(errors='replace'))}") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
