"""Watchers of a bucket as the triggerer runs them, their memory, and what they tell."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.triggers.base import TriggerEvent

from airflow_provider_cloudtrail.triggers.cloudtrail import CloudTrailLogFileTrigger
from tests.support.log_files import FolderTrail


def now(**ago: float) -> str:
    """Return the stamp of a file that is delivered now, or so long ago."""
    return f"{datetime.now(timezone.utc) - timedelta(**ago):%Y%m%dT%H%MZ}"


def trigger(trail: FolderTrail, **arguments: Any) -> CloudTrailLogFileTrigger:
    """Return a watcher of a trail."""
    return CloudTrailLogFileTrigger(**{"bucket": trail.bucket, **arguments})


class Store:
    """An asset state store, as Airflow 3.3.2 hands it to a trigger."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.history: list[Any] = []

    async def aget(self, key: str, default: Any = None) -> Any:
        return json.loads(self.values[key]) if key in self.values else default

    async def aset(self, key: str, value: Any) -> None:
        self.values[key] = json.dumps(value)
        self.history.append(value)


class BlockingStore(Store):
    """One of Airflow 3.3.0 and 3.3.1."""

    aget = aset = property()

    def get(self, key: str, default: Any = None) -> Any:
        return json.loads(self.values[key]) if key in self.values else default

    def set(self, key: str, value: Any) -> None:
        self.values[key] = json.dumps(value)


async def take(events: AsyncIterator[TriggerEvent], count: int, limit: float = 60.0) -> list[list[str]]:
    """Return the files of the next events."""
    found = []
    for _ in range(count):
        event = await asyncio.wait_for(anext(events), limit)
        found.append(event.payload["files"])
    return found


async def nothing_for(events: AsyncIterator[TriggerEvent], polls: Sequence[Any], count: int = 5) -> None:
    """Check that so many polls bring no event; the stream is at its end then."""
    before = len(polls)
    waiting = asyncio.ensure_future(anext(events))
    while len(polls) < before + count:
        await asyncio.sleep(0)
        assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
