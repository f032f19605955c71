"""What ``plan`` says, and the command line as a whole: who asks wrongly, without permission or without Airflow."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

import pytest

from airflow_provider_cloudtrail.mwaa import __main__ as command_line
from tests.support.deployment import document
from tests.support.engines import REPOSITORY, installed
from tests.support.mwaa_stand_in import contents

pytestmark = pytest.mark.skipif(not installed("moto", "werkzeug"), reason="needs moto's server")


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


def test_plan_does_not_guess_what_an_access_point_needs(deployer, capsys):
    """Rights to it are rights to its ARN, which its alias does not tell."""
    assert deployer("plan", "--json", "--set", "bucket=audit-q1w2e3r4t5-s3alias") == 3
    permissions = document(capsys)["permissions"]
    assert {"ListTrailBucket", "ReadLogFiles"} <= set(permissions["not_checked"])
    assert "audit-q1w2e3r4t5-s3alias" not in str(permissions)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        pytest.param("https://sqs.eu-west-1.amazonaws.com/111122223333/log-files", None, id="the option of the DAGs"),
        pytest.param(None, "https://sqs.eu-west-1.amazonaws.com/111122223333/log-files", id="a URL"),
        pytest.param(None, "arn:aws:sqs:eu-west-1:111122223333:log-files", id="an ARN"),
    ],
)
def test_plan_checks_the_queue_that_the_dags_read(deployer, capsys, option, said):
    given = [*(("--set", f"queue_url={option}") if option else ()), *(("--queue", said) if said else ())]
    assert deployer("plan", "--json", "--trail-bucket", "example-trail", *given) == 3
    lacking = {entry["sid"]: entry["resource"] for entry in document(capsys)["permissions"]["lacking"]}
    assert lacking["ReadNotifications"] == "arn:aws:sqs:eu-west-1:111122223333:log-files"


def test_a_queue_that_is_none_and_an_extra_that_is_none(deployer, capsys):
    for given in (("--queue", "log-files"), ("--mode", "wheel", "--extra", "nonesuch")):
        with pytest.raises(SystemExit, match="2"):
            deployer("plan", *given)
    said = capsys.readouterr().err
    assert "'log-files' is no queue; write https://sqs.REGION.amazonaws.com/ACCOUNT/NAME" in said
    assert "'nonesuch'" in said


@pytest.mark.parametrize(
    ("command", "given", "message"),
    [
        pytest.param("deploy", ("--poll", "nan"), "--poll: 'nan' is no time to wait; write a number", id="poll is nan"),
        pytest.param("deploy", ("--poll=-1",), "--poll: '-1' is no time to wait", id="negative poll"),
        pytest.param("deploy", ("--poll", "1 min"), "--poll: '1 min' is no time to wait", id="poll is text"),
        pytest.param("deploy", ("--wait", "inf"), "--wait: 'inf' is no time to wait", id="wait for ever"),
        pytest.param("deploy", ("--wait=-5",), "--wait: '-5' is no time to wait", id="negative wait"),
        pytest.param("plan", ("--trail-bucket", "s3://b/x"), "--trail-bucket: bucket='s3://b/x' is no", id="bucket"),
    ],
)
def test_times_and_buckets_that_are_none_are_refused_before_anything_is_asked(
    deployer, capsys, command, given, message
):
    with pytest.raises(SystemExit, match="2"):
        deployer(command, *given)
    assert f"argument {message}" in capsys.readouterr().err
    assert deployer.server.calls == []


def test_configuration_options_are_never_printed(deployer, capsys):
    deployer.environment.members["AirflowConfigurationOptions"]["smtp.smtp_password"] = "hunter-2"
    deployer("plan")
    deployer("plan", "--json")
    deployer("deploy", "--set", "bucket=example-trail")
    deployer("status", "--json")
    said = capsys.readouterr()
    assert "hunter-2" not in said.out + said.err
    assert deployer.environment.members["AirflowConfigurationOptions"]["smtp.smtp_password"] == "hunter-2"


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


def test_a_value_that_no_dag_could_use_is_refused_before_anything_is_changed(deployer, capsys):
    assert deployer("deploy", "--set", "lookback_days=seven") == 2
    assert "--set lookback_days=seven: [cloudtrail] lookback_days is 'seven'; write a whole number" in (
        capsys.readouterr().err
    )
    assert deployer.changes() == []


def test_plan_checks_the_rights_for_options_that_it_would_set(deployer, capsys):
    assert deployer("plan", "--json", "--set", "trail_name=audit", "--set", "staging_uri=s3://example-stage/rows") == 3
    lacking = {entry["sid"]: entry["resource"] for entry in document(capsys)["permissions"]["lacking"]}
    assert lacking["ReadTrail"] == "arn:aws:cloudtrail:eu-west-1:123456789012:trail/audit"
    assert lacking["StageRows"] == "arn:aws:s3:::example-stage/rows/*"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        *((name, "interrupted") for name in ("plan", "status", "verify")),
        ("deploy", "interrupted; deploy again to finish"),
    ],
)
def test_who_interrupts_a_command_is_told_what_is_left_to_do(capsys, monkeypatch, command, said):
    def interrupt(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "Aws", interrupt)
    assert command_line.main([command, "example"]) == 130
    assert capsys.readouterr().err.strip() == said


@pytest.mark.parametrize(
    ("command", "said"),
    [("plan", ""), ("status", ""), ("deploy", "nobody reads the output any more; deploy again")],
)
def test_output_that_nobody_reads_to_its_end(deployer, command, said):
    """As `plan ENVIRONMENT | head` does; it was a traceback, and the exit code of AWS's refusals."""
    arguments = [sys.executable, "-m", "airflow_provider_cloudtrail.mwaa", command, deployer.name]
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "wb") as closed:
        done = subprocess.run(
            arguments, cwd=REPOSITORY, stdout=closed, stderr=subprocess.PIPE, text=True, check=False, timeout=600
        )
    assert (done.returncode, done.stderr.strip()[: len(said) or None]) == (141, said)
    assert deployer.changes() == []


@pytest.mark.parametrize(("command", "code"), [("plan", 3), ("deploy", 0), ("status", 0)])
def test_output_that_lacks_characters(deployer, command, code):
    """As with LANG=C; it was a traceback, and the exit code of AWS's refusals."""
    deployer.write_dag("prüfung")
    if command == "status":
        deployer("deploy")
    given = [deployer.name, *(("--dags", str(deployer.folder)) if command != "status" else ())]
    deployer.environment.members["LastUpdate"] = {"Status": "FAILED", "Error": {"ErrorMessage": "größer"}}
    done = subprocess.run(
        [sys.executable, "-m", "airflow_provider_cloudtrail.mwaa", command, *given],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert (done.returncode, done.stderr.count("Traceback")) == (code, 0), done.stderr
    assert (r"gr\xf6\xdfer" if command == "status" else r"dags/pr\xfcfung.py") in done.stdout


def test_output_that_was_closed(deployer):
    """As a daemon starts it; it was a traceback behind all that was done."""
    command = f"exec {shlex.quote(sys.executable)} -m airflow_provider_cloudtrail.mwaa deploy {deployer.name} >&-"
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=600
    )
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    assert contents(deployer.bucket)["dags/airflow_provider_cloudtrail/__init__.py"]
