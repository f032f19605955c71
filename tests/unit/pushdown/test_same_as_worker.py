"""The pushdown's rows held against the worker path's, column by column, over the demo trail and odd records."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

# Older ones know neither MERGE nor this form of lambdas.
pytest.importorskip("duckdb", minversion="1.4")
pytest.importorskip("pyarrow")
pytest.importorskip("sqlglot")

from airflow_provider_cloudtrail.audit_event import AuditEvent, columns_of
from airflow_provider_cloudtrail.demo.plan import HOSTILE, TrailPlan
from airflow_provider_cloudtrail.demo.trail import generate
from airflow_provider_cloudtrail.pushdown.audit_events import COLUMNS
from airflow_provider_cloudtrail.pushdown.record_fields import RECORD_FIELDS, RecordField, Shape
from airflow_provider_cloudtrail.pushdown.unfit import MEANINGS, REASONS
from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
from airflow_provider_cloudtrail.trail.log_file import log_file
from airflow_provider_cloudtrail.trail.scrub import scrub
from airflow_provider_cloudtrail.trail.selection import Selection
from tests.support.log_files import MWAA, event, id_of, key_of, listed, log_bytes
from tests.support.pushdown import AthenaOnDuckDB, BothPaths
from tests.support.pushdown_records import ENVIRONMENT, LEFT, READ, ROLE, SERVERLESS, SHOP, TOKEN, identity
from tests.support.rows import ALL
from tests.support.trino_patterns import patterns_of, read_alike

PLAN = TrailPlan(files_per_day=6, records_per_file=8, faults=HOSTILE)
WINDOW = DeliveryWindow(PLAN.start, PLAN.end, timedelta(days=1), timedelta(hours=1))
DAY = DeliveryWindow(datetime(2026, 2, 3, tzinfo=timezone.utc), datetime(2026, 2, 4, tzinfo=timezone.utc))

NOT_COMPARED = {
    "log_file_index": "a row of the trail's table does not know its position in the file: null",
    "loaded_at": "of the run",
    "loaded_by": "of the run",
}
"""Columns that differ, and why; see the docstring of AthenaMwaaAuditEventsOperator."""
COMPARED_BY_VALUE = ("request_parameters", "response_elements", "resources", "raw_event")
REBUILT = {
    "nulls": "members that are null are left out: a column does not tell null from absent",
    "unknown": "members that no documented record has are not in the table",
    "booleans": "readOnly and managementEvent are booleans, also where they were text",
    "texts": "members that should be text and were not (numbers, booleans) are text",
}
"""What ``raw_event`` and ``resources`` lose; :func:`rebuilt` does the same to a record."""
MWAA_EVENTS = Selection.of()
ACTIVITY = Selection.of(include_environment_activity=True)


def rebuilt(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record, scrubbed, without what the columns of the trail's table cannot hold."""
    return _members(RECORD_FIELDS, scrub(record)[0])


def _members(fields: tuple[RecordField, ...], value: dict[str, Any]) -> dict[str, Any]:
    found = {name.lower(): content for name, content in value.items()}
    return {field.name: _rebuilt(field, found[field.column]) for field in fields if found.get(field.column) is not None}


def _rebuilt(field: RecordField, value: Any) -> Any:
    match field.shape:
        case Shape.OBJECT:
            return _members(field.members, value)
        case Shape.LIST:
            return [None if item is None else _members(field.members, item) for item in value]
        case Shape.MAP:
            return {name: _rebuilt(RecordField("value"), content) for name, content in value.items()}
        case Shape.BOOLEAN if value in ("true", "false"):
            return value == "true"
        case Shape.BOOLEAN if not isinstance(value, bool):
            return str(value)
        case Shape.TEXT if not isinstance(value, str):
            return json.dumps(value)
    return value


def expected_rows(both: BothPaths, left: list[str], selection: Selection) -> dict[str, dict[str, Any]]:
    """Return the rows of the worker path, from the files that the pushdown has taken."""
    worker = AthenaOnDuckDB()
    both.export(worker, [file for file in both.log_files if file.uri not in left], selection)
    return {row["event_id"]: row for row in worker.rows(worker.events)}


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for name in found.keys() - NOT_COMPARED.keys() - set(COMPARED_BY_VALUE):
        assert found[name] == expected[name], f"{name} of {expected['event_id']}"
    for name in COMPARED_BY_VALUE[:2]:
        assert _value(found[name]) == _value(expected[name]), f"{name} of {expected['event_id']}"
    resources = _members(RECORD_FIELDS, {"resources": _value(expected["resources"])}).get("resources")
    assert _value(found["resources"]) == resources
    assert _value(found["raw_event"]) == rebuilt(json.loads(expected["raw_event"]))
    assert found["log_file_index"] is None


def _value(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def test_each_column_has_an_expression():
    assert list(COLUMNS) == [column.name for column in columns_of(AuditEvent)]
    assert set(NOT_COMPARED) | set(COMPARED_BY_VALUE) < set(COLUMNS)


def test_each_reason_has_a_meaning():
    assert set(REASONS) < set(MEANINGS)


@pytest.fixture(scope="module")
def demo() -> BothPaths:
    both = BothPaths()
    for written in generate(PLAN):
        found = log_file(PLAN.bucket, written.key, len(written.body), "etag")
        if found is not None:
            both.deliver(found, written.body)
    return both


@pytest.fixture
def statements(demo: BothPaths) -> list[str]:
    # A process that shares the tests with others may have run none of those that load the trail.
    if not demo.athena.statements:
        demo.push_down(WINDOW, Selection.of())
    return demo.athena.statements


class TestDemoTrail:
    @pytest.mark.parametrize(
        "selection",
        [
            pytest.param(Selection.of(), id="mwaa"),
            pytest.param(ACTIVITY, id="with-activity"),
            pytest.param(Selection.of(environment_names=["orders"]), id="one-environment"),
            pytest.param(Selection.of(event_sources=None), id="all"),
        ],
    )
    def test_rows_are_those_of_the_worker_path(self, demo, selection):
        athena = demo.athena
        for table in (athena.events, athena.files):
            athena.connection.execute(f"DELETE FROM {table}")
        summary = demo.push_down(WINDOW, selection)
        forged = [uri for uri in demo_forged(demo) if uri not in summary.left]
        expected = expected_rows(demo, [*summary.left, *forged], selection)
        halves = half_pairs(demo)
        found = {row["event_id"]: row for row in athena.rows(athena.events) if row["log_file_uri"] not in forged}
        assert found.keys() == expected.keys()
        for event_id, row in found.items():
            if event_id in halves:
                # Java writes ? for half a surrogate pair, the worker path U+FFFD: the only value that differs.
                for name in ("user_agent", "raw_event"):
                    assert "?" in row[name]
                    row[name] = row[name].replace("?", "\N{REPLACEMENT CHARACTER}")
            assert_same(row, expected[event_id])
        assert len(expected) > 40
        # Most is read: only files with odd records are left, each for a reason that has a meaning.
        assert summary.files_left < summary.files / 5
        assert set(summary.reasons) <= set(MEANINGS)

    def test_what_athena_refuses_is_what_the_worker_path_quarantines_or_reads_leniently(self, demo):
        refused = Counter(demo.athena.refused.values())
        assert refused["resources is no list"] == 1
        assert set(refused) == {
            *("no object", "BadGzipFile", "no list of records", "JSONDecodeError", "RecursionError", "EOFError"),
            "resources is no list",
        }


def demo_forged(both: BothPaths) -> list[str]:
    """Return the files with a second gzip member, which Hadoop's codec reads and the worker path refuses."""
    worker = AthenaOnDuckDB()
    both.export(worker)
    return [
        row["log_file_uri"]
        for row in worker.rows(worker.files)
        if (row["reason"] or "").startswith("bytes_behind_gzip")
    ]


def half_pairs(both: BothPaths) -> set[str]:
    """Return the ids of records in which half a surrogate pair is written."""
    worker = AthenaOnDuckDB()
    both.export(worker, selection=ALL)
    return {row["event_id"] for row in worker.rows(worker.events) if "\N{REPLACEMENT CHARACTER}" in row["raw_event"]}


def delivered(records: dict[str, dict[str, Any]]) -> tuple[BothPaths, dict[str, str]]:
    """Return a trail with a log file for each record, and the URI of each."""
    both, uris = BothPaths(), {}
    for number, (name, members) in enumerate(records.items()):
        file = listed(key_of(unique=f"{number:016d}"))
        both.deliver(file, log_bytes(event(id_of(number), **members), event(id_of(1000 + number), eventSource="x")))
        uris[name] = file.uri
    assert not both.athena.refused
    return both, uris


@pytest.fixture(scope="module")
def read() -> tuple[dict[str, Any], dict[str, Any]]:
    both, uris = delivered(READ)
    summary = both.push_down(DAY, ALL)
    assert summary.left == []
    assert summary.records == summary.loaded == 2 * len(READ)
    names = {uri: name for name, uri in uris.items()}
    rows = [
        {names[row["log_file_uri"]]: row for row in rows if row["event_id"] < id_of(1000)}
        for rows in (both.athena.rows(both.athena.events), expected_rows(both, [], ALL).values())
    ]
    return rows[0], rows[1]


@pytest.fixture(scope="module")
def left() -> tuple[BothPaths, dict[str, str], Any]:
    both, uris = delivered({name: members for name, (_, members) in LEFT.items()})
    return both, uris, both.push_down(DAY)


@pytest.fixture(scope="module")
def reasons(left) -> dict[str, str]:
    both, _, _ = left
    statement = next(text for text in both.athena.statements if "GROUP BY 1, 2, 3" in text)
    return dict(row[:2] for row in both.athena.read("", statement) if row[0] is not None)


class TestOddRecords:
    @pytest.mark.parametrize("name", [pytest.param(name, id=name) for name in READ])
    def test_is_read_as_the_worker_path_does(self, read, name):
        found, expected = read
        assert_same(found[name], expected[name])

    @pytest.mark.parametrize("name", [pytest.param(n, id=n) for n in READ if n.startswith(("token", "body", "answer"))])
    def test_no_secret_is_loaded(self, read, name):
        loaded = json.dumps(read[0][name], default=str)
        if name != "token-in-text":
            assert TOKEN not in loaded
        # Within a text that only looks like JSON the worker path does not look either.
        assert (TOKEN in loaded) == (TOKEN in json.dumps(read[1][name], default=str))

    @pytest.mark.parametrize("name", [pytest.param(name, id=name) for name in LEFT])
    def test_is_left_to_the_worker_path(self, left, reasons, name):
        _, uris, summary = left
        assert uris[name] in summary.left
        assert reasons[uris[name]] == LEFT[name][0]

    def test_nothing_of_what_is_left_is_stored(self, left):
        both, _, summary = left
        assert both.athena.rows(both.athena.events) == []
        assert both.athena.rows(both.athena.files) == []
        assert (summary.files, summary.files_left) == (0, len(LEFT))
        assert sum(summary.reasons.values()) == len(LEFT)

    def test_the_log_names_files_and_no_value(self, caplog):
        both, uris = delivered({"token-short": LEFT["token-short"][1] | {"userAgent": "a value of the record"}})
        both.push_down(DAY)
        assert uris["token-short"] in caplog.text
        assert "a value of the record" not in caplog.text

    @pytest.mark.parametrize(
        "escape",
        [
            pytest.param(r"\u0000", id="nul"),
            pytest.param(r"\u0043", id="letter"),
            pytest.param(r"\u007a", id="small letter"),
            pytest.param(r"\ud83d\ude00", id="pair"),
            pytest.param(r"\uD83D\uDE00", id="pair in capitals"),
        ],
    )
    def test_escapes_that_an_engine_leaves_as_they_are_written(self, escape):
        # A letter may be one of the name of a secret.
        both, _ = delivered({"plain": {}})
        written = f'{{"Name":"orders","{escape}liToken":"{TOKEN}"}}'
        both.athena.connection.execute(
            f"UPDATE {both.athena.trail} SET requestparameters = ? WHERE eventsource = ?", [written, MWAA]
        )
        assert both.push_down(DAY).reasons == {"characters": 1}

    def test_numbers(self):
        few, many = ("1e99", "[0,-1.25E+30]", "1E-400", "1" + "0" * 300), ("1e400", "[0,-1.25E+400]", "1" + "0" * 399)
        both = BothPaths()
        for number, text in enumerate((*few, *many)):
            record = json.dumps(event(id_of(number), requestParameters={"Name": "orders", "n": "?"}))
            both.deliver(listed(key_of(unique=f"{number:016d}")), log_bytes(record.replace('"?"', text).encode()))
        summary = both.push_down(DAY)
        assert (summary.loaded, summary.reasons) == (len(few), {"number": len(many)})
        expected = expected_rows(both, summary.left, MWAA_EVENTS)
        for row in both.athena.rows(both.athena.events):
            assert_same(row, expected[row["event_id"]])

    def test_a_record_that_is_not_wanted_leaves_nothing(self):
        both, _ = delivered({
            name: members | {"eventSource": "s3.amazonaws.com"} for name, (_, members) in LEFT.items()
        })
        summary = both.push_down(DAY)
        assert (summary.files, summary.files_left, summary.filtered) == (len(LEFT), 0, 2 * len(LEFT))


@pytest.mark.parametrize(
    "selection",
    [
        pytest.param(Selection.of(event_names=["CreateCliToken"]), id="name"),
        pytest.param(Selection.of(environment_names=["orders", "it's"]), id="environment"),
        pytest.param(Selection.of(environment_names=[SHOP]), id="environment-that-is-a-token"),
        pytest.param(Selection.of(event_names=["X"], include_environment_activity=True), id="name-activity"),
        pytest.param(ACTIVITY, id="activity"),
        pytest.param(
            Selection.of(environment_names=["billing"], include_environment_activity=True), id="environment-activity"
        ),
        pytest.param(Selection.of(event_sources=None, environment_names=["orders"]), id="environment-any-source"),
        pytest.param(Selection.of(event_names=["X"]) | Selection.of(environment_names=["orders"]), id="union"),
        pytest.param(
            Selection.of(event_sources=None, environment_names=["billing"])
            | Selection.of(environment_names=["orders"]),
            id="union-of-sources",
        ),
        pytest.param(ALL, id="all"),
    ],
)
def test_selections_select_alike(selection):
    records = {
        "plain": {},
        "x": {"eventName": "X"},
        "x-of-other": {"eventSource": "s3.amazonaws.com", "eventName": "X"},
        "x-of-billing": {"eventName": "X", "requestParameters": {"Name": "billing"}},
        "billing": {"requestParameters": {"Name": "billing"}},
        "quoted": {"requestParameters": {"Name": "it's"}},
        "serverless": SERVERLESS,
        "other": {"eventSource": "s3.amazonaws.com"},
        "other-with-resource": {"eventSource": "s3.amazonaws.com", "resources": [{"ARN": ENVIRONMENT}]},
        "session": {"eventSource": "s3.amazonaws.com", **identity(arn=f"{ROLE}/x/AmazonMWAA-airflow")},
        "principal": {"eventSource": "s3.amazonaws.com", **identity(principalId="A:AmazonMWAA-airflow")},
        "session-of-name": {"eventSource": "s3.amazonaws.com", "eventName": "X", **identity(invokedBy=MWAA)},
        "address": {"eventSource": "kms.amazonaws.com", "sourceIPAddress": MWAA},
        "agent": {"eventSource": "kms.amazonaws.com", "userAgent": "airflow-env.amazonaws.com"},
        "agent-that-is-a-token": {
            "eventSource": "kms.amazonaws.com",
            "userAgent": "airflow-env.amazonaws.com",
            "responseElements": {"WebToken": "airflow-env.amazonaws.com"},
        },
        "shop-that-is-a-token": {"requestParameters": {"Name": SHOP, "WebToken": SHOP}},
        "no-source": {"eventSource": ..., "eventName": ...},
    }
    both, _ = delivered(records)
    summary = both.push_down(DAY, selection)
    expected = expected_rows(both, [], selection)
    assert {row["event_id"] for row in both.athena.rows(both.athena.events)} == set(expected)
    assert summary.loaded == len(expected) > 0
    assert summary.records == 2 * len(records) == summary.loaded + summary.filtered


def test_no_statement_relies_on_functions_that_engines_lack(statements):
    text = " ".join(statements)
    # Look-around is Java's alone; replacements with groups are written in two ways.
    assert not re.search(r"\(\?[=!<]", text)
    assert "regexp_replace" not in text


def test_all_patterns_of_the_statements_are_looked_at(statements):
    found = set().union(*(patterns_of(text) for text in statements))
    assert len(found) > 15
    assert sum(text.count("regexp_like(") for text in statements) > 0
    assert all(map(read_alike, found))
    # It would be tried at each place of a text, to its end.
    assert [pattern for pattern in found if pattern.removeprefix("(?s)").startswith(".*")] == []
