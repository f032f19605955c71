"""A MariaDB server for the time of a test session, where one is installed."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def mariadb_server() -> Iterator[str]:
    """Run a server with a data folder of its own and yield the path of its socket; it listens on no port."""
    folder = Path(tempfile.mkdtemp(prefix=f"cloudtrail-mysql-{os.getpid()}-"))
    user = ["--user=root"] if os.geteuid() == 0 else []
    address = folder / "s"
    try:
        subprocess.run(
            [
                "mariadb-install-db",
                "--no-defaults",
                f"--datadir={folder}/data",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                *user,
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        server = subprocess.Popen(
            [
                "mariadbd",
                "--no-defaults",
                f"--datadir={folder}/data",
                f"--socket={address}",
                f"--pid-file={folder}/pid",
                "--skip-networking",
                "--innodb-flush-log-at-trx-commit=0",
                *user,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for(str(address))
            yield str(address)
        finally:
            server.terminate()
            server.wait(600)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(address: str) -> None:
    import pymysql

    deadline = time.monotonic() + 600
    while True:
        # The driver leaves the sockets of vain attempts to the garbage collector, which warns in the middle of a test.
        with socket.socket(socket.AF_UNIX) as attempt:
            if attempt.connect_ex(address) == 0:
                break
        assert time.monotonic() < deadline, "The server does not listen."
        time.sleep(0.1)
    with pymysql.connect(unix_socket=address, user="root") as connection:
        connection.cursor().execute("CREATE DATABASE audit CHARACTER SET latin1")
