"""A deployment that must change nothing: the environment, its bucket or what lies in it is not as it has to be."""

from __future__ import annotations

import pytest

from tests.support.deployment import MANIFEST, Deployer, document
from tests.support.engines import installed
from tests.support.mwaa_stand_in import contents, put

pytestmark = pytest.mark.skipif(not installed("moto", "werkzeug"), reason="needs moto's server")


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
