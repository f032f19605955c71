"""The statements of the pushdown through a warehouse: its connection, its lock for writers, its safe errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from airflow_provider_cloudtrail.trail.log_file import log_file_of_uri
from airflow_provider_cloudtrail.trail.object_uris import KeyGrammarError
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError

_URI = re.compile(r"s3://[^\s,;'\"()\[\]]+?\.json\.gz")


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
            _execute(cursor, statement)
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
                _execute(cursor, statement)

        self._warehouse.transact(doing, write, writes=True)


def _execute(cursor: Any, statement: str) -> None:
    try:
        cursor.execute(statement)
    except Exception as error:
        # The engine's text can quote a record, so nothing of it is passed on but the name of the log file.
        uri = _log_file_in(str(error))
        if uri is None:
            raise
        raise UnreadableLogFileError(
            f"the engine cannot read {uri}, and with it nothing of its span. If S3 was busy or a connection broke, "
            "it is enough to run this again. Otherwise have it read, or put into quarantine, by "
            f"CloudTrailToSqlOperator(files=[{uri!r}], fail_on_quarantine=False), then run this again: files that the "
            "ledger has in quarantine are passed over"
        ) from None


def _log_file_in(text: str) -> str | None:
    for found in _URI.finditer(text):
        try:
            return log_file_of_uri(found[0]).uri
        except KeyGrammarError:
            continue
    return None
