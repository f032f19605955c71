"""Whatever stands where, both ways to read a record give the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_cloudtrail.audit_event import AuditEvent, QuarantineEntry
from tests.support.documented_records import FULL, both, changed, paths
from tests.support.json_values import values

pytest.importorskip("msgspec")


@given(st.sampled_from([*paths(FULL), ("unknown",), ("userIdentity", "unknown")]), values)
@example(("eventTime",), 1e16)
def test_any_value_in_any_place(path: tuple[str, ...], value: Any) -> None:
    fast, lenient = both(json.dumps(changed(path, value)).encode())
    assert comparable(fast) == comparable(lenient)


def comparable(found: AuditEvent | QuarantineEntry | None) -> Any:
    """Return a row without the way in which an encoder writes numbers."""
    names = ("request_parameters", "response_elements", "resources", "raw_event", "raw")
    documents = {name: getattr(found, name) for name in names if hasattr(found, name)}
    parsed = {name: text if text is None else json.loads(text) for name, text in documents.items()}
    return found if found is None else (found._replace(**dict.fromkeys(documents)), parsed)
