"""What a connection to PostgreSQL is set to for us, whatever the user, the database or Airflow's connection says."""

from __future__ import annotations

from typing import Any

from airflow_provider_cloudtrail.warehouse.postgres_statements import InterruptibleCursor, commit

# Of others text would be refused by the driver before the server is asked, or come back as bytes (SQL_ASCII).
_ENCODING = "UTF8"
# psycopg reads times of no other form.
_DATE_STYLE = "ISO"
_TAKES_EVERY_CHARACTER = (_ENCODING, "SQL_ASCII")


def set_up(connection: Any) -> None:
    """
    Have a new connection give rows as tuples, text as UTF-8 and times as drivers read them.

    :param connection: of psycopg or psycopg2, not in autocommit mode, outside of a transaction.
    """
    if not _is_of_psycopg(connection):
        # The extra "cursor" of Airflow's connection may say otherwise. psycopg2 asks for times as it reads them itself.
        connection.cursor_factory = None
        if connection.encoding != _ENCODING:
            connection.set_client_encoding(_ENCODING)
        return
    from psycopg.rows import tuple_row

    connection.row_factory = tuple_row
    # A pool between us and the server may give the next transaction another one, which has nothing prepared.
    connection.prepare_threshold = None
    other = {
        name: value
        for name, value in (("client_encoding", _ENCODING), ("DateStyle", _DATE_STYLE))
        if not (connection.info.parameter_status(name) or "").startswith(value)
    }
    if other:
        InterruptibleCursor(connection.cursor()).execute(
            "; ".join(f"SET {name} TO {value}" for name, value in other.items())
        )
        # Or the next transaction that is rolled back would undo it.
        commit(connection)


def lacks_characters(connection: Any) -> str | None:
    """
    Return the encoding of the database if there are characters that it cannot store, or None.

    :param connection: of psycopg or psycopg2.
    """
    status = connection.info.parameter_status if _is_of_psycopg(connection) else connection.get_parameter_status
    encoding = status("server_encoding")
    return None if encoding is None or encoding in _TAKES_EVERY_CHARACTER else str(encoding)


def _is_of_psycopg(connection: Any) -> bool:
    return hasattr(connection, "prepare_threshold")
