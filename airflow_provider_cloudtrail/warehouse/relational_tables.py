"""The tables of an engine that speaks SQL: made where they are missing, extended, explained where they do not fit."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, ClassVar

from airflow_provider_cloudtrail.audit_event import Column
from airflow_provider_cloudtrail.warehouse.base import Warehouse, WarehouseError, WarehouseUnavailableError
from airflow_provider_cloudtrail.warehouse.dialect import Dialect
from airflow_provider_cloudtrail.warehouse.driver_errors import NO_PRIVILEGE, sqlstate
from airflow_provider_cloudtrail.warehouse.unfit_tables import unfit

log = logging.getLogger(__name__)


class RelationalTables(Warehouse):
    """
    What of a warehouse behind a DB-API connection has to do with the tables themselves, not with their rows.

    Parameters are those of :class:`Warehouse`.
    """

    dialect: ClassVar[Dialect]

    def ensure_tables(self, expected: Mapping[str, Sequence[Column]], *, without_key: Collection[str] = ()) -> None:
        """Create the tables that are missing, and add the columns that they lack."""
        # In one transaction where all is well, which is nearly always.
        present = self._columns_of_all(list(expected))
        for table, columns in expected.items():
            names = present.get(table)
            if names is None:
                names = self._create(table, columns, has_key=table not in without_key)
            missing = [column for column in columns if column.name not in names]
            if missing:
                with self._explained():
                    self.transact(f"adding columns to {table}", partial(self._add, table=table, columns=missing))
                log.info("Added columns to %s: %s", table, ", ".join(column.name for column in missing))

    def qualified(self, name: str) -> str:
        """Return the quoted name of a table in the schema."""
        return ".".join(self.quoted(part) for part in (self.schema, name) if part is not None)

    def quoted(self, name: str) -> str:
        """Return a quoted identifier."""
        return self.dialect.quote.format(name)

    # -- what an engine brings ---------------------------------------------------------------------

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[Any]:
        """Return a transaction of its own, which gives what statements are executed on."""

    def _table_options(self, table: str) -> str:  # noqa: ARG002
        """Return what follows the columns where a table is created."""
        return ""

    # -- shared by all -----------------------------------------------------------------------------

    def _columns_of_all(self, tables: Sequence[str]) -> dict[str, frozenset[str]]:
        """Return the columns of the tables that are there."""
        try:
            return self.transact("looking for the tables", lambda cursor: {t: self._columns(cursor, t) for t in tables})
        except WarehouseUnavailableError:
            raise
        except WarehouseError:
            # An engine may end the transaction with the first table that is missing: one by one, then.
            if len(tables) == 1:
                return {}
            return {name: columns for t in tables for name, columns in self._columns_of_all([t]).items()}

    @staticmethod
    def _columns(cursor: Any, table: str) -> frozenset[str]:
        cursor.execute(f"SELECT * FROM {table} WHERE 1 = 0")
        names = frozenset(str(column[0]).lower() for column in cursor.description)
        # There are no rows, but some drivers take no further statement before that was heard.
        cursor.fetchall()
        return names

    def _create(self, table: str, columns: Sequence[Column], *, has_key: bool) -> frozenset[str]:
        definitions = [
            f"{self.quoted(column.name)} {self.dialect.types[column.kind]}{' NOT NULL' if column.required else ''}"
            for column in columns
        ]
        if has_key:
            definitions.append(f"PRIMARY KEY ({self.quoted(columns[0].name)})")
        statement = f"CREATE TABLE {table} ({', '.join(definitions)}){self._table_options(table)}"
        try:
            self.transact(f"creating {table}", lambda cursor: cursor.execute(statement))
        except WarehouseError as error:
            # Another task may have created it since it was looked for. Or it is there and must not be looked at.
            try:
                return self.transact(f"looking for {table}", lambda cursor: self._columns(cursor, table))
            except WarehouseError as unseen:
                raise type(unseen)(f"{error}. {unseen}") from None
        log.info("Created table %s", table)
        return frozenset(column.name for column in columns)

    def _add(self, cursor: Any, *, table: str, columns: Sequence[Column]) -> None:
        present = self._columns(cursor, table)
        # Never NOT NULL: the rows that are there have no value.
        statements = [
            f"ALTER TABLE {table} ADD COLUMN {self.quoted(column.name)} {self.dialect.types[column.kind]}"
            for column in columns
            if column.name not in present
        ]
        try:
            for statement in statements:
                cursor.execute(statement)
        except Exception as error:
            if sqlstate(error) != NO_PRIVILEGE:
                raise
            raise WarehouseError(
                f"{self.engine}, adding columns to {table}: only its owner may do that ({type(error).__name__}, "
                f"SQLSTATE {NO_PRIVILEGE}). Have the owner run: {'; '.join(statements)}"
            ) from None

    def _unfit(self) -> str:
        with self._transaction() as cursor:
            found = [(name, *self._what_is(cursor, name)) for name in self._expected()]
        return unfit(self._expected(), found, {kind.value: name for kind, name in self.dialect.types.items()})

    def _what_is(self, cursor: Any, table: str) -> tuple[str, dict[str, str]]:
        """Return what an object of the schema is, and the types of its columns by their names."""
        mark = self.hook.placeholder
        schema, values = (self.dialect.current_schema, []) if self.schema is None else (f"LOWER({mark})", [self.schema])
        where = f"WHERE LOWER(table_schema) = LOWER({schema}) AND LOWER(table_name) = LOWER({mark})"
        cursor.execute(f"SELECT table_type FROM information_schema.tables {where}", [*values, table])
        kind = next(iter(cursor.fetchall()), ("",))[0]
        cursor.execute(f"SELECT column_name, data_type FROM information_schema.columns {where}", [*values, table])
        return str(kind), {str(name).lower(): str(of_column) for name, of_column in cursor.fetchall()}
