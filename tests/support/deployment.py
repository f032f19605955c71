"""The deployment command against the stand-in for MWAA, with a small package and a customer's files."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_cloudtrail import __version__
from airflow_provider_cloudtrail.mwaa import bundle, plugins_zip, requirements
from airflow_provider_cloudtrail.mwaa.__main__ import main
from airflow_provider_cloudtrail.mwaa.manifest import NAME
from tests.support.mwaa_stand_in import MwaaEnvironment, MwaaStandIn, contents, put, versions

CUSTOMERS_REQUIREMENTS = b"--constraint /usr/local/airflow/dags/our-constraints.txt\r\npandas==2.1.4  # ours\r\nboto3"
PACKAGE = {
    "airflow_provider_cloudtrail/.airflowignore": b"[a-z_]*\n",
    "airflow_provider_cloudtrail/__init__.py": b"# package\n",
    "airflow_provider_cloudtrail/export.py": b"# export\n",
}
FOREIGN = {
    "dags/their_dag.py": b"# theirs\n",
    "dags/.airflowignore": b"theirs\n",
    "dags/airflow_provider_cloudtrail_old/notes.txt": b"theirs\n",
    "elsewhere/airflow_provider_cloudtrail/export.py": b"theirs\n",
}
MANIFEST = f"dags/{NAME}"
OWN_KEYS = {f"dags/{name}" for name in PACKAGE}
DAG_KEYS = {"dags/audit_one.py", "dags/audit_two.py"}


def customers_plugins() -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        archive.writestr(zipfile.ZipInfo("their_plugin.py", (2024, 5, 6, 7, 8, 10)), b"theirs\n")
    return output.getvalue()


@dataclass
class Deployer:
    """Somebody who deploys to an environment."""

    server: MwaaStandIn
    environment: MwaaEnvironment
    folder: Path
    package: dict[str, bytes] = field(default_factory=lambda: dict(PACKAGE))
    mode: str | None = None

    def __post_init__(self) -> None:
        for key, content in FOREIGN.items():
            put(self.bucket, key, content)
        for name in ("audit_one", "audit_two"):
            self.write_dag(name)
        self.wheel.write_bytes(b"wheel")

    @property
    def name(self) -> str:
        return str(self.environment.members["Name"])

    @property
    def bucket(self) -> str:
        return str(self.environment.members["SourceBucketArn"].rpartition(":")[2])

    @property
    def wheel(self) -> Path:
        return self.folder / f"airflow_provider_cloudtrail-{__version__}-py3-none-any.whl"

    def write_dag(self, name: str, text: str = "") -> None:
        (self.folder / f"{name}.py").write_text(f'{text}\nDAG(dag_id="{name}")\n')

    def use_customers_files(self) -> None:
        """Give the environment a requirements.txt and a plugins.zip of its own."""
        files = {
            "Requirements": ("requirements.txt", CUSTOMERS_REQUIREMENTS),
            "Plugins": ("p.zip", customers_plugins()),
        }
        for kind, (key, content) in files.items():
            version = put(self.bucket, key, content)
            self.environment.members.update({f"{kind}S3Path": key, f"{kind}S3ObjectVersion": version})

    def __call__(self, command: str, *arguments: str) -> int:
        """Run a command; ``calls`` of the server are those of this run afterwards."""
        self.server.calls.clear()
        if command in ("plan", "deploy"):
            arguments = ("--dags", str(self.folder), *arguments)
        if command == "deploy":
            arguments = ("--poll", "0", *arguments)
        if command in ("plan", "deploy"):
            if "--mode" in arguments:
                self.mode = arguments[arguments.index("--mode") + 1]
            if self.mode == "wheel":
                # Else it is built.
                arguments = ("--wheel", str(self.wheel), *arguments)
        return main([command, self.name, *arguments])

    # -- what there is -----------------------------------------------------------------------------

    def changes(self) -> list[tuple[str, str]]:
        """Return method and path of the requests of the last run that change something."""
        return [
            (method, path.removeprefix(f"/{self.bucket}/"))
            for service, method, path, _ in self.server.calls
            if method in ("PUT", "DELETE", "PATCH") or (method == "POST" and service == "s3")
        ]

    def state(self) -> dict[str, Any]:
        """Return all that a deployment leaves behind, without what differs from one to the next."""
        held = contents(self.bucket)
        manifest = json.loads(held.pop(f"dags/{NAME}", b"null"))
        for entry in manifest["objects"].values() if manifest else ():
            del entry["etag"], entry["version"]
        members = self.environment.members
        used = {}
        for kind in ("Requirements", "Plugins"):
            if key := members.get(f"{kind}S3Path"):
                used[kind] = key, dict(versions(self.bucket, key))[members[f"{kind}S3ObjectVersion"]]
        return {
            "objects": held,
            "manifest": manifest,
            "used": used,
            "options": members["AirflowConfigurationOptions"],
            "status": members["Status"],
        }

    def foreign(self) -> dict[str, Any]:
        """Return all that is somebody else's."""
        held = contents(self.bucket)
        found: dict[str, Any] = {key: held.get(key) for key in FOREIGN}
        if "requirements.txt" in held:
            found["requirements.txt"] = requirements.foreign_part(held["requirements.txt"])
        if "p.zip" in held:
            entries = plugins_zip.digests(held["p.zip"]).items()
            found["p.zip"] = {name: digest for name, digest in entries if not name.startswith(bundle.PACKAGE)}
        return found


def use_package_of(deployer: Deployer, monkeypatch: Any) -> None:
    """Deploy the small package instead of the real one."""
    monkeypatch.setattr(bundle, "package_files", lambda: dict(deployer.package))


def document(capsys: Any) -> Any:
    """Return what a command has printed with ``--json``."""
    return json.loads(capsys.readouterr().out)
