"""What an error of a database driver says that is safe to pass on, and whether it is only a lost race."""

from __future__ import annotations

import re

from airflow_provider_cloudtrail.audit_event import (
    AuditEvent,
    DigestEntry,
    FindingEntry,
    HashEntry,
    LedgerEntry,
    LookupEntry,
    QuarantineEntry,
)
from airflow_provider_cloudtrail.shortage import shortage

# SQLSTATEs of a transaction that lost against another: serialization failure, deadlock, lock not
# available, and a key that somebody else has just made. Not 42P07: a table that is there stays there.
_THERE = "23505"
CONFLICTS = frozenset({"40001", "40P01", "55P03", _THERE})

# What engines say of a column that no row brings and that takes no null. From the begin: behind it may stand values.
# PostgreSQL says it in the language of its server, and names the column besides.
_NULL = "23502"
_LEFT_OUT = [
    re.compile(text)
    for text in (
        r"(?:Constraint Error: )?NOT NULL constraint failed: (?:.*\.)?\"?(\w+)",  # DuckDB, SQLite
        r'null value in column "(\w+)"',
        r"Cannot insert a NULL value into column (\w+)",  # Redshift
    )
]

# What is said of a check, and of a column whose value is there already. From the begin: behind it may stand the value.
_CHECK_FAILED = re.compile(r"(?:Constraint Error: )?CHECK constraint failed")  # DuckDB, SQLite
_THERE_ALREADY = [
    re.compile(text)
    for text in (
        r"UNIQUE constraint failed: \w+\.(\w+)",  # SQLite
        r'(?:Constraint Error: )?Duplicate key "(\w+)',  # DuckDB
    )
]
# What PostgreSQL says besides, in the language of its server: (column, column)=(value, value) first, in brackets.
_KEY_THERE_ALREADY = re.compile(r"[^(]*\((.*?)\)=\(")
# What DuckDB says of two rows of one transaction, of another's only when it commits. Of the keys we give each once.
_TWICE_IN_ONE = re.compile(r"(?:Constraint Error: )?PRIMARY KEY or UNIQUE constraint viol")
KEYS = frozenset({"event_id", "log_file_uri", "digest_uri", "finding_id", "lookup_uri"})
_OURS = frozenset(
    name
    for row in (AuditEvent, LedgerEntry, QuarantineEntry, DigestEntry, FindingEntry, HashEntry, LookupEntry)
    for name in row._fields
)

# What drivers say of a connection that is gone where they give no SQLSTATE.
_GONE = re.compile(
    r"BrokenPipe|connection is closed|server closed the connection|could not (?:receive|send) data|invalid socket"
    r"|SSL connection has been closed|SSL (?:SYSCALL )?error|the connection is (?:lost|closed)"
    r"|(?:consuming input|flushing|sending [a-z ]+) failed"  # psycopg, and behind it what libpq says
)

# What engines without a SQLSTATE say of a schema that is not there: DuckDB, SQLite.
_NO_SCHEMA = re.compile(r"(?:Catalog Error: )?Schema with name .* does not exist|unknown database ")

# Where COPY came upon a value, in the language of the server. From the begin: behind the column stands the value.
_PLACE_IN_COPY = re.compile(r'[^:"«»\n]*\d[^:"«»\n]*')
# What SQLite says of its file: nothing of what is in it.
_OF_THE_FILE = re.compile(
    r"database or disk is full|disk I/O error|attempt to write a readonly database|unable to open database file"
    r"|database disk image is malformed|file is not a database"
)

CANCELLED = "57014"
NO_PRIVILEGE = "42501"
TOO_SHORT = "22001"
DISK_FULL = "53100"
NO_SCHEMA = "There is no such schema: create it, or leave schema out to use the connection's default"
CONNECTION_LOST = "The connection was lost: run this again, it goes on from what is stored"
ADVICE = {
    CANCELLED: "The statement was cancelled, by somebody or at a limit of use or time (as statement_timeout is): its "
    "history in the database says why. Run this again, it goes on from what is stored",
    "25P04": "The transaction took longer than transaction_timeout lets it: raise that for the user of the connection. "
    "Then run this again, it goes on from what is stored",
    "25006": "The server takes no writes: it is a standby, or default_transaction_read_only is on, which services set "
    "when a disk is nearly full. Let the connection lead to the primary (in Aurora to the writer's endpoint), or have "
    "writes allowed there",
    "3F000": NO_SCHEMA,
    NO_PRIVILEGE: "The user of the connection may not do that: it needs CREATE on the schema (or tables that are "
    "there), and SELECT, INSERT, UPDATE and DELETE on the tables",
    "23514": "No partition of the table takes the row: create one, or a default partition, which takes late events, "
    "too. Or a CHECK of its own refuses it",
    TOO_SHORT: "A column of the table is too short for a value: make it longer (ALTER TABLE)",
    "22P05": "The encoding of the database has no such character: move the tables to one with the encoding UTF8",
    "42809": "What has the name of one of the tables is not a table",
    DISK_FULL: "The disk of the server is full: make room there. Then run this again, it goes on from what is stored",
    "53200": "The server is out of memory, or has too many locks (max_locks_per_transaction): give it more, or let "
    "fewer tasks use it at once. Then run this again, it goes on from what is stored",
}
"""What to do, by SQLSTATE."""
_ROW_SECURITY = (
    "Row-level security of the table is in the way: give the user of the connection BYPASSRLS, or let it own the table "
    "without FORCE ROW LEVEL SECURITY"
)
_REPLICA_IDENTITY = (
    "The table is published, and has no key by which a deleted row could be named: ALTER TABLE ... REPLICA IDENTITY "
    "FULL"
)
_ADVICE_BY_FUNCTION = {
    ("DoCopy", "0A000"): _ROW_SECURITY,
    ("ExecWithCheckOptions", NO_PRIVILEGE): _ROW_SECURITY,
    ("check_enable_rls", NO_PRIVILEGE): _ROW_SECURITY,
    ("CheckCmdReplicaIdentity", "55000"): _REPLICA_IDENTITY,
}
"""What to do, by where in PostgreSQL's source an error comes from, where one SQLSTATE is that of many things."""


def sqlstate(error: Exception) -> str | None:
    """Return the SQLSTATE of a driver's error; psycopg, psycopg2 and redshift_connector name it differently."""
    for name in ("sqlstate", "pgcode"):
        code = getattr(error, name, None)
        # Snowflake's puts a word in the place of none.
        if isinstance(code, str) and code != "n/a":
            return code
    first = error.args[0] if error.args else None
    code = first.get("C") if isinstance(first, dict) else None
    return code if isinstance(code, str) else None


def left_out(error: Exception) -> str | None:
    """Return the column, which a user must have made or changed, that keeps out a row which has no value for it."""
    if sqlstate(error) == _NULL and (column := getattr(getattr(error, "diag", None), "column_name", None)):
        return str(column)
    said = [str(error)]
    for part in error.args:
        said.append(str(part.get("M", "")) if isinstance(part, dict) else str(part))
    return next((found[1] for text in said for pattern in _LEFT_OUT if (found := pattern.match(text))), None)


def refused_by(error: Exception) -> str | None:
    """Return the constraint, which must be one of the user's own, that a row breaks however often it is tried."""
    diagnostics = getattr(error, "diag", None)
    if sqlstate(error) not in (None, _THERE) or getattr(diagnostics, "schema_name", None) == "pg_catalog":
        # Of the catalog it is said when another task creates a table of this name.
        return None
    said = str(error)
    if _CHECK_FAILED.match(said):
        return "a CHECK"
    if _TWICE_IN_ONE.match(said):
        return "a UNIQUE"
    detail = getattr(diagnostics, "message_detail", None) or ""
    found = [*(pattern.match(said) for pattern in _THERE_ALREADY), _KEY_THERE_ALREADY.match(detail)]
    # One with a key of ours among others is that of a table with partitions.
    keys = [re.findall(r"\w+", one[1]) for one in found if one is not None]
    return next((f"a unique {columns[0]}" for columns in keys if columns and KEYS.isdisjoint(columns)), None)


def is_of_lost_connection(error: Exception) -> bool:
    """Tell whether the connection is gone."""
    state = sqlstate(error)
    if state is not None:
        # Connection exceptions, and a server that is shut down or ends the session.
        return state.startswith(("08", "57P0", "25P03"))
    # A network that has forgotten the connection says nothing: what waits for an answer ends at a limit of time.
    return isinstance(error, (ConnectionError, TimeoutError)) or _GONE.match(str(error)) is not None


def is_of_missing_schema(error: Exception) -> bool:
    """Tell whether a schema is not there, of engines that give no SQLSTATE."""
    return _NO_SCHEMA.match(str(error)) is not None


def describe(error: Exception, *further: str, advice: str = "") -> str:
    """
    Return what is safe to log of a driver's error: its class, its code, the table and column it names, what to do.

    :param further: what else is known of it.
    :param advice: what to do, where an engine knows better than its SQLSTATE.
    """
    details = [type(error).__name__]
    if state := sqlstate(error):
        details.append(f"SQLSTATE {state}")
    details += [f"code {part}" for part in error.args[:1] if isinstance(part, int)]
    diagnostics = getattr(error, "diag", None)
    for name in ("schema_name", "table_name", "column_name", "constraint_name"):
        if value := getattr(diagnostics, name, None):
            details.append(f"{name.removesuffix('_name')} {value}")
    if column := _copied_column(getattr(diagnostics, "context", None) or ""):
        details.append(f"column {column}")
    said = ", ".join([*details, *further])
    if found := _OF_THE_FILE.match(str(error)):
        said += f": {found[0]}"
    known = advice or _advice_on(error)
    return f"{said}. {known}" if known else said


def _copied_column(context: str) -> str | None:
    """Return the column in which COPY came upon a value."""
    place = _PLACE_IN_COPY.match(context)
    names = [word.removeprefix("new_") for word in re.findall(r"\w+", place[0])] if place else []
    # Behind the name of the table, which may be that of a column.
    return next((name for name in reversed(names) if name in _OURS), None)


def advice_on_column(column: str) -> str:
    """Return what to do about a column that took no null."""
    if column in _OURS:
        return f"The column {column} must be allowed to be null, which a default does not do (ALTER TABLE)"
    return (
        f"The column {column} takes no null and has no default, so that no row can be added: give it a default, or let "
        "it take null (ALTER TABLE)"
    )


def advice_on_constraint(constraint: str) -> str:
    """Return what to do about a constraint of the user's own, that a row breaks."""
    return f"The table has {constraint} of its own, which events need not keep to: drop this constraint"


def _advice_on(error: Exception) -> str:
    """Return what to do about an error, or nothing."""
    if column := left_out(error):
        return advice_on_column(column)
    if constraint := refused_by(error):
        return advice_on_constraint(constraint)
    state = sqlstate(error) or ""
    function = getattr(getattr(error, "diag", None), "source_function", None) or ""
    if known := _ADVICE_BY_FUNCTION.get((function, state)) or ADVICE.get(state):
        return known
    if is_of_missing_schema(error):
        return NO_SCHEMA
    return shortage(error) or (CONNECTION_LOST if is_of_lost_connection(error) else "")
