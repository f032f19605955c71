"""``mwaa deploy`` in each of its modes, against a stand-in for MWAA and moto's versioned S3."""

from __future__ import annotations

import pytest

from tests.support.deployment import CUSTOMERS_REQUIREMENTS, DAG_KEYS, FOREIGN, MANIFEST, OWN_KEYS, PACKAGE, document
from tests.support.engines import installed
from tests.support.mwaa_stand_in import contents, put, versions

pytestmark = pytest.mark.skipif(not installed("moto", "werkzeug"), reason="needs moto's server")


# -- mode copy ---------------------------------------------------------------------------------------


def test_copy_uploads_once_and_then_only_what_changed(deployer):
    assert deployer("plan") == 3
    assert deployer.changes() == []
    assert deployer("deploy") == 0
    assert all(has_owner for service, _, _, has_owner in deployer.server.calls if service == "s3")
    assert set(contents(deployer.bucket)) == {*OWN_KEYS, *DAG_KEYS, *FOREIGN, MANIFEST}
    assert deployer.environment.updates == []
    # The DAGs come when what they import is there.
    assert [key for _, key in deployer.changes()][-3:] == [*sorted(DAG_KEYS), MANIFEST]

    assert deployer("deploy") == 0
    assert deployer.changes() == []
    assert deployer("plan") == deployer("status") == 0

    deployer.write_dag("audit_one", "# changed")
    deployer.package["airflow_provider_cloudtrail/new.py"] = b"# new\n"
    del deployer.package["airflow_provider_cloudtrail/export.py"]
    assert deployer("deploy") == 0
    assert deployer.changes() == [
        ("PUT", MANIFEST),
        ("PUT", "dags/airflow_provider_cloudtrail/new.py"),
        ("PUT", "dags/audit_one.py"),
        ("DELETE", "dags/airflow_provider_cloudtrail/export.py"),
        ("PUT", MANIFEST),
    ]
    assert deployer.foreign() == FOREIGN
    assert deployer.environment.updates == []


def test_what_was_deleted_by_hand_comes_back(deployer):
    deployer("deploy")
    from tests.support.mwaa_stand_in import backend

    backend().delete_object(deployer.bucket, "dags/audit_one.py")
    assert deployer("status") == 3
    assert deployer("deploy") == 0
    assert "dags/audit_one.py" in contents(deployer.bucket)


def test_a_copy_made_by_hand_is_adopted(deployer):
    for name, content in PACKAGE.items():
        put(deployer.bucket, f"dags/{name}", content)
    assert deployer("deploy") == 0
    assert {key for method, key in deployer.changes() if method == "PUT"} == {MANIFEST, *DAG_KEYS}
    assert deployer("plan") == 0


@pytest.mark.parametrize("mode", ["copy", "plugins"])
def test_what_an_older_copy_by_hand_has_left_is_named(deployer, capsys, mode):
    for name in ("renamed_since.py", "export.py"):
        put(
            deployer.bucket,
            f"dags/airflow_provider_cloudtrail/{name}",
            PACKAGE["airflow_provider_cloudtrail/export.py"],
        )
    left = {"copy": ["renamed_since.py"], "plugins": ["export.py", "renamed_since.py"]}[mode]

    deployer("plan", "--mode", mode, "--json")
    (said,) = (line for line in document(capsys)["warnings"] if "no deployment" in line)
    named = ", ".join(f"dags/airflow_provider_cloudtrail/{name}" for name in left)
    assert said.startswith(f"{len(left)} objects of no deployment lie in dags/airflow_provider_cloudtrail/")
    assert f"stay: {named}." in said

    assert deployer("deploy", "--mode", mode) == 0
    assert "dags/airflow_provider_cloudtrail/renamed_since.py" in contents(deployer.bucket)


# -- modes plugins and wheel -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["plugins", "wheel"])
@pytest.mark.parametrize("customers_files", [False, True], ids=["bare environment", "files of the customer"])
def test_installing_modes(deployer, mode, customers_files):
    if customers_files:
        deployer.use_customers_files()
    foreign = deployer.foreign()
    assert deployer("plan", "--mode", mode) == 3
    assert deployer.changes() == []
    assert deployer("deploy", "--mode", mode) == 0
    changes = [key for _, key in deployer.changes()]
    update = changes.index(f"/environments/{deployer.name}")
    # Before the update there is no package for the DAGs to import.
    assert DAG_KEYS & set(changes[:update]) == set()
    assert set(changes[update:]) >= DAG_KEYS

    (request,) = deployer.environment.updates
    assert request["WorkerReplacementStrategy"] == "GRACEFUL"
    assert "AirflowConfigurationOptions" not in request
    members = deployer.environment.members
    for kind in ["Plugins", "Requirements"] if mode == "wheel" else ["Plugins"]:
        newest, _ = versions(deployer.bucket, members[f"{kind}S3Path"])[-1]
        assert members[f"{kind}S3ObjectVersion"] == request[f"{kind}S3ObjectVersion"] == newest
    assert deployer.foreign() == foreign
    assert ("RequirementsS3Path" in request) is (mode == "wheel")

    assert deployer("deploy") == 0
    assert deployer.changes() == []
    assert len(deployer.environment.updates) == 1

    deployer.write_dag("audit_one", "# changed")
    assert deployer("deploy") == 0
    assert len(deployer.environment.updates) == 1, "a changed DAG needs no update"


def test_requirements_of_the_customer_survive_byte_for_byte(deployer):
    deployer.use_customers_files()
    assert deployer("deploy", "--mode", "wheel", "--by-name") == 2, "a wheel was named as well"
    deployer("deploy", "--mode", "wheel")
    newest = contents(deployer.bucket)["requirements.txt"]
    assert newest.endswith(CUSTOMERS_REQUIREMENTS)
    assert len(newest) > len(CUSTOMERS_REQUIREMENTS)
    assert deployer("deploy", "--mode", "copy") == 0
    assert contents(deployer.bucket)["requirements.txt"] == CUSTOMERS_REQUIREMENTS
    assert len(deployer.environment.updates) == 2


@pytest.mark.parametrize("customers_files", [False, True], ids=["bare environment", "files of the customer"])
@pytest.mark.parametrize("way", [("copy", "plugins", "wheel", "copy"), ("wheel", "plugins", "copy", "wheel")])
def test_changing_the_mode_leaves_nothing_behind(deployer, monkeypatch, tmp_path, way, customers_files):
    if customers_files:
        deployer.use_customers_files()
    foreign = deployer.foreign()
    for mode in way:
        assert deployer("deploy", "--mode", mode) == 0
        assert deployer("plan") == 0
        held = set(contents(deployer.bucket))
        assert (held >= OWN_KEYS) is (mode == "copy")
        assert held >= DAG_KEYS
        assert deployer.foreign() == foreign
    assert OWN_KEYS & set(contents(deployer.bucket)) == (OWN_KEYS if way[-1] == "copy" else set())


def test_options_are_added_to_those_that_are_set(deployer):
    assert deployer("deploy", "--set", "bucket=example-trail") == 0
    (request,) = deployer.environment.updates
    assert request["AirflowConfigurationOptions"] == {
        "core.dags_are_paused_at_creation": "True",
        "cloudtrail.bucket": "example-trail",
    }
    assert deployer("deploy", "--set", "cloudtrail.bucket=example-trail") == 0
    assert len(deployer.environment.updates) == 1
    assert deployer("deploy", "--set", "bukket=example-trail") == 2


@pytest.mark.parametrize("command", ["plan", "deploy"])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("bucket=", id="no value"),
        pytest.param("bucket= ", id="blank value"),
        pytest.param("=example-trail", id="no name"),
        pytest.param("cloudtrail.=example-trail", id="section alone"),
        pytest.param("bucket", id="no sign"),
    ],
)
def test_option_without_name_or_value_is_refused_before_anything_is_asked(deployer, capsys, command, text):
    with pytest.raises(SystemExit) as ended:
        deployer(command, "--set", text)
    assert ended.value.code == 2
    assert f"argument --set: {text!r} is not OPTION=VALUE" in capsys.readouterr().err
    assert deployer.server.calls == []


@pytest.mark.parametrize("mode", ["plugins", "wheel"])
def test_status_sees_files_that_were_replaced(deployer, capsys, mode):
    deployer.use_customers_files()
    deployer("deploy", "--mode", mode)
    assert deployer("status") == 0
    # As a pipeline does that knows nothing of this package.
    deployer.use_customers_files()
    assert deployer("status", "--json") == 3
    capsys.readouterr()
    assert deployer("status") == 3
    assert "the part of this package in plugins.zip was changed or deleted" in capsys.readouterr().out
    assert deployer("deploy") == 0
    assert deployer("status") == 0
