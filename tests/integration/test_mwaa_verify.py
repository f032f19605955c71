"""``verify``: DAGs, provider and import errors, as the environment's Airflow tells them."""

from __future__ import annotations

import pytest

from tests.support.deployment import document
from tests.support.engines import installed

pytestmark = pytest.mark.skipif(not installed("moto", "werkzeug"), reason="needs moto's server")


def test_verify(deployer, capsys):
    assert deployer("verify") == 2, "nothing is deployed"
    deployer("deploy", "--mode", "wheel")
    airflow = deployer.environment.airflow
    airflow.dags = {"audit_one": False, "audit_two": True, "theirs": True}
    airflow.providers = {f"apache-airflow-providers-{number}": "1.0" for number in range(150)}
    airflow.providers["airflow-provider-cloudtrail"] = "0.1.0"
    airflow.import_errors = [{"filename": "/x/dags/their_dag.py", "stack_trace": "boom"}] * 120
    capsys.readouterr()
    assert deployer("verify", "--json") == 0
    found = document(capsys)
    assert found["dags"] == {"audit_one": "active", "audit_two": "paused"}
    assert (found["provider"], found["other_import_errors"], found["problems"]) == ("0.1.0", 120, [])

    del airflow.dags["audit_two"], airflow.providers["airflow-provider-cloudtrail"]
    trace = "Traceback\n  File x\nModuleNotFoundError: No module named 'airflow_provider_cloudtrail'\n"
    airflow.import_errors.append({"filename": "/usr/local/airflow/dags/audit_two.py", "stack_trace": trace})
    assert deployer("verify") == 6
    said = capsys.readouterr().out
    assert "DAG audit_two is not there" in said
    assert "audit_two.py cannot be imported: ModuleNotFoundError: No module named" in said
    assert "is not listed" in said

    deployer.server.denied_calls.add("InvokeRestApi")
    assert deployer("verify") == 1
    assert "airflow:InvokeRestApi on the Airflow role" in capsys.readouterr().err


OURS = [
    pytest.param("audit_one.py", "boom", id="DAG file"),
    pytest.param("airflow_provider_cloudtrail/export.py", "boom", id="file of the package"),
    pytest.param("airflow_provider_cloudtrail/removed.py", "boom", id="file left in the package's folder"),
    pytest.param("their_dag.py", "No module named 'airflow_provider_cloudtrail.export'", id="package not found"),
]
THEIRS = [
    pytest.param("their_project/export.py", "boom", id="same name as in the package"),
    pytest.param("their_project/__init__.py", "boom", id="their package"),
    pytest.param("their_project/audit_one.py", "boom", id="same name as a DAG file"),
    pytest.param("their_project/airflow_provider_cloudtrail/export.py", "boom", id="same path deeper"),
    pytest.param("airflow_provider_cloudtrail_old/export.py", "boom", id="name goes on"),
    pytest.param("their_dag.py", "No module named 'airflow_provider_cloudtrail_old'", id="other module not found"),
]


@pytest.mark.parametrize("folder", ["", "/usr/local/airflow/dags/"], ids=["Airflow 3", "Airflow 2"])
@pytest.mark.parametrize("dags_path", ["dags", "team/dags/"])
@pytest.mark.parametrize(
    ("code", "name", "trace"),
    [
        *(pytest.param(6, *case.values, id=f"ours, {case.id}") for case in OURS),
        *(pytest.param(0, *case.values, id=f"theirs, {case.id}") for case in THEIRS),
    ],
)
def test_verify_tells_our_import_errors_from_theirs(deployer, capsys, code, name, trace, dags_path, folder):
    deployer.environment.members["DagS3Path"] = dags_path
    deployer("deploy")
    airflow = deployer.environment.airflow
    airflow.dags = {"audit_one": False, "audit_two": False}
    airflow.import_errors = [{"filename": folder + name, "stack_trace": trace}]
    capsys.readouterr()
    assert deployer("verify", "--json") == code
    found = document(capsys)
    assert found["import_errors"] == ({folder + name: trace} if code else {})
    assert found["other_import_errors"] == (0 if code else 1)
