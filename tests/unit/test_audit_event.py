from __future__ import annotations

from airflow_provider_cloudtrail.audit_event import (
    AuditEvent,
    Column,
    ColumnKind,
    DigestEntry,
    FindingEntry,
    LedgerEntry,
    QuarantineEntry,
    columns_of,
)

EVENTS = """
    event_id, event_time, event_source, event_name, event_category, event_type, event_version, aws_region,
    recipient_account_id, environment_name, environment_arn, actor_kind, actor_arn, actor_account_id,
    actor_principal_id, actor_user_name, actor_session_name, session_issuer_arn, access_key_id, mfa_authenticated,
    identity_center_user_id, invoked_by, source_ip_address, user_agent, outcome, error_code, error_message, read_only,
    management_event, rest_method, rest_path, rest_status_code, request_id, shared_event_id, request_parameters,
    response_elements,
    resources, raw_event, redacted, log_file_uri, log_file_index, delivered_at, loaded_at, loaded_by
"""
FILES = """
    log_file_uri, etag, size_bytes, sha256, account_id, region, delivered_at, records, loaded, duplicate, filtered,
    quarantined, status, reason, selection, loaded_at, loaded_by, digest_uri, digest_status, verified_at
"""
FINDINGS = """
    finding_id, kind, fails, location, account_id, region, trail_name, object_uri, covered_from, covered_to, objects,
    message, first_seen_at, last_seen_at, last_seen_by, resolved_at, resolved_by
"""
QUARANTINE = "log_file_uri, record_index, reason, raw, quarantined_at"


def names(text: str) -> list[str]:
    return text.replace(",", " ").split()


def test_names_that_dashboards_rely_on() -> None:
    assert [column.name for column in columns_of(AuditEvent)] == names(EVENTS)
    assert [column.name for column in columns_of(LedgerEntry)] == names(FILES)
    assert [column.name for column in columns_of(QuarantineEntry)] == names(QUARANTINE)
    assert [column.name for column in columns_of(FindingEntry)] == names(FINDINGS)


def test_kinds() -> None:
    kinds = {column.name: column.kind for column in columns_of(AuditEvent)}
    assert {name: kind for name, kind in kinds.items() if kind is not ColumnKind.TEXT} == {
        "event_id": ColumnKind.KEY,
        "event_time": ColumnKind.TIMESTAMP,
        "mfa_authenticated": ColumnKind.BOOLEAN,
        "read_only": ColumnKind.BOOLEAN,
        "management_event": ColumnKind.BOOLEAN,
        "rest_status_code": ColumnKind.INTEGER,
        "request_parameters": ColumnKind.JSON,
        "response_elements": ColumnKind.JSON,
        "resources": ColumnKind.JSON,
        "raw_event": ColumnKind.RAW_JSON,
        "redacted": ColumnKind.INTEGER,
        "log_file_uri": ColumnKind.KEY,
        "log_file_index": ColumnKind.INTEGER,
        "delivered_at": ColumnKind.TIMESTAMP,
        "loaded_at": ColumnKind.TIMESTAMP,
    }


def test_columns_that_are_never_null() -> None:
    assert [column.name for column in columns_of(AuditEvent) if column.required] == names(
        "event_id event_time actor_kind outcome raw_event redacted log_file_uri log_file_index delivered_at loaded_at"
    )
    assert [column.name for column in columns_of(LedgerEntry) if column.required] == names(
        "log_file_uri account_id region delivered_at status selection loaded_at"
    )
    assert [column.name for column in columns_of(QuarantineEntry) if column.required] == names(
        "log_file_uri reason quarantined_at"
    )


def test_every_column_says_what_it_means() -> None:
    for row_type in (AuditEvent, LedgerEntry, QuarantineEntry, DigestEntry, FindingEntry):
        for column in columns_of(row_type):
            assert isinstance(column, Column)
            assert len(column.meaning) > 10, column.name
