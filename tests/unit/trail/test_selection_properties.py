from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cloudtrail.trail.selection import Clause, Selection
from tests.support.json_values import records
from tests.support.log_files import event

sources = st.sampled_from(["airflow.amazonaws.com", "s3.amazonaws.com", "ec2.amazonaws.com"])
actions = st.sampled_from(["CreateCliToken", "InvokeRestApi", "GetObject"])
environments = st.sampled_from(["orders", "bills"])
clauses = st.builds(
    Clause,
    st.none() | st.frozensets(sources),
    st.none() | st.frozensets(actions),
    st.none() | st.frozensets(environments),
    st.booleans(),
)
selections = st.frozensets(clauses, min_size=1, max_size=3).map(Selection)
events = st.builds(
    lambda source, action, name, agent: event(
        eventSource=source, eventName=action, requestParameters={"Name": name}, userAgent=agent
    ),
    sources,
    actions,
    environments,
    st.sampled_from(["aws-cli/2.30.0", "airflow.amazonaws.com"]),
)


@given(selections, selections)
def test_union_covers_both(one: Selection, other: Selection) -> None:
    both = one | other
    assert both.covers(one)
    assert both.covers(other)
    assert both == other | one
    assert both | one == both


@given(selections, selections, events | records)
def test_union_wants_what_either_wants(one: Selection, other: Selection, record: dict[str, object]) -> None:
    assert (one | other).wants(record) == (one.wants(record) or other.wants(record))


@given(selections, selections, events | records)
def test_what_is_wanted_is_wanted_by_what_covers(one: Selection, other: Selection, record: dict[str, object]) -> None:
    if one.covers(other) and other.wants(record):
        assert one.wants(record)


@given(selections)
def test_text_is_read_back(selection: Selection) -> None:
    assert Selection.from_text(selection.to_text()) == selection


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    try:
        Selection.from_text(text)
    except ValueError:
        return
    assert text.strip() in {"[]", "{}", '""'}
