"""The demo as a command: what it says when it cannot go on, and that it leaves nothing running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import date
from functools import partial
from pathlib import Path

import pytest

from airflow_provider_cloudtrail.demo.__main__ import main
from airflow_provider_cloudtrail.demo.airflow_home import AirflowHome, DemoError
from tests.support.engines import REPOSITORY, installed

needs_demo = pytest.mark.skipif(not installed("moto", "werkzeug", "duckdb"), reason="needs the extra demo")


@needs_demo
@pytest.mark.parametrize("where", ["a-file", "a-file/below", "100%", "database-is-a-folder"])
def test_a_folder_that_cannot_be_used_is_named(where, tmp_path, capsys):
    (tmp_path / "a-file").touch()
    (tmp_path / "database-is-a-folder" / "audit.duckdb").mkdir(parents=True)

    assert main(["--folder", str(tmp_path / where)]) == 1

    said = capsys.readouterr()
    assert str(tmp_path / where) in said.err
    assert "--folder" in said.err or "remove it" in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


def children(pid: int) -> dict[int, str]:
    """Return the processes that a process has started and that run, with their commands."""
    said = subprocess.run(
        ["ps", "-o", "pid=,stat=,args=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    found = (line.split(maxsplit=2) for line in said.stdout.splitlines())
    return {int(number): command for number, state, command in found if not state.startswith("Z")}


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@needs_demo
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    ("ending", "status"),
    [
        pytest.param(signal.SIGTERM, 143, id="kill"),
        pytest.param(signal.SIGHUP, 129, id="closed-terminal"),
        pytest.param(signal.SIGINT, 130, id="ctrl-c"),
    ],
)
def test_leaves_no_process_behind(ending, status, tmp_path):
    demo = subprocess.Popen(
        [sys.executable, "-m", "airflow_provider_cloudtrail.demo", "--folder", str(tmp_path / "demo")],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # Whoever runs the tests in the background has it ignored, and that is inherited.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    try:
        deadline = time.monotonic() + 600
        while not any("-m airflow " in command for command in children(demo.pid).values()):
            assert demo.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        started = children(demo.pid)
        assert any("moto.server" in command for command in started.values())
        os.kill(demo.pid, ending)
        _, said = demo.communicate(timeout=600)
        assert demo.returncode == status
        assert b"Traceback" not in said
        assert not [command for pid, command in started.items() if runs(pid)]
    finally:
        for pid in (*children(demo.pid), demo.pid):
            if runs(pid):
                os.kill(pid, signal.SIGKILL)
        demo.wait(60)


@needs_demo
def test_a_task_that_fails_is_not_tried_again_but_shown(tmp_path):
    folder = tmp_path / "bucket"
    folder.mkdir()
    airflow = AirflowHome(
        tmp_path / "home",
        REPOSITORY / "dags",
        connections={"cloudtrail_warehouse": {"conn_type": "duckdb", "host": str(tmp_path / "audit.duckdb")}},
        options={("cloudtrail", "bucket"): f"file://{folder}", ("cloudtrail", "regions"): "no-region"},
    )
    airflow.prepare()

    with pytest.raises(DemoError) as raised:
        airflow.run_day("mwaa_audit_export_daily", date(2026, 2, 2))

    assert "no-region" in str(raised.value)
    assert "ended with 1" in str(raised.value)
    assert "up_for_retry" not in airflow.log.read_text()
