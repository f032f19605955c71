"""What an error of a database driver says that is safe to pass on, and whether it is only a lost race."""

from __future__ import annotations

# SQLSTATEs of a transaction that lost against another: serialization failure, deadlock, lock not
# available, and a key that somebody else has just made. Not 42P07: a table that is there stays there.
CONFLICTS = frozenset({"40001", "40P01", "55P03", "23505"})


def sqlstate(error: Exception) -> str | None:
    """Return the SQLSTATE of a driver's error; psycopg, psycopg2 and redshift_connector name it differently."""
    for name in ("sqlstate", "pgcode"):
        code = getattr(error, name, None)
        if isinstance(code, str):
            return code
    first = error.args[0] if error.args else None
    code = first.get("C") if isinstance(first, dict) else None
    return code if isinstance(code, str) else None


def describe(error: Exception) -> str:
    """Return what is safe to log of a driver's error: its class, its code, the table and column it names."""
    details = [type(error).__name__]
    code = sqlstate(error) or next((str(part) for part in error.args[:1] if isinstance(part, int)), None)
    if code is not None:
        details.append(f"SQLSTATE {code}" if sqlstate(error) else f"code {code}")
    diagnostics = getattr(error, "diag", None)
    for name in ("schema_name", "table_name", "column_name", "constraint_name"):
        if value := getattr(diagnostics, name, None):
            details.append(f"{name.removesuffix('_name')} {value}")
    return ", ".join(details)
