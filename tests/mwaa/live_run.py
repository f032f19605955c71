"""
A whole Airflow 2 of another environment: what waits for log files defers, and is resumed by a triggerer.

Scheduler and triggerer as processes, PostgreSQL as metadata database and warehouse, S3 and SQS by moto.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.support.delivery import REGION, Delivery, stamp_now
from tests.support.engines import REPOSITORY
from tests.support.live_airflow import LiveAirflow, live_airflow
from tests.support.postgres import postgres_server
from tests.support.s3 import counted_s3

DAG = "mwaa_audit_export_on_delivery"


def show(airflow: Path, version: str) -> str:
    """
    Run the DAG that exports on delivery by polling, then asking a queue.

    :param airflow: the ``airflow`` command of the environment.
    :return: a line that says what was shown.
    :raises AssertionError: if something that was waited for did not happen.
    """
    shown = []
    for queued in (False, True):
        with ExitStack() as stack:
            uri = stack.enter_context(postgres_server())
            server = stack.enter_context(counted_s3())
            # What a triggerer had received that is killed comes again soon.
            trail = Delivery(server.endpoint, hidden_seconds=1)
            (socket_folder,) = parse_qs(urlsplit(uri).query)["host"]
            connections = {
                "aws_default": {
                    "conn_type": "aws",
                    "login": "example",
                    "password": "example",
                    "extra": {"endpoint_url": server.endpoint, "region_name": REGION},
                },
                "cloudtrail_warehouse": {
                    "conn_type": "postgres",
                    "login": "postgres",
                    "schema": "postgres",
                    "host": socket_folder,
                },
            }
            options = {"CLOUDTRAIL__BUCKET": trail.bucket}
            if queued:
                options["CLOUDTRAIL__QUEUE_URL"] = trail.queue
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="live-")), "airflow")
            live = stack.enter_context(live_airflow(airflow, version, folder, connections=connections, options=options))
            text = (REPOSITORY / "dags" / f"{DAG}.py").read_text()
            (live.dags / f"{DAG}.py").write_text(
                text.replace("poke_interval=5 if queue_url else 60", "poke_interval=1")
            )
            live.start()
            shown.append(_deliver(live, trail, uri, queued))
    return "; ".join(shown)


def _deliver(live: LiveAirflow, trail: Delivery, uri: str, queued: bool) -> str:
    import psycopg

    def loaded() -> list[str]:
        with psycopg.connect(uri) as connection:
            if connection.execute("SELECT to_regclass('mwaa_audit_events')").fetchone() == (None,):
                return []
            return sorted(event_id for (event_id,) in connection.execute("SELECT event_id FROM mwaa_audit_events"))

    for count in (1, 2):
        live.wait_for_task(DAG, "wait_for_log_files", "deferred")
        if count == 2:
            live.kill("triggerer")
            live.start("triggerer")
        trail.put(f"event-{count}", stamp_now())
        live.wait_for_run(DAG, count)
    live.until("both rows are there", lambda: loaded() == ["event-1", "event-2"])
    return f"2 runs deferred and resumed, {'by a queue' if queued else 'by polling'}"


if __name__ == "__main__":
    print(show(Path(sys.argv[1]), sys.argv[2]))
