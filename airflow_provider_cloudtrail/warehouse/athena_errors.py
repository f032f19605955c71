"""What is told of an error of Athena: its code, its query, what to do. Never a value of a record."""

from __future__ import annotations

import re

from airflow_provider_cloudtrail.warehouse.athena_endings import THROTTLED
from airflow_provider_cloudtrail.warehouse.athena_session import error_code, query_of, service_message, status_of

_REASON = re.compile(r"([A-Z][A-Z_]{3,})\b")
# What these say is about names, permissions and limits, never about values. What is FAILED is DDL, which has none.
_SAFE_TO_QUOTE = (
    "Access Denied",
    "COLUMN_NOT_FOUND",
    "CONSTRAINT_VIOLATION: For the injected",
    "Database ",
    "FAILED: ",
    "HIVE_METASTORE_ERROR",
    "Insufficient permissions",
    "ManagedQueryResultsConfiguration and ResultConfiguration",
    "No output location provided",
    "PERMISSION_DENIED",
    "Queries of this type are not supported",
    "Query cancelled",
    "Query exhausted resources",
    "Query timeout",
    "SCHEMA_NOT_FOUND",
    "TABLE_NOT_FOUND",
    "The S3 location provided to save your query results",
    "Unable to verify/create output bucket",
    "WorkGroup",
)
# How Athena passes on what its catalog has answered: as a MetadataException, or as the reason of a query that failed.
_BUSY_CATALOG = re.compile(r"\(Service: (?:AmazonDataCatalog|AWSGlue|Glue); Status Code: \d+; Error Code: Throttling")
_LONGEST_QUOTE = 500
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_SERVER_ERROR = 500
_MANAGED_RESULTS = (
    "The work group keeps results by itself: let s3_staging_dir be empty in the extra of the connection, and drop "
    "encryption_option"
)
_AGAIN = "run this again, it goes on from what is stored"


def is_throttled(error: Exception) -> bool:
    """Tell whether Athena, or the Glue catalog that it asks, was asked too often."""
    return error_code(error) in THROTTLED or is_of_busy_catalog(error)


def is_of_busy_catalog(error: Exception) -> bool:
    """Tell whether the Glue catalog was asked too often, by all of the account."""
    return _BUSY_CATALOG.search(service_message(error)) is not None


def describe(error: Exception) -> str:
    """Return kind and place of an error, and what of its text is safe to pass on."""
    text, refused, broken = service_message(error), error_code(error), _broken(error)
    code = refused
    if code is None and error.__cause__ is not None:
        # What the driver has made its own error of: a connection that broke, for one.
        code = type(error.__cause__).__name__
    details = [type(error).__name__, code, f"query {query}" if (query := query_of(error)) else None]
    if broken is not None or _is_safe(text) or (refused or "").startswith("AccessDenied"):
        details += [line[:_LONGEST_QUOTE].rstrip(".") for line in str(broken or text).splitlines()[:1]]
    elif reason := _REASON.match(text):
        details.append(reason[1])
    # Once: the clients of AWS name some of their errors by the code.
    return ", ".join(dict.fromkeys(detail for detail in details if detail))


def advice(error: Exception) -> str:
    """Return what to do about an error that is none of another writer, or nothing."""
    code = error_code(error)
    if code in _EXPIRED:
        return (
            f"The credentials have expired: {_AGAIN}. If it comes again, renew those of the connection, or have it "
            "assume a role, whose credentials renew themselves"
        )
    if _broken(error) is not None or status_of(error) >= _SERVER_ERROR:
        return f"There was no proper answer: {_AGAIN}"
    text = service_message(error)
    if code is not None or query_of(error) is None:
        return _MANAGED_RESULTS if text.startswith("ManagedQueryResultsConfiguration") else ""
    if text.startswith("Query cancelled"):
        return f"Somebody has stopped it, or a limit of its work group: {_AGAIN}"
    if _is_safe(text):
        return ""
    return f"{_AGAIN.capitalize()}. If it comes again, look for this query in Athena's history, which has the reason"


def _broken(error: Exception) -> BaseException | None:
    """Return the error of a connection that an error is or comes from: its text names an endpoint and nothing else."""
    from botocore.exceptions import ConnectionError as NotConnectedError
    from botocore.exceptions import HTTPClientError

    return next(
        (one for one in (error, error.__cause__) if isinstance(one, (HTTPClientError, NotConnectedError))), None
    )


def _is_safe(text: str) -> bool:
    return text.startswith(_SAFE_TO_QUOTE)
