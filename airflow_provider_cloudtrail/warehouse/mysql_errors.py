"""What an error of MySQL or MariaDB says that is safe to pass on, what to do, and whether it is only a lost race."""

from __future__ import annotations

from airflow_provider_cloudtrail.warehouse.driver_errors import CONNECTION_LOST, NO_SCHEMA, describe

# Drivers give the number of an error as its first argument, and no SQLSTATE.
# A row has changed since it was read, waited too long for a lock, deadlock.
_CONFLICTS = ((1020,), (1205,), (1213,))
_TO_DO = {1049: NO_SCHEMA, 2006: CONNECTION_LOST, 2013: CONNECTION_LOST}


def is_of_another_writer(error: Exception) -> bool:
    """Tell whether another transaction was in the way."""
    return type(error).__name__ == "OperationalError" and error.args[:1] in _CONFLICTS


def describe_error(error: Exception) -> str:
    """Return what is safe to log of an error: its class, its code, what to do."""
    return describe(error, advice=_TO_DO.get(error.args[0], "") if error.args else "")
