"""
The database file of DuckDB: when it is open, how much memory it may take, when it is tidied up.

A file can be open for writing in one process only. It is therefore opened for each transaction and closed
behind it. Closing it makes DuckDB write a checkpoint, which compresses the last group of 122,880 rows anew:
while much is stored at once, that would be done for each batch, and the file is kept for a while instead.
What a transaction has stored is written twice, to DuckDB's log and by the checkpoint, except whole groups of
rows: where the caller can do with it, batches share a transaction.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from airflow_provider_cloudtrail.warehouse.base import LONGEST_PAUSE
from airflow_provider_cloudtrail.warehouse.duckdb_settings import in_bytes, is_locked, set_ours, setting
from airflow_provider_cloudtrail.warehouse.duckdb_statements import InterruptibleConnection
from airflow_provider_cloudtrail.warehouse.duckdb_unfinished import discard_unfinished

ONE_AT_A_TIME = threading.RLock()
"""
Threads that open and close one file at the same time get errors of all kinds from DuckDB.

Who ends the task may do so just before this is released: the same thread has to come to the end of its session then.
"""

# What a transaction of the export's size needs, with records as large as most trails have, and the key's index for
# each row.
_MEMORY = 56 * 1024 * 1024
# Before 1.4 a bound that is too tight for a commit makes it hang or ends the process; later versions say so.
_VERSIONS_WITHOUT_BOUND = ("0.", "1.0.", "1.1.", "1.2.", "1.3.")
_INDEX_BYTES = 150
_MOST_MEMORY = 1024 * 1024 * 1024
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

    rows_worth_keeping = 5_000
    """Rows that a session stores before it keeps the file: whoever stores few lets others in between."""

    most_rows_together = 500_000
    """Rows that are enough for a transaction: until it commits, its index is in memory beside the table's."""

    def __init__(self, hook: Any, table: str) -> None:
        self._hook = hook
        self._table = table
        self._memory: int | None = _MEMORY
        self._allowed = math.inf
        self._threads = "1"
        self._log = Path()
        self._in_session = False
        self._together = False
        self._kept: Any = None
        self._opened_at = 0.0
        self._not_before = 0.0
        self._stored = self._uncommitted = self._rows_committed = 0
        self.pending = False
        """Whether a transaction is open that holds what earlier ones were to store."""

    @property
    def rows(self) -> int:
        """Rows of the audit table, by estimate, those of the open transaction included."""
        return self._rows_committed + self._uncommitted

    @contextmanager
    def session(self, *, together: bool = False) -> Iterator[None]:
        """
        Within it, the file may stay open between transactions.

        :param together: one may also go on where another has ended, until :meth:`store` is called or it was
            enough. To be stored before the session ends: what is pending then is lost.
        """
        self._in_session, self._together = True, together
        try:
            yield
        finally:
            self._in_session = self._together = False
            if self.pending:
                self.end(self._kept, failed=True)
            with ONE_AT_A_TIME:
                self._close()

    def one_by_one(self) -> None:
        """Have each transaction stand alone for the rest of the session."""
        self._together = False

    def begin(self) -> Any:
        """Return a connection, within a transaction; nobody else in this process has one until it ends."""
        if not self.pending:
            self._give_way()
            ONE_AT_A_TIME.acquire()
        connection = self._kept
        try:
            if connection is None:
                connection = InterruptibleConnection(self._open())
                self._set_up(connection)
            if not self.pending:
                self._rows_committed, self._uncommitted = _rows(connection, self._table), 0
                connection.execute("BEGIN TRANSACTION")
            self._bind_memory(connection)
        except BaseException:
            # What is broken would be kept, and the file with it.
            self._kept, self.pending = None, False
            try:
                if connection is not None:
                    connection.close()
            finally:
                ONE_AT_A_TIME.release()
            raise
        return connection

    def _open(self) -> Any:
        try:
            return self._hook.get_conn()
        except Exception:
            if not discard_unfinished(str(self._hook.get_database())):
                raise
            return self._hook.get_conn()

    def _give_way(self) -> None:
        """Leave the file to others for a moment if it was kept for long."""
        pause = self._not_before - time.monotonic()
        if pause > 0:
            time.sleep(pause)

    def _set_up(self, connection: Any) -> None:
        self._opened_at, self._stored = time.monotonic(), 0
        set_ours(connection)
        locked = is_locked(connection)
        self._allowed = in_bytes(setting(connection, "memory_limit"))
        self._threads = setting(connection, "threads")
        if locked or _version().startswith(_VERSIONS_WITHOUT_BOUND):
            # What the user has set is all there is then.
            self._memory = None
        if self._in_session:
            self._log = Path(f"{_path(connection)}.wal")
            if self._memory is not None:
                # Left to us, which do it on all cores, unless we cannot see how much there is.
                connection.execute(f"SET checkpoint_threshold = '{2 * _MOST_WITHOUT_CHECKPOINT // 1_000_000}MB'")
            if not locked:
                # The other cores read log files; more threads would take more time together, not less.
                connection.execute("SET threads = 1")

    def stored(self, rows: int) -> None:
        """Note how many rows a transaction has written."""
        self._stored += rows
        self._uncommitted += rows

    def commit(self, connection: Any) -> None:
        """Commit a transaction, or leave it open for what comes next."""
        self.pending = (
            self._together
            and 0 < self._uncommitted < self.most_rows_together
            and self._is_worth_it()
            and not self._is_open_for_long()
        )
        if self.pending:
            # Not only when the transaction ends: who ends the task may do so before.
            self._kept = connection
        else:
            connection.commit()

    def end(self, connection: Any, *, failed: bool) -> None:
        """Close the file behind a transaction, or keep it for the next one."""
        if self.pending and not failed:
            return
        try:
            if self._is_worth_it() and not failed and self._may_stay_open():
                self._kept = connection
                return
            self._kept = None
            if self._is_worth_it() and not failed:
                self._with_all_threads(connection)
            connection.close()
            if self._in_session and self._is_open_for_long():
                self._not_before = time.monotonic() + _SECONDS_FOR_OTHERS
        finally:
            self.pending = False
            ONE_AT_A_TIME.release()

    def overdue(self) -> bool:
        """Tell whether the file has been kept for so long that others should have it."""
        return self._kept is not None and self._is_open_for_long()

    def store(self) -> None:
        """Commit what is pending, and let the file go if it is overdue; if that fails, what is pending is lost."""
        if not self.pending:
            if self.overdue():
                ONE_AT_A_TIME.acquire()
                self.end(self._kept, failed=False)
            return
        connection, failed = self._kept, True
        try:
            connection.commit()
            failed = False
        finally:
            self.pending = False
            self.end(connection, failed=failed)

    def _is_worth_it(self) -> bool:
        return self._in_session and self._stored >= self.rows_worth_keeping

    def _is_open_for_long(self) -> bool:
        return time.monotonic() - self._opened_at >= _LONGEST_SECONDS

    def _may_stay_open(self) -> bool:
        return not self._is_open_for_long() and self._log_bytes() < _MOST_WITHOUT_CHECKPOINT

    def widen(self) -> bool:
        """
        Allow more memory from the next transaction on, in the end without a bound.

        :return: whether it was our bound, and not the user's, that was too tight.
        """
        if self._memory is None or self._bound() >= self._allowed:
            return False
        self._memory = self._memory * 4 if self._memory < _MOST_MEMORY else None
        return True

    def _close(self) -> None:
        connection, self._kept = self._kept, None
        if connection is not None:
            self._with_all_threads(connection)
            connection.close()

    def _with_all_threads(self, connection: Any) -> None:
        # Nothing else is going on when the checkpoint is written; with one thread it only takes longer.
        with suppress(Exception):
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
        bound = self._bound()
        if bound < self._allowed:
            connection.execute(f"SET memory_limit = '{bound // 1_000_000}MB'")

    def _bound(self) -> int:
        return (self._memory or 0) + self.rows * _INDEX_BYTES


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
