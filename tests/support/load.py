"""
Run as a program: load the log files of a folder into a warehouse, in batches so small that a kill hits one.

Takes one JSON object: ``engine``, ``address``, ``table``, ``folder``, optionally ``keys`` (which files, in this
order), ``loaded_by``, ``lease`` in seconds and the limits of the export. Says ``ready`` on its standard output when
all is imported, waits for a line on its standard input where ``wait`` is set, says ``batch`` after each batch where
``batches`` is set, and in the end the summary. ``lines`` is behind how many batches it is going to be killed.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import timedelta
from pathlib import Path

from airflow_provider_cloudtrail.export.log_files import Limits, export_log_files
from tests.support.engines import warehouse_of
from tests.support.killing import SayLine
from tests.support.log_files import FolderTrail
from tests.support.rows import ALL, MWAA


def main() -> None:
    task = json.loads(sys.argv[1])
    warehouse = warehouse_of(task["engine"], task["address"], task["table"], airflow=False)
    if "lease" in task:
        warehouse.lease = timedelta(seconds=task["lease"])  # type: ignore[attr-defined]
    trail = FolderTrail(Path(task["folder"]))
    files = [trail.listed(key) for key in task["keys"]] if "keys" in task else trail.files()
    if task["engine"].startswith("duckdb"):
        import pyarrow  # noqa: F401
    if task.get("batches"):
        logger = logging.getLogger("airflow_provider_cloudtrail.export")
        logger.setLevel(logging.INFO)
        logger.addHandler(SayLine("batch", "Batch", task.get("lines")))
    print("ready", flush=True)
    if task.get("wait"):
        sys.stdin.readline()
    warehouse.prepare()
    summary = export_log_files(
        files,
        store_of=lambda _: trail.store,
        warehouse=warehouse,
        selection=ALL if task.get("all") else MWAA,
        loaded_by=task.get("loaded_by"),
        limits=Limits(threads=2, **task.get("limits", {})),
    )
    print(json.dumps(summary.as_dict()), flush=True)


if __name__ == "__main__":
    main()
