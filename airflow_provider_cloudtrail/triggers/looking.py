"""How triggers look into a bucket or queue without holding up the event loop that they share with all others."""

from __future__ import annotations

import json
import logging
import threading
import weakref
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from airflow_provider_cloudtrail import parameters
from airflow_provider_cloudtrail.hooks.cloudtrail import CloudTrailHook

log = logging.getLogger(__name__)

T = TypeVar("T")

# A look is a handful of requests of some tenths of a second, so that hundreds of sensors share these threads. None has
# further ones list ahead: that takes half as much CPU again, of which a triggerer has less than of time.
_LOOKS_AT_ONCE = 8
_NAMED = 10
_threads: weakref.WeakValueDictionary[Hashable, ThreadPoolExecutor] = weakref.WeakValueDictionary()
_hooks: weakref.WeakValueDictionary[str, CloudTrailHook] = weakref.WeakValueDictionary()
_lock = threading.Lock()


class AwsParameters(NamedTuple):
    """The AWS settings of a task or watcher, as its hook takes them."""

    aws_conn_id: str | None
    region_name: str | None
    verify: bool | str | None
    botocore_config: dict[str, Any] | None

    @classmethod
    def checked(
        cls, aws_conn_id: str | None, region_name: str | None, verify: bool | str | None, botocore_config: Any
    ) -> AwsParameters:
        """
        Return the settings of a watcher, which waits errors out where nobody hears of them.

        :raises ValueError: for a configuration that botocore does not take.
        """
        config = parameters.botocore_config("botocore_config", botocore_config)
        return cls(aws_conn_id, region_name, verify, config)

    @property
    def key(self) -> str:
        """What tells one set of settings from another."""
        return json.dumps(self, sort_keys=True, default=str)

    def hook(self) -> CloudTrailHook:
        """
        Return a hook for these settings, the same one for every trigger of this process that has them.

        A client of botocore takes megabytes, and an assumed role is assumed once for each.
        """
        with _lock:
            hook = _hooks.get(self.key)
            if hook is None:
                hook = CloudTrailHook(
                    aws_conn_id=self.aws_conn_id,
                    region_name=self.region_name,
                    verify=self.verify,
                    config=self.botocore_config,
                )
                _hooks[self.key] = hook
            return hook

    def forget(self, hook: CloudTrailHook) -> None:
        """Give the next trigger a new hook: the connection may have been corrected since this one was made."""
        with _lock:
            if _hooks.get(self.key) is hook:
                del _hooks[self.key]


def threads_of(place: Hashable) -> ThreadPoolExecutor:
    """
    Return the threads for what may take its time at one place; they end when nobody holds them any more.

    Each place has its own: what does not answer keeps a thread for minutes, and must not keep those in which
    others look elsewhere.

    :param place: a bucket or queue, and the AWS settings with which it is asked.
    """
    with _lock:
        threads = _threads.get(place)
        if threads is None:
            threads = ThreadPoolExecutor(_LOOKS_AT_ONCE, thread_name_prefix="cloudtrail-trigger")
            _threads[place] = threads
        return threads


def pause_after(failures: int, first: float, longest: float) -> float:
    """
    Return how long to wait before what has failed so often in a row is tried again, in seconds.

    :param first: half of the pause after the first failure; it is doubled by each.
    :param longest: what no pause is longer than.
    """
    # No float holds twice as much for ever: a place that fails for days must not end who waits for it.
    return min(first * 2.0 ** min(failures, 30), longest)


def tell_denied(denied: Sequence[str]) -> None:
    """Log which folders may not be listed, and what to do."""
    log.warning(
        "%s folders are not watched, because the role may not list them, such as these: %s. Allow it s3:ListBucket "
        "there, or name in account_ids and regions what it may list. All others are watched",
        len(denied),
        "; ".join(denied[:_NAMED]),
    )


async def in_thread(threads: ThreadPoolExecutor, function: Callable[..., T], *arguments: Any) -> T:
    """
    Call a function that blocks, in a thread.

    Goes through asgiref, which Airflow depends on: the connection that the function asks for comes over the
    event loop of the triggerer, and Airflow 3.0 finds the way back there only from a thread of asgiref.

    :param threads: see :func:`threads_of`.
    """
    from asgiref.sync import sync_to_async

    return await sync_to_async(function, thread_sensitive=False, executor=threads)(*arguments)
