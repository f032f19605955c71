"""
Ids and origins of the rows that this task has added itself, so that it does not read them again for its next batch.

A data file never changes. Which files a table has is looked up each time, and a file of which somebody has deleted
rows is read, so what others do meanwhile is seen.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow
    from pyiceberg.table import FileScanTask

# Some 40 bytes each.
_MOST_ROWS = 250_000


class OwnRows:
    """Of the newest data files that were written here, ``event_id`` and ``log_file_uri`` of their rows."""

    def __init__(self) -> None:
        self._files: dict[str, pyarrow.Table] = {}
        self._rows = 0
        self._changing = threading.Lock()

    def add(self, path: str, ids: Sequence[str], uris: Sequence[str]) -> None:
        """
        Keep what a file holds that was written, whether or not it becomes part of the table.

        :param path: its address, as the table knows it.
        """
        import pyarrow

        rows = pyarrow.table({"event_id": pyarrow.array(ids), "log_file_uri": pyarrow.array(uris).dictionary_encode()})
        with self._changing:
            self._files[path] = rows
            self._rows += len(ids)
            while self._rows > _MOST_ROWS:
                self._rows -= self._files.pop(next(iter(self._files))).num_rows

    def of(self, task: FileScanTask) -> pyarrow.Table | None:
        """Return the rows of a file that a table has; None if they have to be read."""
        return None if task.delete_files else self._files.get(task.file.file_path)
