"""
The Iceberg catalog of a connection: Glue, S3 Tables, any REST catalog, or a database.

The hook of Airflow's Iceberg provider gives a catalog from version 2.0 on. Before, it only fetches a token
of a REST catalog: the catalog is then opened from what the connection says, by the same rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

# What these say is about catalogs, files and permissions, never about values of a record.
_SAFE_TO_QUOTE = frozenset({
    "BadRequestError",
    "ClientError",
    "ConnectionError",
    "EndpointConnectionError",
    "FileNotFoundError",
    "ForbiddenError",
    "NoSuchIcebergTableError",
    "NoSuchNamespaceError",
    "NoSuchTableError",
    "OAuthError",
    "OSError",
    "PermissionError",
    "ServerError",
    "UnauthorizedError",
})


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


def describe(error: Exception) -> str:
    """Return what is safe to log of an error of pyiceberg, pyarrow or the catalog: its class, and at most its text."""
    name = type(error).__name__
    text = str(error).strip().splitlines() if name in _SAFE_TO_QUOTE else []
    return f"{name}: {text[0][:500]}" if text else name
