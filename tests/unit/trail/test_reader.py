from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from airflow_provider_cloudtrail.audit_event import FileRows, QuarantineEntry
from airflow_provider_cloudtrail.trail.codec import CODEC, MalformedError, StandardCodec
from airflow_provider_cloudtrail.trail.reader import read_log_file, read_record, read_records, unreadable_file
from airflow_provider_cloudtrail.trail.record import Provenance
from airflow_provider_cloudtrail.trail.selection import Selection
from tests.support.log_files import document, event, foreign, listed, log_bytes

FILE = listed(size_bytes=99, etag="listed")
MWAA, ALL = Selection.of(), Selection.of(event_sources=None)
SECRET = "a-value-that-must-not-show-up"
PACKED = log_bytes(event(userAgent=SECRET))
NESTED = b"[" * 100_000 + b"]" * 100_000
BAD_BYTE, HUGE = "a byte that is not UTF-8", "a number that is out of range"


def undecodable(**members: Any) -> bytes:
    """Return an event in which a byte that is not UTF-8 and a number that is too large stand for these two texts."""
    text = json.dumps({"eventSource": "airflow.amazonaws.com", **members}).encode()
    return text.replace(BAD_BYTE.encode(), b"caf\xe9").replace(json.dumps(HUGE).encode(), b"1e400")


def read(content: bytes, selection: Selection = MWAA, **arguments: Any) -> FileRows:
    return read_log_file(FILE, content, "e1", selection, **arguments)


def of_the_file(rows: FileRows) -> FileRows:
    """Return the rows without the moment at which they were read."""
    return FileRows(
        rows.entry._replace(loaded_at=FILE.delivered_at),
        [event._replace(loaded_at=FILE.delivered_at) for event in rows.events],
        [entry._replace(quarantined_at=FILE.delivered_at) for entry in rows.quarantine],
        rows.unpacked_bytes,
    )


def test_a_file() -> None:
    content = document(event("a"), foreign(), event("b"), 7)
    packed = gzip.compress(content)
    rows = read(packed, loaded_by="me")
    entry = rows.entry
    assert [row.event_id for row in rows.events] == ["a", "b"]
    assert [row.log_file_index for row in rows.events] == [0, 2]
    assert (entry.records, entry.filtered, entry.quarantined) == (4, 1, 1)
    assert (entry.loaded, entry.duplicate) == (None, None)
    assert (entry.status, entry.reason) == ("loaded", None)
    assert (entry.log_file_uri, entry.etag, entry.size_bytes) == (FILE.uri, "e1", len(packed))
    assert entry.sha256 == hashlib.sha256(content).hexdigest()
    assert (entry.account_id, entry.region, entry.delivered_at) == (FILE.account_id, FILE.region, FILE.delivered_at)
    assert (entry.selection, entry.loaded_by) == (MWAA.to_text(), "me")
    assert rows.unpacked_bytes == len(content)
    assert {row.loaded_by for row in rows.events} == {"me"}


def test_a_file_without_the_wanted_source_is_not_parsed() -> None:
    # What would be a fault shows that nobody looked.
    content = b'{"Records":[{"eventSource":"ec2.amazonaws.com"}, this is no JSON'
    rows = read(gzip.compress(content))
    assert (rows.entry.status, rows.entry.reason, rows.entry.records) == ("no_match", None, None)
    assert rows.entry.sha256 == hashlib.sha256(content).hexdigest()
    assert (rows.events, rows.quarantine) == ([], [])


def test_empty_files() -> None:
    assert read(log_bytes()).entry.status == "no_match"
    assert read(log_bytes(), ALL).entry.status == "loaded"
    assert read(log_bytes(), ALL).entry.records == 0


BAD_FILES = [
    pytest.param(PACKED[:-20], {}, "truncated_gzip", id="truncated"),
    pytest.param(gzip.compress(PACKED), {}, "packed_twice", id="packed once more"),
    pytest.param(PACKED + SECRET.encode(), {}, "bytes_behind_gzip", id="bytes behind the gzip"),
    pytest.param(PACKED + PACKED, {}, "bytes_behind_gzip", id="several members"),
    pytest.param(document(event(userAgent=SECRET)), {}, "not_gzip", id="not gzip"),
    pytest.param(b"", {}, "not_gzip", id="empty object"),
    pytest.param(gzip.compress(document(event(userAgent=SECRET))[:-3]), {}, "not_json", id="not JSON"),
    pytest.param(gzip.compress(b""), {"selection": ALL}, "not_json", id="nothing in the gzip"),
    pytest.param(gzip.compress(json.dumps({"a": event()}).encode()), {}, "no_records", id="Records missing"),
    pytest.param(gzip.compress(json.dumps({"Records": event()}).encode()), {}, "no_records", id="Records no list"),
    pytest.param(gzip.compress(json.dumps([event()]).encode()), {}, "no_records", id="bare list"),
    pytest.param(log_bytes(event(x=SECRET), NESTED), {}, "nested_too_deeply", id="nested too deeply"),
    pytest.param(gzip.compress(bytes(10_000_000)), {"max_file_bytes": 1_000_000}, "too_large", id="bomb"),
    pytest.param(log_bytes(event(x="x" * 5000)), {"max_file_bytes": 5000}, "too_large", id="above max_file_bytes"),
]


@pytest.mark.parametrize(("content", "arguments", "code"), BAD_FILES)
def test_bad_file(content: bytes, arguments: dict[str, Any], code: str) -> None:
    rows = read(content, **arguments)
    reason = rows.entry.reason
    assert rows.entry.status == "quarantined"
    assert reason is not None
    assert reason.startswith(f"{code}: {FILE.uri}: ")
    assert SECRET not in reason
    assert [rows.entry.records, rows.entry.filtered, rows.entry.quarantined] == [None] * 3
    assert rows.events == []
    ((uri, index, again, raw, _),) = rows.quarantine
    assert (uri, index, again, raw) == (FILE.uri, None, reason, None)


def test_reason_of_a_large_file_names_the_limit() -> None:
    assert "max_file_bytes=10 " in (read(PACKED, max_file_bytes=10).entry.reason or "")


BAD_RECORDS = [
    pytest.param(b"7", "not_an_object", "7", id="number"),
    pytest.param(b"null", "not_an_object", "null", id="null"),
    pytest.param(b'"text"', "not_an_object", '"text"', id="text"),
    pytest.param(b'[{"eventSource":"airflow.amazonaws.com"}]', "not_an_object", None, id="list"),
    pytest.param(event(eventTime=...), "no_event_time", None, id="no eventTime"),
    pytest.param(event(eventTime="soon"), "no_event_time", None, id="eventTime is no time"),
    pytest.param(event(eventTime=1770112680), "no_event_time", None, id="eventTime is a number"),
    pytest.param(
        b'{"eventSource":"airflow.amazonaws.com","eventTime":"2026-02-03T09:58:00Z","a":"\xff"}',
        "invalid_utf8",
        '{"eventSource":"airflow.amazonaws.com","eventTime":"2026-02-03T09:58:00Z","a":"\\\\xff"}',
        id="not UTF-8",
    ),
    pytest.param(
        b'{"eventSource":"airflow.amazonaws.com","eventTime":"2026-02-03T09:58:00Z","requestParameters":{"a":1e999}}',
        "number_out_of_range",
        None,
        id="number that no engine stores",
    ),
]


@pytest.mark.parametrize(("record", "code", "raw"), BAD_RECORDS)
def test_bad_record(record: Any, code: str, raw: str | None) -> None:
    rows = read(log_bytes(event("a"), record, event("b"), foreign()))
    assert [row.event_id for row in rows.events] == ["a", "b"]
    assert (rows.entry.status, rows.entry.records, rows.entry.filtered, rows.entry.quarantined) == ("loaded", 4, 1, 1)
    (entry,) = rows.quarantine
    assert (entry.log_file_uri, entry.record_index) == (FILE.uri, 1)
    assert entry.reason.startswith(f"{code}: {FILE.uri} record 1: ")
    assert entry.raw is not None
    assert raw is None or entry.raw == raw


def test_what_is_no_object_is_quarantined_in_files_that_are_parsed_only() -> None:
    assert read(log_bytes(7, foreign())).entry.status == "no_match"
    assert read(log_bytes(7, foreign()), ALL).entry.quarantined == 1


def test_bad_record_that_is_not_wanted_is_filtered() -> None:
    rows = read(log_bytes(event(), foreign(eventTime=None)))
    assert (rows.entry.filtered, rows.entry.quarantined) == (1, 0)


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(event(eventTime=None, responseElements={"CliToken": SECRET, "m": SECRET}), id="readable"),
        pytest.param(undecodable(CliToken=SECRET, a=BAD_BYTE), id="not UTF-8"),
        pytest.param(undecodable(CliToken=SECRET, a=HUGE), id="number that no engine stores"),
        pytest.param(undecodable(CliToken=SECRET, a=HUGE, url=f"x?{SECRET}"), id="the same text elsewhere"),
        pytest.param(undecodable(CliToken={"a": [SECRET, {}], "b": BAD_BYTE}, url=SECRET[:3]), id="an object"),
        pytest.param(undecodable(CliToken=[[SECRET], HUGE]), id="a list"),
        pytest.param(undecodable(eventName="InvokeRestApi", Body={"a": SECRET}, CliToken=BAD_BYTE), id="body"),
        pytest.param(undecodable(eventName="InvokeRestApi", Body=SECRET, CliToken="x", a=HUGE), id="body of text"),
    ],
)
@pytest.mark.parametrize("codec", [pytest.param(CODEC, id="installed"), pytest.param(StandardCodec(), id="standard")])
def test_raw_in_quarantine_is_scrubbed(record: Any, codec: StandardCodec) -> None:
    (entry,) = read(log_bytes(record), codec=codec).quarantine
    assert entry.raw is not None
    assert '"CliToken":"***"' in entry.raw
    assert SECRET not in entry.raw
    assert SECRET not in entry.reason


def test_raw_in_quarantine_shows_what_cannot_be_stored() -> None:
    digits = "9" * 5000
    record = undecodable(a=BAD_BYTE, b=HUGE).replace(b"1e400", b"[1e400,-1e400,1.5,7,%b]" % digits.encode())
    (entry,) = read(log_bytes(record)).quarantine
    shown = json.loads(entry.raw or "")
    assert (shown["a"], shown["b"]) == ("caf\\xe9", ["1e400", "-1e400", 1.5, 7, digits])


@pytest.mark.parametrize(
    ("record", "code", "kept"),
    [
        pytest.param(b'{"a":"\xff\0",', "invalid_utf8", '{"a":"\\xff",', id="no JSON"),
        pytest.param(b'{"CliToken":"x', "not_json", None, id="no JSON, a token"),
        pytest.param(b'{"eventName":"InvokeRestApi","Body":{"a":"x"', "not_json", None, id="no JSON, a body"),
        pytest.param(b'{"a":%b}' % NESTED, "nested_too_deeply", f'{{"a":{NESTED.decode()}}}', id="deep"),
        pytest.param(b'{"WebToken":"x","a":%b}' % NESTED, "nested_too_deeply", None, id="deep, a token"),
    ],
)
def test_raw_of_what_cannot_be_taken_apart_is_kept_if_nothing_secret_can_be_in_it(
    record: bytes, code: str, kept: str | None
) -> None:
    entry = read_record(record, 3, ALL, Provenance(FILE, FILE.delivered_at, None))
    assert isinstance(entry, QuarantineEntry)
    assert entry.reason.startswith(f"{code}: {FILE.uri} record 3: ")
    assert entry.raw == kept


def test_raw_in_quarantine_can_be_stored_by_every_engine() -> None:
    rows = read(log_bytes(event(eventTime=None, userAgent="a\0b\ud83d"), b'"\\u0000\\ud83d"'))
    for entry in rows.quarantine:
        assert entry.raw is not None
        assert "\0" not in entry.raw
        assert "\\u0000" not in entry.raw
        entry.raw.encode()
    assert len(rows.quarantine) == 2


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(b'"\\u0061irflow.amazonaws.com"', id="letter"),
        pytest.param(b'"airflow\\u002eamazonaws.com"', id="dot"),
        pytest.param(b'"airflow\\u002Eamazonaws.com"', id="dot, upper case"),
        pytest.param(b'"airflow\\u002dserverless.amazonaws.com"', id="hyphen"),
        pytest.param(b'"airflow.ama\\u007Aonaws.com"', id="z"),
    ],
)
def test_source_hidden_by_an_escape_is_found(source: bytes) -> None:
    record = b'{"eventID":"h","eventTime":"2026-02-03T09:58:00Z","eventSource":' + source + b"}"
    rows = read(log_bytes(record))
    assert (rows.entry.status, rows.entry.filtered) == ("loaded", 0)
    assert [row.event_id for row in rows.events] == ["h"]


def test_source_in_another_member_does_not_make_an_event_wanted() -> None:
    rows = read(log_bytes(foreign(userAgent="airflow.amazonaws.com")))
    assert (rows.entry.status, rows.entry.filtered, rows.events) == ("loaded", 1, [])


def test_same_event_twice_in_a_file_is_two_events() -> None:
    rows = read(log_bytes(event("a"), event("a")))
    assert [row.event_id for row in rows.events] == ["a", "a"]


HOSTILE = [
    log_bytes(event("a"), foreign(), 7, event(eventTime=None), event("b"), event("b", x="\0\ud83d")),
    log_bytes(*[case.values[0] for case in BAD_RECORDS]),
    log_bytes(foreign()),
    *[case.values[0] for case in BAD_FILES],
    log_bytes(event(requestParameters={"n": 2**70, "f": 1.5, "z": 1e5, "deep": [[[[{}]]]]})),
    log_bytes(b'{"eventSource":"airflow.amazonaws.com","eventTime":"2026-02-03T09:58:00Z","n":1.0,"m":1E5,"m":2}'),
]


@pytest.mark.parametrize("selection", [MWAA, ALL], ids=["MWAA", "all"])
@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_balance_and_both_codecs(content: bytes, selection: Selection) -> None:
    rows = read(content, selection, max_file_bytes=1_000_000)
    entry = rows.entry
    if entry.status == "loaded":
        assert entry.records == len(rows.events) + (entry.filtered or 0) + (entry.quarantined or 0)
        assert entry.quarantined == len(rows.quarantine)
    standard = read(content, selection, max_file_bytes=1_000_000, codec=StandardCodec())
    assert of_the_file(standard) == of_the_file(rows)


def test_deepest_record_that_can_be_read_is_read_or_quarantined() -> None:
    outcomes = set()
    for depth in (10, 100, 300, 500, 900, 1000, 2000, 5000, 100_000):
        deep = b"[" * depth + b"]" * depth
        record = (
            b'{"eventSource":"airflow.amazonaws.com","eventTime":"2026-02-03T09:58:00Z","CliToken":"x","d":%b}' % deep
        )
        for codec in (CODEC, StandardCodec()):
            rows = read(log_bytes(record), codec=codec)
            outcomes.add(rows.entry.status if rows.entry.reason is None else rows.entry.reason.partition(":")[0])
            assert len(rows.events) + len(rows.quarantine) == 1
    assert outcomes == {"loaded", "nested_too_deeply"}


@pytest.mark.parametrize("codec", [CODEC, StandardCodec()], ids=["CODEC", "standard"])
@pytest.mark.parametrize(
    ("selection", "members"),
    [
        pytest.param(Selection.of(environment_names=["orders"]), {"requestParameters": {"Name": "@"}}, id="selection"),
        pytest.param(ALL, {"requestParameters": {"Name": "@"}}, id="environment"),
        pytest.param(ALL, {"errorCode": "X", "responseElements": {"message": "@"}}, id="text of an error"),
    ],
)
def test_value_that_is_too_deep_only_for_what_is_asked_of_it_does_not_stop_the_run(
    codec: StandardCodec, selection: Selection, members: dict[str, Any]
) -> None:
    # Near the depth at which Python stops: deep enough for one thing, and not for another.
    for depth in range(850, 1000):
        deep = json.dumps(event(eventName="GetEnvironment", **members)).replace('"@"', "[" * depth + "]" * depth)
        rows = read(log_bytes(deep.encode(), event("b")), selection, codec=codec)
        filtered = rows.entry.filtered or 0
        assert rows.entry.status == "quarantined" or len(rows.events) + len(rows.quarantine) + filtered == 2


def test_unreadable_file() -> None:
    rows = unreadable_file(FILE, "access_denied", f"{FILE.uri}: AccessDenied", MWAA, loaded_by="me")
    assert (rows.entry.status, rows.entry.reason) == ("quarantined", f"access_denied: {FILE.uri}: AccessDenied")
    assert (rows.entry.etag, rows.entry.size_bytes, rows.entry.sha256) == ("listed", 99, None)
    assert (len(rows.quarantine), rows.unpacked_bytes) == (1, 0)


def test_read_records() -> None:
    assert list(read_records(log_bytes(event("a"), 7, foreign("f")))) == [event("a"), 7, foreign("f")]


def test_read_records_raises_at_the_first_fault() -> None:
    reading = read_records(log_bytes({"a": 1}, b'"\xff"'))
    assert next(reading) == {"a": 1}
    with pytest.raises(MalformedError, match="not UTF-8"):
        next(reading)


@pytest.mark.parametrize(
    ("content", "entered"),
    [
        pytest.param(log_bytes(event("a"), event("b")), 1, id="parsed"),
        pytest.param(log_bytes(foreign()), 0, id="nothing in it that is wanted"),
        pytest.param(b"no gzip", 0, id="cannot be unpacked"),
    ],
)
def test_only_parsing_is_guarded(content: bytes, entered: int) -> None:
    inside: list[str] = []

    @contextmanager
    def guard() -> Iterator[None]:
        inside.append("entered")
        yield
        inside.append("left")

    read(content, parsing=guard())
    assert inside == ["entered", "left"] * entered
