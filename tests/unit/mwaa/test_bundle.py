"""What is to be deployed in each mode."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import tomllib
from pathlib import Path

import pytest

from airflow_provider_cloudtrail import __version__
from airflow_provider_cloudtrail.mwaa import bundle
from airflow_provider_cloudtrail.mwaa.bundle import Source
from airflow_provider_cloudtrail.mwaa.errors import MwaaUsageError

DAGS = Path(__file__).parents[3] / "dags"


def build(mode, source, version="3.0.6"):
    return bundle.build(mode, source, version)


@pytest.fixture
def wheels(tmp_path):
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in (
        "isal-1.8.0-cp312-cp312-manylinux.whl",
        "msgspec-0.21-cp312-cp312-x.whl",
        "obstore-0.9-cp312-abi3-x.whl",
    ):
        (folder / name).write_bytes(name.encode())
    own = tmp_path / f"airflow_provider_cloudtrail-{__version__}-py3-none-any.whl"
    own.write_bytes(b"wheel")
    return folder, own


def test_copy_holds_what_the_dags_import_and_nothing_for_this_machine():
    made = build("copy", Source(dags=DAGS))
    assert made.entries == {}
    assert made.requirements == ()
    everything = {path.name for path in DAGS.glob("*.py")}
    assert everything - set(made.dags) == {f"{name}.py" for name in bundle.IN_THE_TRIGGERER}
    # In the triggerer of Airflow 2 the DAG folder is on the path.
    assert set(build("copy", Source(dags=DAGS), "2.10.3").dags) == set(build("plugins", Source(dags=DAGS)).dags)
    assert set(build("copy", Source(dags=DAGS), "2.10.3").dags) == everything
    assert set(made.dag_ids) >= {"mwaa_audit_export_daily", "mwaa_audit_integrity_daily"}
    folders = {name.split("/")[1] for name in made.package}
    assert {"__init__.py", ".airflowignore", "operators", "trail", "warehouse", "export"} <= folders
    assert not folders & {"demo", "mwaa", "__pycache__"}
    # The DAGs come behind what they import.
    assert list(made.objects)[-len(made.dags) :] == list(made.dags)


def test_plugins_holds_the_same_package():
    made = build("plugins", Source(dags=DAGS))
    assert made.entries == build("copy", Source(dags=DAGS)).package
    assert (made.package, made.requirements) == ({}, ())


def test_wheel(wheels):
    folder, own = wheels
    made = build("wheel", Source(dags=DAGS, wheel=own))
    assert made.entries == {own.name: b"wheel"}
    assert made.requirements == (
        "--find-links /usr/local/airflow/plugins",
        f"airflow-provider-cloudtrail=={__version__}",
    )
    private = build("wheel", Source(dags=DAGS, wheel=own, wheels=folder, no_index=True, extras=("postgres",)))
    assert set(private.entries) == {own.name, *(path.name for path in folder.iterdir())}
    assert private.requirements == (
        "--no-index",
        "--find-links /usr/local/airflow/plugins",
        f"airflow-provider-cloudtrail[postgres]=={__version__}",
    )
    named = build("wheel", Source(dags=DAGS, by_name=True))
    assert (named.entries, named.requirements) == ({}, (f"airflow-provider-cloudtrail=={__version__}",))


def test_one_dag_only():
    made = build("copy", Source(dags=DAGS, only=["mwaa_audit_integrity_daily"]))
    assert (set(made.dags), made.dag_ids) == ({"mwaa_audit_integrity_daily.py"}, ("mwaa_audit_integrity_daily",))


@pytest.mark.parametrize(
    ("mode", "arguments", "message"),
    [
        pytest.param("copy", {"by_name": True}, "need --mode wheel", id="by name in mode copy"),
        pytest.param("copy", {"dags": Path("nowhere")}, "no folder of DAG files nowhere", id="no DAG folder"),
        pytest.param("copy", {"only": ["mine"]}, "no mine.py", id="no such DAG"),
        pytest.param("copy", {"only": [*bundle.IN_THE_TRIGGERER]}, "use mode plugins or wheel", id="no triggerer"),
        pytest.param("wheel", {"by_name": True, "no_index": True}, "--by-name excludes", id="by name without index"),
        pytest.param("wheel", {"wheel": Path("x.whl")}, "there is no wheel x.whl", id="no such wheel"),
        pytest.param("wheel", {"wheels": Path("nowhere")}, "there is no wheel in nowhere", id="no wheels"),
    ],
)
def test_what_cannot_be_meant(mode, arguments, message):
    with pytest.raises(MwaaUsageError, match=message):
        build(mode, Source(**{"dags": DAGS, **arguments}))


def test_extras_are_those_of_the_package():
    with (DAGS.parent / "pyproject.toml").open("rb") as file:
        declared = tomllib.load(file)["project"]["optional-dependencies"]
    assert set(bundle.EXTRAS) == set(declared) - {"demo", "dev"}


def test_no_index_without_the_accelerators(wheels):
    folder, own = wheels
    (folder / "obstore-0.9-cp312-abi3-x.whl").unlink()
    with pytest.raises(MwaaUsageError, match=r"a wheel of obstore in --wheels.*pip download"):
        build("wheel", Source(dags=DAGS, wheel=own, wheels=folder, no_index=True))


def test_wheel_of_another_version(wheels):
    _, own = wheels
    other = own.rename(own.with_name("airflow_provider_cloudtrail-0.0.9-py3-none-any.whl"))
    with pytest.raises(MwaaUsageError, match=f"version {__version__}"):
        build("wheel", Source(dags=DAGS, wheel=other))


def test_wheel_outside_of_a_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr(bundle, "_SOURCES", tmp_path / "site-packages" / "airflow_provider_cloudtrail")
    with pytest.raises(MwaaUsageError, match="name the wheel"):
        build("wheel", Source(dags=DAGS))


@pytest.mark.parametrize("content", [b"def broken(:\n", b"x = 1\0\n"])
def test_a_dag_file_that_is_no_python_is_named(tmp_path, content):
    (tmp_path / "audit.py").write_bytes(content)
    with pytest.raises(MwaaUsageError, match=r"audit\.py is no Python that can be parsed"):
        build("copy", Source(dags=tmp_path))


def test_a_dag_file_that_cannot_be_read_is_named(tmp_path):
    # As editors lock a file.
    (tmp_path / ".#audit.py").symlink_to("somebody@somewhere.1234")
    with pytest.raises(
        MwaaUsageError, match=r"cannot be read .*No such file or directory: .*\.#audit\.py.*; nothing was"
    ):
        build("copy", Source(dags=tmp_path))


@pytest.mark.parametrize("name", ["dags", "wheels"])
def test_a_folder_that_cannot_be_read_is_no_empty_one(monkeypatch, wheels, name):
    unreadable, (folder, own) = Path(DAGS if name == "dags" else wheels[0]), wheels
    listed = Path.iterdir

    def iterdir(path):
        if path == unreadable:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(MwaaUsageError, match=rf"cannot be read .*Permission denied: '{unreadable}'"):
        build("wheel", Source(dags=DAGS, wheel=own, wheels=folder))


@pytest.fixture
def checkout(monkeypatch, tmp_path):
    """Have the package lie in a checkout: tests may run on an installed one."""
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(bundle, "_SOURCES", tmp_path / "airflow_provider_cloudtrail")
    return tmp_path


@pytest.mark.usefixtures("checkout")
def test_wheel_for_which_there_is_no_room(monkeypatch):
    def mkdtemp(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/full")

    monkeypatch.setattr(tempfile, "mkdtemp", mkdtemp)
    with pytest.raises(
        MwaaUsageError, match=r"could not be built .*No space left on device: '/full'.* TMPDIR, or build"
    ):
        build("wheel", Source(dags=DAGS))


def test_wheel_that_cannot_be_built_for_a_reason(monkeypatch, checkout):
    uv = checkout / "uv"
    # As uv does: told to be quiet, it leaves out what the build says.
    uv.write_text(
        "#!/bin/sh\n"
        'case " $* " in *" -q "*) ;; *) echo \'OSError: no room\' >&2 ;; esac\n'
        "echo 'Failed to build' >&2\n"
        "exit 2\n"
    )
    uv.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(uv))
    with pytest.raises(MwaaUsageError, match=r"could not be built \(OSError: no room\nFailed to build\); build it"):
        build("wheel", Source(dags=DAGS))


def test_what_a_build_says_is_shown_whatever_its_bytes(monkeypatch, checkout):
    uv = checkout / "uv"
    uv.write_bytes("#!/bin/sh\necho 'größer' >&2\n".encode() + b"printf 'gr\\366\\337er\\n' >&2\nexit 2\n")
    uv.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda _: str(uv))
    with pytest.raises(MwaaUsageError, match="could not be built \\(größer\ngr��er\\); build it"):
        build("wheel", Source(dags=DAGS))
