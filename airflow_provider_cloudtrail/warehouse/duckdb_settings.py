"""Settings of a connection to DuckDB: what they are, and those that have to be ours whatever the user's are."""

from __future__ import annotations

import math
from typing import Any

# With others statements would find other rows (of ids that differ in case alone all but the first), and errors could
# not be read.
_OURS = {"default_collation": "", "errors_as_json": "False"}


def set_ours(connection: Any) -> None:
    """Give a new connection the settings that statements and errors are understood by."""
    for name, value in _OURS.items():
        if setting(connection, name) != value:
            connection.execute(f"SET {name} = '{value}'")


def setting(connection: Any, name: str) -> str:
    """Return a setting of a connection, as text."""
    ((value,),) = connection.execute(f"SELECT current_setting('{name}')").fetchall()
    return str(value)


def is_locked(connection: Any) -> bool:
    """Tell whether settings can be changed no more (``lock_configuration``)."""
    return setting(connection, "lock_configuration") == "True"


def in_bytes(size: str) -> float:
    """Read a size as DuckDB writes it, ``18.8 GiB``; what is no size is without bounds."""
    number, _, unit = size.partition(" ")
    factor = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}.get(unit)
    return float(number) * factor if factor else math.inf
