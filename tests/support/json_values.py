"""JSON as hypothesis may draw it: values, records that are nearly some, and the bytes of both."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from tests.support.log_files import event

# With NUL and halves of surrogate pairs, which JSON can carry as escapes.
texts = st.text(st.characters(exclude_categories=()), max_size=12) | st.sampled_from([
    "",
    "\0",
    "\ud83d",
    "***",
    "airflow.amazonaws.com",
    "a-secret-of-some-length",
    "InvokeRestApi",
    "true",
    "403",
    "arn:aws:airflow:eu-west-1:111122223333:environment/orders",
])
numbers = (
    st.integers()
    | st.sampled_from([2**53 + 1, -(2**63), 2**64, 10**30])
    | st.floats(allow_nan=False, allow_infinity=False)
)
names = texts | st.sampled_from([
    *event(),
    "Name",
    "name",
    "Body",
    "CliToken",
    "WebToken",
    "RestApiResponse",
    "RestApiStatusCode",
    "message",
    "ARN",
    "arn",
    "type",
    "sessionContext",
    "sessionIssuer",
    "attributes",
])
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4), max_leaves=12
)
objects = st.dictionaries(names, values, max_size=6)
times = st.sampled_from(["2026-02-03T09:58:00Z", "2026-02-03T09:58:00.1234567", "0001-01-01T00:00:00+14:00", "soon"])
records = st.builds(
    lambda members, changed, at: {**members, **changed, **at},
    st.just({}) | st.just(event()),
    objects,
    st.just({}) | st.fixed_dictionaries({"eventTime": times}),
)
"""Objects, half of them with most of what a record has, one or the other member replaced by something else."""


def encoded(value: Any, *, ascii_only: bool = True) -> bytes:
    """Return JSON bytes; halves of surrogate pairs are escaped."""
    if ascii_only:
        return json.dumps(value).encode()
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()
