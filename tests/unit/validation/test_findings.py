from __future__ import annotations

import hashlib
import logging
from datetime import datetime, timedelta, timezone

import pytest

from airflow_provider_cloudtrail.trail.log_file import TrailLocation
from airflow_provider_cloudtrail.validation import summary as validation_summary
from airflow_provider_cloudtrail.validation.findings import About, Findings, finding_id, location_uri
from airflow_provider_cloudtrail.validation.summary import ValidationSummary

AT = datetime(2026, 2, 3, 10, 5, tzinfo=timezone.utc)
LOCATION = "s3://example-trail/AWSLogs/"
HOUR = About(AT, AT + timedelta(hours=1), "111122223333", "eu-west-1")


def test_the_first_of_each_kind_are_named_in_summary_and_log(monkeypatch, caplog):
    monkeypatch.setattr(validation_summary, "NAMED", 2)
    summary = ValidationSummary()
    findings = Findings(summary, TrailLocation("example-trail"), ("gap",), AT, None, logging.getLogger(__name__))
    with caplog.at_level(logging.INFO):
        for number in range(4):
            findings.add("deleted", HOUR._replace(object_uri=f"{LOCATION}{number}"), "listed")
        findings.add("gap", HOUR, "no digest")
        findings.add("not_loaded", HOUR._replace(object_uri=f"{LOCATION}9"), "never loaded")
    # What was not loaded is no finding that somebody has to be told of one by one.
    assert summary.found == {"deleted": [f"{LOCATION}0: listed", f"{LOCATION}1: listed"], "gap": ["no digest"]}
    assert caplog.messages == [f"{kind}: {text}" for kind, texts in summary.found.items() for text in texts]
    rows = findings.take()
    assert [row.kind for row in rows] == ["deleted"] * 4 + ["gap", "not_loaded"]
    assert rows[4].finding_id == finding_id("gap", LOCATION, HOUR)
    assert [row.fails for row in rows] == [False] * 4 + [True, False]
    assert findings.take() == []


@pytest.mark.parametrize(
    ("about", "identity"),
    [
        pytest.param(
            HOUR._replace(trail_name="audit", object_uri=f"{LOCATION}a.json.gz"), [f"{LOCATION}a.json.gz"], id="object"
        ),
        pytest.param(
            HOUR._replace(trail_name="audit"),
            ["111122223333", "eu-west-1", "audit", "2026-02-03T10:05:00+00:00"],
            id="trail",
        ),
        pytest.param(
            HOUR._replace(account_id=None), [LOCATION, "", "eu-west-1", "2026-02-03T10:05:00+00:00"], id="place"
        ),
    ],
)
def test_a_finding_has_the_id_that_tables_hold_already(about, identity):
    assert location_uri(TrailLocation("example-trail")) == LOCATION
    expected = hashlib.sha256("\n".join(["gap", *identity]).encode()).hexdigest()[:40]
    assert finding_id("gap", LOCATION, about) == expected


def test_where_a_trail_of_an_organization_delivers_to():
    location = TrailLocation("example-trail", "audit", "o-a1b2c3d4e5")
    assert location_uri(location) == "s3://example-trail/audit/AWSLogs/o-a1b2c3d4e5/"
