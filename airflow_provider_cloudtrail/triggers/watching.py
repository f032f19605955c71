"""A trail's bucket as a source of events for assets: new log files, for as long as the triggerer runs."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Hashable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any, NamedTuple, TypedDict

from airflow.triggers.base import TriggerEvent

from airflow_provider_cloudtrail import parameters
from airflow_provider_cloudtrail._compat import BaseEventTrigger
from airflow_provider_cloudtrail.exceptions import CloudTrailTrailNotFoundError
from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook
from airflow_provider_cloudtrail.trail.delivery_window import DeliveryWindow
from airflow_provider_cloudtrail.trail.log_file import LogFile, is_of
from airflow_provider_cloudtrail.trail.watch import Watch
from airflow_provider_cloudtrail.triggers.classpath import classpath_of
from airflow_provider_cloudtrail.triggers.looking import AwsParameters, in_thread, pause_after, tell_denied, threads_of
from airflow_provider_cloudtrail.triggers.questions import TrailParameters, never_delivered
from airflow_provider_cloudtrail.triggers.watcher_memory import WatcherMemory

log = logging.getLogger(__name__)

_AHEAD = timedelta(hours=1)  # how far the clock of CloudTrail may be ahead of this machine's
_PORTION = 1_000
_LONGEST_PAUSE = 900.0
_SIGN_OF_LIFE = timedelta(hours=1)


class NewLogFiles(TypedDict):
    """
    The payload of an event.

    :param files: URIs of log files, for ``CloudTrailToSqlOperator(files=...)``.
    """

    files: list[str]


class _Watcher(NamedTuple):
    """What one trigger wants of a poll that it may share."""

    watch: Watch
    account_ids: frozenset[str] | None
    regions: frozenset[str] | None

    def wants(self, file: LogFile) -> bool:
        return is_of(file, self.account_ids, self.regions)


class _Looked(NamedTuple):
    """End of a poll: everything that these triggers want was listed since their floors."""

    triggers: frozenset[int]


_Watchers = dict[int, _Watcher]
# Of each poll that triggers share, who they are.
_shared: dict[Hashable, _Watchers] = {}


class CloudTrailLogFileTrigger(BaseEventTrigger):
    """
    Fire for the new log files of a trail: for ``AssetWatcher`` (Airflow 3).

    Lists the bucket every ``poke_interval`` seconds, from ``lookback`` before the newest log file on, because
    keys do not become visible in order. A file is missed only if it appears later than that; the daily
    export finds it in its ledger's gaps. Files may be repeated: all of the last ``lookback`` when the watcher
    is new; those of the last poll or two when the triggerer restarts, if Airflow keeps the watcher's memory
    (asset state store, Airflow 3.3), else all of the last ``lookback``. A repeated file costs a run that
    reads nothing, because the ledger knows it. Events of a paused DAG are lost: its next export makes up for
    them with a look-back. Accounts and Regions that the role may not list are passed over, and named in the triggerer's
    log; the daily export loads them. There it also says which of those that are given below have no folder.

    Watchers with the same trail, connection and ``poke_interval`` share one poll where Airflow can (3.3).

    :param bucket: S3 bucket that the trail delivers to, or ``file://`` URI of a folder with a copy of one.
    :param prefix: log file prefix of the trail: what comes before ``AWSLogs/`` in the keys.
    :param organization_id: ``o-...``: look only at the layout of this organization. None: all layouts.
    :param trail_name: name or ARN of the trail, instead of bucket, prefix and organization_id.
    :param account_ids: accounts to look at. None: those that have a folder.
    :param regions: Regions to look at. None: those that have a folder.
    :param lookback: seconds before the newest log file from which on is listed; at least 60.
    :param max_files: most URIs in one event; more come in several.
    :param poke_interval: seconds between two polls, at least 1.
    :param aws_conn_id: AWS connection that lists the bucket.
    :param region_name: Region of the CloudTrail API, for ``trail_name``.
    :param verify: whether to verify TLS certificates, or the path of a CA bundle.
    :param botocore_config: configuration of the botocore clients.
    :raises ValueError: for parameters that cannot work.
    """

    def __init__(
        self,
        *,
        bucket: str | None = None,
        prefix: str = "",
        organization_id: str | None = None,
        trail_name: str | None = None,
        account_ids: Sequence[str] | str | None = None,
        regions: Sequence[str] | str | None = None,
        lookback: float = 3600.0,
        max_files: int = 100,
        poke_interval: float = 60.0,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        verify: bool | str | None = None,
        botocore_config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        if parameters.seconds("lookback", lookback) < 60:
            raise ValueError(f"lookback={lookback} is less than 60 seconds, the grain of the stamps in file names")
        parameters.whole_number("max_files", max_files)
        if parameters.seconds("poke_interval", poke_interval) < 1 or max_files < 1:
            raise ValueError(f"poke_interval={poke_interval} and max_files={max_files} must be 1 or more")
        # Here, not when it looks: a watcher waits errors out, where nobody but the triggerer's log hears of them.
        if parameters.text(trail_name) is None:
            parameters.location(bucket, prefix, organization_id)
        elif parameters.text(bucket) is not None:
            raise ValueError("both bucket and trail_name are set; give one of them")
        self.trail = TrailParameters(
            bucket=bucket, prefix=prefix, organization_id=organization_id, trail_name=trail_name
        )
        self.account_ids = parameters.account_ids("account_ids", account_ids)
        self.regions = parameters.regions("regions", regions)
        self.lookback = lookback
        self.max_files = max_files
        self.poke_interval = poke_interval
        self.aws = AwsParameters.checked(aws_conn_id, region_name, verify, botocore_config)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow makes this trigger from again."""
        return (
            classpath_of(self),
            {
                **vars(self.trail),
                "account_ids": self.account_ids,
                "regions": self.regions,
                "lookback": self.lookback,
                "max_files": self.max_files,
                "poke_interval": self.poke_interval,
                **self.aws._asdict(),
            },
        )

    def shared_stream_key(self) -> Hashable:
        """Name the poll that this trigger shares (Airflow 3.3): all but the accounts and Regions that it wants."""
        trail = (self.trail.bucket, self.trail.prefix, self.trail.organization_id, self.trail.trail_name)
        return ("cloudtrail-log-files", *trail, self.poke_interval, self.aws.key)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        """Poll for all triggers with the same key."""
        trigger = cls(**kwargs)
        key = trigger.shared_stream_key()
        async with aclosing(trigger._polls(_shared.setdefault(key, {}))) as polls:
            async for seen in polls:
                yield seen

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Yield this trigger's events from a poll that it shares."""
        watchers = _shared.setdefault(self.shared_stream_key(), {})
        # Closed with this one, not when the garbage collector comes: until then the poll would look for it as well.
        async with aclosing(self._events(shared_stream, watchers)) as events:
            async for event in events:
                yield event

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield events from a poll of its own, where Airflow cannot share one."""
        watchers: _Watchers = {}
        async with aclosing(self._polls(watchers)) as polls, aclosing(self._events(polls, watchers)) as events:
            async for event in events:
                yield event

    # -- the poll ----------------------------------------------------------------------------------

    async def _polls(self, watchers: _Watchers) -> AsyncGenerator[tuple[LogFile, ...] | _Looked, None]:
        """List the bucket again and again; errors are waited out, because a raising trigger restarts at once."""
        threads = threads_of(self.shared_stream_key())
        failures = 0
        told: list[str] = []
        named: TrailParameters | None = None
        last_sign = datetime.now(timezone.utc)
        while True:
            if not watchers:  # not yet: they begin with their own memory
                await asyncio.sleep(0.05)
                continue
            asked = dict(watchers)
            hook = self.aws.hook()
            listed = 0
            denied: list[str] = []
            try:
                listing = self._listing(hook, asked.values(), denied)
                while portion := await in_thread(threads, lambda: tuple(islice(listing, _PORTION))):  # noqa: B023
                    listed += len(portion)
                    yield portion
            except Exception:
                failures += 1
                self.aws.forget(hook)
                pause = pause_after(failures, self.poke_interval, _LONGEST_PAUSE)
                log.warning("Watching %s failed; trying again in %.0f s", self._place, pause, exc_info=True)
                # What was listed before is told: where one folder can never be listed, it would wait for ever.
                yield _Looked(frozenset())
            else:
                failures = 0
                pause = self.poke_interval * random.uniform(0.9, 1.1)  # noqa: S311
                yield _Looked(frozenset(asked))
                # Not at each poll, because it costs requests.
                if named != (named := self._named(asked.values())) and (
                    missing := await in_thread(threads, never_delivered, hook, named)
                ):
                    log.warning("Watching %s, but %s", self._place, missing)
            if datetime.now(timezone.utc) - last_sign > _SIGN_OF_LIFE:
                last_sign = datetime.now(timezone.utc)
                log.info("Still watching %s; the last poll listed %s log files", self._place, listed)
                told = []
            if denied != told and (told := denied):
                tell_denied(told)
                # The connection may be corrected meanwhile.
                self.aws.forget(hook)
            await asyncio.sleep(pause)

    def _listing(self, hook: CloudTrailHook, watchers: Collection[_Watcher], denied: list[str]) -> Iterator[LogFile]:
        """
        Yield the log files since the earliest floor, of all accounts and Regions that somebody wants.

        :param denied: receives what is said of those that may not be listed.
        """
        now = datetime.now(timezone.utc)
        floor = min(watcher.watch.floor for watcher in watchers)
        trail = self._named(watchers)
        location, account_ids = hook.locate(
            trail.bucket, trail.prefix, trail.organization_id, trail.trail_name, trail.account_ids
        )
        try:
            window = DeliveryWindow(floor, now + _AHEAD)
            yield from hook.list_log_files(
                location, window, account_ids, trail.regions, ahead=False, make_sure=False, denied=denied
            )
        except CloudTrailTrailNotFoundError as error:
            log.info("Nothing yet: %s", error)

    def _named(self, watchers: Iterable[_Watcher]) -> TrailParameters:
        """Return the trail with all accounts and Regions that somebody wants."""
        accounts, regions = zip(*((watcher.account_ids, watcher.regions) for watcher in watchers), strict=True)
        return replace(self.trail, account_ids=_union(accounts), regions=_union(regions))

    @property
    def _place(self) -> str:
        return str(self.trail.trail_name or self.trail.bucket)

    # -- the events --------------------------------------------------------------------------------

    async def _events(self, polls: AsyncIterator[Any], watchers: _Watchers) -> AsyncGenerator[TriggerEvent, None]:
        identity = [*vars(self.trail).values(), self.account_ids, self.regions, self.aws.key]
        memory = WatcherMemory(identity, getattr(self, "asset_state_store", None))
        watch = Watch(timedelta(seconds=self.lookback), datetime.now(timezone.utc), await memory.load())
        watcher = _Watcher(
            watch,
            None if self.account_ids is None else frozenset(self.account_ids),
            None if self.regions is None else frozenset(self.regions),
        )
        watchers[id(self)] = watcher
        try:
            new: list[str] = []
            async for seen in polls:
                if not isinstance(seen, _Looked):
                    new += [file.uri for file in watch.new(file for file in seen if watcher.wants(file))]
                while len(new) >= self.max_files or (new and isinstance(seen, _Looked)):
                    yield TriggerEvent(dict(NewLogFiles(files=new[: self.max_files])))  # type: ignore[no-untyped-call]
                    del new[: self.max_files]
                if isinstance(seen, _Looked) and id(self) in seen.triggers:
                    watch.advance(datetime.now(timezone.utc))
                    if watch.forgot_at is not None:
                        log.warning(
                            "Too many log files in %s to remember; what appears with a stamp before %s is left to the "
                            "daily export",
                            self._place,
                            watch.forgot_at.isoformat(),
                        )
                        watch.forgot_at = None
                    await memory.save(watch.state())
        finally:
            watchers.pop(id(self), None)


def _union(wanted: Iterable[frozenset[str] | None]) -> list[str] | None:
    names: set[str] = set()
    for some in wanted:
        if some is None:
            return None
        names |= some
    return sorted(names)
