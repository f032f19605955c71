"""
A deployment that is killed at any of its steps is finished by the next one: the same end as without the kill.

Every request that a deployment sends is such a step.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading

import pytest

from airflow_provider_cloudtrail.mwaa import __main__ as command_line
from airflow_provider_cloudtrail.mwaa.aws import Aws
from tests.support.deployment import Deployer, use_package_of
from tests.support.engines import REPOSITORY, installed
from tests.support.mwaa_stand_in import contents

pytestmark = pytest.mark.skipif(not installed("moto", "werkzeug"), reason="needs moto's server")

WAYS = [
    pytest.param((None, "copy"), "success", id="first copy"),
    pytest.param((None, "wheel"), "success", id="first wheel"),
    pytest.param(("copy", "wheel"), "success", id="copy to wheel"),
    pytest.param(("wheel", "copy"), "success", id="wheel to copy"),
    pytest.param(("plugins", "plugins"), "success", id="new version in plugins"),
    pytest.param(("copy", "wheel"), "failure", id="roll-back of a wheel"),
    pytest.param(("wheel", "copy"), "roll back", id="roll-back of a copy"),
]


class Killed(BaseException):
    """Stands for the end of the process."""


class Requests:
    """Ends the program before one of the requests that it sends; remembers those of a run."""

    def __init__(self, monkeypatch):
        from botocore.httpsession import URLLib3Session

        self.sent, self.at = [], None
        original = URLLib3Session.send

        def send(session, request):
            self.sent.append((request.method, "environments" in request.url))
            if len(self.sent) == self.at:
                raise Killed
            return original(session, request)

        monkeypatch.setattr(URLLib3Session, "send", send)

    def end_at(self, at):
        self.sent, self.at = [], at

    def steps(self):
        """
        Return the numbers of the requests of the last run that differ in what is there before them.

        A request that changes nothing leaves all as it was before it, so that the next one stands for it. A look at
        the environment is one that does: the update goes on meanwhile.
        """
        changing = [number for number, (method, of_mwaa) in enumerate(self.sent, 1) if method != "GET" or of_mwaa]
        return [number for number in changing if self.sent[number - 1][0] != "HEAD"]


@pytest.fixture
def new_deployer(mwaa_server, monkeypatch, tmp_path):
    """Return a function that makes an environment to which an earlier version was deployed."""
    for name, value in mwaa_server.variables().items():
        monkeypatch.setenv(name, value)
    # Making the clients takes longer than a deployment.
    clients = Aws(region="eu-west-1")
    monkeypatch.setattr(command_line, "Aws", lambda **_: clients)

    def make(mode):
        mwaa_server.environments.clear()
        made = Deployer(mwaa_server, mwaa_server.create(), tmp_path)
        made.environment.polls = 1
        use_package_of(made, monkeypatch)
        made.use_customers_files()
        if mode is not None:
            made.package["airflow_provider_cloudtrail/former.py"] = b"# former\n"
            made.write_dag("audit_former")
            made.wheel.write_bytes(b"former wheel")
            assert made("deploy", "--mode", mode) == 0
            del made.package["airflow_provider_cloudtrail/former.py"]
            (made.folder / "audit_former.py").unlink()
            made.wheel.write_bytes(b"wheel")
        made.package["airflow_provider_cloudtrail/export.py"] = b"# changed\n"
        made.write_dag("audit_one", "# changed")
        return made

    return make


def end_of(deployer):
    """Return what a deployment leaves behind, without the number of the environment."""
    found = deployer.state()
    found["manifest"]["environments"] = list(found["manifest"]["environments"].values())
    return found


@pytest.mark.parametrize(("way", "outcome"), WAYS)
def test_killed_at_every_step_and_run_again(new_deployer, monkeypatch, way, outcome):
    former, mode = way
    requests = Requests(monkeypatch)

    def prepared():
        requests.end_at(None)
        made = new_deployer(former)
        made.environment.outcome = outcome
        requests.end_at(None)
        return made

    whole = prepared()
    assert whole("deploy", "--mode", mode) == (0 if outcome == "success" else 5)
    steps = requests.steps()
    whole.environment.outcome = "success"
    assert whole("deploy", "--mode", mode) == 0
    expected, foreign = end_of(whole), whole.foreign()
    assert len(steps) >= 7

    for step in steps:
        deployer = prepared()
        requests.end_at(step)
        with pytest.raises(Killed):
            deployer("deploy", "--mode", mode)
        assert deployer.foreign() == foreign, step
        requests.end_at(None)
        deployer.environment.outcome = "success"
        assert deployer("deploy", "--mode", mode) == 0, step
        assert end_of(deployer) == expected, step
        assert deployer.foreign() == foreign, step
        assert deployer("plan", "--mode", mode) == 0, step


def test_killed_twice(new_deployer, monkeypatch):
    requests = Requests(monkeypatch)
    whole = new_deployer("copy")
    requests.end_at(None)
    assert whole("deploy", "--mode", "wheel") == 0
    expected, steps = end_of(whole), requests.steps()
    kills = []
    for first, second in itertools.combinations(steps[2:-1:3], 2):
        requests.end_at(None)
        deployer = new_deployer("copy")
        for at in (second, first):
            requests.end_at(at)
            try:
                # What was done already is left out the second time, so that it can end before.
                deployer("deploy", "--mode", "wheel")
            except Killed:
                kills.append(at)
        requests.end_at(None)
        assert deployer("deploy", "--mode", "wheel") == 0
        assert end_of(deployer) == expected
    assert len(kills) >= 10


@pytest.mark.parametrize("mode", ["copy", "wheel"])
def test_process_ended_by_kill_9(mwaa_server, new_deployer, mode):
    """The whole package, deployed by a process of its own, which the server kills."""
    deployer = new_deployer(None)
    command = [sys.executable, "-m", "airflow_provider_cloudtrail.mwaa", "deploy", deployer.name, "--poll", "0"]
    command += ["--mode", mode, "--dags", str(deployer.folder)]
    command += ["--wheel", str(deployer.wheel)] if mode == "wheel" else []

    def run():
        mwaa_server.calls.clear()
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        started.append(process.pid)
        ready.set()
        return process.wait(600)

    started, ready = [], threading.Event()

    def process_id():
        assert ready.wait(60)
        return started[-1]

    assert run() == 0
    steps = len(mwaa_server.calls)
    expected = end_of(deployer)
    for number in range(5):
        mwaa_server.environments.clear()
        deployer = new_deployer(None)
        command[4] = deployer.name
        ready.clear()
        mwaa_server.kill = (process_id, 6 + (steps - 8) * number // 4, ("before", "after")[number % 2])
        assert run() == -9
        mwaa_server.kill = None
        assert run() == 0
        assert end_of(deployer) == expected
        assert len(contents(deployer.bucket)) == len(expected["objects"]) + 1
