"""
The one place that knows Airflow 2 from Airflow 3.

``airflow.providers.common.compat.sdk`` would do, but the MWAA images of Airflow 2.10.3, 2.11.0 and 3.0.6
hold a version without it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Asset, BaseHook, BaseSensorOperator, Context, PokeReturnValue
    from airflow.sdk.configuration import conf
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowNotFoundException,
        AirflowSensorTimeout,
        AirflowSkipException,
        AirflowTaskTimeout,
    )
    from airflow.triggers.base import BaseEventTrigger
else:
    from airflow.exceptions import AirflowException, AirflowNotFoundException

    try:
        from airflow.providers.common.compat.sdk import (
            AirflowFailException,
            AirflowSensorTimeout,
            AirflowSkipException,
            AirflowTaskTimeout,
            Asset,
            BaseHook,
            BaseSensorOperator,
            Context,
            PokeReturnValue,
            conf,
        )
    except ImportError:
        from airflow.configuration import conf
        from airflow.exceptions import (
            AirflowFailException,
            AirflowSensorTimeout,
            AirflowSkipException,
            AirflowTaskTimeout,
        )
        from airflow.hooks.base import BaseHook

        try:  # Airflow 3.0
            from airflow.sdk import Asset, BaseSensorOperator, Context, PokeReturnValue
        except ImportError:  # Airflow 2
            from airflow.datasets import Dataset as Asset
            from airflow.sensors.base import BaseSensorOperator, PokeReturnValue
            from airflow.utils.context import Context

    def __getattr__(name: str) -> type:
        # Not imported before a trigger is: DAG files, which are parsed again and again, need none.
        if name != "BaseEventTrigger":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from airflow.triggers import base

        return getattr(base, "BaseEventTrigger", base.BaseTrigger)  # Airflow 2 has no watchers


__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "Asset",
    "BaseEventTrigger",
    "BaseHook",
    "BaseSensorOperator",
    "Context",
    "PokeReturnValue",
    "conf",
    "ends_killed_tasks",
    "triggerer_imports",
]


def ends_killed_tasks() -> bool:
    """Tell whether Airflow ends a task that it kills with an exception: Airflow 2 does, behind ``on_kill``."""
    return _is_airflow_2()


def triggerer_imports(module: str) -> bool:
    """
    Tell whether the triggerer can import what a DAG imported from a file.

    Airflow 2 has the DAG folder on the path of every process. Airflow 3 has the folder of a DAG bundle only
    on the path of DAG processor and workers (Airflow documentation, "Deferrable Operators & Triggers").

    :param module: path of the file.
    """
    if _is_airflow_2():
        return True
    file = Path(module).resolve()
    return not any(file.is_relative_to(folder.resolve()) for folder in _bundle_folders())


def _is_airflow_2() -> bool:
    from airflow import __version__

    return __version__.startswith("2.")


def _bundle_folders() -> Iterator[Path]:
    yield Path(conf.get("core", "dags_folder"))
    storage = conf.get("dag_processor", "dag_bundle_storage_path", fallback=None)
    yield Path(storage) if storage else Path(tempfile.gettempdir(), "airflow", "dag_bundles")
    for bundle in json.loads(conf.get("dag_processor", "dag_bundle_config_list", fallback=None) or "[]"):
        path = (bundle.get("kwargs") or {}).get("path")
        if path:
            yield Path(path)
