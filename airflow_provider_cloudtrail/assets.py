"""The audit table as an asset, and the log files that a watcher found, for DAGs that are driven by events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_cloudtrail._compat import Asset

if TYPE_CHECKING:
    from airflow_provider_cloudtrail._compat import Context

FILES_OF_TRIGGERING_EVENTS = (
    "{%- set files = [] -%}"
    "{%- for events in triggering_asset_events.values() -%}{%- for event in events -%}"
    "{%- for file in ((event.extra or {}).get('payload') or {}).get('files', ()) -%}"
    "{%- if file not in files -%}{%- set _ = files.append(file) -%}{%- endif -%}"
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
    """
    return Asset(f"x-cloudtrail://{conn_id}/{f'{schema}.' if schema else ''}{table}")


def tell_outlets(context: Context, outlets: Any, extra: Mapping[str, Any]) -> None:
    """Give the asset events of a task's outlets the summary of its run."""
    events = context.get("outlet_events")
    if events is None:
        return
    for outlet in outlets or ():
        if isinstance(outlet, Asset):
            events[outlet].extra = dict(extra)
