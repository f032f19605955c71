from __future__ import annotations

import json
import logging

import pytest

from tests.support.engines import REDSHIFT
from tests.support.log_files import event
from tests.support.rows import file_rows
from tests.support.tables import assert_balanced, kept, query, read_table

pytestmark = pytest.mark.skipif(not REDSHIFT, reason="needs embedded PostgreSQL, redshift_connector, sqlglot and moto")


def test_long_values_are_shortened_and_complete_in_the_record(staged, inserted, caplog):
    long, longer = "é" * 40_000, "x" * 300_000
    records = [
        event("a", userAgent=long, requestParameters={"Name": "orders", "text": long}),
        event("b", userAgent=longer, responseElements={"answer": longer}),
        event("c"),
        event("d", requestParameters={"list": ["y" * 50_000] * 3}),
    ]
    for warehouse in (staged, inserted):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            (entry,) = warehouse.write([file_rows("20260203T1000Z", *records)])
        assert entry.loaded == 4
        events = {row["event_id"]: row for row in read_table(warehouse).events}
        assert events["a"]["user_agent"] == kept(warehouse, long)
        assert events["a"]["user_agent"].endswith("é... (shortened from 80000 bytes)")
        assert events["a"]["environment_name"] == "orders"
        assert events["b"]["user_agent"].endswith("x... (shortened from 300000 bytes)")
        for event_id, member, value in (("a", "userAgent", long), ("b", "userAgent", longer)):
            assert json.loads(events[event_id]["raw_event"])[member] == value
        assert "shortened in their columns" in caplog.text
        assert "array of the pieces" in caplog.text
        assert long not in caplog.text
    staged_row, inserted_row = ({row["event_id"]: row for row in read_table(w).events} for w in (staged, inserted))
    assert staged_row["d"]["request_parameters"] == {"list": ["y" * 50_000] * 3}
    # What JSON_PARSE is given has at most 65,535 bytes: the strings in it have less.
    assert [len(text) for text in inserted_row["d"]["request_parameters"]["list"]] == [8_192] * 3


def test_records_above_what_a_row_may_have_are_cut_and_say_so(staged, inserted, caplog):
    record = event("a", requestParameters={str(number): "\x01" * 60_000 for number in range(14)})
    for warehouse in (staged, inserted):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            (entry,) = warehouse.write([file_rows("20260203T1000Z", record, event("b"))])
        assert entry.loaded == 2
        row, _ = read_table(warehouse).events
        assert "... (shortened from " in row["raw_event"][-60:]
        assert "log_file_uri and log_file_index say where" in caplog.text
        assert_balanced(read_table(warehouse))


def test_record_of_some_megabytes_stays_complete_where_files_are_staged(staged):
    parameters = {str(number): "x" * 60_000 for number in range(62)}
    staged.write([file_rows("20260203T1000Z", event("a", requestParameters=parameters))])
    (row,) = read_table(staged).events
    assert json.loads(row["raw_event"])["requestParameters"] == parameters
    assert {len(text) for text in row["request_parameters"].values()} == {1_024}


def test_records_that_super_cannot_hold_are_kept_in_pieces(staged, inserted):
    raw = b'{ "eventTime":"2026-02-03T09:58:00Z", "eventID":"a", "a":1.50, "a":2e1,\n "A":"\\/" }'
    for warehouse in (staged, inserted):
        warehouse.write([file_rows("20260203T1000Z", raw)])
        ((stored,),) = query(warehouse, f"SELECT raw_event FROM {warehouse.events}")
        assert json.loads(stored) == [raw.decode()]


def test_record_is_navigable_where_super_holds_it(staged, inserted):
    for warehouse in (staged, inserted):
        warehouse.write([file_rows("20260203T1000Z", event("a"))])
        ((stored,),) = query(warehouse, f"SELECT raw_event FROM {warehouse.events}")
        assert json.loads(stored)["eventID"] == "a"
