"""What the stand-in of Athena refuses among regular expressions, because Java reads it otherwise than DuckDB."""

from __future__ import annotations

import pytest

from tests.support.trino_patterns import read_alike


@pytest.mark.parametrize(
    ("pattern", "alike"),
    [
        (r"[:,\[]-?[0-9]+", True),
        ("[:,[]-?[0-9]+", False),
        ("[[:alpha:]]", False),
        ("[a-z&&x]", False),
        (r"^[^/]*/(.+)\z", True),
        ("^[0-9]+$", False),
        (r"costs \$[0-9$]+", True),
        (r"[]a]|[^]\]]", True),
    ],
)
def test_patterns_that_java_reads_otherwise_are_refused(pattern, alike):
    assert read_alike(pattern) is alike
