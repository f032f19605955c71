from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cloudtrail.trail.scrub import may_need_scrubbing, scrub, suspicious_places

SECRET = "an-invented-secret-of-some-length"


def members(content: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    names = st.sampled_from(["Body", "BODY", "somebody", "CliToken", "nextToken", "RestApiResponse", "n\0"])
    return st.dictionaries(names, content, max_size=4)


values = st.recursive(
    st.sampled_from(["***", "***x", SECRET, f"{SECRET}=", "", None, "x\0", "\ud83d"]),
    lambda inner: st.lists(inner, max_size=2) | members(inner),
    max_leaves=6,
)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Return a record as JSON, with or without spaces, some of its letters as escapes."""
    record = {"eventName": draw(st.sampled_from(["InvokeRestApi", "CreateCliToken"])), **draw(members(values))}
    text = json.dumps(record, separators=draw(st.sampled_from([(",", ":"), (", ", ": "), (",", " : ")])))
    letter = draw(st.sampled_from(["", "B", "I", "=", "T"]))
    return text.replace(letter, f"\\u{ord(letter):04x}") if letter else text


@given(texts())
def test_no_record_is_passed_by_that_would_be_scrubbed(text: str) -> None:
    record = json.loads(text)
    if scrub(record) != (record, 0):
        assert may_need_scrubbing(text.encode())


@given(st.lists(texts(), min_size=1, max_size=4))
def test_places_in_many_records_are_in_each_that_would_be_scrubbed(records: list[str]) -> None:
    document = ",".join(records).encode()
    places = list(suspicious_places(document))
    begin = 0
    for text in records:
        end = begin + len(text.encode())
        if may_need_scrubbing(text.encode()):
            assert any(begin <= place < end for place in places)
        begin = end + 1
