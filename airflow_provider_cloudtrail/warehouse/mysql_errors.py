"""
What an error of MySQL or MariaDB says that is safe to pass on, what to do, and whether it is only a lost race.

By its number: drivers differ in the class that they give it, and few give a SQLSTATE.
"""

from __future__ import annotations

import re

from airflow_provider_cloudtrail.warehouse.driver_errors import (
    ADVICE,
    CANCELLED,
    CONNECTION_LOST,
    DISK_FULL,
    NO_PRIVILEGE,
    NO_SCHEMA,
    TOO_SHORT,
    advice_on_column,
    advice_on_constraint,
    describe,
)

# A row has changed since it was read, waited too long for a lock, deadlock.
_CONFLICTS = frozenset({1020, 1205, 1213})
_THERE_ALREADY = 1062
# The name of the key, of MySQL 8 behind that of the table; before it stands the value.
_KEY = re.compile(r" for key '(?:[^']*\.)?([^'.]+)'$")
# A column that was given null, and one without a default that no row brings.
_NULL_REFUSED = (1048, 1364)
_COLUMN = re.compile(r"(?:Column|Field) '(\w+)'")
# The first of these where the user may not see the other table.
_CONSTRAINTS = {1216: "a FOREIGN KEY", 1452: "a FOREIGN KEY", 3819: "a CHECK", 4025: "a CHECK"}
# 2055 is that of mysql-connector-python.
_LOST = frozenset({2006, 2013, 2055})
_TOO_LONG = (
    "That is more than the server takes at once: set its max_allowed_packet higher, to 1 GiB at most (in Amazon RDS in "
    "the parameter group)"
)
_READ_ONLY = (
    "The server takes no writes: it is a replica, or read_only is on. Let the connection lead to the primary (in "
    "Aurora to the writer's endpoint), or have writes allowed there"
)
# The server's own word, if the driver has heard it, and that of mysqlclient.
_KNOWN_TOO_LONG = frozenset({1153, 2020})
_TO_DO = {
    1049: NO_SCHEMA,
    1406: ADVICE[TOO_SHORT],
    # The last ones of a server that is shut down, of MariaDB's KILL and of limits of idle time.
    **dict.fromkeys((*_LOST, 1053, 1927, 3169, 4031), CONNECTION_LOST),
    **dict.fromkeys(_KNOWN_TOO_LONG, _TOO_LONG),
    **dict.fromkeys((1290, 1792, 1836), _READ_ONLY),
    **dict.fromkeys((1044, 1142), ADVICE[NO_PRIVILEGE]),
    **dict.fromkeys((1021, 1114), ADVICE[DISK_FULL]),
    **dict.fromkeys((1317, 1969, 3024), ADVICE[CANCELLED]),
}


def is_of_another_writer(error: Exception) -> bool:
    """Tell whether another transaction was in the way, if no unique key refuses."""
    return _number_and_text(error)[0] in _CONFLICTS


def refusing_key(error: Exception) -> str | None:
    """Return the name of the unique key that a row breaks, empty if it cannot be read; None: another reason."""
    number, text = _number_and_text(error)
    if number != _THERE_ALREADY:
        return None
    key = _KEY.search(text)
    return key[1] if key else ""


def may_be_too_long(error: Exception) -> bool:
    """Tell whether a statement failed as one that is longer than the server takes does: it hangs up."""
    return _number_and_text(error)[0] in _LOST | _KNOWN_TOO_LONG


def describe_too_long(error: Exception, length: int, most: int) -> str:
    """
    Return what to say of the error of a statement that is longer than the server takes.

    :param length: bytes of the statement.
    :param most: bytes that the server takes.
    """
    return describe(error, f"a statement of {length} bytes where {most} are taken", advice=_TOO_LONG)


def describe_error(error: Exception) -> str:
    """Return what is safe to log of an error that is no lost race: its class, its code, what to do."""
    number, text = _number_and_text(error)
    if number in _NULL_REFUSED and (found := _COLUMN.search(text)):
        return describe(error, advice=advice_on_column(found[1]))
    if constraint := _constraint(error):
        return describe(error, advice=advice_on_constraint(constraint))
    return describe(error, advice=_TO_DO.get(number, ""))


def _constraint(error: Exception) -> str | None:
    if key := refusing_key(error):
        return f"a unique key {key}"
    return _CONSTRAINTS.get(_number_and_text(error)[0])


def _number_and_text(error: Exception) -> tuple[int, str]:
    """Return what the server says of an error, whichever driver raised it; 0 and nothing if it is none of a server."""
    number, *text = error.args or [0]
    return (number, str(*text[:1])) if isinstance(number, int) else (0, "")
