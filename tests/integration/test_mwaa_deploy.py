"""``python -m airflow_provider_cloudtrail.mwaa`` against a stand-in for MWAA and moto's versioned S3."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.deployment import CUSTOMERS_REQUIREMENTS, FOREIGN, PACKAGE, Deployer, use_package_of
from tests.support.engines import REPOSITORY, installed
from tests.support.mwaa_stand_in import contents, mwaa_stand_in, put, versions

pytestmark = pytest.mark.skipif(not installed("moto", "werkzeug"), reason="needs moto's server")

MANIFEST = "dags/airflow_provider_cloudtrail.manifest.json"
OWN_KEYS = {f"dags/{name}" for name in PACKAGE}
DAG_KEYS = {"dags/audit_one.py", "dags/audit_two.py"}


@pytest.fixture(scope="module")
def server():
    with mwaa_stand_in() as served:
        yield served


@pytest.fixture
def deployer(server, monkeypatch, tmp_path):
    for name, value in server.variables().items():
        monkeypatch.setenv(name, value)
    server.allowed, server.denied_calls = set(), set()
    made = Deployer(server, server.create(), tmp_path)
    use_package_of(made, monkeypatch)
    return made


def document(capsys):
    return json.loads(capsys.readouterr().out)


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


# -- wrong states ------------------------------------------------------------------------------------


def before_any_change(deployer, *arguments):
    """Return what a deployment that must change nothing says, after looking whether it did."""
    before, updates = deployer.state(), len(deployer.environment.updates)
    code = deployer("deploy", *arguments)
    assert deployer.changes() == []
    assert deployer.state() == before
    assert len(deployer.environment.updates) == updates
    return code


@pytest.mark.parametrize(
    "status", ["UPDATING", "CREATING", "ROLLING_BACK", "MAINTENANCE", "DELETING", "UNAVAILABLE", "CREATE_FAILED"]
)
def test_environment_that_is_not_ready(deployer, capsys, status):
    deployer.environment.members["Status"] = status
    assert before_any_change(deployer) == 4
    assert f"{deployer.name} is {status}; nothing was changed" in capsys.readouterr().err


def test_environment_that_runs_on_after_a_failed_update_is_ready(deployer):
    deployer.environment.members["Status"] = "UPDATE_FAILED"
    assert deployer("deploy") == 0


def test_bucket_without_versions(deployer, capsys, tmp_path, monkeypatch):
    bare = Deployer(deployer.server, deployer.server.create(versioning=False), tmp_path)
    assert before_any_change(bare) == 4
    assert "put-bucket-versioning" in capsys.readouterr().err


def test_bucket_of_another_account(deployer, capsys):
    deployer.server.buckets_of_others.add(deployer.bucket)
    assert before_any_change(deployer) == 4
    assert "does not belong to account 123456789012" in capsys.readouterr().err


def test_object_of_somebody_else_in_the_way(deployer, capsys):
    put(deployer.bucket, "dags/audit_one.py", b"# mine\n")
    assert before_any_change(deployer) == 4
    assert "dags/audit_one.py" in capsys.readouterr().err
    assert deployer("plan", "--json") == 4
    assert document(capsys)["conflicts"] == ["dags/audit_one.py"]
    assert deployer("deploy", "--take-over") == 0
    assert b"audit_one" in contents(deployer.bucket)["dags/audit_one.py"]


def test_own_object_that_somebody_has_edited(deployer, capsys):
    deployer("deploy")
    put(deployer.bucket, "dags/audit_one.py", b"# edited\n")
    assert deployer("status") == 3
    assert before_any_change(deployer) == 4
    assert "dags/audit_one.py" in capsys.readouterr().err
    # What is not wanted any more is left to whoever edited it.
    (deployer.folder / "audit_one.py").unlink()
    assert deployer("deploy") == 0
    assert contents(deployer.bucket)["dags/audit_one.py"] == b"# edited\n"


def test_requirements_that_no_update_has_asked_for_yet(deployer, capsys):
    deployer.use_customers_files()
    put(deployer.bucket, "requirements.txt", b"pandas==2.2.0\n")
    assert before_any_change(deployer, "--mode", "wheel") == 4
    assert "--use-newest" in capsys.readouterr().err
    assert deployer("deploy", "--mode", "wheel", "--use-newest") == 0
    assert contents(deployer.bucket)["requirements.txt"].endswith(b"pandas==2.2.0\n")
    # Mode copy has no business with it.
    put(deployer.bucket, "p.zip", b"no zip")


def test_files_of_the_customer_are_not_looked_at_in_mode_copy(deployer):
    deployer.use_customers_files()
    put(deployer.bucket, "p.zip", b"no zip")
    put(deployer.bucket, "requirements.txt", b"airflow-provider-cloudtrail\n")
    assert deployer("deploy") == 0


def test_plugins_zip_that_is_none(deployer, capsys):
    deployer.use_customers_files()
    version = put(deployer.bucket, "p.zip", b"no zip")
    deployer.environment.members["PluginsS3ObjectVersion"] = version
    assert before_any_change(deployer, "--mode", "plugins") == 4
    assert "is no zip file" in capsys.readouterr().err


def test_pinned_version_that_is_gone(deployer, capsys):
    deployer.use_customers_files()
    deployer.environment.members["RequirementsS3ObjectVersion"] = "gone"
    before = contents(deployer.bucket)
    assert deployer("deploy", "--mode", "wheel") == 4
    assert contents(deployer.bucket) == before
    assert "version gone of" in capsys.readouterr().err


def test_environments_that_share_a_folder(deployer, capsys, tmp_path):
    second = deployer.server.create(SourceBucketArn=f"arn:aws:s3:::{deployer.bucket}")
    other = Deployer(deployer.server, second, tmp_path, deployer.package)
    assert deployer("deploy") == 0
    assert other("deploy") == 0
    assert [key for _, key in other.changes()] == [MANIFEST, MANIFEST]
    assert before_any_change(other, "--mode", "wheel") == 4
    assert "shares this DAG folder" in capsys.readouterr().err


def test_manifest_of_a_later_version(deployer, capsys):
    put(deployer.bucket, MANIFEST, b'{"format": 2}')
    before = contents(deployer.bucket)
    assert deployer("deploy") == 4
    assert contents(deployer.bucket) == before
    assert "its format is 2" in capsys.readouterr().err


@pytest.mark.parametrize(("key", "mode"), [(MANIFEST, "copy"), ("dags/audit_two.py", "copy"), ("p.zip", "plugins")])
def test_somebody_else_writes_at_the_same_moment(deployer, monkeypatch, capsys, key, mode):
    from airflow_provider_cloudtrail.mwaa.bucket import Bucket

    deployer.use_customers_files()
    original = Bucket.put

    def put_behind(self, written, content, *, replaces):
        if written == key and contents(self.name).get(key) != b"theirs":
            put(self.name, key, b"theirs")
        return original(self, written, content, replaces=replaces)

    monkeypatch.setattr(Bucket, "put", put_behind)
    assert deployer("deploy", "--mode", mode) == 4
    assert contents(deployer.bucket)[key] == b"theirs"
    assert "changed by somebody else at this moment" in capsys.readouterr().err


# -- updates that fail -------------------------------------------------------------------------------


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
    assert deployer("deploy", "--mode", "wheel", "--wait", "-1") == 7
    assert deployer.environment.members["Status"] == "UPDATING"
    assert deployer("plan", "--mode", "wheel") == 3
    assert deployer("deploy", "--mode", "wheel") == 0
    assert "waiting for it first" in capsys.readouterr().err
    assert len(deployer.environment.updates) == 1
    assert deployer("plan") == 0


# -- plan, verify, the command line ------------------------------------------------------------------


def test_plan_says_what_the_role_lacks(deployer, capsys):
    deployer.environment.members["AirflowConfigurationOptions"]["cloudtrail.trail_name"] = "audit"
    deployer.server.allowed = {"s3:ListBucket", "cloudtrail:ListPublicKeys", "cloudtrail:GetTrail"}
    assert deployer("plan", "--json", "--set", "bucket=example-trail") == 3
    found = document(capsys)
    assert found["update"] == ["option cloudtrail.bucket"]
    assert found["permissions"]["lacking"] == [
        {"sid": "ReadLogFiles", "actions": ["s3:GetObject"], "resource": "arn:aws:s3:::example-trail/*"},
        {
            "sid": "ReadTrail",
            "actions": ["cloudtrail:GetEventSelectors", "cloudtrail:GetTrailStatus"],
            "resource": "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit",
        },
        {
            "sid": "CheckTrailBucket",
            "actions": ["s3:GetBucketPublicAccessBlock", "s3:GetBucketVersioning", "s3:GetLifecycleConfiguration"],
            "resource": "arn:aws:s3:::example-trail",
        },
    ]
    assert found["permissions"]["not_checked"] == []
    assert {change["action"] for change in found["objects"]} == {"add"}


def test_plan_prints_the_statements_where_it_must_not_simulate(deployer, capsys):
    deployer.server.allowed = None
    assert deployer("plan", "--trail-bucket", "example-trail", "--queue", "arn:aws:sqs:eu-west-1:1:q") == 3
    said = capsys.readouterr().out
    assert "iam:SimulatePrincipalPolicy is denied to you" in said
    assert '"arn:aws:s3:::example-trail/*"' in said
    assert '"sqs:ReceiveMessage"' in said


def test_configuration_options_are_never_printed(deployer, capsys):
    deployer.environment.members["AirflowConfigurationOptions"]["smtp.smtp_password"] = "hunter-2"
    deployer("plan")
    deployer("plan", "--json")
    deployer("deploy", "--set", "bucket=example-trail")
    deployer("status", "--json")
    said = capsys.readouterr()
    assert "hunter-2" not in said.out + said.err
    assert deployer.environment.members["AirflowConfigurationOptions"]["smtp.smtp_password"] == "hunter-2"


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


@pytest.mark.parametrize("command", ["plan", "deploy", "status", "verify"])
def test_no_such_environment_and_no_permission(deployer, capsys, command):
    from airflow_provider_cloudtrail.mwaa.__main__ import main

    assert main([command, "nowhere"]) == 2
    assert "there is no MWAA environment 'nowhere' in eu-west-1" in capsys.readouterr().err
    deployer.server.denied_calls.add("GetEnvironment")
    assert deployer(command, "--json") == 1
    assert "airflow:GetEnvironment" in document(capsys)["error"]


def test_no_region_and_no_profile(monkeypatch, capsys):
    from airflow_provider_cloudtrail.mwaa.__main__ import main

    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    assert main(["status", "orders"]) == 2
    assert "--region" in capsys.readouterr().err
    assert main(["status", "orders", "--profile", "nobody"]) == 2
    assert "nobody" in capsys.readouterr().err


def test_without_airflow_and_rich(deployer):
    """It runs where only boto3 is installed; also with the package as it is, not with the small one."""
    code = (
        "import sys\n"
        "for name in ('airflow', 'rich', 'yaml', 'cryptography'): sys.modules[name] = None\n"
        "from airflow_provider_cloudtrail.mwaa.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    arguments = [sys.executable, "-c", code]
    for command, expected in (("plan", 3), ("deploy", 0), ("status", 0)):
        done = subprocess.run(
            [*arguments, command, deployer.name], cwd=REPOSITORY, capture_output=True, text=True, check=False
        )
        assert done.returncode == expected, done.stdout + done.stderr
    held = contents(deployer.bucket)
    for path in ("hooks/cloudtrail.py", "trail/reader.py", ".airflowignore"):
        source = REPOSITORY / "airflow_provider_cloudtrail" / path
        assert held[f"dags/airflow_provider_cloudtrail/{path}"] == source.read_bytes()
