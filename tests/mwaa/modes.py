"""The three modes of deployment, laid out as an environment of Amazon MWAA has them on its disk."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

from airflow_provider_cloudtrail.mwaa import bundle, plugins_zip, requirements
from tests.mwaa.images import ROOT, Image

CUSTOMERS_DAG = """
from datetime import datetime
try:
    from airflow.sdk import DAG
except ImportError:
    from airflow import DAG
with DAG(dag_id="customers_dag", schedule=None, start_date=datetime(2026, 1, 1)):
    pass
"""
# Run inside: plugins are loaded as Airflow does, then every module below the plugins folder must have its full name.
PLUGINS_CODE = """
import importlib, json, pathlib, pkgutil, sys
import airflow.settings
airflow.settings.initialize()
from airflow import plugins_manager
getattr(plugins_manager, "ensure_plugins_loaded", None) or sys.exit("no ensure_plugins_loaded")
plugins_manager.ensure_plugins_loaded()
folder = pathlib.Path(airflow.settings.PLUGINS_FOLDER)
import airflow_provider_cloudtrail
assert pathlib.Path(airflow_provider_cloudtrail.__file__).parent.parent == folder
for name in ("triggers", "sensors.cloudtrail", "operators.cloudtrail", "transfers.cloudtrail_to_sql"):
    importlib.import_module("airflow_provider_cloudtrail." + name)
below = {name for name, module in sys.modules.items() if str(folder) in (getattr(module, "__file__", None) or "")}
print(json.dumps(sorted(name for name in below if name.partition(".")[0] != "airflow_provider_cloudtrail")))
"""


class Deployed:
    """
    What a mode leaves on the disk of an environment.

    :param image: the image that it is deployed to.
    :param mode: of the deployment.
    :param wheel: for mode wheel.
    """

    def __init__(self, image: Image, mode: str, wheel: Path) -> None:
        self.image = image
        self.home = image.folder / f"home-{mode}"
        self.dags, self.plugins = self.home / "dags", self.home / "plugins"
        source = bundle.Source(dags=ROOT / "dags", wheel=wheel if mode == bundle.WHEEL else None)
        self._bundle = bundle.build(mode, source, image.airflow)
        shutil.rmtree(self.home, ignore_errors=True)
        self.plugins.mkdir(parents=True)
        for name, content in {**self._bundle.objects, "customers_dag.py": CUSTOMERS_DAG.encode()}.items():
            path = self.dags / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        with zipfile.ZipFile(io.BytesIO(plugins_zip.merged(None, self._bundle.entries, ()))) as archive:
            archive.extractall(self.plugins)

    def requirements(self) -> Path:
        """Return the requirements.txt, whose links lead to this plugins folder."""
        content = requirements.merged(b"# A customer's own file.\n", self._bundle.requirements).decode()
        path = self.home / "requirements.txt"
        path.write_text(content.replace(bundle.PLUGINS_FOLDER, str(self.plugins)))
        return path


def wrongly_named(said: str) -> list[str]:
    """Return the modules that :data:`PLUGINS_CODE` found under other than their full names."""
    return list(json.loads(said.strip().splitlines()[-1]))
