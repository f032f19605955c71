"""Files and texts with all that a warehouse could stumble over."""

from __future__ import annotations

import pytest

from airflow_provider_cloudtrail.audit_event import FileRows
from tests.support.log_files import event, foreign
from tests.support.rows import ALL, MWAA, file_rows


def hostile_batch() -> list[FileRows]:
    """Return files of every kind, with events repeated inside of a file and across files."""
    return [
        file_rows("20260203T1000Z", event("a"), foreign("f"), event("b"), event("a"), 7, selection=MWAA),
        file_rows("20260203T1005Z", event("b"), event("c"), event(eventTime=None), selection=MWAA),
        file_rows("20260203T1010Z", foreign(), selection=MWAA),
        file_rows("20260203T1015Z", body=b"no gzip", selection=MWAA),
        file_rows("20260203T1020Z", event("c", userAgent="copy"), event("a"), selection=MWAA),
        file_rows("20260203T1025Z", event("d"), event("e\0"), event(eventID=...), b"null", selection=MWAA),
        file_rows("20260203T1030Z", selection=ALL),
        file_rows("20260203T1035Z", None, True, [], "text", selection=ALL),
    ]


TEXTS = [
    pytest.param("a\tb\nc\rd", id="tab and line ends"),
    pytest.param("\\", id="backslash"),
    pytest.param("\\.", id="end of a COPY"),
    pytest.param("\\.\n\\.", id="end of a COPY on a line of its own"),
    pytest.param("\\N", id="null of a COPY"),
    pytest.param("\\n\\t\\x41\\101", id="escapes of a COPY"),
    pytest.param("'; DROP TABLE audit; --", id="quote"),
    pytest.param('"', id="double quote"),
    pytest.param("%s %(x)s ? :1 $1 {}", id="placeholders"),
    pytest.param("NULL", id="the word NULL"),
    pytest.param("\N{WATER WAVE}\N{REPLACEMENT CHARACTER}é\u2028\ufeff", id="emoji and others"),
    pytest.param("\x01\x1f\x7f", id="control characters"),
    pytest.param("x" * 300_000, id="300 KB"),
    pytest.param(" ", id="space"),
    pytest.param("=1+1", id="formula"),
    pytest.param("\0hidden\0", id="NUL"),
    pytest.param("a\ud83d", id="lone surrogate"),
]
