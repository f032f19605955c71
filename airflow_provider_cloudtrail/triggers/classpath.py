"""Under which name Airflow stores a trigger, to import it again."""

from __future__ import annotations

_PACKAGE, _, _ = __name__.partition(".")
# Where the triggers of this package are imported from stays the same, wherever their code moves.
_PUBLIC = f"{_PACKAGE}.triggers.cloudtrail"


def classpath_of(trigger: object) -> str:
    """
    Return the path of a trigger's class; a subclass that users have written is imported from their own module.

    :param trigger: what is serialized.
    """
    kind = type(trigger)
    of_users = kind.__module__.partition(".")[0] != _PACKAGE
    return f"{kind.__module__ if of_users else _PUBLIC}.{kind.__qualname__}"
