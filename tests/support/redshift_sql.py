"""
What Redshift understands, and what PostgreSQL is told instead: statements, and the rows that COPY takes from S3.

Every statement is parsed in sqlglot's Redshift dialect; what Redshift lacks is refused (ON CONFLICT, RETURNING,
indexes, CHECK, JSON types, ON COMMIT ...), what PostgreSQL lacks is translated (SUPER, JSON_PARSE, ARRAY, SORTKEY,
lengths in bytes) and what Redshift only declares is dropped (PRIMARY KEY).
"""

from __future__ import annotations

import gzip
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

MAX_VARCHAR = 65_535
MAX_JSON_OBJECT = 4 * 1024 * 1024
FEWEST_IN_AN_ARRAY = 10

_COMMANDS = re.compile(r"(LOCK|RESET) ", re.IGNORECASE)
_MORE_ROWS = re.compile(r"(VALUES \((?:\$\d+(?:, )?)+\))(?:, \((?:\$\d+(?:, )?)+\))+$")
# JSON_PARSE refuses repeated names and long strings unless a setting of the session says otherwise.
FUNCTIONS = f"""
CREATE FUNCTION super_holds(value json) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$
  SELECT value::text IS JSON WITH UNIQUE KEYS AND octet_length(value::text) <= 16777216 AND NOT EXISTS (
    SELECT FROM jsonb_path_query(value::jsonb, 'strict $.** ? (@.type() == "string")') AS found
    WHERE octet_length(found #>> '{{}}') > {MAX_VARCHAR}) $$;
CREATE DOMAIN super AS json CHECK (super_holds(value));
CREATE FUNCTION json_parse(value text) RETURNS super IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
  IF octet_length(value) > {MAX_VARCHAR} THEN RAISE 'Value too long for type character varying' USING ERRCODE = '22001';
  END IF; RETURN value; END $$;
CREATE FUNCTION super_array(VARIADIC items text[]) RETURNS super IMMUTABLE LANGUAGE sql AS $$
  SELECT array_to_json(items) $$;
CREATE FUNCTION db_collation() RETURNS text LANGUAGE sql AS $$ SELECT 'case_sensitive' $$;
CREATE FUNCTION getdate() RETURNS timestamp LANGUAGE sql AS $$ SELECT localtimestamp(0) $$;
"""
"""What a database of PostgreSQL needs so that it understands what is translated."""


class RefusedError(Exception):
    """Raised for what Redshift answers with an error; the code is the SQLSTATE."""

    def __init__(self, code: str, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.fields = {"S": "ERROR", "C": code, "M": message} | ({"D": detail} if detail else {})


# -- SQL -------------------------------------------------------------------------------------------


def translated(sql: str) -> str:
    """
    Return a statement of Redshift as PostgreSQL understands it.

    :raises RefusedError: for what Redshift does not understand.
    """
    import sqlglot
    from sqlglot import exp

    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        # Of thousands of rows of nothing but placeholders the first stands for all.
        tree = sqlglot.parse_one(_MORE_ROWS.sub(r"\1", sql), dialect="redshift")
    except sqlglot.ParseError:
        raise RefusedError("42601", "syntax error") from None
    _refuse_lacking(tree)
    statements = (exp.Query, exp.DML, exp.DDL, exp.Drop, exp.Alter, exp.Transaction, exp.Commit, exp.Rollback, exp.Set)
    if not isinstance(tree, (*statements, exp.Copy)) and not (isinstance(tree, exp.Command) and _COMMANDS.match(sql)):
        raise RefusedError("42601", "syntax error")
    if isinstance(tree, exp.Create):
        if tree.kind != "TABLE":
            raise RefusedError("0A000", f"CREATE {tree.kind} is not supported")
        return _create_table(tree)
    if isinstance(tree, exp.Alter):
        (action,) = tree.args["actions"]
        if isinstance(action, exp.ColumnDef):
            if action.args.get("constraints"):
                raise RefusedError("42601", "ALTER TABLE ADD COLUMN takes no such constraint")
            return f"ALTER TABLE {tree.this.sql('postgres')} ADD COLUMN {_column(action)}"
    return re.sub(r"\bARRAY\(", "super_array(", sql)


def _refuse_lacking(tree: Any) -> None:
    from sqlglot import exp

    lacking = [exp.OnConflict, exp.Returning, exp.CheckColumnConstraint, exp.Check, exp.OnCommitProperty, exp.Merge]
    for kind in lacking:
        if tree.find(kind):
            raise RefusedError("0A000", f"{kind.__name__} is not supported by the shim, as by Redshift")
    if isinstance(tree, exp.Delete) and any(table.alias for table in tree.find_all(exp.Table)):
        # https://docs.aws.amazon.com/redshift/latest/dg/r_DELETE.html
        raise RefusedError("42601", "the syntax of DELETE has no alias")
    # Strings of the driver have no type, unless something gives them one
    # (https://github.com/aws/amazon-redshift-python-driver/issues/59).
    given = [item for array in tree.find_all(exp.Array) for item in array.expressions]
    if any(isinstance(item, exp.Parameter | exp.Placeholder) for item in given):
        raise RefusedError("XX000", "Assert", "false - Invalid type: 705")
    # A list that long is an array (https://docs.aws.amazon.com/redshift/latest/dg/r_in_condition.html), and no array is
    # taken that is no constant (https://github.com/aws/amazon-redshift-python-driver/issues/45).
    for listed in tree.find_all(exp.In):
        if len(listed.expressions) >= FEWEST_IN_AN_ARRAY and listed.find(exp.Parameter, exp.Placeholder):
            raise RefusedError("XX000", "Only constant arrays supported in IN/ANY/ALL operation.")


def _create_table(tree: Any) -> str:
    from sqlglot import exp

    columns = {column.name: column for column in tree.this.find_all(exp.ColumnDef)}
    for key in tree.find_all(exp.SortKeyProperty, exp.DistKeyProperty):
        for name in (identifier.name for identifier in key.find_all(exp.Identifier)):
            if name not in columns:
                raise RefusedError("42703", f'column "{name}" named in key does not exist')
            if _type_of(columns[name]) == "SUPER":
                raise RefusedError("0A000", "SUPER columns can be neither sort nor distribution key")
    temporary = "TEMPORARY " if tree.find(exp.TemporaryProperty) else ""
    definitions = ", ".join(_column(column) for column in columns.values())
    return f"CREATE {temporary}TABLE {tree.this.this.sql('postgres')} ({definitions})"


def _type_of(column: Any) -> str:
    return str(column.args["kind"].sql("redshift"))


def _column(column: Any) -> str:
    """Return the definition of a column whose length counts bytes."""
    from sqlglot import exp

    name = f'"{column.name.lower()}"'
    constraints = [constraint.kind for constraint in column.args.get("constraints") or []]
    suffix = " NOT NULL" if any(isinstance(kind, exp.NotNullColumnConstraint) for kind in constraints) else ""
    declared = _type_of(column).upper()
    if found := re.fullmatch(r"(?:VARCHAR|CHARACTER VARYING)(?:\((\w+)\))?|TEXT", declared):
        length = MAX_VARCHAR if found[1] == "MAX" else int(found[1] or 256)
        if length > MAX_VARCHAR:
            raise RefusedError("42601", f"length for type character varying cannot exceed {MAX_VARCHAR}")
        return f"{name} TEXT CHECK (octet_length({name}) <= {length}){suffix}"
    if declared == "SUPER":
        return f"{name} super{suffix}"
    if re.fullmatch(r"BIGINT|INTEGER|INT|SMALLINT|BOOLEAN|DOUBLE PRECISION|TIMESTAMP( WITH TIME ZONE)?", declared):
        identity = any(isinstance(kind, exp.GeneratedAsIdentityColumnConstraint) for kind in constraints)
        return f"{name} {declared}{' GENERATED BY DEFAULT AS IDENTITY' if identity else ''}{suffix}"
    raise RefusedError("0A000", f"type {declared} is not supported by Redshift")


# -- COPY ------------------------------------------------------------------------------------------


def load_failed(table: str) -> RefusedError:
    """Return what COPY says about any row that it refuses."""
    name = table.strip('"')
    return RefusedError("XX000", f"Load into table '{name}' failed.  Check 'stl_load_errors' system table for details.")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("repeated name")
    return dict(pairs)


def _check_scalar(value: Any) -> None:
    if isinstance(value, str) and len(value.encode()) > MAX_VARCHAR:
        raise ValueError("long string")
    if isinstance(value, int) and len(str(abs(value))) > 38:
        raise ValueError("number")


def _check_super(raw: bytes) -> None:
    """Raise ValueError for a value that SUPER cannot hold."""
    if len(raw) > 16 * 1024 * 1024:
        raise ValueError("large object")
    try:
        level = [json.loads(raw, object_pairs_hook=_members)]
    except RecursionError:
        raise ValueError("levels") from None
    for _ in range(1_001):
        following: list[Any] = []
        for value in level:
            _check_scalar(value)
            if isinstance(value, (dict, list)):
                following += value.values() if isinstance(value, dict) else value
        if not following:
            return
        level = following
    raise ValueError("levels")


def copy_rows(objects: Iterator[bytes], names: list[str], types: dict[str, str]) -> Iterator[bytes]:
    """Yield the lines of objects as PostgreSQL's COPY takes them; raise ValueError for what Redshift refuses."""
    import msgspec

    for packed in objects:
        # COPY reads objects one after the other; so that none is torn, ours are one a line.
        for line in gzip.decompress(packed).split(b"\n"):
            if len(line) > MAX_JSON_OBJECT:
                raise ValueError("JSON object above 4 MB")
            members = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
            values = []
            for name in names:
                raw = bytes(members.get(name, b"null"))
                if raw == b"null":
                    values.append(b"\\N")
                    continue
                if types[name] == "super":
                    _check_super(raw)
                    text = raw.decode()
                else:
                    value = json.loads(raw)
                    text = value if isinstance(value, str) else raw.decode()
                if "\0" in text or (types[name] == "super" and "\\u0000" in text):
                    raise ValueError("NUL")
                escaped = text.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
                values.append(escaped.encode())
            yield b"\t".join(values) + b"\n"
