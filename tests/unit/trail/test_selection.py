from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_cloudtrail.trail.selection import Clause, Selection
from tests.support.log_files import event

MWAA = Selection.of()
ALL = Selection.of(event_sources=None)
TOKENS = Selection.of(event_names=["CreateCliToken", "CreateWebLoginToken"])
ORDERS = Selection.of(environment_names=["orders"])
ACTIVITY = Selection.of(include_environment_activity=True)
S3 = Selection.of(event_sources=["s3.amazonaws.com"])
NOTHING = Selection.of(event_sources=[])


@pytest.mark.parametrize(
    ("selection", "members", "wanted"),
    [
        pytest.param(MWAA, {}, True, id="MWAA"),
        pytest.param(MWAA, {"eventSource": "airflow-serverless.amazonaws.com"}, True, id="MWAA Serverless"),
        pytest.param(MWAA, {"eventSource": "s3.amazonaws.com"}, False, id="another service"),
        pytest.param(MWAA, {"eventSource": ...}, False, id="no source"),
        pytest.param(MWAA, {"eventSource": None}, False, id="source null"),
        pytest.param(ALL, {"eventSource": ...}, True, id="all"),
        pytest.param(TOKENS, {}, True, id="name"),
        pytest.param(TOKENS, {"eventName": "UpdateEnvironment"}, False, id="another name"),
        pytest.param(TOKENS, {"eventSource": "s3.amazonaws.com"}, False, id="name of another service"),
        pytest.param(ORDERS, {}, True, id="environment"),
        pytest.param(ORDERS, {"requestParameters": {"Name": "bills"}}, False, id="another environment"),
        pytest.param(ORDERS, {"requestParameters": None}, False, id="no environment"),
        pytest.param(ACTIVITY, {"eventSource": "s3.amazonaws.com"}, False, id="activity of somebody else"),
        pytest.param(
            ACTIVITY,
            {"eventSource": "s3.amazonaws.com", "userAgent": "airflow.amazonaws.com"},
            True,
            id="activity of an environment",
        ),
        pytest.param(MWAA, {"eventSource": "s3.amazonaws.com", "userAgent": "airflow.amazonaws.com"}, False, id="not asked for"),  # noqa: E501
        pytest.param(TOKENS | S3, {"eventSource": "s3.amazonaws.com", "eventName": "GetObject"}, True, id="union"),
        pytest.param(TOKENS | S3, {"eventName": "GetObject"}, False, id="union is no product"),
        pytest.param(NOTHING, {}, False, id="no source is wanted"),
    ],
)  # fmt: skip
def test_wants(selection: Selection, members: dict[str, Any], wanted: bool) -> None:
    assert selection.wants(event(**members)) is wanted


@pytest.mark.parametrize("value", [["airflow.amazonaws.com"], {"a": 1}], ids=["list", "object"])
@pytest.mark.parametrize("member", ["eventSource", "eventName"])
def test_member_that_cannot_be_looked_up_is_not_wanted(member: str, value: Any) -> None:
    assert not TOKENS.wants(event(**{member: value}))


@pytest.mark.parametrize(
    ("mine", "theirs", "covers"),
    [
        pytest.param(MWAA, MWAA, True, id="itself"),
        pytest.param(ALL, MWAA, True, id="all covers MWAA"),
        pytest.param(MWAA, ALL, False, id="MWAA does not cover all"),
        pytest.param(MWAA, TOKENS, True, id="any name covers some"),
        pytest.param(TOKENS, MWAA, False, id="some names do not cover any"),
        pytest.param(MWAA, ORDERS, True, id="any environment covers one"),
        pytest.param(ORDERS, MWAA, False, id="one environment does not cover any"),
        pytest.param(TOKENS, ORDERS, False, id="names and environments"),
        pytest.param(ACTIVITY, MWAA, True, id="with activity covers without"),
        pytest.param(MWAA, ACTIVITY, False, id="without activity does not cover with"),
        pytest.param(ALL, ACTIVITY, True, id="all covers activity"),
        pytest.param(
            Selection.of(None, environment_names=["orders"]), ACTIVITY, False, id="one environment covers no activity"
        ),
        pytest.param(MWAA | S3, S3, True, id="union covers its parts"),
        pytest.param(S3, MWAA | S3, False, id="a part does not cover the union"),
        pytest.param(TOKENS | S3, TOKENS | S3, True, id="union covers itself"),
        pytest.param(MWAA, NOTHING, True, id="nothing is covered"),
    ],
)
def test_covers(mine: Selection, theirs: Selection, covers: bool) -> None:
    assert mine.covers(theirs) is covers


@pytest.mark.parametrize("order", [(MWAA, TOKENS), (TOKENS, MWAA), (MWAA | TOKENS, ORDERS)])
def test_union_keeps_no_clause_that_others_cover(order: tuple[Selection, Selection]) -> None:
    assert order[0] | order[1] == MWAA


def test_union_of_what_does_not_cover_each_other() -> None:
    both = TOKENS | S3
    assert both.clauses == TOKENS.clauses | S3.clauses
    assert both == S3 | TOKENS
    assert both.to_text() == (S3 | TOKENS).to_text()


@pytest.mark.parametrize(
    "selection",
    [MWAA, ALL, TOKENS, ORDERS, ACTIVITY, NOTHING, TOKENS | S3, Selection(frozenset({Clause(frozenset({'a"\\é'}))}))],
)
def test_text_is_read_back(selection: Selection) -> None:
    assert Selection.from_text(selection.to_text()) == selection


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("{", id="no JSON"),
        pytest.param("7", id="number"),
        pytest.param('{"version":2}', id="object"),
        pytest.param("[7]", id="list of numbers"),
        pytest.param('[{"event_sources":null}]', id="member missing"),
        pytest.param(
            '[{"event_sources":7,"event_names":null,"environment_names":null,"include_environment_activity":false}]',
            id="member of another type",
        ),
    ],
)
def test_text_that_is_no_selection(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a selection|Expecting"):
        Selection.from_text(text)


@pytest.mark.parametrize(
    ("selection", "needles"),
    [
        pytest.param(ALL, None, id="all"),
        pytest.param(MWAA | ALL, None, id="all in a union"),
        pytest.param(MWAA, (b"airflow-serverless.amazonaws.com", b"airflow.amazonaws.com"), id="MWAA"),
        pytest.param(
            ACTIVITY,
            (
                b"AmazonMWAA-airflow",
                b"airflow-env.amazonaws.com",
                b"airflow-serverless.amazonaws.com",
                b"airflow.amazonaws.com",
            ),
            id="with activity",
        ),
        pytest.param(S3 | NOTHING, (b"s3.amazonaws.com",), id="union"),
    ],
)
def test_needles(selection: Selection, needles: tuple[bytes, ...] | None) -> None:
    assert selection.needles == needles


@pytest.mark.parametrize(
    ("arguments", "names_suffice"),
    [
        pytest.param({}, True, id="sources"),
        pytest.param({"event_names": ["CreateCliToken"]}, True, id="names"),
        pytest.param({"environment_names": ["audit"]}, False, id="environments"),
        pytest.param({"include_environment_activity": True}, False, id="activity"),
    ],
)
def test_when_source_and_name_say_enough(arguments, names_suffice):
    selection = Selection.of(**arguments)
    assert selection.needs_names_only is names_suffice
    assert (selection | Selection.of(event_sources=["s3.amazonaws.com"])).needs_names_only is names_suffice


def test_text_has_its_clauses_in_order():
    """As a set has them they would be in another order in the next process, and each file be read again."""
    selection = Selection(frozenset())
    for name in "hgfedcba":
        selection |= Selection.of(event_names=[name])
    assert [clause["event_names"] for clause in json.loads(selection.to_text())] == [[name] for name in "abcdefgh"]
