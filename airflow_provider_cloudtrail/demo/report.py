"""What an auditor asks, answered from the audit table and its ledger in DuckDB, as plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

WIDTH = 118
_WHO = "coalesce(actor_session_name, actor_user_name, invoked_by, actor_kind)"
_TIME = "strftime(timezone('UTC', {}), '%Y-%m-%d %H:%M:%S')"


@dataclass(frozen=True)
class Question:
    """
    A question and the SQL that answers it.

    :param text: the question.
    :param sql: its answer; the names of its columns become the head of the table.
    """

    text: str
    sql: str


QUESTIONS = (
    Question(
        "The last events",
        f"""
        SELECT {_TIME.format("event_time")} AS "time (UTC)", {_WHO} AS who, event_name AS event,
               environment_name AS environment, aws_region AS region, source_ip_address AS "from", outcome
        FROM mwaa_audit_events ORDER BY event_time DESC, event_id LIMIT 8
        """,
    ),
    Question(
        "What was denied, and to whom?",
        f"""
        SELECT {_WHO} AS who, event_name AS event, environment_name AS environment, count(*) AS times,
               max(coalesce(error_message, 'HTTP ' || rest_status_code || ' for ' || rest_method || ' ' || rest_path))
               AS message
        FROM mwaa_audit_events WHERE outcome = 'denied' GROUP BY ALL ORDER BY times DESC, 1, 2, 3 LIMIT 12
        """,
    ),
    Question(
        "Who was given tokens for the Airflow UI and CLI?",
        f"""
        SELECT {_WHO} AS who, actor_kind AS kind, count(*) FILTER (event_name = 'CreateWebLoginToken') AS "UI logins",
               count(*) FILTER (event_name = 'CreateCliToken') AS "CLI tokens",
               count(*) FILTER (mfa_authenticated IS NOT TRUE) AS "without MFA",
               {_TIME.format("max(event_time)")} AS "last (UTC)"
        FROM mwaa_audit_events
        WHERE event_name IN ('CreateWebLoginToken', 'CreateCliToken') AND outcome = 'success'
        GROUP BY ALL ORDER BY count(*) DESC, 1 LIMIT 12
        """,
    ),
    Question(
        "Which calls to the Airflow REST API failed?",
        f"""
        SELECT rest_status_code AS status, rest_method AS method, rest_path AS path, environment_name AS environment,
               {_WHO} AS who, count(*) AS times, {_TIME.format("max(event_time)")} AS "last (UTC)"
        FROM mwaa_audit_events WHERE rest_status_code >= 400 GROUP BY ALL ORDER BY times DESC, 1, 2, 3, 5 LIMIT 8
        """,
    ),
    Question(
        "What could not be read? (log files are listed by the end of their name)",
        """
        SELECT regexp_extract(reason, '^[a-z0-9_]+') AS reason, coalesce(record_index::VARCHAR, 'whole file') AS record,
               right(log_file_uri, 66) AS "log file"
        FROM mwaa_audit_events_quarantine ORDER BY ALL LIMIT 12
        """,
    ),
)


@dataclass(frozen=True)
class Balance:
    """The ledger, added up: records of the parsed files and what became of them."""

    files: int
    parsed: int
    no_match: int
    files_quarantined: int
    records: int
    loaded: int
    duplicate: int
    filtered: int
    quarantined: int
    unbalanced_files: int
    rows: int

    @property
    def holds(self) -> bool:
        """Whether every file balances, and what the ledger calls loaded is in the table."""
        return (
            self.unbalanced_files == 0
            and self.records == self.loaded + self.duplicate + self.filtered + self.quarantined
            and self.loaded == self.rows
        )


def open_database(path: Path) -> duckdb.DuckDBPyConnection:
    """Open a database file for reading."""
    import duckdb

    return duckdb.connect(str(path), read_only=True)


def count_rows(path: Path) -> int:
    """Return the number of rows of the audit table in a database file; 0 if there is no such table yet."""
    with open_database(path) as connection:
        found = connection.execute(
            "SELECT count(*) FROM information_schema.tables WHERE table_name = 'mwaa_audit_events'"
        ).fetchone()
        return _first(connection, "SELECT count(*) FROM mwaa_audit_events")[0] if found and found[0] else 0


def balance(connection: duckdb.DuckDBPyConnection) -> Balance:
    """Return the ledger, added up."""
    return Balance(
        *_first(
            connection,
            """
            SELECT count(*), count(*) FILTER (status = 'loaded'), count(*) FILTER (status = 'no_match'),
                   count(*) FILTER (status = 'quarantined'), coalesce(sum(records), 0)::BIGINT,
                   coalesce(sum(loaded), 0)::BIGINT, coalesce(sum(duplicate), 0)::BIGINT,
                   coalesce(sum(filtered), 0)::BIGINT, coalesce(sum(quarantined), 0)::BIGINT,
                   count(*) FILTER (records <> loaded + duplicate + filtered + quarantined),
                   (SELECT count(*) FROM mwaa_audit_events)
            FROM mwaa_audit_events_files
            """,
        )
    )


def answers(connection: duckdb.DuckDBPyConnection) -> Iterator[str]:
    """Yield each question with its answer, as text."""
    for question in QUESTIONS:
        cursor = connection.execute(question.sql)
        head = [column[0] for column in cursor.description or ()]
        yield f"{question.text}\n{table(head, cursor.fetchall())}"


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """
    Return a table as text, at most :data:`WIDTH` characters wide.

    The widest columns are cut until it fits; numbers stand at the right.
    """
    cells = [["" if value is None else " ".join(str(value).split()) for value in row] for row in rows]
    widths = [max(len(line[column]) for line in (list(head), *cells)) for column in range(len(head))]
    while sum(widths) + 2 * len(widths) > WIDTH:
        widths[widths.index(max(widths))] -= 1
    right = [bool(rows) and all(isinstance(row[column], int) for row in rows) for column in range(len(head))]

    def line(values: Sequence[str]) -> str:
        fitted = (
            (value if len(value) <= width else f"{value[: width - 1]}…").rjust(width)
            if at_right
            else (value if len(value) <= width else f"{value[: width - 1]}…").ljust(width)
            for value, width, at_right in zip(values, widths, right, strict=True)
        )
        return "  " + "  ".join(fitted).rstrip()

    rule = ["-" * width for width in widths]
    return "\n".join((line(head), line(rule), *(map(line, cells) if cells else ["  (none)"])))


def _first(connection: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    row = connection.execute(sql).fetchone()
    return row if row is not None else ()
