"""
The Iceberg catalog of a connection: Glue, S3 Tables, any REST catalog, or a database.

The hook of Airflow's Iceberg provider gives a catalog from version 2.0 on. Before, it only fetches a token
of a REST catalog: the catalog is then opened from what the connection says, by the same rules.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflow_provider_cloudtrail.audit_event import Column
from airflow_provider_cloudtrail.shortage import shortage
from airflow_provider_cloudtrail.warehouse.base import WarehouseError, WarehouseUnavailableError
from airflow_provider_cloudtrail.warehouse.iceberg_memory import import_arrow
from airflow_provider_cloudtrail.warehouse.iceberg_schema import iceberg_type, partitions_of, properties_of, schema_of

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

log = logging.getLogger(__name__)

# What these say is about catalogs, files and permissions, never about values of a record: a catalog in a database, of
# which SQLAlchemy tells in the first line, has none of them.
_SAFE_TO_QUOTE = frozenset({
    "BadRequestError",
    "ClientError",
    "ConnectionError",
    "DatabaseError",
    "EndpointConnectionError",
    "FileNotFoundError",
    "ForbiddenError",
    "InternalError",
    "NoSuchIcebergTableError",
    "NoSuchNamespaceError",
    "NoSuchTableError",
    "OAuthError",
    "OSError",
    "OperationalError",
    "PermissionError",
    "ProgrammingError",
    "ServerError",
    "UnauthorizedError",
})
_CODEC = "Let write.parquet.compression-codec of the tables be zstd, and drop write.parquet.compression-level"
_AVRO_CODEC = "Let write.avro.compression-codec of the tables be gzip"
_VERSION = (
    "One of the tables has a version of Iceberg's format that the installed pyiceberg does not write: install a newer "
    "one, or name other tables by the parameter table, which are created with version 2"
)
# What is said, from the begin, of tables that somebody has set to be what pyiceberg or Arrow do not write or read; and
# what to do. In what is said are names of properties, files and codecs, never a value of a record.
_TO_DO = {
    "(sqlite3.OperationalError) database or disk is full": "Make room where the file of the catalog lies. Then run "
    "this again, it goes on from what is stored",
    "Cannot write manifest": _VERSION,
    "Codec '": _CODEC,
    "Could not parse table property": "",
    "No writer registered for": "Let write.format.default of the tables be parquet",
    "PyIceberg does not yet support equality deletes": "Have the table compacted by an engine that reads them",
    "Snappy support not installed": _AVRO_CODEC,
    "Unsupported codec": _AVRO_CODEC,
    "Unsupported compression": _CODEC,
    "Unsupported metrics mode": "Let write.metadata.metrics.* of the tables be modes of Iceberg",
    "While LZO": _CODEC,
}
# Races that are lost before there is a commit, and commits of which nobody knows whether they are stored: done
# again, they find what is.
_CONFLICTS = frozenset({
    "CommitFailedException",
    "CommitStateUnknownException",
    "NamespaceAlreadyExistsError",
    "ServiceUnavailableError",
    "TableAlreadyExistsError",
})
_CONFLICTS_OF_AWS = frozenset({"ConcurrentModificationException", "OperationTimeoutException", "ThrottlingException"})


class LazyCatalog:
    """
    The catalog of a hook, opened when it is needed, and its tables.

    :param hook: Airflow's ``IcebergHook``.
    """

    def __init__(self, hook: Any) -> None:
        self._hook = hook
        self._opening = threading.Lock()
        self._opened: Catalog | None = None

    def open(self) -> Catalog:
        """
        Return the catalog.

        :raises WarehouseUnavailableError: if it cannot be opened.
        """
        with self._opening:
            if self._opened is None:
                try:
                    import_arrow()
                    self._opened = catalog_of(self._hook)
                    _leave_connections_that_failed(self._opened)
                except Exception as error:
                    if is_conflict(error):
                        raise
                    # No value of a record has been handed over yet: the text is safe, and what a user needs.
                    raise WarehouseUnavailableError(
                        f"iceberg: cannot open the catalog of conn_id={self._hook.conn_id!r}: {in_one_line(error)}"
                    ) from None
            return self._opened

    def load(self, name: str) -> Table:
        """Return a table as it is now."""
        return self.open().load_table(name)

    def ensure(self, name: str, columns: Sequence[Column], *, has_key: bool, suffix: str) -> None:
        """
        Create a table, or add the columns that it lacks.

        :param suffix: what follows the name of the audit table in its name.
        """
        from pyiceberg.exceptions import (
            NoSuchIcebergTableError,
            NoSuchNamespaceError,
            NoSuchPropertyException,
            NoSuchTableError,
        )

        try:
            table = self.load(name)
        except (NoSuchIcebergTableError, NoSuchPropertyException):
            # Glue has views and tables of other kinds under the same names.
            raise WarehouseError(
                f"iceberg, preparing {name}: there is a view or a table in the catalog that is no Iceberg table; "
                "rename it, then it is created anew, or name other tables by the parameter table"
            ) from None
        except NoSuchTableError:
            schema = schema_of(columns, has_key=has_key)
            spec, properties = partitions_of(schema, suffix), properties_of(columns)
            try:
                self.open().create_table(name, schema, partition_spec=spec, properties=properties)
            except NoSuchNamespaceError:
                raise WarehouseError(_missing(name.rpartition(".")[0], self.open())) from None
            log.info("Created table %s", name)
            return
        present = set(table.schema().column_names)
        missing = [column for column in columns if column.name not in present]
        if missing:
            with table.update_schema() as change:
                for column in missing:
                    # Never required: the rows that are there have no value.
                    change.add_column(column.name, iceberg_type(column.kind), doc=column.meaning)
            log.info("Added columns to %s: %s", name, ", ".join(column.name for column in missing))


def _missing(namespace: str, catalog: Catalog) -> str:
    """Return what is to be said of a namespace that is not there."""
    kept_apart = (
        f". A catalog in a database has the namespaces that were made under its name: only those of {catalog.name!r}, "
        "which is the id of the connection, are seen"
    )
    return (
        f"iceberg: there is no namespace {namespace!r} in the catalog {catalog.name!r}; create it (in Athena and "
        f"Spark: CREATE DATABASE {namespace}; with pyiceberg: create_namespace), or name another by the parameter "
        f"schema{kept_apart if type(catalog).__name__ == 'SqlCatalog' else ''}"
    )


def catalog_of(hook: Any) -> Catalog:
    """
    Return the catalog of a hook.

    :param hook: Airflow's ``IcebergHook``.
    """
    if hasattr(type(hook), "catalog"):
        catalog: Catalog = hook.catalog
        return catalog
    from pyiceberg.catalog import load_catalog

    connection = hook.get_connection(hook.conn_id)
    properties: dict[str, str] = dict(connection.extra_dejson or {})
    if connection.host:
        properties["uri"] = connection.host.rstrip("/")
    if properties.setdefault("type", "rest") == "rest" and connection.login and connection.password:
        properties["credential"] = f"{connection.login}:{connection.password}"
    return load_catalog(hook.conn_id, **properties)


def _leave_connections_that_failed(catalog: Catalog) -> None:
    """
    Have a catalog in a database use a connection no more on which something has failed.

    SQLite that is busy at a commit leaves the transaction open. pyiceberg goes on with the connection, and sees on it
    what is not stored: a commit was taken for stored that was rolled back a moment later.
    """
    engine = getattr(catalog, "engine", None)
    if engine is not None:
        from sqlalchemy import event

        event.listen(engine, "handle_error", _is_of_no_more_use)


def _is_of_no_more_use(failure: Any) -> None:
    failure.is_disconnect = True


def namespace_of(hook: Any) -> str:
    """
    Return the namespace that a connection names: its schema, or ``namespace`` in its extra.

    :raises ValueError: if it names none; catalogs have no default.
    """
    connection = hook.get_connection(hook.conn_id)
    extra: Mapping[str, Any] = connection.extra_dejson or {}
    namespace = connection.schema or extra.get("namespace")
    if not namespace:
        raise ValueError(
            f"the tables need a namespace (in Glue and Athena: a database): set the parameter schema, or the schema of "
            f"the connection {hook.conn_id!r}; it must exist"
        )
    return str(namespace)


def describe(error: Exception, *, has_values: bool = True) -> str:
    """
    Return what is safe to log of an error of pyiceberg, pyarrow or the catalog: its class, its text, what to do.

    :param has_values: whether values of records had been handed over before.
    """
    text = str(error)
    said = next((begin for begin in _TO_DO if text.startswith(begin)), None)
    is_safe = said is not None or not has_values or type(error).__name__ in _SAFE_TO_QUOTE
    to_do = shortage(error) if said is None else _TO_DO[said]
    what = in_one_line(error) if is_safe else type(error).__name__
    return f"{what.rstrip('.')}. {to_do}" if to_do else what


def in_one_line(error: Exception) -> str:
    """Return class and text of an error, at most 500 characters of its first line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:500]}" if text else type(error).__name__


def is_conflict(error: Exception) -> bool:
    """Tell whether work failed only because of another writer, or nobody knows whether it did: it is tried again."""
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    # A catalog in SQLite: who comes second waits for a moment, and then is told one of these.
    of_sqlite = type(error).__name__ == "OperationalError" and any(
        part in str(error) for part in ("database is locked", "already exists")
    )
    return type(error).__name__ in _CONFLICTS or code in _CONFLICTS_OF_AWS or of_sqlite or _is_throttled(error)


def _is_throttled(error: Exception) -> bool:
    """Tell whether a REST catalog was asked too often; pyiceberg has a class for that from version 0.12 on."""
    answer = getattr(error.__cause__, "response", None)
    return getattr(answer, "status_code", None) == HTTPStatus.TOO_MANY_REQUESTS
