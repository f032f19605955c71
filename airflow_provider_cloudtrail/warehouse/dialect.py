"""What an engine that speaks SQL calls things, and how its driver takes values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_cloudtrail.audit_event import ColumnKind


@dataclass(frozen=True)
class Dialect:
    """
    What an engine calls things.

    :param types: its type for each kind of column.
    :param quote: format of a quoted identifier. Quoting keeps column names that are reserved words
        somewhere (``raw``) usable; it is left out where it would make names case-sensitive.
    :param convert: for kinds whose Python value the driver does not take as it is, what to hand over.
    :param max_parameters: most placeholders in one statement.
    :param max_characters: most characters of the rows in one statement, but for a longer one on its own. Drivers write
        them into its text, of which MySQL 5.7 takes 4 MB (max_allowed_packet), and a character can take four bytes.
    :param max_in_list: most placeholders in one list behind IN.
    :param current_schema: what gives the schema of names without one.
    """

    types: Mapping[ColumnKind, str]
    quote: str = '"{}"'
    convert: Mapping[ColumnKind, Callable[[Any], Any]] = field(default_factory=dict)
    max_parameters: int = 900
    max_characters: int = 900_000
    max_in_list: int = 1_000
    current_schema: str = "CURRENT_SCHEMA()"
