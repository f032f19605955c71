"""The statements of the pushdown through a warehouse: its connection, its lock for writers, its safe errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from airflow_provider_cloudtrail.trail.log_file import log_file_of_uri
from airflow_provider_cloudtrail.trail.object_uris import KeyGrammarError
from airflow_provider_cloudtrail.warehouse.athena_errors import describe
from airflow_provider_cloudtrail.warehouse.athena_session import query_of
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError

_NOT_OPENED = "HIVE_CANNOT_OPEN_SPLIT"
_DENIED = re.compile(r"Access ?Denied|Status Code: 403|AccessDeniedException")
_TOO_MUCH = ("Query timeout", "Query exhausted resources", "EXCEEDED_", "HIVE_EXCEEDED_PARTITION_LIMIT")
_CODE = re.compile(r"[A-Z][A-Z_]{3,}\b")
# As long as a bucket and a key can be: what is looked for without a limit, at each of many beginnings, takes hours.
_URI = re.compile(r"s3://[^\s,;'\"()\[\]]{1,1280}?\.json\.gz")


class UnreadableLogFileError(WarehouseError):
    """Raised when the engine fails because of one log file; the message names it and says what to do."""


class WarehouseEngine:
    """
    Runs statements on the connection of a warehouse.

    :param warehouse: one of Athena, prepared.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def read(self, doing: str, statement: str) -> Sequence[Sequence[Any]]:
        """
        Return the rows of a question.

        :raises WarehouseError: if it fails; ``UnreadableLogFileError`` if that is because of a log file.
        """

        def ask(cursor: Any) -> Sequence[Sequence[Any]]:
            self._execute(cursor, doing, statement)
            rows: Sequence[Sequence[Any]] = cursor.fetchall()
            return rows

        return self._warehouse.transact(doing, ask)

    def write(self, doing: str, statements: Sequence[str]) -> None:
        """
        Run statements that write, while no other writer is at work; all of them again if one was in the way.

        :raises WarehouseError: if one fails; ``UnreadableLogFileError`` if that is because of a log file.
        """

        def write(cursor: Any) -> None:
            for statement in statements:
                self._execute(cursor, doing, statement)

        self._warehouse.transact(doing, write, writes=True)

    def _execute(self, cursor: Any, doing: str, statement: str) -> None:
        try:
            cursor.execute(statement)
        except Exception as error:
            # The engine's text can quote a record, so nothing of it is passed on but the name of the log file.
            uri = _log_file_in(str(error))
            if uri is not None:
                raise UnreadableLogFileError(_cannot_read(uri, error)) from None
            if not str(error).startswith(_TOO_MUCH):
                raise
            raise WarehouseError(
                f"{self._warehouse.engine}, {doing}: {describe(error)}. Have one statement read less: a smaller "
                "days_at_once, or a task for each part of account_ids"
            ) from None


def _cannot_read(uri: str, error: Exception) -> str:
    text = str(error)
    code, query = _CODE.match(text), query_of(error)
    details = ", ".join(part for part in (code and code[0], f"query {query}" if query else None) if part)
    said = f"the engine cannot read {uri}{f' ({details})' if details else ''}, and with it nothing of its span"
    # Only where it could not be opened: what cannot be read as a record is quoted, and may say the same.
    if text.startswith(_NOT_OPENED) and _DENIED.search(text):
        return (
            f"{said}, because it may not: AccessDenied. The role of conn_id needs s3:GetObject on the log files and, "
            "for SSE-KMS, kms:Decrypt on their key; then run this again"
        )
    return (
        f"{said}. If S3 was busy or a connection broke, it is enough to run this again. Otherwise have it read, or "
        f"put into quarantine, by CloudTrailToSqlOperator(files=[{uri!r}], fail_on_quarantine=False), then run this "
        "again: files that the ledger has in quarantine are passed over"
    )


def _log_file_in(text: str) -> str | None:
    for found in _URI.finditer(text):
        try:
            return log_file_of_uri(found[0]).uri
        except KeyGrammarError:
            continue
    return None
