"""SQL of Athena on DuckDB: parsed in sqlglot's Athena dialect, checked for what Athena refuses, translated and run."""

from __future__ import annotations

import re
import uuid
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.support.athena_tables import DDL_TYPES, QueryError, Table, external_rows

if TYPE_CHECKING:
    from tests.support.athena import AthenaStandIn, Query

MAX_PARTITIONS = 100
_STRING = re.compile(r"'(?:[^']|'')*'")
_ATHENA_TYPES = {
    "VARCHAR": "varchar",
    "BIGINT": "bigint",
    "HUGEINT": "bigint",
    "INTEGER": "integer",
    "BOOLEAN": "boolean",
}
_JSON_SERDE = "org.apache.hive.hcatalog.data.JsonSerDe"


class Statement:
    """One statement on its way through DuckDB."""

    def __init__(self, stand_in: AthenaStandIn, query: Query, cursor: Any) -> None:
        self._stand_in = stand_in
        self._query = query
        self._cursor = cursor

    def run(self) -> None:
        import sqlglot
        from sqlglot import exp

        text = self._query.text
        outside = _STRING.sub("''", text)
        first = outside.split()[0].upper()
        is_ddl = first in ("CREATE", "DROP", "ALTER")
        if first not in ("CREATE", "DROP", "ALTER", "SELECT", "WITH", "MERGE", "INSERT", "UPDATE", "DELETE"):
            raise QueryError("Queries of this type are not supported")
        if ('"' if is_ddl else "`") in outside or "\0" in text or "%" in outside or "?" in outside:
            raise QueryError("SYNTAX_ERROR: line 1:8: mismatched input. Expecting: <identifier>")
        try:
            tree = sqlglot.parse_one(text, dialect="athena")
        except sqlglot.ParseError:
            raise QueryError("SYNTAX_ERROR: line 1:1: mismatched input") from None
        if tree.find(exp.Command, exp.OnConflict, exp.Returning, exp.Placeholder, exp.Parameter):
            raise QueryError("SYNTAX_ERROR: line 1:1: not supported by the stand-in, as by Athena")
        if is_ddl:
            self._query.kind = "DDL"
            self._ddl(tree)
        else:
            self._dml(tree)

    # -- DDL ---------------------------------------------------------------------------------------

    def _ddl(self, tree: Any) -> None:
        from sqlglot import exp

        with self._stand_in._lock:
            if isinstance(tree, exp.Create):
                self._create(tree)
                return
            (found,) = tree.args["tables"] if isinstance(tree, exp.Drop) else [tree.this]
            name = self._name(found)
            table = self._stand_in.catalog.get(name)
            if isinstance(tree, exp.Drop):
                if table is None and not tree.args.get("exists"):
                    raise QueryError(f"FAILED: SemanticException [Error 10001]: Table not found {name}")
                if table is not None:
                    del self._stand_in.catalog[name]
                    if not table.external:
                        self._cursor.execute(f"DROP TABLE {_quoted(name)}")
                return
            if table is None:
                raise QueryError(f"FAILED: SemanticException [Error 10001]: Table not found {name}")
            self._alter(tree, name, table)

    def _create(self, tree: Any) -> None:
        from sqlglot import exp

        if tree.kind != "TABLE" or tree.expression is not None:
            raise QueryError("Queries of this type are not supported by the stand-in")
        name = self._name(tree.this.this)
        columns = self._columns(tree.this.expressions)
        location = tree.find(exp.LocationProperty).this.name
        external = tree.find(exp.ExternalProperty) is not None
        if not re.fullmatch(r"s3://[a-z0-9.-]+/(?:[^'/]+/)*", location):
            raise QueryError("FAILED: location must be a folder of S3 that ends with a slash")
        properties = {
            one.this.name: one.args["value"].name for one in tree.find_all(exp.Property) if type(one) is exp.Property
        }
        if name in self._stand_in.catalog:
            raise QueryError(f"FAILED: SemanticException AlreadyExistsException: Table {name} already exists.")
        day = None
        if external:
            serde = tree.find(exp.RowFormatSerdeProperty)
            if properties or serde is None or serde.this.name != _JSON_SERDE or tree.find(exp.PartitionedByProperty):
                raise QueryError("NOT_SUPPORTED: the stand-in reads JSON by the SerDe of Hive")
        else:
            day = self._create_iceberg(tree, name, columns, location, properties)
        self._stand_in.catalog[name] = Table(columns, location, external, day)

    def _create_iceberg(
        self, tree: Any, name: str, columns: dict[str, str], location: str, properties: dict[str, str]
    ) -> str | None:
        """Create a table and return the column by whose day it is partitioned."""
        from sqlglot import exp

        if properties != {"table_type": "ICEBERG", "format": "parquet", "write_compression": "zstd"}:
            raise QueryError(f"FAILED: table properties {properties}")
        if any(other.location.startswith(location) for other in self._stand_in.catalog.values()):
            raise QueryError("ICEBERG_FILESYSTEM_ERROR: Cannot create a table on a non-empty location")
        day = None
        if (partitions := tree.find(exp.PartitionedByProperty)) is not None:
            (transform,) = partitions.this.expressions
            assert isinstance(transform, exp.Day), transform
            day = str(transform.find(exp.Identifier).name)
            if columns.get(day) != "TIMESTAMP":
                raise QueryError("FAILED: Cannot partition by day of a column that is no timestamp")
        definitions = ", ".join(f'"{column}" {DDL_TYPES[kind]}' for column, kind in columns.items())
        self._cursor.execute(f"CREATE TABLE {_quoted(name)} ({definitions})")
        return day

    def _alter(self, tree: Any, name: str, table: Table) -> None:
        from sqlglot import exp

        (action,) = tree.args["actions"]
        if isinstance(action, exp.Drop):
            column = action.this.name if action.this is not None else action.find(exp.Identifier).name
            self._cursor.execute(f'ALTER TABLE {_quoted(name)} DROP COLUMN "{column}"')
            del table.columns[column]
            return
        if not isinstance(action, exp.Schema):
            raise QueryError("FAILED: ParseException line 1:1 mismatched input 'COLUMN' expecting COLUMNS")
        for column, kind in self._columns(action.expressions).items():
            if column in table.columns:
                raise QueryError(f"FAILED: Cannot add column, name already exists: {column}")
            self._cursor.execute(f'ALTER TABLE {_quoted(name)} ADD COLUMN "{column}" {DDL_TYPES[kind]}')
            table.columns[column] = kind

    def _columns(self, definitions: list[Any]) -> dict[str, str]:
        from sqlglot import exp

        columns: dict[str, str] = {}
        for column in definitions:
            if not isinstance(column, exp.ColumnDef) or column.args.get("constraints"):
                raise QueryError("FAILED: ParseException line 1:1 constraints are not supported")
            kind = column.args["kind"].sql("hive").upper()
            if kind not in DDL_TYPES:
                raise QueryError(f"FAILED: SemanticException type {kind} is not supported for a table like this")
            columns[column.name.lower()] = kind
        return columns

    # -- DML ---------------------------------------------------------------------------------------

    def _dml(self, tree: Any) -> None:
        from sqlglot import exp

        for kind in tree.find_all(exp.DataType):
            if kind.this == exp.DataType.Type.TEXT:
                raise QueryError("TYPE_MISMATCH: line 1:1: Unknown type: string")
            if kind.this == exp.DataType.Type.TIMESTAMP and not kind.expressions:
                # Three digits are what it has.
                kind.set("this", exp.DataType.Type.TIMESTAMP_MS)
        # Moments before tables, of which one is to be read as of the same moment as its number of changes.
        target, table, seen = None, None, 0
        with self._stand_in._lock:
            self._cursor.execute("BEGIN")
            self._cursor.execute("SELECT COUNT(*) FROM duckdb_tables()").fetchall()
            if isinstance(tree, (exp.Merge, exp.Insert, exp.Update, exp.Delete)):
                found = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
                target = self._name(found)
                table = self._stand_in.catalog.get(target)
                if table is None:
                    raise QueryError(f"TABLE_NOT_FOUND: line 1:1: Table 'awsdatacatalog.{target}' does not exist")
                if table.external or table.is_view:
                    raise QueryError("NOT_SUPPORTED: Modifying Hive table rows is only supported for transactional")
                seen = table.changes
        try:
            self._resolve(tree)
            if target is None or table is None:
                self._cursor.execute(tree.sql("duckdb"))
                self._answer()
                self._cursor.execute("ROLLBACK")
                return
            self._check_types(tree, table)
            self._check_matches(tree)
            before = self._per_day(target, table)
            self._cursor.execute(tree.sql("duckdb"))
            ((changed,),) = self._cursor.fetchall()
            after = self._per_day(target, table)
            written = {day for day in after if after[day] != before.get(day)}
            if len(written) > MAX_PARTITIONS:
                raise QueryError(
                    f"ICEBERG_TOO_MANY_OPEN_PARTITIONS: Exceeded limit of {MAX_PARTITIONS} open writers for partitions"
                )
        except BaseException:
            with suppress(Exception):
                self._cursor.execute("ROLLBACK")
            raise
        changes_rows = not isinstance(tree, exp.Insert) and not self._only_inserts(tree)
        self._stand_in.commit(self._cursor, self._query, table, seen, changes_rows=changes_rows)
        self._query.columns, self._query.rows, self._query.changed = [("rows", "bigint")], [[str(changed)]], changed

    @staticmethod
    def _only_inserts(tree: Any) -> bool:
        from sqlglot import exp

        return isinstance(tree, exp.Merge) and not any(when.args["matched"] for when in tree.args["whens"].expressions)

    def _resolve(self, tree: Any) -> None:
        """Put DuckDB's names in the place of the catalog's; external tables are read for that."""
        from sqlglot import exp

        of_the_query = {table.alias for table in tree.find_all(exp.CTE)}
        for node in list(tree.find_all(exp.Table)):
            if not node.db and node.name in of_the_query:
                continue
            name = self._name(node)
            table = self._stand_in.catalog.get(name)
            if table is None:
                raise QueryError(f"TABLE_NOT_FOUND: line 1:15: Table 'awsdatacatalog.{name}' does not exist")
            if table.external:
                view = f"external_{uuid.uuid4().hex}"
                self._cursor.register(view, external_rows(table, self._stand_in.s3))
                node.set("this", exp.to_identifier(view, quoted=True))
                node.set("db", None)
            else:
                database, _, plain = name.partition(".")
                node.set("this", exp.to_identifier(plain, quoted=True))
                node.set("db", exp.to_identifier(database, quoted=True))

    def _check_types(self, tree: Any, table: Table) -> None:
        """Refuse what Trino would: there is no cast that is not written, but from integer to bigint."""
        from sqlglot import exp

        given, origin = self._assigned(tree)
        for name, _ in given:
            if name not in table.columns:
                raise QueryError(f"COLUMN_NOT_FOUND: line 1:1: Insert column name does not exist in target: {name}")
        given = [(name, value) for name, value in given if not isinstance(value, exp.Null)]
        if not given:
            return
        selected = ", ".join(f"{value.sql('duckdb')} AS v{number}" for number, (_, value) in enumerate(given))
        self._cursor.execute(f"DESCRIBE SELECT {selected} {origin}")
        for (name, _), (_, kind, *_) in zip(given, self._cursor.fetchall(), strict=True):
            wanted = DDL_TYPES[table.columns[name]]
            if kind != wanted and (kind, wanted) not in (("INTEGER", "BIGINT"), ("TIMESTAMP_MS", "TIMESTAMP")):
                raise QueryError(f"TYPE_MISMATCH: line 1:1: query has mismatched column types: {name} {kind}")

    @staticmethod
    def _assigned(tree: Any) -> tuple[list[tuple[str, Any]], str]:
        """Return which columns are set to what, and what the values come from."""
        from sqlglot import exp

        if isinstance(tree, exp.Update):
            return [(one.this.name, one.expression) for one in tree.expressions], ""
        if not isinstance(tree, exp.Merge):
            return [], ""
        given: list[tuple[str, Any]] = []
        for when in tree.args["whens"].expressions:
            then = when.args["then"]
            if isinstance(then, exp.Insert):
                given += zip((one.name for one in then.this.expressions), then.expression.expressions, strict=True)
            elif isinstance(then, exp.Update):
                given += [(one.this.name, one.expression) for one in then.expressions]
        using = tree.args["using"]
        assert all(value.table == using.alias for _, value in given), "the stand-in expects values of the source"
        return given, f"FROM {using.sql('duckdb')}"

    def _check_matches(self, tree: Any) -> None:
        from sqlglot import exp

        if not isinstance(tree, exp.Merge) or self._only_inserts(tree):
            return
        target, using, on = (tree.args[name].sql("duckdb") for name in ("this", "using", "on"))
        alias = tree.this.alias
        self._cursor.execute(
            f"SELECT 1 FROM {target} JOIN {using} ON {on} GROUP BY {alias}.rowid HAVING COUNT(*) > 1 LIMIT 1"
        )
        if self._cursor.fetchall():
            raise QueryError(
                "MERGE_TARGET_ROW_MULTIPLE_MATCHES: One MERGE target table row matched more than one source row"
            )

    def _per_day(self, name: str, table: Table) -> dict[Any, int]:
        if table.day is None:
            return {}
        self._cursor.execute(f"SELECT date_trunc('day', \"{table.day}\"), COUNT(*) FROM {_quoted(name)} GROUP BY 1")
        return dict(self._cursor.fetchall())

    def _answer(self) -> None:
        kinds = [str(column[1]) for column in self._cursor.description]
        self._query.columns = [
            (column[0], _ATHENA_TYPES.get(kind, "timestamp" if kind.startswith("TIMESTAMP") else "varchar"))
            for column, kind in zip(self._cursor.description, kinds, strict=True)
        ]
        self._query.rows = [[_text(value) for value in row] for row in self._cursor.fetchall()]

    def _name(self, node: Any) -> str:
        return f"{node.db or self._query.database}.{node.name}".lower()


def _quoted(name: str) -> str:
    return ".".join(f'"{part}"' for part in name.split("."))


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat(" ", "microseconds") if isinstance(value, datetime) else str(value)
