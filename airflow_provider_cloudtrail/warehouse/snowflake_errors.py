"""What an error of Snowflake says that is safe to pass on, what to do about it, and whether it is only a lost race."""

from __future__ import annotations

from airflow_provider_cloudtrail.warehouse.driver_errors import CONNECTION_LOST, describe

_NULL_REFUSED = 100072
_CONFLICTS = ("has locked table", "deadlock", "number of waiters for this lock")
_GRANT = (
    "Let the role of the connection use it (GRANT ... TO ROLE ...), or name another role, database or schema in the "
    "connection"
)
_NAME = (
    "Name both in the connection (database in its extra, its schema) and let its role use them: GRANT USAGE ON "
    "DATABASE ... TO ROLE ..., GRANT USAGE ON SCHEMA ... TO ROLE ..."
)
_NULLABLE = (
    "A column of your own takes no null and has no default, so that no row can be added: let it take null (ALTER TABLE "
    "... DROP NOT NULL)"
)
# A session is opened also for a warehouse, database or schema that is not there or not allowed: what is lacking is
# said by the first statement that needs it. These texts name objects, privileges and limits, never a value.
_TO_DO = {
    606: "Name a warehouse in the extra of the connection (warehouse) and let its role use it: GRANT USAGE ON "
    "WAREHOUSE ... TO ROLE ...",
    608: "Let it resume by itself (ALTER WAREHOUSE ... SET AUTO_RESUME = TRUE), or resume it, or name another one in "
    "the extra of the connection",
    630: "Allow more (STATEMENT_TIMEOUT_IN_SECONDS of the warehouse, the user or the account): to wait for another "
    "writer can take ten minutes",
    2002: "It is there and could not be read: the role of the connection needs SELECT on it, and a warehouse that it "
    "may use",
    2003: _GRANT,
    2043: _GRANT,
    3001: _GRANT,
    90073: "Wait for the next interval of the resource monitor, let it allow more, or name another warehouse in the "
    "extra of the connection",
    90105: _NAME,
    90106: _NAME,
    253003: "Let the worker reach the storage of Snowflake's stages (SELECT SYSTEM$ALLOWLIST()), or set staging_uri to "
    "a folder of a bucket of yours",
}
# Numbers of the connector's own for a server that does not answer, for which it gives no SQLSTATE; from the last on
# they are those of HTTP.
_LOST = frozenset({250001, 250003, 250005, 251011, 251012, 252007})
_HTTP = 290_000


def is_refused_null(error: Exception) -> bool:
    """Tell whether a column took no null: an IntegrityError, as that of a lost race in engines that enforce keys."""
    return getattr(error, "errno", None) == _NULL_REFUSED


def is_of_another_writer(error: Exception) -> bool:
    """Tell whether another transaction was in the way."""
    text = str(error)
    return any(part in text for part in _CONFLICTS)


def describe_error(error: Exception) -> str:
    """Return what is safe to log of an error: its class, its number, the query, what to do."""
    number, query = getattr(error, "errno", None), getattr(error, "sfqid", None)
    # The text can quote values; with the query's id whoever may see them finds it in the query history.
    further = [*([f"error {number}"] if number else []), *([f"query {query}"] if query else [])]
    if number in _TO_DO:
        text = " ".join(str(getattr(error, "raw_msg", None) or error).split())[:500].rstrip(".")
        return f"{', '.join([type(error).__name__, *further])}: {text}. {_TO_DO[number]}"
    if is_refused_null(error):
        return describe(error, *further, advice=_NULLABLE)
    return describe(error, *further, advice=CONNECTION_LOST if _is_of_lost_connection(error) else "")


def _is_of_lost_connection(error: Exception) -> bool:
    number = getattr(error, "errno", None)
    if isinstance(number, int) and (number in _LOST or _HTTP <= number < _HTTP + 600):
        return True
    # Rows are fetched from the storage besides the connection: what that says comes as it is.
    return any(part in type(error).__module__.split(".") for part in ("requests", "urllib3"))
