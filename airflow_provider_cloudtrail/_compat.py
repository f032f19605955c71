"""
The one place that knows Airflow 2 from Airflow 3.

``airflow.providers.common.compat.sdk`` would do, but the MWAA images of Airflow 2.10.3, 2.11.0 and 3.0.6
hold a version without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import BaseHook, Context, PokeReturnValue
    from airflow.sdk.configuration import conf
    from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowNotFoundException
else:
    from airflow.exceptions import AirflowException, AirflowNotFoundException

    try:
        from airflow.providers.common.compat.sdk import AirflowFailException, BaseHook, Context, PokeReturnValue, conf
    except ImportError:
        from airflow.configuration import conf
        from airflow.exceptions import AirflowFailException
        from airflow.hooks.base import BaseHook

        try:  # Airflow 3.0
            from airflow.sdk import Context, PokeReturnValue
        except ImportError:  # Airflow 2
            from airflow.sensors.base import PokeReturnValue
            from airflow.utils.context import Context

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "BaseHook",
    "Context",
    "PokeReturnValue",
    "conf",
]
