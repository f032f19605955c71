"""What a watcher of a bucket has seen, kept over restarts of the triggerer in the asset state store of Airflow 3.3."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from typing import Any

from airflow_provider_cloudtrail.triggers.looking import in_thread, threads_of

log = logging.getLogger(__name__)


class WatcherMemory:
    """
    What one watcher has seen.

    Stored one poll late: events leave the triggerer some time after they were yielded, and a memory that is
    ahead of them would lose what a kill loses.

    :param identity: what tells this watcher from others, by its parameters.
    :param store: the state store that Airflow gives a watcher; None: an older Airflow, nothing is remembered.
    """

    def __init__(self, identity: Sequence[Any], store: Any) -> None:
        text = json.dumps(identity, default=str)
        self._key = f"cloudtrail_log_files:{hashlib.sha256(text.encode()).hexdigest()}"
        self._store = store
        self._stored: Any = None
        self._next: Any = None

    async def load(self) -> Any:
        """Return what was stored, or None."""
        if self._store is None:
            return None
        try:
            if hasattr(self._store, "aget"):
                self._stored = await self._store.aget(self._key, None)
            else:  # Airflow 3.3.0 and 3.3.1
                self._stored = await in_thread(threads_of(self._key), self._store.get, self._key, None)
        except ValueError:
            log.warning(
                "Several assets share this watcher, so that its memory cannot be stored with one of them; log files "
                "of the last hours are repeated when the triggerer restarts. Give each asset other parameters"
            )
            self._store = None
        return self._stored

    async def save(self, state: Any) -> None:
        """Store the state before this one."""
        before, self._next = self._next, state
        if self._store is None or before is None or before == self._stored:
            return
        try:
            if hasattr(self._store, "aset"):
                await self._store.aset(self._key, before)
            else:
                await in_thread(threads_of(self._key), self._store.set, self._key, before)
            self._stored = before
        except Exception:
            log.warning("The watcher's memory could not be stored; it goes on with the old one", exc_info=True)
