from __future__ import annotations

from airflow_provider_cloudtrail.trail.coverage_finding import at_or_above, table
from tests.support.trail_settings import check


def test_at_or_above():
    findings = check({"LogFileValidationEnabled": False, "IsMultiRegionTrail": False, "KmsKeyId": None})
    numbers = [len(at_or_above(findings, severity)) for severity in (None, "high", "medium", "low")]
    assert numbers == [0, 1, 2, 3]


def test_table_shows_every_finding():
    findings = check({"LogFileValidationEnabled": False, "KmsKeyId": None})
    text = table(findings)
    assert all(text.count(part) == 1 for f in findings for part in (f.code, f.problem, f.reason, f.fix))
