"""
Regular expressions of statements for Athena, held against what Java reads in them.

Trino's functions take Java's syntax (https://trino.io/docs/current/functions/regexp.html). DuckDB, on which the
statements run here, takes another one, in which a bracket within brackets is only a character, and ``$`` nothing but
the end of the text.
"""

from __future__ import annotations

from typing import Any


def patterns_of(statement: Any) -> set[str]:
    """Return the regular expressions of a statement, which may be parsed already."""
    import sqlglot
    from sqlglot import exp

    parsed = sqlglot.parse_one(statement, dialect="athena") if isinstance(statement, str) else statement
    functions = parsed.find_all(exp.RegexpLike, exp.RegexpExtract, exp.RegexpExtractAll)
    return {function.expression.name for function in functions}


def read_alike(pattern: str) -> bool:
    """Tell whether Java and DuckDB read the same in a regular expression."""
    within = escaped = begins = False
    before = ""
    for character in pattern:
        if escaped:
            escaped = begins = False
        elif character == "\\":
            escaped = True
        elif within:
            # Java: a class within the class, and the intersection of two.
            if character == "[" or before + character == "&&":
                return False
            within = character != "]" or begins
            begins = begins and character == "^"
        elif character == "$":
            # Java: also before a line end that is the last character.
            return False
        else:
            within = begins = character == "["
        before = character
    return not within
