from __future__ import annotations

import gzip
import json
from datetime import timezone
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cloudtrail.audit_event import AuditEvent, ColumnKind, FileRows, columns_of
from airflow_provider_cloudtrail.trail.codec import CODEC, StandardCodec
from airflow_provider_cloudtrail.trail.reader import read_log_file
from airflow_provider_cloudtrail.trail.selection import Selection
from tests.support.json_values import encoded, records, values
from tests.support.log_files import document, event, listed, log_bytes

FILE = listed()
SELECTIONS = [
    Selection.of(),
    Selection.of(event_sources=None),
    Selection.of(event_names=["CreateCliToken"], environment_names=["orders"], include_environment_activity=True),
]
selections = st.sampled_from(SELECTIONS)
STANDARD = StandardCodec()
PACKED = log_bytes(event("a"), event("b"))


def read(content: bytes, selection: Selection, codec: StandardCodec = CODEC) -> FileRows:
    """Read a file; what holds of every file is checked here."""
    rows = read_log_file(FILE, content, "e1", selection, codec=codec, max_file_bytes=1_000_000)
    entry = rows.entry
    assert entry.status in {"loaded", "no_match", "quarantined"}
    if entry.status == "loaded":
        assert entry.records == len(rows.events) + (entry.filtered or 0) + (entry.quarantined or 0)
        assert entry.quarantined == len(rows.quarantine)
    else:
        assert entry.records is None
        assert rows.events == []
        assert len(rows.quarantine) == (entry.status == "quarantined")
    assert (entry.reason is not None) == (entry.status == "quarantined")
    for row in rows.events:
        check_row(row)
    for found in rows.quarantine:
        for text in (found.reason, found.raw or ""):
            assert "\0" not in text
            text.encode()
    return rows


def check_row(row: AuditEvent) -> None:
    """Check that every engine can store a row."""
    for column, value in zip(columns_of(AuditEvent), row, strict=True):
        assert value is not None or not column.required, column
        if isinstance(value, str):
            value.encode()
            assert "\0" not in value, column
            if column.kind in {ColumnKind.JSON, ColumnKind.RAW_JSON}:
                assert "\\u0000" not in value.replace("\\\\", ""), column
                json.loads(value, parse_constant=lambda name: 1 / 0)
    assert row.event_time.tzinfo is timezone.utc
    assert 1 <= len(row.event_id) <= 255
    assert row.outcome in {"success", "denied", "error"}
    assert row.actor_kind in {
        "root", "iam_user", "temporary_credentials", "aws_service", "aws_account", "directory", "unknown",
    }  # fmt: skip
    assert isinstance(json.loads(row.raw_event), dict)


def comparable(rows: FileRows) -> tuple[Any, ...]:
    """Return rows without the moment of reading, and numbers without the way in which an encoder writes them."""
    return (
        rows.entry._replace(loaded_at=FILE.delivered_at),
        [
            [
                _value(value) if column.kind in {ColumnKind.JSON, ColumnKind.RAW_JSON} else value
                for column, value in zip(columns_of(AuditEvent), row._replace(loaded_at=FILE.delivered_at), strict=True)
            ]
            for row in rows.events
        ],
        [(entry.log_file_uri, entry.record_index, entry.reason, _value(entry.raw)) for entry in rows.quarantine],
        rows.unpacked_bytes,
    )


def _value(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return text


@given(st.binary(max_size=300), selections)
def test_any_bytes(content: bytes, selection: Selection) -> None:
    assert read(content, selection).entry.status == "quarantined"


@given(st.integers(0, len(PACKED) - 1), st.integers(1, 255), selections)
def test_any_byte_changed(position: int, change: int, selection: Selection) -> None:
    content = PACKED[:position] + bytes([PACKED[position] ^ change]) + PACKED[position + 1 :]
    for codec in (CODEC, STANDARD):
        rows = read(content, selection, codec)
        # The rest of the header says nothing of the content.
        assert rows.entry.status == "quarantined" or 3 <= position < 10


@given(st.integers(0, len(PACKED) - 1), selections)
def test_any_part_of_a_file(length: int, selection: Selection) -> None:
    for codec in (CODEC, STANDARD):
        assert read(PACKED[:length], selection, codec).entry.status == "quarantined"


@given(st.binary(max_size=300) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace")), selections)
def test_any_bytes_in_the_gzip(content: bytes, selection: Selection) -> None:
    packed = gzip.compress(content)
    assert comparable(read(packed, selection)) == comparable(read(packed, selection, STANDARD))


@given(st.data(), selections)
def test_any_bytes_within_a_document(data: st.DataObject, selection: Selection) -> None:
    whole = document(event("a"), event("b"))
    position = data.draw(st.integers(0, len(whole)))
    packed = gzip.compress(
        whole[:position] + data.draw(st.binary(max_size=4)) + whole[position + data.draw(st.integers(0, 4)) :]
    )
    assert comparable(read(packed, selection)) == comparable(read(packed, selection, STANDARD))


@settings(max_examples=200)
@given(st.lists(values | records, max_size=5), selections, st.booleans())
def test_any_values_as_records(given_values: list[Any], selection: Selection, ascii_only: bool) -> None:
    packed = log_bytes(*[encoded(value, ascii_only=ascii_only) for value in given_values])
    rows = read(packed, selection)
    if rows.entry.status == "loaded":
        assert rows.entry.records == len(given_values)
        indexes = [row.log_file_index for row in rows.events] + [entry.record_index for entry in rows.quarantine]
        assert len(set(indexes)) == len(indexes)
        objects = {index for index, value in enumerate(given_values) if isinstance(value, dict)}
        assert {row.log_file_index for row in rows.events} <= objects
    else:
        assert rows.entry.status == "no_match"
        assert not any(isinstance(value, dict) and selection.wants(value) for value in given_values)
    assert comparable(rows) == comparable(read(packed, selection, STANDARD))


@given(st.lists(values | records, max_size=5), selections, st.booleans())
def test_a_document_with_space_gives_the_same_records(
    given_values: list[Any], selection: Selection, ascii_only: bool
) -> None:
    # What is written as CloudTrail does is searched at once, everything else record by record.
    raws = [encoded(value, ascii_only=ascii_only) for value in given_values]
    for codec in (CODEC, STANDARD):
        compact, spaced = (
            comparable(read(gzip.compress(b'{"Records":[' + space + b",".join(raws) + b"]}"), selection, codec))
            for space in (b"", b" ")
        )
        assert compact[1:3] == spaced[1:3]
        assert compact[0]._replace(sha256=None, size_bytes=0) == spaced[0]._replace(sha256=None, size_bytes=0)


@settings(max_examples=300)
@given(records, st.booleans())
def test_any_object_is_a_row_or_in_quarantine(record: dict[str, Any], ascii_only: bool) -> None:
    raw = encoded(record, ascii_only=ascii_only)
    rows = read(log_bytes(raw), SELECTIONS[1])
    assert len(rows.events) + len(rows.quarantine) == rows.entry.records == 1
    if rows.quarantine:
        code = rows.quarantine[0].reason.partition(":")[0]
        assert code in {"no_event_time", "number_out_of_range"}
    if rows.events:
        (row,) = rows.events
        if b"\\u" not in raw and not row.redacted:
            assert row.raw_event == raw.decode()
        assert row.event_id == record.get("eventID") or row.event_id.startswith("derived-")


@given(records, st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=16, max_size=30))
def test_no_token_is_in_any_column(record: dict[str, Any], token: str) -> None:
    token = f"tk-{token}"
    record |= {"eventTime": "2026-02-03T09:58:00Z", "responseElements": {"CliToken": token}, "userAgent": token}
    (row,) = read(log_bytes(encoded(record)), SELECTIONS[1]).events
    assert row.redacted >= 1
    assert not [value for value in row if isinstance(value, str) and token in value]
