"""
Commits of Iceberg: each tried once, and what has become of it found out.

A commit names the snapshot that it was made from, and the catalog refuses it if the table has another by then.
pyiceberg answers that from version 0.12 on by making the same append from the newer snapshot, without a look at
it: two writers would append the same event. Here a lost race is the caller's to hear of.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

log = logging.getLogger(__name__)

# How the names of S3 Tables' buckets end, and of no others.
_TABLE_BUCKET = "--table-s3"


class LostRaceError(Exception):
    """Raised when another writer has changed a table since it was looked at; nothing of the change is stored."""


class OneAttempt:
    """
    A catalog that tries a commit once, and finds out what has become of one that it hears has failed.

    :param catalog: what is asked for all else.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)

    def commit_table(self, table: Table, requirements: Any, updates: Any) -> Any:
        """
        Commit once; parameters and what is returned are those of the catalog.

        :raises LostRaceError: if it is refused, as it is when another writer was first.
        """
        from pyiceberg.exceptions import CommitFailedException
        from pyiceberg.table import CommitTableResponse

        try:
            return self._catalog.commit_table(table, requirements, updates)
        except Exception as error:
            added = [update.snapshot for update in updates if update.action == "add-snapshot"]
            fresh = self._as_it_is(table)
            if fresh is not None and added and all(map(fresh.metadata.snapshot_by_id, _ids(added))):
                # The answer was lost, maybe only the first of two: it is stored.
                return CommitTableResponse(metadata=fresh.metadata, **{"metadata-location": fresh.metadata_location})
            if not isinstance(error, CommitFailedException):
                raise
            if fresh is not None and _is_overtaken(requirements, fresh):
                _discard(table, added)
        # Of another kind than what pyiceberg catches to try again.
        raise LostRaceError(f"another writer has changed {'.'.join(table.name())}")

    def _delete_old_metadata(self, io: Any, base: Any, metadata: Any) -> None:
        # S3 Tables lets nobody delete files, and does so by itself: each commit would warn that it could not.
        # https://docs.aws.amazon.com/AmazonS3/latest/API/developing-s3-tables-APIs.html
        if not metadata.location.removeprefix("s3://").partition("/")[0].endswith(_TABLE_BUCKET):
            self._catalog._delete_old_metadata(io, base, metadata)

    def _as_it_is(self, table: Table) -> Table | None:
        """Return a table as it is now; None if that cannot be said."""
        try:
            return self._catalog.load_table(table.name())
        except Exception as error:
            log.info("What has become of a commit is not known (%s)", type(error).__name__)
            return None


def _ids(snapshots: Sequence[Any]) -> list[int]:
    return [snapshot.snapshot_id for snapshot in snapshots]


def _is_overtaken(requirements: Any, fresh: Table) -> bool:
    """
    Tell whether a commit that was refused can never be stored any more.

    A client that has sent it twice can hear a refusal because the first one is being carried out still.
    """
    branches = {one.ref: one.snapshot_id for one in requirements if one.type == "assert-ref-snapshot-id"}
    heads = {name: ref.snapshot_id for name, ref in fresh.metadata.refs.items()}
    return any(heads.get(name) != snapshot_id for name, snapshot_id in branches.items())


def _discard(table: Table, snapshots: Sequence[Any]) -> None:
    """Remove the files of snapshots that lost: else they lie there until somebody looks for orphans."""
    try:
        for snapshot in snapshots:
            for manifest in snapshot.manifests(table.io):
                if manifest.added_snapshot_id == snapshot.snapshot_id:
                    for entry in manifest.fetch_manifest_entry(table.io):
                        if entry.snapshot_id in (None, snapshot.snapshot_id) and entry.status == 1:
                            table.io.delete(entry.data_file.file_path)
                    table.io.delete(manifest.manifest_path)
            table.io.delete(snapshot.manifest_list)
    except Exception as error:
        log.info("Files of a commit that was overtaken are left behind (%s)", type(error).__name__)
