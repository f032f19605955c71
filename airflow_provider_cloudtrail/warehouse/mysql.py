"""
MySQL and MariaDB: statements of every SQL engine, in sessions whose settings are ours.

Works with mysqlclient, pymysql and mysql-connector-python.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from importlib import import_module
from typing import Any

from airflow_provider_cloudtrail.audit_event import MAX_KEY_LENGTH, Column, ColumnKind
from airflow_provider_cloudtrail.warehouse.base import WarehouseError
from airflow_provider_cloudtrail.warehouse.dialect import Dialect
from airflow_provider_cloudtrail.warehouse.driver_errors import KEYS, describe
from airflow_provider_cloudtrail.warehouse.mysql_errors import (
    describe_error,
    describe_too_long,
    is_of_another_writer,
    may_be_too_long,
    refusing_key,
)
from airflow_provider_cloudtrail.warehouse.sql import SqlWarehouse

_CHARACTERS = "utf8mb4"
_TEXT = f"LONGTEXT CHARACTER SET {_CHARACTERS}"
# Whatever the server says, and what it has sessions begin with: characters are those that the driver sends, nothing is
# shortened to what fits, no text is taken for null, no rows are left out of an answer (the limit stands for none), rows
# are updated by other columns than keys, and errors are told in the one language in which they are looked through.
_SETTINGS = (
    f"SET NAMES {_CHARACTERS}, sql_mode = 'TRADITIONAL', sql_safe_updates = 0, "
    "sql_select_limit = 18446744073709551615, lc_messages = 'en_US'"
)
_DRIVERS = ("MySQLdb", "pymysql")
# All servers take as much, unless somebody has set them to less: there is no need to ask, maybe in vain.
_SHORT = 900_000
# A time.
_LONGEST_OTHER = 28
# What drivers send as two characters.
_ESCAPED = "\\\"'\n\r\0\x1a"


def _utc_naive(moment: datetime) -> datetime:
    return moment.astimezone(timezone.utc).replace(tzinfo=None)


class MySqlWarehouse(SqlWarehouse):
    """A warehouse in MySQL or MariaDB, through Airflow's ``MySqlHook``."""

    dialect = Dialect(
        {
            # Binary collation: ids that differ in case are different.
            ColumnKind.KEY: f"VARCHAR({MAX_KEY_LENGTH}) CHARACTER SET {_CHARACTERS} COLLATE {_CHARACTERS}_bin",
            ColumnKind.TEXT: _TEXT,
            ColumnKind.INTEGER: "BIGINT",
            ColumnKind.BOOLEAN: "BOOLEAN",
            # It has no zone: UTC.
            ColumnKind.TIMESTAMP: "DATETIME(6)",
            ColumnKind.JSON: _TEXT,
            ColumnKind.RAW_JSON: _TEXT,
        },
        quote="`{}`",
        convert={ColumnKind.TIMESTAMP: _utc_naive},
        current_schema="SCHEMA()",
    )

    def _set_up(self, connection: Any) -> None:
        packages = [kind.__module__.partition(".")[0] for kind in type(connection).__mro__]
        if driver := next((package for package in packages if package in _DRIVERS), None):
            # Whatever the extras "cursor" and "charset" of Airflow's connection say: rows are tuples, and text has
            # every character, of which a server that is not strict would store a question mark.
            connection.cursorclass = import_module(f"{driver}.cursors").Cursor
            if connection.character_set_name() != _CHARACTERS:
                connection.set_character_set(_CHARACTERS)
        connection.cursor().execute(_SETTINGS)

    def _table_options(self, table: str) -> str:  # noqa: ARG002 - alike for all
        # With transactions, and with room for keys as long as ours.
        return " ENGINE = InnoDB ROW_FORMAT = DYNAMIC"

    def _is_conflict(self, error: Exception) -> bool:
        return is_of_another_writer(error) or self._is_lost_race(error)

    def _describe(self, error: Exception) -> str:
        return describe(error) if self._is_lost_race(error) else describe_error(error)

    def _is_lost_race(self, error: Exception) -> bool:
        """Tell whether a unique key refuses what another writer has just stored, and not what users keep apart."""
        key = refusing_key(error)
        return key is not None and (key in ("", "PRIMARY") or self._is_over_keys_of_ours(key))

    def _is_over_keys_of_ours(self, key: str) -> bool:
        """Tell whether a unique key, which users may have named, is over a column of which we give each value once."""
        mark = self.hook.placeholder
        # Which of the tables it is of, the error does not say in MariaDB.
        statement = (
            "SELECT column_name FROM information_schema.statistics "
            f"WHERE table_schema = COALESCE({mark}, SCHEMA()) AND LEFT(table_name, {len(self.table)}) = {mark} "
            f"AND index_name = {mark} AND non_unique = 0"
        )

        def ask(cursor: Any) -> set[str]:
            cursor.execute(statement, [self.schema, self.table, key])
            return {str(column).lower() for (column,) in cursor.fetchall()}

        columns: set[str] = set()
        with suppress(WarehouseError):
            columns = self.transact("asking for the columns of a key", ask)
        # Where it is not known, to try again does no harm.
        return not columns or not KEYS.isdisjoint(columns)

    def _insert(self, cursor: Any, table: str, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        for statement, values in self._inserts(table, columns, rows):
            try:
                cursor.execute(statement, values)
            except Exception as error:
                # The server hangs up on what is too long, mostly without a word that the driver would hear.
                length = _length(statement, values) if may_be_too_long(error) else 0
                if length > _SHORT and (most := self._most_at_once()) is not None and length >= most:
                    said = describe_too_long(error, length, most)
                    raise WarehouseError(f"{self.engine}, writing {table}: {said}") from None
                raise

    def _most_at_once(self) -> int | None:
        """Return the bytes that the server takes as one statement, or None if it cannot be asked."""

        def ask(cursor: Any) -> int:
            cursor.execute("SELECT @@max_allowed_packet")
            return int(cursor.fetchall()[0][0])

        with suppress(WarehouseError):
            return self.transact("asking for max_allowed_packet", ask)
        return None


def _length(statement: str, values: Sequence[Any]) -> int:
    """Return the bytes of a statement as a driver sends it, of numbers and times the most that they take."""
    texts = [value for value in values if isinstance(value, str)]
    others = sum(len("NULL") if value is None else _LONGEST_OTHER for value in values if not isinstance(value, str))
    return len(statement) + others + sum(len(text.encode()) + sum(map(text.count, _ESCAPED)) for text in texts)
