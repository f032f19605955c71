"""
The database file of DuckDB: when it is open, how much memory it may take, when it is tidied up.

A file can be open for writing in one process only. It is therefore opened for each transaction and closed
behind it. Closing it makes DuckDB write a checkpoint, which compresses the last group of 122,880 rows anew:
while much is stored at once, that would be done for each batch, and the file is kept for a while instead.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow_provider_cloudtrail.warehouse.base import LONGEST_PAUSE

ONE_AT_A_TIME = threading.Lock()
"""Threads that open and close one file at the same time get errors of all kinds from DuckDB."""

# What a transaction of the export's size needs, and the key's index for each row.
_MEMORY = 40 * 1024 * 1024
# Before 1.4 a bound that is too tight for a commit makes it hang or ends the process; later versions say so.
_VERSIONS_WITHOUT_BOUND = ("0.", "1.0.", "1.1.", "1.2.", "1.3.")
_INDEX_BYTES = 150
_MOST_MEMORY = 1024 * 1024 * 1024
_ROWS_WORTH_KEEPING = 5_000
# Others wait for the file for minutes before they give up, see LOCK_TIMEOUT. Whoever kept it for long stays away
# from it for so long that each of them has looked.
_LONGEST_SECONDS = 30.0
_SECONDS_FOR_OTHERS = LONGEST_PAUSE.total_seconds() + 0.1
# Bytes of DuckDB's log: whoever opens the file after a crash reads so much again.
_MOST_WITHOUT_CHECKPOINT = 512_000_000


class DuckDBFile:
    """
    Connections to the file of a hook, one at a time.

    :param hook: Airflow's ``DuckDBHook``.
    :param table: the audit table, whose size says how much memory the index of its key needs.
    """

    def __init__(self, hook: Any, table: str) -> None:
        self._hook = hook
        self._table = table
        self._memory: int | None = _MEMORY
        self._allowed = math.inf
        self._threads = "1"
        self._log = Path()
        self._in_session = False
        self._kept: Any = None
        self._opened_at = 0.0
        self._not_before = 0.0
        self._stored = 0
        self.rows = 0
        """Rows of the audit table, by estimate, when the last transaction began."""

    @contextmanager
    def session(self) -> Iterator[None]:
        """Within it, the file may stay open between transactions."""
        self._in_session = True
        try:
            yield
        finally:
            self._in_session = False
            with ONE_AT_A_TIME:
                self._close()

    def give_way(self) -> None:
        """Leave the file to others for a moment if it was kept for long."""
        pause = self._not_before - time.monotonic()
        if pause > 0:
            time.sleep(pause)

    def begin(self) -> Any:
        """Return a connection, within a transaction."""
        connection = self._kept if self._kept is not None else self._hook.get_conn()
        try:
            if self._kept is None:
                self._set_up(connection)
            self.rows = _rows(connection, self._table)
            self._bind_memory(connection)
            connection.execute("BEGIN TRANSACTION")
        except BaseException:
            # What is broken would be kept, and the file with it.
            self._kept = None
            connection.close()
            raise
        return connection

    def _set_up(self, connection: Any) -> None:
        self._opened_at, self._stored = time.monotonic(), 0
        self._allowed = _bytes(_setting(connection, "memory_limit"))
        self._threads = _setting(connection, "threads")
        if _version().startswith(_VERSIONS_WITHOUT_BOUND):
            self._memory = None
        if self._in_session:
            self._log = Path(f"{_path(connection)}.wal")
            if self._memory is not None:
                # Left to us, which do it on all cores, unless we cannot see how much there is.
                connection.execute(f"SET checkpoint_threshold = '{2 * _MOST_WITHOUT_CHECKPOINT // 1_000_000}MB'")
            # The other cores read log files; more threads would take more time together, not less.
            connection.execute("SET threads = 1")

    def stored(self, rows: int) -> None:
        """Note how many rows a transaction has written."""
        self._stored += rows

    def end(self, connection: Any, *, failed: bool) -> None:
        """Close the file behind a transaction, or keep it for the next one."""
        worth_it = self._in_session and self._stored >= _ROWS_WORTH_KEEPING
        too_long = time.monotonic() - self._opened_at >= _LONGEST_SECONDS
        if worth_it and not failed and not too_long and self._log_bytes() < _MOST_WITHOUT_CHECKPOINT:
            self._kept = connection
            return
        self._kept = None
        if worth_it and not failed:
            self._with_all_threads(connection)
        connection.close()
        if self._in_session and too_long:
            self._not_before = time.monotonic() + _SECONDS_FOR_OTHERS

    def widen(self) -> bool:
        """Allow more memory from the next transaction on, in the end without a bound; tell whether there was one."""
        if self._memory is None:
            return False
        self._memory = self._memory * 4 if self._memory < _MOST_MEMORY else None
        return True

    def _close(self) -> None:
        connection, self._kept = self._kept, None
        if connection is not None:
            self._with_all_threads(connection)
            connection.close()

    def _with_all_threads(self, connection: Any) -> None:
        # Nothing else is going on when the checkpoint is written.
        connection.execute(f"SET threads = {int(self._threads)}")

    def _log_bytes(self) -> int:
        """Return the size of what was stored since the last checkpoint; 0 if there is no file to be seen."""
        try:
            return self._log.stat().st_size
        except OSError:
            return 0

    def _bind_memory(self, connection: Any) -> None:
        """
        Have DuckDB write out what it would otherwise keep: left alone, it takes most of the machine's memory.

        Its index of the key has to stay in memory, so the bound grows with the table; what the user has
        bound tighter stays so.
        """
        if self._memory is None:
            return
        bound = self._memory + self.rows * _INDEX_BYTES
        if bound < self._allowed:
            connection.execute(f"SET memory_limit = '{bound // 1_000_000}MB'")


def _version() -> str:
    import duckdb

    return str(duckdb.__version__)


def _rows(connection: Any, table: str) -> int:
    sizes = connection.execute(
        "SELECT estimated_size FROM duckdb_tables() WHERE table_name = ? AND NOT temporary", [table]
    ).fetchall()
    return max((size for (size,) in sizes), default=0)


def _path(connection: Any) -> str:
    ((path,),) = connection.execute(
        "SELECT path FROM duckdb_databases() WHERE database_name = current_database()"
    ).fetchall()
    return str(path)


def _setting(connection: Any, name: str) -> str:
    ((value,),) = connection.execute(f"SELECT current_setting('{name}')").fetchall()
    return str(value)


def _bytes(size: str) -> float:
    """Read a size as DuckDB writes it, ``18.8 GiB``; what is no size is without bounds."""
    number, _, unit = size.partition(" ")
    factor = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}.get(unit)
    try:
        return float(number) * factor if factor else math.inf
    except ValueError:
        return math.inf
