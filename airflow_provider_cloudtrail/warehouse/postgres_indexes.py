"""
The indexes that PostgreSQL finds rows by time with, also in tables that are there.

Without them all is the same, but for the time that it takes. So nobody is kept waiting for one, and where one cannot be
added the task goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError
from airflow_provider_cloudtrail.warehouse.driver_errors import sqlstate

log = logging.getLogger(__name__)

_SECONDS_OF_PATIENCE = 5
"""Who waits for a lock has all writers wait that come behind."""
_NOT_GIVEN_IN_TIME = "55P03"
# A partial index, or one whose making was broken off, answers no question; a view has none.
_STATE = """
SELECT pg_has_role(t.relowner, 'USAGE'), t.relkind NOT IN ('r', 'p') OR EXISTS (
    SELECT 1 FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = t.oid AND i.indisvalid AND i.indpred IS NULL AND a.attname = %s
) FROM pg_class AS t WHERE t.oid = CAST(%s AS regclass)
"""


def add_missing_indexes(warehouse: Warehouse, columns: Mapping[str, str]) -> None:
    """
    Add the indexes that tables lack.

    :param columns: by the qualified name of a table, which is there, the column that rows are found by.
    :raises WarehouseError: if the tables cannot be looked at.
    """
    states = warehouse.transact(
        "looking for indexes", lambda cursor: {table: _state(cursor, table, columns[table]) for table in columns}
    )
    for table, (is_owned, is_indexed) in states.items():
        if is_indexed:
            continue
        # Without a name: one of its own may be that of a table which was renamed.
        statement = f'CREATE INDEX ON {table} ("{columns[table]}")'
        if is_owned:
            _add(warehouse, table, columns[table], statement)
        else:
            log.info("A validation reads all of %s until its owner runs: %s", table, statement)


def _state(cursor: Any, table: str, column: str) -> tuple[bool, bool]:
    """Return whether the user owns a table, and whether it has an index or can have none."""
    cursor.execute(_STATE, [column, table])
    is_owned, is_indexed = cursor.fetchone()
    return is_owned, is_indexed


def _add(warehouse: Warehouse, table: str, column: str, statement: str) -> None:
    def work(cursor: Any) -> None:
        cursor.execute(f"SET LOCAL lock_timeout = '{_SECONDS_OF_PATIENCE}s'")
        try:
            cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
        except Exception as error:
            if sqlstate(error) == _NOT_GIVEN_IN_TIME:
                raise WarehouseError("others write it, the next run tries again") from None
            raise
        # Another task may have been at it.
        if not _state(cursor, table, column)[1]:
            cursor.execute(statement)

    try:
        warehouse.transact(f"adding an index to {table}", work)
    except WarehouseError as error:
        log.info("%s has no index on %s, and a validation reads all of it: %s", table, column, error)
    else:
        log.info("%s has an index on %s now", table, column)
