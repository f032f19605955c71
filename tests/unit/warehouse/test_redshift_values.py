from __future__ import annotations

import json

import pytest

from airflow_provider_cloudtrail.warehouse.redshift_values import MAX_STRING, super_json, super_record
from airflow_provider_cloudtrail.warehouse.shorten import shortened

LONG = "é" * 40_000
WIDE = "\N{GRINNING FACE}" * 40_000


def test_shortened_text_has_its_bytes_and_says_so():
    assert shortened("é" * 16_000, MAX_STRING) == "é" * 16_000
    assert shortened("x" * MAX_STRING, MAX_STRING) == "x" * MAX_STRING
    text = shortened(LONG, MAX_STRING)
    assert text.endswith("é... (shortened from 80000 bytes)")
    assert MAX_STRING - 1 <= len(text.encode()) <= MAX_STRING
    assert shortened("abc" * 100, 40) == "abcabcabca... (shortened from 300 bytes)"
    assert shortened("abc" * 100, 10) == "... (shortened from 300 bytes)"
    # Of the characters that take the most bytes.
    assert len(shortened(WIDE[:30], 100).encode()) <= 100


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"a":[1,-1.5,2e10,null,true,""],"":{"a":1,"A":2}}', id="all kinds"),
        pytest.param("null", id="null"),
        pytest.param(f'"{"x" * MAX_STRING}"', id="longest string"),
        pytest.param("9" * 38, id="38 digits"),
        pytest.param("[" * 900 + "]" * 900, id="900 levels"),
        pytest.param("[" + "[]," * 2_000 + "{}]", id="many lists"),
        pytest.param('{"a":"[[[[","b":"\\"{"}', id="brackets in strings"),
        pytest.param(json.dumps(["y" * 60_000] * 15), id="large, but no long string"),
    ],
)
def test_what_super_holds_stays_as_it_is(text):
    assert super_json(text, 1_000_000) == text
    assert super_record(text, 1_000_000, 1_000_000) == (text, None, False)


def test_as_many_levels_as_super_holds_are_kept_also_where_python_cannot_decode_them():
    text = "[" * 1_000 + "]" * 1_000
    stored = super_record(text, 1_000_000, 1_000_000)
    assert "".join(stored.pieces or [stored.json]) == text
    assert super_json(text, 1_000_000) in (text, json.dumps(text))


@pytest.mark.parametrize(
    ("text", "reduced"),
    [
        pytest.param(f'{{"a":["{LONG}",1]}}', {"a": [shortened(LONG, MAX_STRING), 1]}, id="long string"),
        pytest.param(f'["{WIDE}"]', [shortened(WIDE, MAX_STRING)], id="long string of characters of four bytes"),
        pytest.param(f'{{"{LONG}":1.5}}', {shortened(LONG, MAX_STRING): 1.5}, id="long name"),
        pytest.param("[" + "9" * 39 + ",1]", ["9" * 39, 1], id="39 digits"),
        pytest.param("[1e400,1E400,-2e-999,1E5]", ["1e400", "1E400", "-2e-999", 1e5], id="exponent"),
        pytest.param("[" * 1_500 + "]" * 1_500, "[" * 1_500 + "]" * 1_500, id="levels"),
    ],
)
def test_json_that_super_cannot_hold(text, reduced):
    assert json.loads(super_json(text, 1_000_000)) == reduced
    stored = super_record(text, 1_000_000, 1_000_000)
    assert "".join(stored.pieces) == text
    assert json.loads(stored.json) == stored.pieces
    assert max(len(piece.encode()) for piece in stored.pieces) <= MAX_STRING
    assert not stored.cut


def test_json_above_the_limit_keeps_its_members_as_far_as_possible():
    value = {f"n{number}": "x" * 50_000 for number in range(6)}
    found = json.loads(super_json(json.dumps(value), 65_535))
    assert found == {name: shortened(text, 8_192) for name, text in value.items()}
    many = json.dumps([["x" * 100] * 5_000])
    found = super_json(many, 65_535)
    assert len(found.encode()) <= 65_535
    assert json.loads(found).endswith(f"... (shortened from {len(many)} bytes)")


def test_limit_is_one_of_bytes():
    text = json.dumps(["é" * 100] * 400, ensure_ascii=False)
    assert len(text) < 65_535 < len(text.encode())
    assert len(super_json(text, 65_535).encode()) <= 65_535


def test_json_that_becomes_a_string_is_no_longer_than_one_may_be():
    text = "[" * 40_000 + "]" * 40_000
    assert json.loads(super_json(text, 1_000_000)) == shortened(text, MAX_STRING)


def test_text_that_grows_when_it_is_escaped_stays_within_the_limit():
    # And keeps what has room there.
    assert 1_024 <= len(super_json(json.dumps(["\x01" * 200] * 100), 2_048).encode()) <= 2_048


@pytest.mark.parametrize("most_parsed", [100, 1_000_000])
def test_record_with_repeated_names_is_kept_in_pieces(most_parsed):
    text = '{"a":1.50,"a":2e1}'
    assert super_record(text, 1_000_000, most_parsed) == (json.dumps([text]), [text], False)
    assert not super_record(text, len(text), most_parsed).cut


def test_record_above_the_limit():
    stored = super_record(json.dumps({"a": LONG}, ensure_ascii=False), 70_000, 70_000)
    assert stored.cut
    assert len("".join(stored.pieces).encode()) <= 70_000
    assert stored.pieces[-1].endswith("... (shortened from 80009 bytes)")
    parsable = super_record('{"a":"b"}', 1_000, 4)
    assert parsable == ('["{\\"a\\":\\"b\\"}"]', ['{"a":"b"}'], False)
