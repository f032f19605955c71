"""Merging into somebody else's requirements.txt: every byte outside of the block stays."""

from __future__ import annotations

import pytest

from airflow_provider_cloudtrail.mwaa import requirements
from airflow_provider_cloudtrail.mwaa.errors import MwaaStateError

LINES = ("--find-links /usr/local/airflow/plugins", "airflow-provider-cloudtrail==0.1.0")
CUSTOMERS = [
    pytest.param(b"", id="empty"),
    pytest.param(b"\n", id="one empty line"),
    pytest.param(b"pandas==2.1.4", id="no newline at the end"),
    pytest.param(b"pandas==2.1.4\n\n\n", id="newlines at the end"),
    pytest.param(
        b'--constraint "https://example.com/constraints-3.12.txt"\r\n# ours\r\npandas \\\r\n  ==2.1.4\r\n', id="CRLF"
    ),
    pytest.param(b"# -c off\nboto3\n", id="constraints switched off"),
    pytest.param(b"\xef\xbb\xbfpandas\n", id="byte order mark"),
    pytest.param(b"# M\xfcller\npandas\n", id="not UTF-8"),
]


@pytest.mark.parametrize("customers", CUSTOMERS)
def test_what_is_not_ours_survives(customers):
    once = requirements.merged(customers, LINES)
    assert requirements.own_lines(once) == LINES
    assert requirements.foreign_part(once) == customers
    assert requirements.merged(once, LINES) == once
    other = requirements.merged(once, ("airflow-provider-cloudtrail==0.2.0",))
    assert requirements.own_lines(other) == ("airflow-provider-cloudtrail==0.2.0",)
    assert requirements.foreign_part(other) == customers
    # An empty file is written as one with an empty line.
    assert requirements.merged(other, ()) == customers or (customers, b"\n") == (b"", requirements.merged(other, ()))


def test_byte_order_mark_stays_first():
    assert requirements.merged(b"\xef\xbb\xbfpandas\n", LINES).startswith(b"\xef\xbb\xbf# >>>")


def test_line_endings_of_an_editor():
    once = requirements.merged(b"pandas\n", LINES).replace(b"\n", b"\r\n")
    assert requirements.own_lines(once) == LINES
    assert requirements.foreign_part(once) == b"pandas\r\n"


@pytest.mark.parametrize("lines", [LINES, ("--no-index", *LINES), ("airflow-provider-cloudtrail[postgres]==0.1.0",)])
def test_block_does_not_switch_off_the_constraints_of_mwaa(lines):
    """MWAA adds its constraints unless ``-c `` or ``--constraint `` stands anywhere in the file, also in a comment."""
    content = requirements.merged(b"", lines)
    assert b"-c " not in content
    assert b"--constraint" not in content


@pytest.mark.parametrize(
    ("customers", "lines", "message"),
    [
        pytest.param(b"airflow-provider-cloudtrail\n", LINES, "delete that line", id="asked for already"),
        pytest.param(b"pandas\nAirflow_Provider.CloudTrail[duckdb]>=0.1\n", LINES, "delete that line", id="spelling"),
        pytest.param(
            b"/usr/local/airflow/plugins/airflow_provider_cloudtrail-0.1.0-py3-none-any.whl\n",
            LINES,
            "delete that line",
            id="the wheel by its path",
        ),
        pytest.param(b"pandas\n", ("--no-index", *LINES), "your own lines", id="no-index for others"),
        pytest.param(b"--no-index\n", LINES, "deploy with --no-index", id="no-index of the customer"),
        pytest.param(b"--find-links /x --no-index\n", LINES, "deploy with --no-index", id="no-index behind an option"),
        pytest.param(b"pandas==2.1.4 \\\n    --hash=sha256:aa\n", LINES, "has hashes", id="hash"),
        pytest.param(b"a==1 --hash sha256:aa\n", LINES, "has hashes", id="hash beside"),
        pytest.param(b"--require-hashes\n", LINES, "has hashes", id="require-hashes"),
        pytest.param("pandas\n".encode("utf-16"), LINES, "UTF-16", id="UTF-16"),
        pytest.param(
            b"# >>> airflow-provider-cloudtrail: written by its deployment, until the line with <<<\n",
            LINES,
            "broken",
            id="begin only",
        ),
        pytest.param(b"pandas\n# <<< airflow-provider-cloudtrail\n", (), "broken", id="end only"),
    ],
)
def test_contradictions(customers, lines, message):
    with pytest.raises(MwaaStateError, match=message):
        requirements.merged(customers, lines)


def test_no_index_beside_a_file_with_no_index():
    customers = b"--no-index\n--find-links /usr/local/airflow/plugins\npandas\n"
    assert requirements.foreign_part(requirements.merged(customers, ("--no-index", *LINES))) == customers


@pytest.mark.parametrize(
    "customers",
    [
        pytest.param(b"--find-links /usr/local/airflow/plugins/airflow-provider-cloudtrail\n", id="a folder"),
        pytest.param(b"pandas  # not --no-index, airflow-provider-cloudtrail comes below\n", id="a comment"),
    ],
)
def test_our_names_elsewhere_are_no_contradiction(customers):
    assert requirements.foreign_part(requirements.merged(customers, LINES)) == customers


def test_hashes_in_a_comment_or_without_lines_of_ours_are_nobodys_business():
    assert requirements.merged(b"pandas  # --hash=sha256:aa\n", LINES).endswith(b"pandas  # --hash=sha256:aa\n")
    hashed = b"a==1 --hash=sha256:aa\n"
    assert requirements.merged(hashed, ()) == hashed
