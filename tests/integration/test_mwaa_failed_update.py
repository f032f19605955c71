"""What becomes of a deployment whose update of the environment fails, or takes long."""

from __future__ import annotations

import pytest

from tests.support.deployment import OWN_KEYS
from tests.support.engines import installed
from tests.support.mwaa_stand_in import contents, put

pytestmark = pytest.mark.skipif(not installed("moto", "werkzeug"), reason="needs moto's server")


@pytest.mark.parametrize("outcome", ["failure", "roll back", "refused"])
@pytest.mark.parametrize("customers_files", [False, True], ids=["bare environment", "files of the customer"])
@pytest.mark.parametrize("way", [("copy", "wheel"), ("wheel", "copy"), (None, "wheel"), ("plugins", "wheel")])
def test_failed_update_is_rolled_back(deployer, capsys, outcome, customers_files, way):
    first, second = way
    if customers_files:
        deployer.use_customers_files()
    if first is not None:
        assert deployer("deploy", "--mode", first) == 0
    before = deployer.state()
    updates = len(deployer.environment.updates)
    if outcome == "refused":
        deployer.server.denied_calls.add("UpdateEnvironment")
    else:
        deployer.environment.outcome = outcome
    deployer.package["airflow_provider_cloudtrail/export.py"] = b"# changed\n"
    deployer.write_dag("audit_one", "# changed")

    assert deployer("deploy", "--mode", second) == 5
    said = capsys.readouterr().err
    assert "is as it was before" in said
    assert outcome == "refused" or "INCORRECT_CONFIGURATION: made up" in said
    after = deployer.state()
    if before["manifest"] is None:
        assert after.pop("manifest")["objects"] == {}
        before.pop("manifest")
    assert {**after, "status": None} == {**before, "status": None}
    assert len(deployer.environment.updates) == updates + (outcome != "refused")

    deployer.environment.outcome = "success"
    deployer.server.denied_calls.clear()
    assert deployer("deploy", "--mode", second) == 0
    assert deployer("plan") == 0


def test_what_somebody_writes_during_a_failing_update_stays(deployer, monkeypatch):
    deployer.use_customers_files()
    deployer.environment.outcome = "failure"
    original = deployer.environment.update

    def update(request):
        original(request)
        put(deployer.bucket, "requirements.txt", b"written meanwhile\n")

    monkeypatch.setattr(deployer.environment, "update", update)
    assert deployer("deploy", "--mode", "wheel") == 5
    assert contents(deployer.bucket)["requirements.txt"] == b"written meanwhile\n"


def test_what_was_taken_over_comes_back_when_the_update_fails(deployer):
    put(deployer.bucket, "dags/audit_one.py", b"# mine\n")
    deployer.environment.outcome = "failure"
    assert deployer("deploy", "--take-over", "--set", "bucket=example-trail") == 5
    assert contents(deployer.bucket)["dags/audit_one.py"] == b"# mine\n"
    assert OWN_KEYS & set(contents(deployer.bucket)) == set()


def test_update_that_takes_longer_than_the_wait(deployer, capsys):
    deployer.environment.polls = 4
    assert deployer("deploy", "--mode", "wheel", "--wait", "0") == 7
    assert deployer.environment.members["Status"] == "UPDATING"
    assert deployer("plan", "--mode", "wheel") == 3
    assert deployer("deploy", "--mode", "wheel") == 0
    assert "waiting for it first" in capsys.readouterr().err
    assert len(deployer.environment.updates) == 1
    assert deployer("plan") == 0
