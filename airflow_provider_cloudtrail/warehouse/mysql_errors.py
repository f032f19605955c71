"""
What an error of MySQL or MariaDB says that is safe to pass on, what to do, and whether it is only a lost race.

By its number: drivers differ in the class that they give it, and few give a SQLSTATE.
"""

from __future__ import annotations

import re

from airflow_provider_cloudtrail.warehouse.driver_errors import (
    CONNECTION_LOST,
    KEYS,
    NO_SCHEMA,
    advice_on_column,
    advice_on_constraint,
    describe,
)

# A row has changed since it was read, waited too long for a lock, deadlock.
_CONFLICTS = frozenset({1020, 1205, 1213})
_THERE_ALREADY = 1062
# The name of the key, of MySQL 8 behind that of the table; before it stands the value. One that is made without a name
# gets that of its column.
_KEY = re.compile(r" for key '(?:[^']*\.)?([^'.]+)'$")
_OUR_KEYS = {"PRIMARY", *KEYS}
# A column that was given null, and one without a default that no row brings.
_NULL_REFUSED = (1048, 1364)
_COLUMN = re.compile(r"(?:Column|Field) '(\w+)'")
_CONSTRAINTS = {1452: "a FOREIGN KEY", 3819: "a CHECK", 4025: "a CHECK"}
# 2055 is that of mysql-connector-python.
_LOST = frozenset({2006, 2013, 2055})
_TOO_LONG = (
    "That is more than the server takes at once: set its max_allowed_packet higher, to 1 GiB at most (in Amazon RDS in "
    "the parameter group)"
)
# The server's own word, if the driver has heard it, and that of mysqlclient.
_KNOWN_TOO_LONG = frozenset({1153, 2020})
_TO_DO = {
    1049: NO_SCHEMA,
    **dict.fromkeys(_LOST, CONNECTION_LOST),
    **dict.fromkeys(_KNOWN_TOO_LONG, _TOO_LONG),
}


def is_of_another_writer(error: Exception) -> bool:
    """Tell whether another transaction was in the way."""
    number, _ = _number_and_text(error)
    return number in _CONFLICTS or (number == _THERE_ALREADY and _constraint(error) is None)


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
    """Return what is safe to log of an error: its class, its code, what to do."""
    number, text = _number_and_text(error)
    if number in _NULL_REFUSED and (found := _COLUMN.search(text)):
        return describe(error, advice=advice_on_column(found[1]))
    if constraint := _constraint(error):
        return describe(error, advice=advice_on_constraint(constraint))
    return describe(error, advice=_TO_DO.get(number, ""))


def _constraint(error: Exception) -> str | None:
    """Return the constraint, which must be one of the user's own, that a row breaks however often it is tried."""
    number, text = _number_and_text(error)
    if number == _THERE_ALREADY:
        key = _KEY.search(text)
        return f"a unique key {key[1]}" if key and key[1] not in _OUR_KEYS else None
    return _CONSTRAINTS.get(number)


def _number_and_text(error: Exception) -> tuple[int, str]:
    """Return what the server says of an error, whichever driver raised it; 0 and nothing if it is none of a server."""
    number, *text = error.args or [0]
    return (number, str(*text[:1])) if isinstance(number, int) else (0, "")
