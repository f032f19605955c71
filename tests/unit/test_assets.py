from __future__ import annotations

import json
from collections import defaultdict
from types import SimpleNamespace

import pytest
from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from airflow_provider_cloudtrail.assets import FILES_OF_TRIGGERING_EVENTS, audit_table, tell_outlets


@pytest.mark.parametrize(
    ("place", "uri"),
    [
        pytest.param(("warehouse", "events"), "warehouse/events", id="table"),
        pytest.param(("warehouse", "events", "audit"), "warehouse/audit.events", id="schema"),
        pytest.param(("warehouse", "events", ""), "warehouse/events", id="empty-schema"),
        # The operators take it for none as well.
        pytest.param(("warehouse", "events", "None"), "warehouse/events", id="no-schema-as-text"),
        pytest.param(
            ("{{ var.value.conn }}", "{{ params.table }}", "{% if x %}a{% endif %}"),
            "{{ var.value.conn }}/{% if x %}a{% endif %}.{{ params.table }}",
            id="templates",
        ),
    ],
)
def test_the_asset_of_a_table(place, uri):
    assert audit_table(*place).uri == f"x-cloudtrail://{uri}"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        pytest.param((None, "events"), "conn_id is not set; give the id", id="no-connection"),
        pytest.param(("None", "events"), "conn_id is not set", id="no-connection-as-text"),
        pytest.param(("warehouse", None), "table is not set; give a name", id="no-table"),
        pytest.param(("warehouse", "None"), "table is not set", id="no-table-as-text"),
        pytest.param(("warehouse", "x y"), "table='x y' is not a usable name", id="space"),
        pytest.param(("warehouse", "audit.events"), "a schema is given by the parameter schema", id="schema-in-table"),
        pytest.param(("warehouse", "events", "x y"), "schema='x y' is not a usable name", id="schema"),
    ],
)
def test_names_that_the_operators_refuse(place, message):
    with pytest.raises(ValueError, match=message):
        audit_table(*place)


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param({"from_trigger": True, "payload": "/data/done.csv"}, id="text"),
        pytest.param({"from_trigger": True, "payload": ["/data/done.csv"]}, id="list"),
        pytest.param({"from_trigger": True, "payload": {"status": "success"}}, id="no-files"),
        pytest.param({"from_trigger": True, "payload": {"files": None}}, id="files-none"),
        pytest.param({"from_trigger": True, "payload": {"files": 3}}, id="number-of-files"),
        pytest.param({"from_trigger": True, "payload": {"files": "done.csv"}}, id="file"),
        pytest.param({"from_trigger": True, "payload": {"files": {"done.csv": 3}}}, id="files-by-name"),
        pytest.param({"from_trigger": True, "payload": {"files": [3, None]}}, id="no-names"),
        pytest.param({"loaded": 3}, id="no-watcher"),
        pytest.param(None, id="nothing"),
    ],
)
def test_events_of_other_assets_in_the_schedule_tell_of_no_log_files(extra):
    told = {"from_trigger": True, "payload": {"files": ["s3://trail/a", "s3://trail/b"]}}
    events = {"log-files": [told, told], "other": [extra]}
    triggering = {name: [SimpleNamespace(extra=extra) for extra in extras] for name, extras in events.items()}
    template = SandboxedEnvironment(undefined=StrictUndefined).from_string(FILES_OF_TRIGGERING_EVENTS)

    assert json.loads(template.render(triggering_asset_events=triggering)) == ["s3://trail/a", "s3://trail/b"]


class OutletEvents(defaultdict):
    """By asset, as Airflow has it: assets of Airflow 3.0 cannot be keys themselves."""

    def __getitem__(self, asset):
        return super().__getitem__(asset.uri)


@pytest.mark.parametrize(
    ("outlets", "told"),
    [
        pytest.param(None, [], id="none"),
        pytest.param([object(), audit_table("warehouse", "events")], ["x-cloudtrail://warehouse/events"], id="alias"),
    ],
)
def test_assets_alone_are_told_what_a_run_did(outlets, told):
    events = OutletEvents(SimpleNamespace)
    tell_outlets({"outlet_events": events}, outlets, {"loaded": 3})
    assert {uri: event.extra for uri, event in events.items()} == {uri: {"loaded": 3} for uri in told}


def test_an_airflow_without_events_of_outlets_is_told_nothing():
    tell_outlets({}, [audit_table("warehouse", "events")], {"loaded": 3})
