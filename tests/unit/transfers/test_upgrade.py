"""Tables that another version has made and filled, or that somebody has changed since: read, kept, written on."""

from __future__ import annotations

import sqlite3

from airflow_provider_cloudtrail.transfers.cloudtrail_to_sql import CloudTrailToSqlOperator
from tests.support.face import DAY
from tests.support.log_files import ACCOUNT
from tests.support.log_files import event as record

# What the first version wrote: neither is to be changed together with the code.
TEXT, TEXT_OR_NULL, NUMBER_OR_NULL = "TEXT NOT NULL", "TEXT", "INTEGER"
EVENTS = {
    **dict.fromkeys(("event_id", "event_time", "actor_kind", "outcome", "raw_event", "log_file_uri"), TEXT),
    **dict.fromkeys(("delivered_at", "loaded_at"), TEXT),
    **dict.fromkeys(("redacted", "log_file_index"), "INTEGER NOT NULL"),
    **dict.fromkeys(("mfa_authenticated", "read_only", "management_event", "rest_status_code"), NUMBER_OR_NULL),
    **dict.fromkeys(("event_source", "event_name", "event_category", "event_type", "event_version"), TEXT_OR_NULL),
    **dict.fromkeys(("aws_region", "recipient_account_id", "environment_name", "environment_arn"), TEXT_OR_NULL),
    **dict.fromkeys(("actor_arn", "actor_account_id", "actor_principal_id", "actor_user_name"), TEXT_OR_NULL),
    **dict.fromkeys(("actor_session_name", "session_issuer_arn", "access_key_id", "invoked_by"), TEXT_OR_NULL),
    **dict.fromkeys(("identity_center_user_id", "source_ip_address", "user_agent", "error_code"), TEXT_OR_NULL),
    **dict.fromkeys(("error_message", "rest_method", "rest_path", "request_id", "shared_event_id"), TEXT_OR_NULL),
    **dict.fromkeys(("request_parameters", "response_elements", "resources", "loaded_by"), TEXT_OR_NULL),
}
FILES = {
    **dict.fromkeys(("log_file_uri", "account_id", "region", "delivered_at", "status", "selection"), TEXT),
    "loaded_at": TEXT,
    **dict.fromkeys(("etag", "sha256", "reason", "loaded_by", "digest_uri", "digest_status"), TEXT_OR_NULL),
    "verified_at": TEXT_OR_NULL,
    **dict.fromkeys(("size_bytes", "records", "loaded", "duplicate", "filtered", "quarantined"), NUMBER_OR_NULL),
}
QUARANTINE = {
    **dict.fromkeys(("log_file_uri", "reason", "quarantined_at"), TEXT),
    "record_index": NUMBER_OR_NULL,
    "raw": TEXT_OR_NULL,
}
SELECTION = (
    '[{"event_sources":["airflow-serverless.amazonaws.com","airflow.amazonaws.com"],"event_names":null,'
    '"environment_names":null,"include_environment_activity":false}]'
)
MIDNIGHT = "2026-02-04T00:00:00.000000+00:00"


def load(trail, **arguments):
    given = {"bucket": trail.bucket, **DAY, "fail_on_quarantine": False, **arguments}
    return CloudTrailToSqlOperator(task_id="export", **given).execute({})


def create(connection, table, columns, key=None):
    named = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
    connection.execute(f'CREATE TABLE "{table}" ({named}{f", PRIMARY KEY ({key})" if key else ""})')


def insert(connection, table, **values):
    marks = ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))


def filled_by_the_first_version(trail, warehouse):
    """Make its tables; they know three log files, one of each status, and the event ``a``."""
    event = record("a")
    # All three hold what would be a row if they were read.
    uris = [trail.deliver(f"20260203T100{minute}Z", event, record(f"in-{minute}")).uri for minute in range(3)]
    with sqlite3.connect(warehouse.path) as connection:
        create(connection, "mwaa_audit_events", EVENTS, "event_id")
        create(connection, "mwaa_audit_events_files", FILES, "log_file_uri")
        create(connection, "mwaa_audit_events_quarantine", QUARANTINE)
        of_all = {"account_id": ACCOUNT, "region": "eu-west-1", "loaded_at": MIDNIGHT}
        counts = {"records": 2, "loaded": 1, "duplicate": 0, "filtered": 1, "quarantined": 0}
        for minute, (status, reason) in enumerate((
            ("loaded", None),
            ("no_match", None),
            ("quarantined", "truncated_gzip: it ends early"),
        )):
            more = counts if status == "loaded" else {}
            insert(
                connection,
                "mwaa_audit_events_files",
                log_file_uri=uris[minute],
                # As its name says, in every version.
                delivered_at=f"2026-02-03T10:0{minute}:00.000000+00:00",
                status=status,
                reason=reason,
                selection=SELECTION,
                **of_all,
                **more,
            )
        insert(
            connection,
            "mwaa_audit_events",
            event_id="a",
            event_time=MIDNIGHT,
            actor_kind="root",
            outcome="success",
            raw_event="{}",
            log_file_uri=uris[0],
            delivered_at=MIDNIGHT,
            loaded_at=MIDNIGHT,
            redacted=0,
            log_file_index=0,
        )
    return uris


def ids(warehouse):
    return [event_id for (event_id,) in warehouse.rows("SELECT event_id FROM mwaa_audit_events ORDER BY 1")]


def test_what_the_first_version_loaded_is_not_read_again(trail, warehouse):
    filled_by_the_first_version(trail, warehouse)
    trail.deliver("20260203T1100Z", record("a"), record("new"))

    summary = load(trail)

    assert (summary["files_known"], summary["files_read"]) == (3, 1)
    assert (summary["loaded"], summary["duplicate"]) == (1, 1)
    assert ids(warehouse) == ["a", "new"]
    assert load(trail)["files_read"] == 0


def test_what_the_first_version_did_not_select_is_read_for_a_wider_selection(trail, warehouse):
    filled_by_the_first_version(trail, warehouse)

    summary = load(trail, include_environment_activity=True)

    assert (summary["files_known"], summary["files_read"]) == (1, 2)
    assert ids(warehouse) == ["a", "in-0", "in-1"]
    balance = "records = loaded + duplicate + filtered + quarantined"
    assert warehouse.rows(f"SELECT count(*) FROM mwaa_audit_events_files WHERE NOT ({balance})") == [(0,)]
    assert warehouse.rows("SELECT sum(loaded) FROM mwaa_audit_events_files") == [(3,)]
    assert load(trail, include_environment_activity=True)["files_read"] == 0
    # A run that wants less does not make the ledger forget that there was more.
    assert load(trail)["files_read"] == 0


def test_columns_of_somebody_else_and_of_a_later_version_stay(trail, warehouse):
    filled_by_the_first_version(trail, warehouse)
    with sqlite3.connect(warehouse.path) as connection:
        for table in ("mwaa_audit_events", "mwaa_audit_events_files", "mwaa_audit_events_quarantine"):
            connection.execute(f"ALTER TABLE {table} ADD COLUMN team TEXT")
            connection.execute(f"ALTER TABLE {table} ADD COLUMN weight INTEGER NOT NULL DEFAULT 7")
        connection.execute("UPDATE mwaa_audit_events SET team = 'ours'")
        connection.execute("CREATE VIEW audit AS SELECT event_id, team, weight FROM mwaa_audit_events")
    trail.deliver("20260203T1100Z", record("new"))

    assert load(trail)["loaded"] == 1
    assert warehouse.rows("SELECT * FROM audit ORDER BY 1") == [("a", "ours", 7), ("new", None, 7)]


def test_columns_that_are_not_there_yet_are_added(trail, warehouse):
    filled_by_the_first_version(trail, warehouse)
    with sqlite3.connect(warehouse.path) as connection:
        connection.execute("ALTER TABLE mwaa_audit_events DROP COLUMN rest_path")
        connection.execute("ALTER TABLE mwaa_audit_events_files DROP COLUMN quarantined")
    trail.deliver("20260203T1100Z", record("new"))

    summary = load(trail)

    assert (summary["files_known"], summary["files_read"]) == (3, 1)
    assert ids(warehouse) == ["a", "new"]
    assert warehouse.rows("SELECT rest_path FROM mwaa_audit_events") == [(None,), (None,)]
