"""The audit table as an asset, and the log files that a watcher found, for DAGs that are driven by events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_cloudtrail import parameters
from airflow_provider_cloudtrail._compat import Asset

if TYPE_CHECKING:
    from airflow_provider_cloudtrail._compat import Context

FILES_OF_TRIGGERING_EVENTS = (
    "{%- set files = [] -%}"
    "{%- for events in triggering_asset_events.values() -%}{%- for event in events -%}"
    "{%- set payload = (event.extra or {}).get('payload') -%}"
    # Another asset's watcher may tell anything.
    "{%- set told = payload.get('files') if payload is mapping else () -%}"
    "{%- for file in (told if told is sequence and told is not string and told is not mapping else ()) -%}"
    "{%- if file is string and file not in files -%}{%- set _ = files.append(file) -%}{%- endif -%}"
    "{%- endfor -%}{%- endfor -%}{%- endfor -%}"
    "{{ files | tojson }}"
)
"""Template for ``CloudTrailToSqlOperator(files=...)``: the log files of the asset events that started the run."""


def audit_table(conn_id: str, table: str, schema: str | None = None) -> Asset:
    """
    Return the audit table as an asset: outlet of the export, schedule of the DAGs that use the table.

    :param conn_id: connection of the warehouse.
    :param table: name of the audit table.
    :param schema: its schema, or None for the connection's default.
    :raises ValueError: for names that the operators refuse: no event of such an asset would ever come.
    """
    if parameters.text(conn_id) is None:
        raise ValueError("conn_id is not set; give the id of the connection of the warehouse")
    place = [_name("schema", schema, required=False), _name("table", table)]
    return Asset(f"x-cloudtrail://{conn_id}/{'.'.join(filter(None, place))}")


def _name(parameter: str, value: str | None, *, required: bool = True) -> str | None:
    # What a template will make of it is not known where a DAG is parsed.
    is_template = isinstance(value, str) and ("{{" in value or "{%" in value)
    return value if is_template else parameters.identifier(parameter, value, required=required)


def tell_outlets(context: Context, outlets: Any, extra: Mapping[str, Any]) -> None:
    """Give the asset events of a task's outlets the summary of its run."""
    events = context.get("outlet_events")
    if events is None:
        return
    for outlet in outlets or ():
        if isinstance(outlet, Asset):
            events[outlet].extra = dict(extra)
