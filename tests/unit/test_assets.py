from __future__ import annotations

import pytest

from airflow_provider_cloudtrail.assets import audit_table


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
