"""What people are told of an export: each number in its place, and no word about what was not."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_cloudtrail.export.report import log_export, quarantine_message
from airflow_provider_cloudtrail.export.summary import ExportSummary

WAREHOUSE: Any = SimpleNamespace(events="events", files="events_files", quarantine="events_quarantine")
SUMMARY = ExportSummary(
    files=12,
    files_known=5,
    files_read=7,
    files_without_match=2,
    bytes=3 * 2**20,
    unpacked_bytes=9 * 2**19,
    records=100,
    loaded=40,
    duplicate=30,
    filtered=26,
    quarantined=4,
    seconds=10.0,
    seconds_listing=1.0,
    seconds_asking=1.5,
    seconds_writing=2.0,
    seconds_getting=2.5,
    seconds_unpacking=3.0,
    seconds_parsing=3.5,
    requests={"LIST": 6, "GET": 8},
)
DONE = (
    "12 log files: 7 read (2 without match), 5 already in the ledger. 100 records = 40 loaded + 30 duplicate "
    "+ 26 filtered + 4 quarantined. 40 new rows in events in 10.0 seconds."
)
SPENT = (
    "Spent: 6 LIST and 8 GET requests, 3.0 MiB, 4.5 MiB unpacked. Seconds: listing 1.0, asking the ledger 1.5, "
    "storing 2.0; and in threads, added up: fetching 2.5, unpacking 3.0, parsing 3.5."
)


def lines_of(summary: ExportSummary, caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    with caplog.at_level(logging.INFO):
        log_export(summary, WAREHOUSE, logging.getLogger("export"))
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_the_log_says_what_was_done_and_spent(caplog: pytest.LogCaptureFixture) -> None:
    assert lines_of(SUMMARY, caplog) == [("INFO", DONE), ("INFO", SPENT)]


def test_the_log_says_what_else_is_worth_knowing(caplog: pytest.LogCaptureFixture) -> None:
    lines = lines_of(ExportSummary(redacted=3, without_folder=["eu-wset-1", "999900001111"]), caplog)
    assert [level for level, _ in lines] == ["INFO", "INFO", "WARNING", "INFO"]
    assert lines[2][1].startswith("Nothing was ever delivered of eu-wset-1, 999900001111: there is no such folder.")
    assert lines[3][1] == "3 secret values were replaced by ***"


@pytest.mark.parametrize(
    ("summary", "message"),
    [
        pytest.param(ExportSummary(loaded=1, filtered=2, files_known=3, files_changed=4), None, id="nothing"),
        pytest.param(
            ExportSummary(files_quarantined=2, quarantine=["not_gzip: a", "not_gzip: b"]),
            "2 files and 0 records were put into quarantine. Everything else is stored. See events_quarantine and "
            "events_files; the first:\n  not_gzip: a\n  not_gzip: b",
            id="files",
        ),
        pytest.param(
            ExportSummary(quarantined=1, quarantine=["not_an_object: a"]),
            "0 files and 1 records were put into quarantine. Everything else is stored. See events_quarantine and "
            "events_files; the first:\n  not_an_object: a",
            id="records",
        ),
        pytest.param(
            ExportSummary(files_not_read_again=2, quarantine=["wanted"]),
            "2 files, wanted for a wider selection, cannot be read any more. Everything else is stored. See "
            "events_quarantine and events_files; the first:\n  wanted",
            id="not read again",
        ),
        pytest.param(
            ExportSummary(known_quarantined=["archived: a", "b: 1 of its records"]),
            "at least 2 files of this window, or records of them, are in quarantine since earlier. Everything else is "
            "stored. See events_quarantine and events_files; the first:\n  archived: a\n  b: 1 of its records",
            id="since earlier",
        ),
        pytest.param(
            ExportSummary(files_quarantined=1, files_not_read_again=1, quarantine=["x", "y"], known_quarantined=["z"]),
            "1 files and 0 records were put into quarantine; 1 files, wanted for a wider selection, cannot be read any "
            "more; at least 1 files of this window, or records of them, are in quarantine since earlier. Everything "
            "else is stored. See events_quarantine and events_files; the first:\n  x\n  y\n  z",
            id="all",
        ),
    ],
)
def test_what_is_wrong_with_the_window(summary: ExportSummary, message: str | None) -> None:
    assert quarantine_message(summary, WAREHOUSE) == message
