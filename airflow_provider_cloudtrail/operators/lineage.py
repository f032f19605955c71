"""What OpenLineage is told. Imported only where its provider is installed and asks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_cloudtrail import parameters
from airflow_provider_cloudtrail._compat import BaseHook


def operator_lineage(
    sources: Sequence[tuple[str, str]], conn_id: str, schema: str | None, table: str, ledger: str = "files"
) -> Any:
    """
    Return the lineage of a load: what was read to the audit table, its ledger and the quarantine.

    :param sources: pairs of bucket and key prefix, or of the URI of something else and a name in it.
    :param conn_id: connection of the warehouse.
    :param schema: schema of the tables; None, or what a template makes of it: the connection's default.
    :param table: audit table.
    :param ledger: what follows its name in that of the ledger.
    :return: ``airflow.providers.openlineage.extractors.OperatorLineage``.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset
    from airflow.providers.openlineage.extractors import OperatorLineage

    namespace, path = _namespace(conn_id, parameters.text(schema))
    return OperatorLineage(
        inputs=[
            Dataset(namespace=bucket if "://" in bucket else f"s3://{bucket}", name=prefix)
            for bucket, prefix in sources
        ],
        outputs=[
            Dataset(namespace=namespace, name=".".join((*path, name)))
            for name in (table, f"{table}_{ledger}", f"{table}_quarantine")
        ],
    )


def _namespace(conn_id: str, schema: str | None) -> tuple[str, list[str]]:
    """Return the namespace of the warehouse, and database and schema as far as its hook tells them."""
    connection = BaseHook.get_connection(conn_id)
    hook = connection.get_hook()  # type: ignore[no-untyped-call]
    describe = getattr(hook, "get_openlineage_database_info", None)
    info = describe(connection) if describe is not None else None
    if info is None:
        # Embedded engines have no authority: the file is the database.
        return f"{connection.conn_type}://{connection.host or ''}", [schema] if schema else []
    authority = info.authority or ""
    return (
        f"{info.scheme}://{authority}",
        [part for part in (info.database, schema or hook.get_openlineage_default_schema()) if part],
    )
